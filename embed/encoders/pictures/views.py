"""Seeded augmented views of a picture, each an encoder of its own: cropped, mirrored, recoloured, every time alike."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from cache import EncoderSpec
from embed.contents.images import CONTENT
from embed.encoders.derived_encoder import DerivedEncoder
from embed.encoders.protocol import Encoded
from embed.errors import SettingError

__all__ = ["ViewEncoder", "augmented"]

VIEW = "view"  # among a spec's fields
FLIP_SHARE = 0.5
CROP_SHARES = (0.5, 1.0)  # of the picture's area that are kept
CROP_ASPECTS = (0.75, 1.25)  # of what is kept, in those of the picture
COLOUR = 0.2  # brightness, contrast and saturation are each changed by so much at most


class ViewEncoder(DerivedEncoder):
    """One view of each picture, by the network of an encoder that sees pictures as they are.

    What is drawn for a picture follows from the seed, the view's number and the file's bytes, and from nothing else.

    Raises:
        SettingError: the encoder's decoding depends on what becomes of the picture.
    """

    def __init__(self, whole: Any, number: int, *, seed: int) -> None:
        if getattr(whole, "decoding", None) is None:
            raise SettingError(
                f"--views: expected 1 with --decode fast, which scales pictures before they are cropped, got more for "
                f"{whole.name}. Leave one of the two out."
            )
        super().__init__(whole, f"view{number}")
        self.number = number
        self.seed = seed

    @property
    def spec(self) -> EncoderSpec:
        """The whole encoder's, with what is drawn."""
        drawn = {
            "number": self.number,
            "seed": self.seed,
            "flip": FLIP_SHARE,
            "crop": {"shares": list(CROP_SHARES), "aspects": list(CROP_ASPECTS)},
            "colour": COLOUR,
        }
        return self.spec_with(VIEW, drawn)

    def prepare(self, content: bytes) -> Any:
        """Return the view of one image file, ready for a batch."""
        return self.prepare_decoded(self.decode(content))

    def prepare_decoded(self, picture: Image.Image) -> Any:
        """Return what `prepare` does, of what `decode` returned."""
        digest = hashlib.sha256(f"{self.seed} {self.number} ".encode() + picture.info[CONTENT]).digest()
        draws = random.Random(digest)  # noqa: S311 - no secrets; numpy's generators may draw otherwise in a later version
        return self.whole.prepare_decoded(augmented(picture, draws))

    def encode(self, batch: Sequence[Any]) -> np.ndarray:
        """Return the views' vectors, (B, D) float32."""
        encoded = self.whole.encode(batch)
        return encoded.vectors if isinstance(encoded, Encoded) else encoded

    @classmethod
    def of_spec(cls, whole: Any, spec: EncoderSpec) -> Any:
        """Return the encoder of a spec that has a view; what else is drawn than here, its own spec tells."""
        view = spec.fields[VIEW]
        return cls(whole, int(view["number"]), seed=int(view["seed"]))


def augmented(picture: Image.Image, draws: random.Random) -> Image.Image:
    """Return a part of a picture, mirrored or not, a little brighter or darker, and so on."""
    share, aspect = draws.uniform(*CROP_SHARES), math.exp(draws.uniform(*map(math.log, CROP_ASPECTS)))
    width = min(max(round(picture.width * math.sqrt(share * aspect)), 1), picture.width)
    height = min(max(round(picture.height * math.sqrt(share / aspect)), 1), picture.height)
    left, top = int(draws.random() * (picture.width - width + 1)), int(draws.random() * (picture.height - height + 1))
    view = picture.crop((left, top, left + width, top + height))
    if draws.random() < FLIP_SHARE:
        view = ImageOps.mirror(view)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhance(view).enhance(draws.uniform(1 - COLOUR, 1 + COLOUR))
    return view
