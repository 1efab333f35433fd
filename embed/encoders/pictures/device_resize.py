"""Pillow's resize and a crop of it on a device: integer matrix products that give Pillow's pixels, bit for bit."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from embed.encoders.device import to_host

__all__ = ["Decoded", "DeviceResize"]

log = logging.getLogger("embed_once")

BITS = 22  # of the fractions of Pillow's weights (`PRECISION_BITS` of its src/libImaging/Resample.c)
LOW_BITS = 11  # of a weight's lower half: fp32 holds sums of eight bits times eleven, of up to 32 pixels
MOST_PIXELS = 2**18  # of a picture: decoding a larger one takes longer than resizing it, and it takes memory to send
MOST_BYTES = 2**28  # of pictures in fp32 at once
COMMON = 16  # pictures of a size, from which on its weights are worth making
MOST_PLANS = 64  # sizes whose weights are kept
MOST_SIZES = 100_000  # sizes that are counted


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


FILTERS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "bilinear": (1.0, _triangle),  # how far it reaches, and what it is there
    "bicubic": (2.0, _cubic),
}


class Decoded(NamedTuple):
    """A picture that is still to be resized and cropped, (H, W, 3) uint8."""

    pixels: Tensor


class _Plan(NamedTuple):
    """How pictures of one size become the network's: the weights of their rows and columns, each in two halves."""

    rows: Tensor  # (2, h, H) float32 on the device, whole numbers
    columns: Tensor  # (2, W, w)


class DeviceResize:
    """Resizes pictures of common sizes on a device as the host does.

    Of each size the first picture and noise are resized on both, and compared. Where another byte comes out, by another
    version of Pillow or for whatever reason, pictures of that size stay the host's. So an encoder's spec says nothing
    of it.

    Args:
        on_host: what the pixels are to be: a picture (H, W, 3) -> its resized size (rows, columns), and its pixels
            after that and the crop, (h, w, 3); all uint8.
        interpolation: the filter's name, one of `FILTERS`.
    """

    def __init__(self, on_host: Callable[[Tensor], tuple[tuple[int, int], Tensor]], *, interpolation: str) -> None:
        self._on_host = on_host
        self._filter = interpolation
        self._n_seen: dict[tuple[int, int], int] = {}
        self._device_sizes: set[tuple[int, int]] = set()  # (rows, columns) of pictures that are the device's
        self._plans: dict[tuple[torch.device, int, int], _Plan | None] = {}

    def takes(self, height: int, width: int) -> bool:
        """Return whether a picture of this size is the device's; threads may ask, once for each picture."""
        size = (height, width)
        is_counted = self._filter in FILTERS and height * width <= MOST_PIXELS and len(self._n_seen) < MOST_SIZES
        if size not in self._device_sizes and is_counted:
            n_seen = self._n_seen[size] = self._n_seen.get(size, 0) + 1
            if n_seen == COMMON and len(self._device_sizes) < MOST_PLANS:
                self._device_sizes.add(size)
        return size in self._device_sizes

    def resized(self, pictures: Tensor) -> Tensor:
        """Return pictures of one size, resized and cropped.

        Shape:
            pictures: (B, H, W, 3) uint8 on a device
            output: (B, h, w, 3) uint8 on that device
        """
        plan_key = (pictures.device, *pictures.shape[1:3])
        if plan_key not in self._plans:
            self._plans[plan_key] = self._plan(pictures[:1])
        plan = self._plans[plan_key]
        if plan is None:
            return torch.stack([self._on_host(picture)[1] for picture in to_host(pictures)]).to(pictures.device)
        n_at_once = max(1, MOST_BYTES // (4 * pictures[0].numel()))
        return torch.cat([_apply(plan, part) for part in pictures.split(n_at_once)])

    def _plan(self, picture: Tensor) -> _Plan | None:
        """Return the plan for pictures of the size of one; None where the device gives other pixels than the host.

        Shape:
            picture: (1, H, W, 3) uint8 on a device
        """
        noise = torch.randint(256, picture.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        pictures = torch.cat([picture, noise.to(picture.device)])  # a blank one would agree with any weights
        sizes, expected = zip(*map(self._on_host, to_host(pictures)), strict=True)
        (height, width), (n_rows, n_columns), (h, w) = picture.shape[1:3], sizes[0], expected[0].shape[:2]
        top, left = round((n_rows - h) / 2), round((n_columns - w) / 2)  # as torchvision's center_crop
        if min(top, left) >= 0:  # else it fills up what is missing
            rows = halves(weights(height, n_rows, self._filter)[top : top + h])
            columns = halves(weights(width, n_columns, self._filter)[left : left + w]).transpose(0, 2, 1)
            plan = _Plan(*(torch.from_numpy(array.copy()).to(picture.device) for array in (rows, columns)))
            if torch.equal(to_host(_apply(plan, pictures)), torch.stack(expected)):
                return plan
        log.info("Pictures of %d x %d are resized on the CPU: the device gives other pixels.", width, height)
        self._device_sizes.discard((height, width))
        return None


def weights(n_before: int, n_after: int, interpolation: str) -> np.ndarray:
    """Return what each pixel of a resized line takes of the line, in parts of 2^22, as Pillow rounds them.

    Shape:
        output: (n_after, n_before) int64
    """
    reach, weigh = FILTERS[interpolation]
    scale = n_before / n_after
    stretch = max(scale, 1.0)
    matrix = np.zeros((n_after, n_before))
    for number in range(n_after):
        middle = (number + 0.5) * scale
        start = max(int(middle - reach * stretch + 0.5), 0)
        stop = min(int(middle + reach * stretch + 0.5), n_before)
        shares = weigh((np.arange(start, stop) - middle + 0.5) * (1 / stretch))
        matrix[number, start:stop] = shares / math.fsum(shares)
    return np.trunc(matrix * 2**BITS + np.copysign(0.5, matrix)).astype(np.int64)


def halves(whole: np.ndarray) -> np.ndarray:
    """Return what is above the lower bits, and these, (2, ...) float32."""
    return np.stack([whole >> LOW_BITS, whole & (2**LOW_BITS - 1)]).astype(np.float32)


def _apply(plan: _Plan, pictures: Tensor) -> Tensor:
    """Return (B, h, w, 3) of (B, H, W, 3): sums of whole numbers below 2^24, so that their order does not matter."""
    planes = pictures.permute(0, 3, 1, 2).float()  # (B, 3, H, W)
    planes = _rounded(*(planes @ half for half in plan.columns)).float()
    planes = _rounded(*(half @ planes for half in plan.rows))
    return planes.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _rounded(high: Tensor, low: Tensor) -> Tensor:
    """Return the sums of both halves as bytes, int32, rounded and cut off as Pillow does."""
    sums = high.int().mul_(2**LOW_BITS).add_(low.int()).add_(2 ** (BITS - 1))
    return sums.bitwise_right_shift_(BITS).clamp_(0, 255)
