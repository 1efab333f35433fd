"""Which encoders the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from cache import EncoderSpec
from embed.encoders.protocol import Encoder
from embed.encoders.specs.side_notes import with_side_notes
from embed.errors import SettingError
from embed.settings import MODALITIES, EncoderChoice, ExtractSettings

__all__ = ["make_encoders", "rebuild", "replicas"]


# A family of encoders is a file with two functions, and a line here:
# ``matches(model)``, whether a model's name is one of its, and ``build(choice, settings, device)``, the encoder.
# The first that matches is taken; where none does, the first tells which names it knows.
FAMILIES = {
    "image": ["embed.encoders.torchvision_image", "embed.encoders.huggingface_image"],
    "text": ["embed.encoders.huggingface_text"],
}


def make_encoders(settings: ExtractSettings) -> list[Encoder]:
    """Return the encoders that the settings name, each once a device, and each of its depths and views after it.

    Raises:
        WeightsError: weights cannot be had.
        DeviceError: the device is not here.
        SettingError: the architecture is unknown, or a name cannot stand in the cache.
    """
    from embed.encoders.device import find_devices

    return [
        encoder
        for device in find_devices(settings.device)
        for modality in MODALITIES
        if modality in settings.modalities
        for choice in settings.choices(modality)
        for encoder in _with_depths_and_views(_build(modality, choice, settings, device), settings)
    ]


def rebuild(specs: Sequence[tuple[EncoderSpec, ExtractSettings]]) -> list[Encoder]:
    """Return the encoders of specs, each with the settings that it is built from; depths of a network share it.

    Raises:
        WeightsError, DeviceError, SettingError: as of `make_encoders`; or a network has no such depth.
    """
    from embed.encoders.depths import DepthEncoder, share_networks
    from embed.encoders.pictures.views import VIEW, ViewEncoder

    encoders: list[Encoder] = [
        (ViewEncoder if VIEW in spec.fields else DepthEncoder).of_spec(make_encoders(settings)[0], spec)
        for spec, settings in specs
    ]
    share_networks(encoders)
    return encoders


def _with_depths_and_views(whole: Any, settings: ExtractSettings) -> list[Encoder]:
    from embed.encoders.depths import DepthEncoder
    from embed.encoders.pictures.views import ViewEncoder

    depths = [DepthEncoder(whole, depth) for depth in getattr(whole, "depths", ())]
    n_more = settings.views - 1 if whole.spec.modality == "image" else 0
    return [whole, *depths, *(ViewEncoder(whole, number, seed=settings.seed) for number in range(1, n_more + 1))]


def _build(modality: str, choice: EncoderChoice, settings: ExtractSettings, device: Any) -> Encoder:
    encoder = _family(modality, choice.model).build(choice, settings, device)
    encoder.spec = with_side_notes(encoder.spec, choice, settings)
    return encoder


def _family(modality: str, model: str) -> Any:
    families = [import_module(name) for name in FAMILIES[modality]]
    return next((family for family in families if family.matches(model)), families[0])


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
