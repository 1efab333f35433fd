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
    """The settings asked for, of which those for which `same` returns the same are trained as one.

    >>> distinct = DistinctSettings(lambda one: min(one.max_epochs, 8))
    >>> [distinct.first(FitSettings(max_epochs=most)).max_epochs for most in (4, 20, 40)]
    [4, 20, 20]
    >>> distinct.notes()[0].partition(": ")[0]
    'max-epochs 20 and 40 train the same wherever they were tried'
    """

    def __init__(self, same: Callable[[FitSettings], Hashable]) -> None:
        self._same = same
        self._first: dict[Hashable, FitSettings] = {}
        self._asked: dict[FitSettings, FitSettings] = {}

    def first(self, settings: FitSettings) -> FitSettings:
        """Return the first settings asked for that train the same as these."""
        if settings not in self._asked:
            self._asked[settings] = self._first.setdefault(self._same(settings), settings)
        return self._asked[settings]

    def notes(self) -> list[str]:
        """Return in words which of those asked for so far are one, and why: values that always are, by their names."""
        values = {name: list(dict.fromkeys(getattr(one, name) for one in self._asked)) for name in AXES}
        groups = {name: self._alike(name, own) for name, own in values.items() if len(own) > 1}
        notes = [_line(name, group) for name, own in groups.items() for group in own if len(group) > 1]
        if len(self._first) < math.prod(len(own) for own in groups.values()) and len(self._first) < len(self._asked):
            n_same = len(self._asked) - len(self._first)
            notes.append(
                f"{n_same} of {len(self._asked)} combinations of settings train the same on these rows as another one, "
                "and are one configuration with it."
            )
        return notes

    def _alike(self, name: str, values: Sequence[Any]) -> list[list[Any]]:
        """Return a setting's values in groups that train the same, whatever the other settings are."""
        by_value: dict[Any, dict[tuple, FitSettings]] = {value: {} for value in values}
        for one, first in self._asked.items():
            others = asdict(one)
            by_value[others.pop(name)][tuple(others.values())] = first
        groups: list[list[Any]] = []
        for value in values:
            alike = [group for group in groups if by_value[group[0]] == by_value[value]]
            if alike:
                alike[0].append(value)
            else:
                groups.append([value])
        return groups


def idle_notes(axes: Mapping[str, Sequence[Any]], configurations: Iterable[Configuration]) -> list[str]:
    """Return in words which settings have several values and make no difference to any configuration."""
    used = {name for one in configurations for name in one.used}
    return [
        f"{axis_name(name)} makes no difference to any of these heads: its {len(values)} values are one."
        for name, values in axes.items()
        if len(values) > 1 and name not in used
    ]


def _line(name: str, values: Sequence[Any]) -> str:
    axis, (first, *others, last) = axis_name(name), map(shown_value, values)
    listed = ", ".join([first, *others])
    same = f"{axis} {listed} and {last} train the same wherever they were tried"
    return f"{same}: they are one configuration, {axis} {first}."
