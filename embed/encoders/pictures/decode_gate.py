"""Decoding pictures exactly, or large JPEGs at a fraction of their size, behind a gate that compares the vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from embed.contents.images import decode, is_scaled
from embed.encoders.pictures.preprocess import Pixels, Preprocess
from embed.errors import EncoderError, SettingError

__all__ = ["BothWays", "DecodeGate"]

N_CHECKED = 32  # pictures, the first that are scaled
LEAST_COSINE = 0.999
MARGIN = 2  # a JPEG keeps at least twice the side that it is resized to


class BothWays(NamedTuple):
    """One picture decoded at a fraction of its size and exactly, each (H, W, 3) uint8."""

    scaled: Pixels
    exact: Pixels


class DecodeGate:
    """Turns files into pixels, and refuses fast decoding where it changes the vectors.

    A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for a fraction of the work. What the picture becomes when it
    is resized after that is not quite the same; the first such pictures of a run are encoded both ways and compared.

    Raises:
        SettingError: the way to decode is neither ``exact`` nor ``fast``.
    """

    def __init__(self, way: str, preprocess: Preprocess, *, name: str) -> None:
        if way not in ("exact", "fast"):
            raise SettingError(f"--decode: expected exact or fast, got {way!r}.")
        self.preprocess = preprocess
        self.name = name
        self.least_side = MARGIN * max(preprocess.recipe.resize_size) if way == "fast" else None
        self._n_checked = 0
        self._lock = threading.Lock()

    @property
    def fields(self) -> dict[str, str]:
        """What the encoder's spec says of it; nothing where decoding is exact."""
        if self.least_side is None:
            return {}
        return {"decode": f"JPEG scaled while decoding, to at least {self.least_side} pixels a side"}

    def pixels(self, content: bytes) -> Pixels | BothWays:
        """Return a file's resized and cropped pixels, (H, W, 3) uint8; both ways, where they are to be compared.

        Raises:
            ContentError: it is no picture.
        """
        pixels = self.preprocess.pixels(decode(content, least_side=self.least_side))
        if (
            self.least_side is not None
            and self._n_checked < N_CHECKED
            and is_scaled(content, least_side=self.least_side)
        ):
            with self._lock:
                self._n_checked += 1
            return BothWays(pixels, self.preprocess.pixels(decode(content)))
        return pixels

    def checked(
        self, batch: Sequence[Pixels | BothWays], encode: Callable[[Sequence[Pixels]], np.ndarray]
    ) -> list[Pixels]:
        """Return a batch's pixels, once the vectors of those that were decoded both ways are known to agree.

        Raises:
            EncoderError: they differ too much.
        """
        pairs = [picture for picture in batch if isinstance(picture, BothWays)]
        if pairs:
            self._compare(pairs, encode)
        return [picture.scaled if isinstance(picture, BothWays) else picture for picture in batch]

    def _compare(self, pairs: Sequence[BothWays], encode: Callable[[Sequence[Pixels]], np.ndarray]) -> None:
        scaled, exact = (encode(pixels) for pixels in zip(*pairs, strict=True))  # (n, D) each
        lengths = np.linalg.norm(scaled, axis=1) * np.linalg.norm(exact, axis=1)
        cosine = float(((scaled * exact).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)).min())
        if not cosine >= LEAST_COSINE:
            raise EncoderError(
                f"Expected --decode fast to leave the vectors within a cosine of {LEAST_COSINE} of the exact ones, "
                f"but image/{self.name} comes to {cosine:.4f} on a picture of this catalogue. Use --decode exact."
            )
