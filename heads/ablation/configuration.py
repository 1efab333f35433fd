"""What an ablation compares: a head on encoders with settings, trained once for each fold and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from heads.ablation.grid import AXES, axis_name, own_settings, used_settings
from heads.head_types import head_type
from heads.settings import FitSettings

__all__ = ["AblationJob", "Configuration", "Naming", "configurations_of"]


@dataclass(frozen=True)
class Configuration:
    """A head, the encoder of each modality it sees, and the settings that make a difference to it."""

    head: str
    encoders: tuple[tuple[str, str], ...]  # (modality, encoder), sorted
    settings: FitSettings  # its seed is 0 and says nothing

    @classmethod
    def of(cls, head: str, encoders: Mapping[str, str], settings: FitSettings) -> Configuration:
        """Return the configuration; two that train the same are equal."""
        return cls(head, tuple(sorted(encoders.items())), own_settings(settings, head, len(encoders)))

    @property
    def is_single(self) -> bool:
        """Whether this is a modality's own head."""
        return len(self.encoders) == 1 and self.encoders[0][0] == self.head

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the settings that make a difference."""
        return used_settings(self.head, len(self.encoders))

    @property
    def members(self) -> tuple[Configuration, ...]:
        """The heads that late fusion averages; none for another head, which is trained itself."""
        if not head_type(self.head).is_average:
            return ()
        return tuple(Configuration.of(modality, {modality: name}, self.settings) for modality, name in self.encoders)


class AblationJob(NamedTuple):
    """One training: a configuration on a fold, from a seed."""

    configuration: Configuration
    fold: int
    seed: int

    @property
    def settings(self) -> FitSettings:
        """The settings with the seed."""
        return replace(self.configuration.settings, seed=self.seed)

    @property
    def members(self) -> list[AblationJob]:
        """The jobs that a late job averages."""
        return [AblationJob(member, self.fold, self.seed) for member in self.configuration.members]


def configurations_of(
    fusions: Sequence[str], combinations: Sequence[Mapping[str, str]], settings: Iterable[FitSettings]
) -> list[Configuration]:
    """Return each modality alone and each fusion, on each combination of encoders, with each of the settings, once."""
    found: dict[Configuration, None] = {}
    for own in settings:
        for encoders in combinations:
            for modality, name in sorted(encoders.items()):
                found[Configuration.of(modality, {modality: name}, own)] = None
            for fusion in fusions:
                found[Configuration.of(fusion, encoders, own)] = None
    modalities = sorted({modality for encoders in combinations for modality in encoders})
    order = (*modalities, *fusions)
    return sorted(found, key=lambda one: order.index(one.head))  # stable: the grid's own order within a head


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
        return " ".join(f"{axis_name(name)} {_shown(value)}" for name, value in values.items())

    def name(self, configuration: Configuration) -> str:
        """Return the head's name, and what varies in brackets."""
        details = self.details(configuration)
        return f"{configuration.head} ({details})" if details else configuration.head


def _shown(value: object) -> str:
    if value is None:
        return "all"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
