"""torchvision's classification models as image encoders: the classifier removed, the pooled vector kept."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from cache import EncoderSpec, Tokens
from embed.contents.images import EXACT, decode
from embed.encoders.depths import N_STAGES, evenly_spread, keep_stages
from embed.encoders.device import default_parallel, to_host
from embed.encoders.pictures.batch_norm import fuse_batch_norm
from embed.encoders.pictures.decode_gate import BothWays, DecodeGate
from embed.encoders.pictures.feature_map import cells, keep_feature_map
from embed.encoders.pictures.preprocess import Pixels, Preprocess
from embed.encoders.precision import dtype_of, exact_fp32, find_precision
from embed.encoders.protocol import Encoded, entry_name
from embed.encoders.weights import load_state, origin_fields, seeded, torchvision_file
from embed.errors import SettingError, WeightsError
from embed.settings import EncoderChoice, ExtractSettings, parse_grid

__all__ = ["ARCHITECTURES", "ImageEncoder", "build", "matches"]

# What torchvision sets when it loads its own weights, and not otherwise.
OPTIONS = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # as older weights files have it
ARCHITECTURES = list_models(module=torchvision.models)


def matches(model: str) -> bool:
    """Return whether this is the name of one of torchvision's classification models."""
    return model in ARCHITECTURES


def build(choice: EncoderChoice, settings: ExtractSettings, device: torch.device) -> ImageEncoder:
    """Return the encoder that the settings choose."""
    return ImageEncoder(
        choice.model, weights=choice.weights, name=choice.name, seed=settings.seed, device=device,
        precision=settings.precision, decode=settings.decode, tokens=settings.tokens, layers=settings.layers,
    )  # fmt: skip


