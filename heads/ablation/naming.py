"""Names for the configurations of an ablation."""

from __future__ import annotations

from collections.abc import Iterable

from heads.ablation.grid import axis_name
from heads.experiment.configuration import AXES, Configuration

__all__ = ["Naming", "shown_value"]


class Naming:
    """Names for configurations that say what varies among them, and nothing else.

    `modalities` are those of which there are several encoders, `settings` those of which there are several values.
    """

    def __init__(self, configurations: Iterable[Configuration]) -> None:
        encoders: dict[str, set[str]] = {}
        values: dict[str, set] = {}
        for configuration in configurations:
            for modality, name in configuration.encoders:
                encoders.setdefault(modality, set()).add(name)
            for setting in configuration.used:
                values.setdefault(setting, set()).add(getattr(configuration.settings, setting))
        self.modalities = sorted(modality for modality, names in encoders.items() if len(names) > 1)
        self.settings = [name for name in AXES if len(values.get(name, ())) > 1]

    def details(self, configuration: Configuration) -> str:
        """Return what varies, such as ``image resnet50 lr 0.003``; empty where nothing does."""
        parts = [
            name if configuration.is_single else f"{modality} {name}"
            for modality, name in configuration.encoders
            if modality in self.modalities
        ]
        return " ".join([*parts, *filter(None, [self.settings_of(configuration)])])

    def settings_of(self, configuration: Configuration) -> str:
        """Return the settings that vary, such as ``lr 0.003``; empty where none does."""
        values = {name: getattr(configuration.settings, name) for name in self.settings if name in configuration.used}
        return " ".join(f"{axis_name(name)} {shown_value(value)}" for name, value in values.items())

    def name(self, configuration: Configuration) -> str:
        """Return the head's name, and what varies in brackets."""
        details = self.details(configuration)
        return f"{configuration.head} ({details})" if details else configuration.head


def shown_value(value: object) -> str:
    """Return a setting's value where there is little room."""
    if value is None:
        return "all"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
