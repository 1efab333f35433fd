"""Side notes of an encoder's spec: what it takes to build the encoder again, and the libraries that it was built with.

None of it tells vectors apart: paths and versions may differ where they are the same to the last digit. The notes say
where to look when an encoder has to be built again, and what else was there when its vectors were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cache import EncoderSpec
from cache.system.circumstances import versions_of
from embed.errors import SettingError
from embed.settings import EncoderChoice, ExtractSettings

__all__ = ["LIBRARIES", "library_versions", "settings_of", "versions_then", "with_side_notes"]

LIBRARIES = ("numpy", "pillow", "tokenizers", "torch", "torchvision", "transformers")
WORDS = ("pretrained", "random")  # that are no file's name
NUMBERS = ("seed", "max_length")
SETTINGS = {"image": ("seed", "decode", "tokens"), "text": ("seed", "max_length", "tokens")}  # beside the choice


def with_side_notes(spec: EncoderSpec, choice: EncoderChoice, settings: ExtractSettings) -> EncoderSpec:
    """Return the spec with notes on the settings that its encoder is built from, and on the libraries there are."""
    modality = spec.modality
    noted = {name: getattr(settings, name) for name in SETTINGS[modality]}
    is_name = spec.fields.get("architecture") == f"torchvision/{choice.model}"  # whatever lies here under that name
    noted[f"{modality}_encoder"] = choice.model if is_name else _whole_path(choice.model)
    noted[f"{modality}_weights"] = choice.weights if choice.weights in WORDS else _whole_path(choice.weights)
    if choice.pooling:
        noted["pooling"] = choice.pooling
    return replace(spec, side_notes={"settings": noted, "libraries": library_versions()})


def settings_of(spec: EncoderSpec, changed: Mapping[str, str], *, device: str) -> ExtractSettings | None:
    """Return the settings to build a spec's encoder from, some of them changed; None where the spec does not say.

    Raises:
        SettingError: what it says are no settings.
    """
    modality = spec.modality
    names = {*SETTINGS.get(modality, ()), f"{modality}_encoder", f"{modality}_weights", "pooling"}
    noted = {name: value for name, value in _mapping(spec.side_notes.get("settings")).items() if name in names}
    noted |= {name: str(value) for name, value in changed.items()}
    if f"{modality}_encoder" not in noted:
        return None
    for name, value in noted.items():
        if value is not None and type(value) is not (int if name in NUMBERS else str):
            raise SettingError(
                f"Expected the notes on the {modality} encoder to be settings, but they have {name} {value!r}. "
                "Extract and train again."
            )
    precision = str(spec.fields.get("precision", "fp32"))
    return ExtractSettings(modalities=(modality,), device=device, precision=precision, **noted)


def versions_then(spec: EncoderSpec) -> dict[str, Any]:
    """Return the versions of libraries that a spec notes; none where it does not say."""
    return _mapping(spec.side_notes.get("libraries"))


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that vectors may depend on, of those that are installed."""
    return versions_of(LIBRARIES)


def _mapping(notes: Any) -> dict[str, Any]:
    return notes if isinstance(notes, dict) else {}


def _whole_path(name: str) -> str:
    """Return the name of a model or of weights, as a whole path where it is that of a file or folder here."""
    path = Path(name)
    return str(path.resolve()) if path.exists() else name
