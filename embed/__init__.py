"""Extraction: a catalogue in, a cache of vectors out. `embed.extract` does it all; `embed.inspect` looks before."""

from importlib import import_module
from typing import Any

import embed_once  # noqa: F401 - it refuses another module named cache

__all__ = [
    "Catalogue",
    "CatalogueError",
    "ContentError",
    "DeviceError",
    "Encoded",
    "Encoder",
    "EncoderError",
    "EncoderSpec",
    "Estimate",
    "ExtractReport",
    "ExtractSettings",
    "ImageEncoder",
    "InspectSettings",
    "Inspection",
    "SettingError",
    "ShardReport",
    "TextEncoder",
    "TooManyBadError",
    "VisionEncoder",
    "WeightsError",
    "WorkerError",
    "cached",
    "decode",
    "estimate",
    "extract",
    "extract_shard",
    "inspect",
    "make_encoders",
    "read_catalogue",
]

_HOMES = {
    "Catalogue": "embed.catalogue.catalogue",
    "Encoded": "embed.encoders.protocol",
    "Encoder": "embed.encoders.protocol",
    "EncoderSpec": "cache",
    "Estimate": "embed.extraction.estimate",
    "ExtractReport": "embed.extraction.extract_catalogue",
    "ExtractSettings": "embed.settings",
    "ImageEncoder": "embed.encoders.torchvision_image",
    "InspectSettings": "embed.inspection.inspection_settings",
    "Inspection": "embed.inspection.inspect_catalogue",
    "ShardReport": "embed.extraction.extract_catalogue",
    "TextEncoder": "embed.encoders.huggingface_text",
    "VisionEncoder": "embed.encoders.huggingface_image",
    "cached": "embed.extraction.in_memory.cached_model",
    "decode": "embed.contents.images",
    "estimate": "embed.extraction.extract_catalogue",
    "extract": "embed.extraction.extract_catalogue",
    "extract_shard": "embed.extraction.extract_catalogue",
    "inspect": "embed.inspection.inspect_catalogue",
    "make_encoders": "embed.encoders.factory",
    "read_catalogue": "embed.catalogue.catalogue",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when they are first used, so that `embed-extract --help` imports no torch.
    if name not in __all__:
        raise AttributeError(f"module 'embed' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "embed.errors")), name)
