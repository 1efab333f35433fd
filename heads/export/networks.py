"""The networks of encoders as modules that can be traced: from prepared contents to vectors, in fp32."""

from __future__ import annotations

import copy
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from heads.errors import ExportError
from heads.export.graph_input import BATCH, LENGTH, SHORTEST, GraphInput

__all__ = ["Network", "network_of"]

PIXELS = "pixel_values"  # the name that all image processors give them


class Network(nn.Module, ABC):
    """An encoder's network behind named inputs.

    Shape:
        inputs: {input's name: tensor}, see `inputs`
        output: (B, D) float32
    """

    inputs: list[GraphInput]

    @abstractmethod
    def batch(self, prepared: Sequence[Any]) -> dict[str, Tensor]:
        """Return contents that the encoder's `prepare` gave, None for no content, as inputs, {name: (B, ...)}."""


class PixelNetwork(Network):
    """A torchvision model over pictures that are resized and cropped: ``{modality}_pixels`` (B, H, W, 3) uint8."""

    def __init__(self, modality: str, encoder: Any) -> None:
        super().__init__()
        self.model = copy.deepcopy(encoder.model).float()
        self.preprocess = encoder.preprocess
        height, width = (encoder.preprocess.recipe.crop_size * 2)[:2]
        self.inputs = [GraphInput(f"{modality}_pixels", modality, torch.uint8, (BATCH, height, width, 3))]

    def batch(self, prepared: Sequence[Any]) -> dict[str, Tensor]:
        blank = torch.zeros(self.inputs[0].sizes[1:], dtype=torch.uint8)  # type: ignore[arg-type] # none is free
        return {self.inputs[0].name: torch.stack([blank if pixels is None else pixels for pixels in prepared])}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        outputs = self.model(self.preprocess.normalise(inputs[self.inputs[0].name], torch.float32))
        return outputs[0] if isinstance(outputs, tuple) else outputs  # some models return their feature map, too


class ProcessedNetwork(Network):
    """A Hugging Face vision model over what its processor prepares: ``{modality}_pixels`` (B, 3, H, W)."""

    def __init__(self, modality: str, encoder: Any) -> None:
        super().__init__()
        self.model = copy.deepcopy(encoder.model).float()
        self.encoder = encoder
        samples = [encoder.prepare(_picture(*size)) for size in ((300, 200), (200, 300))]
        kinds = {(tuple(sample), *((values.dtype, values.shape) for values in sample.values())) for sample in samples}
        if len(kinds) > 1 or list(samples[0]) != [PIXELS]:
            raise ExportError(
                f"Expected the {modality} encoder {encoder.name} to make all pictures one size for --with-encoder, but "
                "it keeps their shapes. Export the head without it."
            )
        self.blank = torch.zeros_like(samples[0][PIXELS])
        sizes = (BATCH, *self.blank.shape)
        self.inputs = [GraphInput(f"{modality}_pixels", modality, self.blank.dtype, sizes)]

    def batch(self, prepared: Sequence[Any]) -> dict[str, Tensor]:
        pixels = [self.blank if content is None else content[PIXELS] for content in prepared]
        return {self.inputs[0].name: torch.stack(pixels)}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        pixels = self.encoder.processor.finish({PIXELS: inputs[self.inputs[0].name]}, torch.float32)
        return self.encoder.pooled(self.model, pixels).float()


class TokenNetwork(Network):
    """A Hugging Face text encoder over ``{modality}_ids`` (B, L) int64 and ``{modality}_mask`` (B, L) bool.

    A row without any token attends to all positions, as runtimes differ on rows that are masked as a whole. Such a row
    has no text, and the head ignores its vector. SigLIP's towers read their padding, and have no mask.
    """

    def __init__(self, modality: str, encoder: Any) -> None:
        super().__init__()
        self.model = copy.deepcopy(encoder.model).float()
        self.encoder = encoder
        sizes, longest = (BATCH, encoder.padded_length or LENGTH), encoder.max_length
        self.ids = GraphInput(f"{modality}_ids", modality, torch.int64, sizes, longest)
        self.mask = GraphInput(f"{modality}_mask", modality, torch.bool, sizes, longest)
        self.inputs = [self.ids] if encoder.padded_length else [self.ids, self.mask]

    def batch(self, prepared: Sequence[Any]) -> dict[str, Tensor]:
        texts = [torch.tensor(tokens or [], dtype=torch.int64) for tokens in prepared]
        padding = getattr(self.encoder.tokenizer, "pad_token_id", None) or 0
        length = self.encoder.padded_length or max(SHORTEST, *map(len, texts))
        ids = pad_sequence([*texts, texts[0].new_zeros(length)], batch_first=True, padding_value=padding)[:-1]
        mask = torch.arange(length) < torch.tensor([len(tokens) for tokens in texts])[:, None]
        return {self.ids.name: ids, self.mask.name: mask} if len(self.inputs) == 2 else {self.ids.name: ids}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        mask = None
        if len(self.inputs) == 2:
            mask = inputs[self.mask.name]
            mask = (mask | ~mask.any(1, keepdim=True)).long()  # (B, L)
        return self.encoder.pooled(self.model, inputs[self.ids.name], mask)[0].float()


def network_of(modality: str, encoder: Any) -> Network:
    """Return an encoder's network.

    Raises:
        ExportError: it is of a family that has none here.
    """
    if hasattr(encoder, "preprocess"):
        return PixelNetwork(modality, encoder).eval()
    if hasattr(encoder, "processor"):
        return ProcessedNetwork(modality, encoder).eval()
    if hasattr(encoder, "pooled"):
        return TokenNetwork(modality, encoder).eval()
    raise ExportError(
        f"Expected the {modality} encoder {encoder.name} to be of torchvision's or Hugging Face's, but it is a "
        f"{type(encoder).__name__}. Export the head without it."
    )


def _picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(file, "PNG")
    return file.getvalue()
