"""The defaults of `heads-check`: a catalogue's usual vectors, and some classes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from heads.errors import SettingError

__all__ = ["DIMS", "N_CLASSES", "parse_dims"]

DIMS: Mapping[str, int] = MappingProxyType({"image": 512, "text": 768})  # of ResNet-18 and BERT
N_CLASSES = 10


def parse_dims(text: str) -> dict[str, int]:
    """Return the dimensions of each modality's vectors.

    >>> parse_dims("text=768, image=512")
    {'image': 512, 'text': 768}

    Raises:
        SettingError: a part is no ``modality=number``, a number is less than 1, or a modality comes twice.
    """
    pairs = [[side.strip() for side in part.partition("=")] for part in text.split(",")]
    names = [name for name, _, _ in pairs]
    if not all(name and number.isdecimal() and int(number) for name, _, number in pairs) or len({*names}) < len(names):
        raise SettingError(
            f"--dims: expected each modality once with its number of dimensions, as in image=512,text=768, got {text}."
        )
    return {name: int(number) for name, _, number in sorted(pairs)}
