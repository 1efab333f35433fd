"""What an experiment compares: a head on encoders with settings, trained once for each fold and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from heads.head_types import HEAD_TYPES, head_type, member_names
from heads.settings import FitSettings

__all__ = ["AXES", "Configuration", "Encoders", "FoldJob", "configurations_of", "used_settings"]

Encoders = tuple[tuple[str, str], ...]  # (modality, encoder), sorted

_DEFAULTS = {field.name: field.default for field in fields(FitSettings)}
AXES = tuple(name for name in _DEFAULTS if name != "seed")  # the settings that configurations may differ in

# Every head that is trained by steps is taken to use all that is not another's own (`heads.head_types`).
_OF_JOINT_HEADS = ("absent", "modality_dropout")  # those that see several modalities at once
_OF_BUILT_IN_HEADS = ("hidden_dim", "dropout", "absent")  # a user's own class is built with sizes of its own
_UNUSED = {**_DEFAULTS, "n_attention_heads": 1}  # which every width is a multiple of


@dataclass(frozen=True)
class Configuration:
    """A head, the encoder of each modality it sees, and the settings that make a difference to it."""

    head: str
    encoders: Encoders
    settings: FitSettings  # its seed is 0 and says nothing
    beside: tuple[str, ...] = ()  # the fusions, besides the single heads, of which an ensemble is made

    @classmethod
    def of(
        cls, head: str, encoders: Mapping[str, str], settings: FitSettings, *, beside: Sequence[str] = ()
    ) -> Configuration:
        """Return the configuration, with all settings at their defaults that make no difference to the head.

        So two that train the same are equal. `beside` are the fusions of the run, which only an ensemble looks at.
        """
        members = member_names(beside) if head_type(head).averages_fusions else ()
        used = {name: getattr(settings, name) for name in _used(head, len(encoders), members)}
        return cls(head, tuple(sorted(encoders.items())), FitSettings(**{**_UNUSED, **used}), members)

    @property
    def is_single(self) -> bool:
        """Whether this is a modality's own head."""
        return len(self.encoders) == 1 and self.encoders[0][0] == self.head

    @property
    def is_seeded(self) -> bool:
        """Whether the seed makes a difference."""
        return head_type(self.head).is_seeded

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the settings that make a difference."""
        return _used(self.head, len(self.encoders), self.beside)

    @property
    def members(self) -> tuple[Configuration, ...]:
        """The heads that late fusion or an ensemble averages; none for another head, which is trained itself.

        An ensemble's vectors are scaled in one way, so that a head that scales them itself is a member at the default.
        """
        if not head_type(self.head).is_average:
            return ()
        singles = [Configuration.of(modality, {modality: name}, self.settings) for modality, name in self.encoders]
        fusions = [Configuration.of(name, dict(self.encoders), self.settings) for name in self.beside]
        return (*singles, *(fusion for fusion in fusions if fusion.settings.scaling == self.settings.scaling))

    def jobs(self, *, n_folds: int, seeds: Sequence[int]) -> list[FoldJob]:
        """Return the jobs by seed and fold; what draws nothing has the seed 0 alone."""
        return [FoldJob(self, fold, seed) for seed in (seeds if self.is_seeded else (0,)) for fold in range(n_folds)]


class FoldJob(NamedTuple):
    """One training: a configuration on a fold, from a seed."""

    configuration: Configuration
    fold: int
    seed: int

    @property
    def settings(self) -> FitSettings:
        """The settings with the seed."""
        return replace(self.configuration.settings, seed=self.seed)

    @property
    def members(self) -> list[FoldJob]:
        """The jobs that a late job averages; what draws nothing has the seed 0 alone."""
        members = self.configuration.members
        return [FoldJob(member, self.fold, self.seed if member.is_seeded else 0) for member in members]


def configurations_of(
    fusions: Sequence[str], combinations: Sequence[Mapping[str, str]], settings: Iterable[FitSettings]
) -> list[Configuration]:
    """Return each modality alone and each fusion, on each combination of encoders, with each of the settings, once."""
    configurations: dict[Configuration, None] = {}
    for values in settings:
        for encoders in combinations:
            for modality, name in sorted(encoders.items()):
                configurations[Configuration.of(modality, {modality: name}, values)] = None
            for fusion in fusions:
                configurations[Configuration.of(fusion, encoders, values, beside=fusions)] = None
    modalities = sorted({modality for encoders in combinations for modality in encoders})
    order = (*modalities, *fusions)
    # The sort is stable: within a head the order is the grid's.
    return sorted(configurations, key=lambda configuration: order.index(configuration.head))


def _used(head: str, n_modalities: int, beside: Sequence[str]) -> tuple[str, ...]:
    """Return the settings that make a difference to a head, or to one of the fusions that it is made of."""
    used = {name for member in (head, *beside) for name in used_settings(member, n_modalities)}
    return tuple(name for name in AXES if name in used)


def used_settings(head: str, n_modalities: int) -> tuple[str, ...]:
    """Return the settings that make a difference to a head over so many modalities, but for the seed.

    Late fusion is made of heads of one modality.
    """
    kind = head_type(head)
    if kind.at_once:
        return (("class_weights",) if kind.weighs_classes else ()) + (() if kind.scales_itself else ("scaling",))
    is_joint = n_modalities > 1 and not kind.is_average
    of_others = {name for other_type in HEAD_TYPES.values() if other_type is not kind for name in other_type.settings}
    is_built_in = ":" not in head
    return tuple(
        name
        for name in AXES
        if name not in of_others
        and (is_joint or name not in _OF_JOINT_HEADS)
        and (is_built_in or name not in _OF_BUILT_IN_HEADS)
    )
