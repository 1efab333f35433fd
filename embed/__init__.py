"""Extraction: a catalogue in, a cache of vectors out. `embed.extract` does it all; `embed.inspect` looks before."""

from importlib import import_module
from typing import Any

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
    "TextEncoder",
    "TooManyBadError",
    "VisionEncoder",
    "WeightsError",
    "decode",
    "estimate",
    "extract",
    "inspect",
    "make_encoders",
    "read_catalogue",
]

_HOMES = {
    "Catalogue": "embed.catalogue",
    "Encoded": "embed.encoders",
    "Encoder": "embed.encoders",
    "EncoderSpec": "cache",
    "Estimate": "embed.costs",
    "ExtractReport": "embed.extraction",
    "ExtractSettings": "embed.settings",
    "ImageEncoder": "embed.image_encoder",
    "InspectSettings": "embed.inspect_settings",
    "Inspection": "embed.inspection",
    "TextEncoder": "embed.text_encoder",
    "VisionEncoder": "embed.vision_encoder",
    "decode": "embed.images",
    "estimate": "embed.extraction",
    "extract": "embed.extraction",
    "inspect": "embed.inspection",
    "make_encoders": "embed.encoders",
    "read_catalogue": "embed.catalogue",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when they are first used, so that `embed-extract --help` imports no torch.
    if name not in __all__:
        raise AttributeError(f"module 'embed' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "embed.errors")), name)
