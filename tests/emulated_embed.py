"""Encoders on both sides, the CPU and the emulated device, compared; run in the process of `emulated_device`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from emulated_device import DEVICE
from PIL import Image
from torch import Tensor, nn

from cache import Cache
from embed import Encoded, ExtractSettings, ImageEncoder, TextEncoder, VisionEncoder, extract
from embed.encoders.pictures import device_resize

CLASSES = {"image": ImageEncoder, "text": TextEncoder, "vision": VisionEncoder}
TEXTS = ("blue shirt", "red cotton shoes a word1 word2 word3", "a", "word5 word6 blue", "")


def picture(seed: int, size: tuple[int, int], kind: str = "JPEG") -> bytes:
    """Return a smooth drawn picture as a file's bytes."""
    colours = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


# The one that is scaled where decoding is fast comes last.
PICTURES = (picture(0, (60, 80)), picture(1, (40, 40), "PNG"), picture(2, (1100, 1100)))


def difference_of_encoders(kind: str, *arguments: Any, **options: Any) -> float:
    """Return the largest difference of vectors and tokens between an encoder on the device and it on the CPU."""
    expected, computed = (_numbers_of(_encoder(kind, device, arguments, options), kind) for device in ("cpu", DEVICE))
    return _difference(computed, expected)


def differing_pixels() -> dict[str, int]:
    """Return how many pictures the device resized, and how many of their bytes are not the host's."""
    device_resize.COMMON = 1
    contents = [picture(seed, size) for seed, size in enumerate([(60, 80), (300, 200), (60, 80), (1100, 1100)])]
    host, device = (ImageEncoder(weights="random", device=name) for name in ("cpu", DEVICE))
    expected, prepared = ([encoder.prepare(content) for content in contents] for encoder in (host, device))
    pixels = device.preprocess.batch(prepared)
    return {
        "resized": sum(isinstance(picture, device_resize.Decoded) for picture in prepared),
        "refused": sum(plan is None for plan in device.preprocess._resize._plans.values()),
        "differing": int((pixels.cpu() != host.preprocess.batch(expected)).sum()),
    }


def difference_of_extractions(catalogue: Path, folder: Path, bert: Path) -> float:
    """Return the largest difference between two caches, one of which was encoded on the device."""
    caches = []
    for device in ("cpu", DEVICE):
        encoders = [
            ImageEncoder(weights="random", tokens="3x3", decode="fast", device=device),
            TextEncoder(str(bert), weights="random", keep_tokens=True, device=device),
        ]
        path = folder / f"{device.replace(':', '-')}.h5"
        report = extract(catalogue, path, settings=ExtractSettings(), encoders=encoders)
        assert all(entry.n_encoded for entry in report.encoders), report
        with Cache(path) as cache:
            names = {modality: cache.encoders(modality)[0] for modality in ("image", "text")}
            vectors = {modality: cache.matrix(modality, name) for modality, name in names.items()}
            tokens = {f"{modality} tokens": cache.tokens(modality, name).values for modality, name in names.items()}
            caches.append(vectors | tokens)
    return _difference(caches[1], caches[0])


def error_of_a_lost_network() -> str:
    """Return the error of a network that makes a tensor on the CPU while it encodes."""
    encoder = ImageEncoder(weights="random", device=DEVICE)
    encoder.model.add_module("conv1", nn.Sequential(encoder.model.conv1, Lost()))
    try:
        encoder.encode([encoder.prepare(PICTURES[0])])
    except RuntimeError as error:
        return str(error)
    return ""


class Lost(nn.Module):
    """Adds a tensor that is on the CPU."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + torch.zeros(inputs.shape[-1])


def _encoder(kind: str, device: str, arguments: tuple, options: dict[str, Any]) -> Any:
    return CLASSES[kind](*arguments, weights="random", device=device, **options)


def _numbers_of(encoder: Any, kind: str) -> dict[str, np.ndarray]:
    contents = TEXTS if kind == "text" else PICTURES
    encoded = encoder.encode([encoder.prepare(content) for content in contents])
    if isinstance(encoded, Encoded):
        assert encoded.tokens is not None
        return {"vectors": encoded.vectors, "tokens": encoded.tokens.values}
    return {"vectors": encoded}


def _difference(computed: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert computed.keys() == expected.keys()
    assert all(np.isfinite(values).any() and values.any() for values in expected.values())
    return max(
        float(np.nanmax(np.abs(computed[name].astype(float) - values)) / np.nanmax(np.abs(values.astype(float))))
        for name, values in expected.items()
    )
