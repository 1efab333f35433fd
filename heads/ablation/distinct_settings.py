"""Settings that train the same are one: the first of them that was asked for stands for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from heads.ablation.grid import axis_name
from heads.ablation.naming import shown_value
from heads.experiment.configuration import AXES, Configuration
from heads.settings import FitSettings

__all__ = ["DistinctSettings", "idle_notes"]


class DistinctSettings:
    """The settings asked for, of which those with the same `key` are trained as one.

    >>> distinct = DistinctSettings(lambda settings: min(settings.max_epochs, 8))
    >>> [distinct.representative(FitSettings(max_epochs=most)).max_epochs for most in (4, 20, 40)]
    [4, 20, 20]
    >>> distinct.notes()[0].partition(": ")[0]
    'max-epochs 20 and 40 train the same wherever they were tried'
    """

    def __init__(self, key: Callable[[FitSettings], Hashable]) -> None:
        self._key = key
        self._representatives: dict[Hashable, FitSettings] = {}
        self._representative_of: dict[FitSettings, FitSettings] = {}

    def representative(self, settings: FitSettings) -> FitSettings:
        """Return the first settings asked for that train the same as these."""
        if settings not in self._representative_of:
            self._representative_of[settings] = self._representatives.setdefault(self._key(settings), settings)
        return self._representative_of[settings]

    def notes(self) -> list[str]:
        """Return in words which settings asked for so far train the same.

        Values of one setting that always do are named, other combinations are counted.
        """
        n_asked, n_distinct = len(self._representative_of), len(self._representatives)
        values = {name: list(dict.fromkeys(getattr(asked, name) for asked in self._representative_of)) for name in AXES}
        groups = {name: self._equal_values(name, tried) for name, tried in values.items() if len(tried) > 1}
        notes = [
            _equal_values_line(name, group)
            for name, groups_of_values in groups.items()
            for group in groups_of_values
            if len(group) > 1
        ]
        n_by_values = math.prod(len(groups_of_values) for groups_of_values in groups.values())
        if n_distinct < min(n_by_values, n_asked):
            notes.append(
                f"{n_asked - n_distinct} of {n_asked} combinations of settings train the same on these rows as another "
                "one, and are one configuration with it."
            )
        return notes

    def _equal_values(self, name: str, values: Sequence[Any]) -> list[list[Any]]:
        """Return a setting's values in groups that train the same, whatever the other settings are."""
        by_value: dict[Any, dict[tuple, FitSettings]] = {value: {} for value in values}
        for settings, representative in self._representative_of.items():
            other_settings = asdict(settings)
            value = other_settings.pop(name)
            by_value[value][tuple(other_settings.values())] = representative
        groups: list[list[Any]] = []
        for value in values:
            equal_group = next((group for group in groups if by_value[group[0]] == by_value[value]), None)
            if equal_group is not None:
                equal_group.append(value)
            else:
                groups.append([value])
        return groups


def idle_notes(axes: Mapping[str, Sequence[Any]], configurations: Iterable[Configuration]) -> list[str]:
    """Return in words which settings have several values and make no difference to any configuration."""
    used = {name for configuration in configurations for name in configuration.used}
    return [
        f"{axis_name(name)} makes no difference to any of these heads: its {len(values)} values are one."
        for name, values in axes.items()
        if len(values) > 1 and name not in used
    ]


def _equal_values_line(name: str, values: Sequence[Any]) -> str:
    axis, shown = axis_name(name), [shown_value(value) for value in values]
    return (
        f"{axis} {', '.join(shown[:-1])} and {shown[-1]} train the same wherever they were tried: "
        f"they are one configuration, {axis} {shown[0]}."
    )
