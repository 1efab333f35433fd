"""From a decoded picture to the network's input: resized and cropped as bytes, normalised a batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

if TYPE_CHECKING:
    from torchvision.transforms._presets import ImageClassification

__all__ = ["Preprocess"]


class Preprocess:
    """The steps of torchvision's ``ImageClassification`` recipe, parted where bytes become numbers.

    Resizing and cropping are torchvision's own; a batch of bytes is a quarter of what it is in fp32, and is
    normalised on the device.
    """

    def __init__(self, recipe: ImageClassification) -> None:
        self.recipe = recipe
        # One number for each byte of a line, so that the products run along memory.
        width = recipe.crop_size[-1]
        means, stds = torch.tensor([recipe.mean, recipe.std], dtype=torch.float64)  # (3,) each
        self.scale = (1 / (255 * stds)).float().repeat(width)  # (W * 3,)
        self.shift = (-means / stds).float().repeat(width)  # (W * 3,)
        self._by_device: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def pixels(self, image: Image.Image) -> Tensor:
        """Return the resized and cropped picture, (H, W, 3) uint8."""
        recipe = self.recipe
        resized = F.resize(image, recipe.resize_size, interpolation=recipe.interpolation, antialias=recipe.antialias)
        return torch.from_numpy(np.array(F.center_crop(resized, recipe.crop_size)))

    def normalise(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the network's input, channels last in memory.

        Shape:
            pixels: (B, H, W, 3) uint8
            output: (B, 3, H, W) of `dtype`
        """
        scale, shift = self._on(pixels.device)
        lines = pixels.flatten(2).float().mul_(scale).add_(shift).to(dtype)  # (B, H, W * 3)
        return lines.view(pixels.shape).permute(0, 3, 1, 2)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._by_device:  # copied once: each copy would wait for all that the device has to do
            self._by_device[device] = (self.scale.to(device), self.shift.to(device))
        return self._by_device[device]
