"""From a decoded picture to the network's input: resized and cropped as bytes, normalised a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from embed.encoders.device import to_device
from embed.encoders.pictures.device_resize import Decoded, DeviceResize

if TYPE_CHECKING:
    from torchvision.transforms._presets import ImageClassification

__all__ = ["Pixels", "Preprocess"]

Pixels = Tensor | Decoded  # (H, W, 3) uint8, resized and cropped or not yet


class Preprocess:
    """The steps of torchvision's ``ImageClassification`` recipe, parted where bytes become numbers.

    Resizing and cropping are torchvision's own; pictures of common sizes are resized on the device, where that is not
    the CPU, to the same pixels. A batch of bytes is a quarter of what it is in fp32, and is normalised on the device.
    """

    def __init__(self, recipe: ImageClassification, device: torch.device | str = "cpu") -> None:
        self.recipe = recipe
        self.device = torch.device(device)
        self._resize = DeviceResize(self._sized, interpolation=recipe.interpolation.value)
        # One number for each byte of a line, so that the products run along memory.
        width = recipe.crop_size[-1]
        means, stds = torch.tensor([recipe.mean, recipe.std], dtype=torch.float64)  # (3,) each
        self.scale = (1 / (255 * stds)).float().repeat(width)  # (W * 3,)
        self.shift = (-means / stds).float().repeat(width)  # (W * 3,)
        self._by_device: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def pixels(self, image: Image.Image) -> Pixels:
        """Return the resized and cropped picture, (H, W, 3) uint8, or as it is where the device will do that."""
        is_gpu = self.device.type not in ("cpu", "mps")
        if is_gpu and self._resize.takes(image.height, image.width):
            return Decoded(torch.from_numpy(np.array(image)))
        return self._cropped(self._resized(image))

    def batch(self, pictures: Sequence[Pixels]) -> Tensor:
        """Return what `pixels` returned of several pictures on the device, (B, H, W, 3) uint8."""
        groups: dict[tuple[bool, torch.Size], list[int]] = {}
        tensors = [picture.pixels if isinstance(picture, Decoded) else picture for picture in pictures]
        for number, (picture, tensor) in enumerate(zip(pictures, tensors, strict=True)):
            groups.setdefault((isinstance(picture, Decoded), tensor.shape), []).append(number)
        parts = []
        for (is_decoded, _), numbers in groups.items():
            part = to_device(torch.stack([tensors[number] for number in numbers]), self.device)
            parts.append(self._resize.resized(part) if is_decoded else part)
        if len(parts) == 1:
            return parts[0]
        order = torch.tensor([number for numbers in groups.values() for number in numbers]).argsort()
        return torch.cat(parts)[to_device(order, self.device)]

    def _resized(self, image: Image.Image) -> Image.Image:
        recipe = self.recipe
        return F.resize(image, recipe.resize_size, interpolation=recipe.interpolation, antialias=recipe.antialias)

    def _cropped(self, resized: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(F.center_crop(resized, self.recipe.crop_size)))

    def _sized(self, picture: Tensor) -> tuple[tuple[int, int], Tensor]:
        """Return the rows and columns of a resized picture, (H, W, 3) uint8, and its pixels after that and the crop."""
        resized = self._resized(Image.fromarray(picture.numpy()))
        return (resized.height, resized.width), self._cropped(resized)

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
