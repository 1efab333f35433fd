"""Which encoders the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embed.encoders.protocol import Encoder
from embed.errors import SettingError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["make_encoders", "replicas"]


def make_encoders(settings: ExtractSettings) -> list[Encoder]:
    """Return the encoders that the settings name, each once a device.

    Raises:
        WeightsError: weights cannot be had.
        DeviceError: the device is not here.
        SettingError: the architecture is unknown, or a name cannot stand in the cache.
    """
    from embed.encoders.device import find_devices
    from embed.encoders.huggingface_image import VisionEncoder
    from embed.encoders.huggingface_text import TextEncoder
    from embed.encoders.torchvision_image import ARCHITECTURES, ImageEncoder

    encoders: list[Encoder] = []
    for device in find_devices(settings.device):
        shared: dict[str, Any] = {"seed": settings.seed, "device": device, "precision": settings.precision}
        for modality in (modality for modality in MODALITIES if modality in settings.modalities):
            for choice in settings.choices(modality):
                own = {**shared, "weights": choice.weights, "name": choice.name}
                if modality == "text":
                    own = {**own, "pooling": choice.pooling, "max_length": settings.max_length}
                    encoders.append(TextEncoder(choice.model, keep_tokens=settings.tokens is not None, **own))
                    continue
                is_named = choice.model in ARCHITECTURES or not ("/" in choice.model or Path(choice.model).is_dir())
                image_class = ImageEncoder if is_named else VisionEncoder
                encoders.append(image_class(choice.model, decode=settings.decode, tokens=settings.tokens, **own))
    return encoders


def replicas(encoders: Sequence[Encoder]) -> list[list[Encoder]]:
    """Return the encoders in groups of one modality and name, which share the work.

    Raises:
        SettingError: two of one name have different specs.
    """
    groups: dict[tuple[str, str], list[Encoder]] = {}
    for encoder in encoders:
        group = groups.setdefault((encoder.spec.modality, encoder.name), [])
        group.append(encoder)
        if differences := encoder.spec.differences(group[0].spec):
            raise SettingError(
                "Expected each encoder to have a name of its own, but two are called "
                f"{encoder.spec.modality}/{encoder.name} with {'; '.join(differences)}. Name each with "
                f"--{encoder.spec.modality}-name A,B, or choose one --precision for all devices."
            )
    return list(groups.values())
