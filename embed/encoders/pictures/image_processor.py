"""`Processor`: a Hugging Face image processor, parted where bytes become numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from embed.encoders.weights import PROCESSOR_FILES, expecting, files_sha256
from embed.errors import WeightsError

__all__ = ["Processor"]

PIXELS = "pixel_values"  # what all image processors call them


class Processor:
    """The image processor of a model's folder: what it gives is the network's input.

    Most processors resize and crop bytes and normalise last. Then pictures stay bytes, a quarter of the memory, and a
    batch is normalised at once on the device, to the very same numbers; two pictures of noise tell whether that holds.

    Raises:
        WeightsError: the folder holds no processor.
    """

    def __init__(self, folder: Path | None) -> None:
        assert folder is not None, "every image encoder has a folder"  # noqa: S101 - our own mistake
        self.folder = folder
        self.paths = [folder / name for name in PROCESSOR_FILES if (folder / name).is_file()]
        if not self.paths:
            raise WeightsError(f"Expected {folder} to hold its image processor, but it has no {PROCESSOR_FILES[0]}.")

    def fields(self) -> dict[str, object]:
        """Return what an encoder's spec says of the processor.

        Its class is what transformers makes of the file's, by what is installed, and classes resize differently.
        """
        return {"processor": "sha256:" + files_sha256(self.paths), "processor_class": type(self.process).__name__}

    @cached_property
    def process(self) -> Any:
        """The processor itself, loaded when the first picture comes.

        Raises:
            WeightsError: it is none that transformers knows.
        """
        load = transformers.AutoImageProcessor.from_pretrained
        with expecting(f"{self.folder} to hold an image processor that transformers knows ({PROCESSOR_FILES[0]})"):
            return load(self.folder, local_files_only=True, trust_remote_code=False)

    def prepare(self, image: Image.Image) -> dict[str, Tensor]:
        """Return the inputs that one picture becomes, by name; pixels are bytes where the processor can be parted.

        Shape:
            output: {"pixel_values": (3, H, W) uint8 or float32}, and for some models further inputs
        """
        steps = {"do_rescale": False, "do_normalize": False} if self._is_parted else {}
        return {name: values[0] for name, values in self._process(image, **steps).items()}

    def finish(self, inputs: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        """Return a batch's inputs as the network takes them: bytes normalised, fractions in `dtype`."""
        if self._is_parted:
            inputs = {PIXELS: self._normalise(inputs[PIXELS])}
        return {name: values.to(dtype) if values.is_floating_point() else values for name, values in inputs.items()}

    def _process(self, image: Image.Image, **steps: bool) -> dict[str, Tensor]:
        return dict(self.process(images=image, return_tensors="pt", **steps))

    def _normalise(self, pixels: Tensor) -> Tensor:
        process = self.process
        return process.rescale_and_normalize(
            pixels, process.do_rescale, process.rescale_factor, process.do_normalize, process.image_mean,
            process.image_std,
        )  # fmt: skip

    @cached_property
    def _is_parted(self) -> bool:
        if getattr(self.process, "do_pad", None):
            return False  # it pads small pictures with zeros after normalising
        return all(self._can_be_parted(image) for image in _noise())

    def _can_be_parted(self, image: Image.Image) -> bool:
        whole = self._process(image)
        try:
            parted = self._process(image, do_rescale=False, do_normalize=False)
            pixels = parted[PIXELS]
            if whole.keys() != {PIXELS} or parted.keys() != {PIXELS} or pixels.dtype != torch.uint8:
                return False
            return torch.equal(self._normalise(pixels), whole[PIXELS])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
            return False  # its steps are others


def _noise() -> Sequence[Image.Image]:
    generator = np.random.default_rng(0)
    sizes = ((37, 61, 3), (700, 500, 3))  # smaller and larger than most networks' input, lying and upright
    return [Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)) for size in sizes]
