"""Decoding pictures exactly, or large JPEGs at a fraction of their size, behind a gate that compares the vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from embed.errors import EncoderError, SettingError
from embed.images import decode, is_scaled
from embed.preprocess import Preprocess

__all__ = ["DecodeGate"]

N_CHECKED = 32  # pictures, the first that are scaled
LEAST_COSINE = 0.999
MARGIN = 2  # a JPEG keeps at least twice the side that it is resized to


class DecodeGate:
    """Turns files into pixels, and refuses fast decoding where it changes the vectors.

    A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for a fraction of the work. What the picture becomes when it
    is resized after that is not quite the same; the gate encodes the first pictures both ways and compares.

    Raises:
        SettingError: the way to decode is neither ``exact`` nor ``fast``.
    """

    def __init__(self, way: str, preprocess: Preprocess, *, name: str) -> None:
        if way not in ("exact", "fast"):
            raise SettingError(f"--decode must be exact or fast, however got {way!r}.")
        self.preprocess = preprocess
        self.name = name
        self.least_side = MARGIN * max(preprocess.resize_size) if way == "fast" else None
        self._n_checked = 0
        self._unchecked: list[tuple[Tensor, Tensor]] = []  # pixels of one picture, scaled and exact
        self._lock = threading.Lock()

    @property
    def fields(self) -> dict[str, str]:
        """What the encoder's spec says of it; nothing where decoding is exact."""
        if self.least_side is None:
            return {}
        return {"decode": f"JPEG scaled while decoding, to at least {self.least_side} pixels a side"}

    def pixels(self, content: bytes) -> Tensor:
        """Return a file's resized and cropped pixels, (H, W, 3) uint8.

        Raises:
            ContentError: it is no picture.
        """
        pixels = self.preprocess.pixels(decode(content, least_side=self.least_side))
        if (
            self.least_side is not None
            and self._n_checked < N_CHECKED
            and is_scaled(content, least_side=self.least_side)
        ):
            exact = self.preprocess.pixels(decode(content))
            with self._lock:
                self._n_checked += 1
                self._unchecked.append((pixels, exact))
        return pixels

    def check(self, encode: Callable[[Sequence[Tensor]], np.ndarray]) -> None:
        """Compare the vectors of pictures that were decoded both ways since the last call.

        Raises:
            EncoderError: they differ too much.
        """
        with self._lock:
            pairs, self._unchecked = self._unchecked, []
        if not pairs:
            return
        scaled, exact = (encode(pixels) for pixels in zip(*pairs, strict=True))  # (n, D) each
        lengths = np.linalg.norm(scaled, axis=1) * np.linalg.norm(exact, axis=1)
        cosine = float(((scaled * exact).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)).min())
        if not cosine >= LEAST_COSINE:
            raise EncoderError(
                f"--decode fast must leave the vectors within a cosine of {LEAST_COSINE} of the exact ones, however "
                f"image/{self.name} comes to {cosine:.4f} on a picture of this catalogue. Use --decode exact."
            )