class ImageEncoder:
    """A frozen torchvision model whose classifier's last layer is removed; ResNet-18 gives 512 dimensions.

    Args:
        architecture: the name of a torchvision classification model.
        weights: ``pretrained`` (torchvision's default, from ``TORCH_HOME``), ``random``, or a local state dict,
            whose classifier may have any number of classes.
        name: the vectors' name in the cache.
        seed: draws random weights.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 where the device has it natively, else fp32.
        decode: ``exact``, or ``fast``: large JPEGs are scaled while decoded (`embed.encoders.pictures.decode_gate`).
        tokens: keep the feature map whose mean the vector is: ``all`` its cells, or averaged to a grid, ``3x3``.
        layers: give the means of so many stages' maps, of a ResNet, the last among them.

    Raises:
        SettingError: there is no such architecture, precision, way to decode or grid, or it has no stages.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
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
        if architecture not in ARCHITECTURES:
            raise SettingError(
                f"--image-encoder: expected one of torchvision's classification models ({', '.join(ARCHITECTURES)}), "
                "or a Hugging Face vision model: a folder with config.json, or a name on the hub such as "
                f"facebook/dinov2-small, got {architecture!r}."
            )
        self.architecture = architecture
        self.device = torch.device(device)
        self.seed = seed
        self.precision = find_precision(precision, self.device)
        self.batch_size = 64 if self.device.type == "cuda" else 8  # few, so that activations stay in the CPU's caches
        self.n_parallel = default_parallel(self.device)
        self.preprocess = Preprocess(get_model_weights(architecture).DEFAULT.transforms(), self.device)
        self.weights_path: Path | None = None
        if weights == "random":
            usual_name = f"{architecture}-random"
        elif weights == "pretrained":
            self.weights_path, usual_name = torchvision_file(architecture), architecture
        else:
            self.weights_path = Path(weights)
            stem = self.weights_path.stem
            usual_name = stem if stem.startswith(architecture) else f"{architecture}-{stem}"
        self.gate = DecodeGate(decode, self.preprocess, name=usual_name)
        if decode == "fast":
            usual_name += "-fast"
        self.keeps_tokens = tokens is not None
        self.depths = tuple(f"layer{number}" for number in evenly_spread(N_STAGES, layers))
        if self.depths and not self.all_depths():
            raise SettingError(
                f"--layers: expected 1 for {architecture}, got {layers}: of torchvision's models ResNets alone have "
                "stages that are known here. Extract it in a run of its own."
            )
        self.grid = None if tokens is None else parse_grid(tokens)
        if tokens is not None:
            usual_name += "-tokens" if tokens == "all" else f"-{tokens}"
        self.name = entry_name(name, usual_name)
        self.spec = EncoderSpec("image", self._spec_fields(tokens))

    def _spec_fields(self, tokens: str | None) -> dict[str, object]:
        """Return all that changes the vectors.

        Raises:
            WeightsError: the weights' file cannot be read.
        """
        paths = [] if self.weights_path is None else [self.weights_path]
        is_squeezenet = self.architecture.startswith("squeezenet")
        recipe = self.preprocess.recipe
        return {
            "architecture": f"torchvision/{self.architecture}",
            **origin_fields(paths, seed=self.seed, library=f"torchvision {torchvision.__version__}"),
            "layer": "pooled map" if is_squeezenet else "input of the last linear layer",
            "pixels": "upright RGB, transparency on white",
            **self.gate.fields,
            "resize": list(recipe.resize_size),
            "crop": list(recipe.crop_size),
            "interpolation": recipe.interpolation.value,
            "antialias": recipe.antialias,
            "mean": list(recipe.mean),
            "std": list(recipe.std),
            "precision": self.precision,
            **({} if tokens is None else {"tokens": f"feature map, {tokens}"}),
        }

    def prepare(self, content: bytes) -> Pixels | BothWays:
        """Return the pixels of one image file, resized and cropped, or as `Preprocess.batch` takes them."""
        return self.gate.pixels(content)

    @property
    def decoding(self) -> str | None:
        """How pictures are decoded, so that encoders may share it; None where it depends on what becomes of them."""
        return EXACT if self.gate.least_side is None else None

    def decode(self, content: bytes) -> Image.Image:
        """Return the picture in an image file; encoders of one `decoding` may share it."""
        return decode(content)

    def prepare_decoded(self, picture: Image.Image) -> Pixels:
        """Return what `prepare` does, of what `decode` returned."""
        return self.preprocess.pixels(picture)

    @torch.inference_mode()
    @exact_fp32()
    def encode(self, batch: Sequence[Pixels | BothWays]) -> np.ndarray | Encoded:
        """Return the pooled vectors, (B, D) float32, with the cells of the feature map where they are kept."""
        pixels = self.gate.checked(batch, lambda pixels: self._forward(pixels)[0])
        vectors, tokens, beside = self._forward(pixels)
        return vectors if tokens is None and not beside else Encoded(vectors, tokens, beside)

    def all_depths(self) -> tuple[str, ...]:
        """Return the stages before the last; none where the network has no such."""
        is_resnet = self.architecture.startswith(("resnet", "resnext", "wide_resnet"))
        return tuple(f"layer{number}" for number in range(1, N_STAGES)) if is_resnet else ()

    def _forward(self, batch: Sequence[Pixels]) -> tuple[np.ndarray, Tokens | None, dict[str, np.ndarray]]:
        """Return the pooled vectors, (B, D), the tokens where they are kept, and the vectors of each depth."""
        pixels = self.preprocess.batch(batch)  # (B, H, W, 3)
        outputs = self.model(self.preprocess.normalise(pixels, dtype_of(self.precision)))
        beside = {}
        if self.depths:
            outputs, maps = outputs  # (B, D, H, W) each
            beside = {depth: to_host(stage_map.float().mean((2, 3))).numpy() for depth, stage_map in maps.items()}
        if not self.keeps_tokens:
            return to_host(outputs.float()).numpy(), None, beside
        vectors, feature_map = outputs  # (B, D), (B, D, H, W)
        tokens = to_host(cells(feature_map, self.grid).half()).numpy()  # (B, T, D)
        return to_host(vectors.float()).numpy(), Tokens.of(list(tokens)), beside

    @cached_property
    def model(self) -> nn.Module:
        """The network without its classifier, in evaluation mode on its device, batch norm fused into convolutions.

        Raises:
            WeightsError: the file's tensors do not fit the architecture.
        """
        model = self._network()
        classifier = _remove_classifier(model)
        if self.weights_path is not None:
            state = OrderedDict(
                (DENSENET_NAME.sub(r"\1\2", name), tensor)
                for name, tensor in load_state(self.weights_path).items()
                if name.rpartition(".")[0] != classifier
            )
            state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined] # MNASNet looks for its version
            try:
                model.load_state_dict(state)
            except (RuntimeError, ValueError) as error:
                first_difference = str(error).split("\n\t")[1] if "\n\t" in str(error) else str(error)
                raise WeightsError(
                    f"Expected {self.weights_path} to hold the weights of torchvision's {self.architecture}, but: "
                    f"{first_difference[:300]}"
                ) from error
        fused = fuse_batch_norm(model.eval().requires_grad_(False))
        if self.keeps_tokens:
            keep_feature_map(fused, name=self.architecture)
        if self.depths:
            keep_stages(fused, self.depths)
        return fused.to(self.device, dtype_of(self.precision)).to(memory_format=torch.channels_last)

    def _network(self) -> nn.Module:
        """Return the architecture with weights from the seed, or unset where a file has them: to draw takes longer."""
        options = OPTIONS.get(self.architecture, {})
        if self.weights_path is None:
            with seeded(self.seed):
                return get_model(self.architecture, weights=None, **options)
        with torch.device("meta"):
            return get_model(self.architecture, weights=None, **options).to_empty(device="cpu")


def _remove_classifier(model: nn.Module) -> str:
    """Replace the last linear layer, SqueezeNet's last convolution, by the identity and return its name."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    name = ([name for name, module in layers.items() if isinstance(module, nn.Linear)] or list(layers))[-1]
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return name
