"""Hugging Face's vision models as image encoders: ViT and DINOv2, ConvNeXt and Swin, CLIP and SigLIP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cache import EncoderSpec
from embed.contents.images import EXACT, decode
from embed.encoders.checkpoint import features_of, find_checkpoint
from embed.encoders.depths import BlockStates, evenly_spread
from embed.encoders.device import default_parallel, to_device, to_host
from embed.encoders.packing import unpacked
from embed.encoders.pictures.image_processor import Processor
from embed.encoders.precision import dtype_of, exact_fp32, find_precision
from embed.encoders.protocol import Encoded, entry_name
from embed.errors import SettingError, WeightsError
from embed.settings import EncoderChoice, ExtractSettings

__all__ = ["VisionEncoder", "build", "matches"]


def matches(model: str) -> bool:
    """Return whether this is a local folder, or a name on the hub."""
    return "/" in model or Path(model).is_dir()


def build(choice: EncoderChoice, settings: ExtractSettings, device: torch.device) -> VisionEncoder:
    """Return the encoder that the settings choose."""
    return VisionEncoder(
        choice.model, weights=choice.weights, name=choice.name, seed=settings.seed, device=device,
        precision=settings.precision, decode=settings.decode, tokens=settings.tokens, layers=settings.layers,
    )  # fmt: skip


class VisionEncoder:
    """A frozen Hugging Face vision model with its own image processor.

    The vector is, for a model with two towers (CLIP, SigLIP), the image features that lie in one space with the
    texts'; for a transformer with a class token (ViT, DINOv2) that token of the last hidden state; for all others
    (ConvNeXt, ResNet, Swin, a tower of CLIP alone) the model's pooled output, or the mean where it has none.

    Args:
        model_name: a local folder or a name on the hub.
        weights: ``pretrained``, or ``random``: a folder's architecture and processor, untrained.
        name: the vectors' name in the cache.
        seed: draws random weights.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 where the device has it natively, else fp32.
        layers: pool the states after so many blocks of a transformer, evenly spread, the last among them.

    Raises:
        SettingError: there is no such precision, the weights are neither, it is no transformer with one tower though
            `layers` are asked for, or `decode` or `tokens` are, which torchvision's models alone have.
        WeightsError: the model cannot be had.
    """

    decoding = EXACT

    def __init__(
        self,
        model_name: str,
        *,
        weights: str = "pretrained",
        name: str | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        decode: str = "exact",
        tokens: str | None = None,
        layers: int = 1,
    ) -> None:
        if decode != "exact" or tokens is not None:
            raise SettingError(
                "Expected --decode fast and --tokens with torchvision's models alone, got them for the Hugging Face "
                f"model {model_name}. Extract it in a run of its own without them."
            )
        self.device = torch.device(device)
        self.precision = find_precision(precision, self.device)
        self.batch_size = 64 if self.device.type == "cuda" else 8
        self.n_parallel = default_parallel(self.device)
        self.checkpoint = find_checkpoint(model_name, modality="image", weights=weights, seed=seed)
        self.has_two_towers = self.checkpoint.has_two_towers
        config = self.checkpoint.config
        if hasattr(config, "mask_ratio"):
            config.mask_ratio = 0.0  # a masked autoencoder would look at a quarter of the picture
        self.depths = tuple(map(str, evenly_spread(getattr(config, "num_hidden_layers", 1), layers)))
        self.block_states = BlockStates()
        if layers > 1 and not self.all_depths():
            raise SettingError(
                f"--layers: expected 1 for {model_name}, got {layers}: it has two towers, or is no transformer with "
                "blocks of one size. Extract it in a run of its own."
            )
        self.processor = Processor(self.checkpoint.folder)
        self.name = entry_name(name, self.checkpoint.usual_name)
        pooled = "class token of the last hidden state, else pooled output, else mean"
        self.spec = EncoderSpec(
            "image",
            {
                **self.checkpoint.fields(),
                **self.processor.fields(),
                "pixels": "upright RGB, transparency on white",
                "vector": "image features" if self.has_two_towers else pooled,
                "precision": self.precision,
            },
        )

    def prepare(self, content: bytes) -> dict[str, Tensor]:
        """Return the network's inputs that one image file becomes, by name."""
        return self.prepare_decoded(self.decode(content))

    def decode(self, content: bytes) -> Image.Image:
        """Return the picture in an image file; encoders of one `decoding` may share it."""
        return decode(content)

    def prepare_decoded(self, picture: Image.Image) -> dict[str, Tensor]:
        """Return what `prepare` does, of what `decode` returned."""
        return self.processor.prepare(picture)

    @torch.inference_mode()
    @exact_fp32()
    def encode(self, batch: Sequence[dict[str, Tensor]]) -> np.ndarray | Encoded:
        """Return the vectors, (B, D) float32, with those of each depth where such are asked for."""
        groups: dict[tuple[torch.Size, ...], list[int]] = {}  # some processors keep the pictures' aspect ratios
        for number, inputs in enumerate(batch):
            groups.setdefault(tuple(values.shape for values in inputs.values()), []).append(number)
        # The vectors of all groups, then those of each depth.
        outputs = zip(*(self._vectors([batch[number] for number in group]) for group in groups.values()), strict=True)
        vectors, *depths = (unpacked(to_host(torch.cat(parts).float()).numpy(), groups.values()) for parts in outputs)
        return Encoded(vectors, None, dict(zip(self.depths, depths, strict=True))) if depths else vectors

    def all_depths(self) -> tuple[str, ...]:
        """Return the numbers of a transformer's blocks before the last; none where it has two towers, or stages."""
        config = self.checkpoint.config
        has_blocks = not self.has_two_towers and not hasattr(config, "depths")
        n_blocks = getattr(config, "num_hidden_layers", 1) if has_blocks else 1
        return tuple(str(number) for number in range(1, n_blocks))

    def _vectors(self, batch: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """Return the vectors of pictures of one size, (n, D), and those of each depth."""
        stacked = {name: to_device(torch.stack([inputs[name] for inputs in batch]), self.device) for name in batch[0]}
        model = self.model
        with self.block_states.noted() as noted:
            vectors = self.pooled(model, self.processor.finish(stacked, dtype_of(self.precision)))
        return [vectors, *(_pooled_tokens(model, noted[depth]) for depth in self.depths)]

    def pooled(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Return the vectors that this model or a copy of it gives, (n, D), of what the processor finished."""
        if self.has_two_towers:
            return features_of(model.get_image_features(**inputs))
        output = model(**inputs)
        states = output.last_hidden_state  # (n, L, D) tokens or (n, D, H, W) a map
        if states.ndim == 3 and _has_class_token(model):
            return _pooled_tokens(model, states)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)  # ResNet's is (n, D, 1, 1)
        return _pooled_tokens(model, states) if states.ndim == 3 else states.float().mean((2, 3))

    @cached_property
    def model(self) -> nn.Module:
        """The network in evaluation mode on its device.

        Raises:
            WeightsError: the folder's tensors do not fit its architecture, or it looks at no pictures.
        """
        if not self.has_two_towers and getattr(self.checkpoint.model_class, "main_input_name", "") != "pixel_values":
            raise WeightsError(
                "Expected an image encoder to be a vision model, or to have a tower for pictures, but "
                f"{self.checkpoint.folder} holds a {type(self.checkpoint.config).__name__}. Use ViT, DINOv2, ConvNeXt, "
                "CLIP or one of their kinds."
            )
        model: Any = self.checkpoint.load(needs_pooler=lambda model: not _has_class_token(model))
        if self.has_two_towers:
            model.text_model = None  # the memory is worth more
        self.block_states.watch(model, n_blocks=len(self.all_depths()) + 1, depths=self.depths)
        return model.to(self.device, dtype_of(self.precision)).to(memory_format=torch.channels_last)


def _pooled_tokens(model: nn.Module, states: Tensor) -> Tensor:
    """Return the class token of the states of some block, (n, L, D), or their mean where there is none."""
    return states[:, 0] if _has_class_token(model) else states.float().mean(1)


def _has_class_token(model: nn.Module) -> bool:
    return any(name.endswith("embeddings.cls_token") for name, _ in model.named_parameters())
