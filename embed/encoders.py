"""What an encoder is: something frozen that turns one content into one vector, and says how."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cache import EncoderSpec, Tokens
from embed.errors import SettingError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["Encoded", "Encoder", "entry_name", "joined", "make_encoders", "replicas"]


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of a batch of B contents.

    Shape:
        vectors: (B, D) float32
        tokens: of B contents, (T_i, D_token) float16 each; None where the encoder keeps none
    """

    vectors: np.ndarray
    tokens: Tokens | None = None


def joined(pieces: Sequence[Encoded]) -> Encoded:
    """Return the vectors and tokens of several batches as those of one; of none, no vectors."""
    if len(pieces) == 1:
        return pieces[0]
    vectors = [piece.vectors for piece in pieces] or [np.zeros((0, 0), dtype=np.float32)]
    tokens = [piece.tokens for piece in pieces if piece.tokens is not None]
    return Encoded(np.concatenate(vectors), Tokens.concatenated(tokens) if tokens else None)


class Encoder(Protocol):
    """Turns contents of one modality into vectors; loads its model when the first batch comes, not before.

    An encoder may say what suits it: ``batch_size``, contents a batch, ``n_parallel``, how many threads may call
    `encode` at once (one, where it says nothing), and ``device``, a `torch.device` that gets threads of its own.
    """

    name: str  # the vectors' name in the cache
    spec: EncoderSpec  # all that changes the vectors; known without loading the model

    def prepare(self, content: Any) -> Any:
        """Return one content (a file's bytes, a text) ready for a batch. It is called from several threads.

        Raises:
            ContentError: it cannot be encoded; the error's argument is its status.
        """

    def encode(self, batch: Sequence[Any]) -> np.ndarray | Encoded:
        """Return the vectors of prepared contents, (B, D) float32; each depends on its own content alone.

        An encoder that keeps tokens too returns both as `Encoded`, and says so in its spec.
        """


def make_encoders(settings: ExtractSettings) -> list[Encoder]:
    """Return the encoders that the settings name, each once a device.

    Raises:
        WeightsError: weights cannot be had.
        DeviceError: the device is not here.
        SettingError: the architecture is unknown, or a name cannot stand in the cache.
    """
    from embed.device import find_devices
    from embed.image_encoder import ARCHITECTURES, ImageEncoder
    from embed.text_encoder import TextEncoder
    from embed.vision_encoder import VisionEncoder

    encoders: list[Encoder] = []
    for device in find_devices(settings.device):
        shared: dict[str, Any] = {"seed": settings.seed, "device": device, "precision": settings.precision}
        for modality in (modality for modality in MODALITIES if modality in settings.modalities):
            for choice in settings.choices(modality):
                own = {**shared, "weights": choice.weights, "name": choice.name}
                if modality == "text":
                    own = {**own, "pooling": choice.pooling, "max_length": settings.max_length}
                    encoders.append(TextEncoder(choice.model, keep_tokens=settings.tokens is not None, **own))
                    continue
                is_named = choice.model in ARCHITECTURES or not ("/" in choice.model or Path(choice.model).is_dir())
                image_class = ImageEncoder if is_named else VisionEncoder
                encoders.append(image_class(choice.model, decode=settings.decode, tokens=settings.tokens, **own))
    return encoders


def replicas(encoders: Sequence[Encoder]) -> list[list[Encoder]]:
    """Return the encoders in groups of one modality and name, which share the work.

    Raises:
        SettingError: two of one name have different specs.
    """
    groups: dict[tuple[str, str], list[Encoder]] = {}
    for encoder in encoders:
        group = groups.setdefault((encoder.spec.modality, encoder.name), [])
        group.append(encoder)
        if differences := encoder.spec.differences(group[0].spec):
            raise SettingError(
                f"Each encoder must have a name of its own, however two are called {encoder.spec.modality}/"
                f"{encoder.name} with {'; '.join(differences)}. Name each with "
                f"--{encoder.spec.modality}-name A,B, or choose one --precision for all devices."
            )
    return list(groups.values())


def entry_name(asked: str | None, usual: str) -> str:
    """Return the name that an encoder's vectors have in the cache.

    Raises:
        SettingError: the name asked for cannot be one.
    """
    name = re.sub(r"[^\w.+-]", "-", usual) if asked is None else asked
    if not re.fullmatch(r"[\w+-][\w.+-]{0,99}", name, flags=re.ASCII) or name in {"key", "status"}:
        raise SettingError(
            f"An encoder's name in the cache must be up to 100 letters, digits, '.', '_', '+' and '-', however got "
            f"{name!r}. Name another with --image-name or --text-name."
        )
    return name
