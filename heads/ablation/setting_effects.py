"""How each setting matters in an ablation: a head's mean score at each value that was tried."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from heads.ablation.grid import axis_kind
from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranked
from heads.experiment.configuration import Configuration

__all__ = ["Axis", "axes_of"]


@dataclass(frozen=True)
class Axis:
    """A setting that varied, or the encoder of a modality.

    Heads that saw one value alone are left out, and so are configurations that failed.
    """

    name: str
    kind: str  # log, powers, linear, whole or words
    means: dict[str, dict[Any, float]]  # head -> value, in order -> mean validation macro-F1 over all else that varied

    @property
    def values(self) -> list[Any]:
        """All values that were tried, in order."""
        return _in_order({value for by_value in self.means.values() for value in by_value}, self.kind)


def axes_of(rows: Sequence[Ranked], naming: Naming) -> list[Axis]:
    """Return every axis along which some head has several values."""
    axes = [_axis(f"{modality} encoder", "words", rows, partial(_encoder, modality)) for modality in naming.modalities]
    axes += [_axis(name.replace("_", " "), axis_kind(name), rows, partial(_setting, name)) for name in naming.settings]
    return [axis for axis in axes if axis.means]


def _axis(name: str, kind: str, rows: Sequence[Ranked], value_of: Callable[[Configuration], Any]) -> Axis:
    scores: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        value = value_of(row.configuration)
        if value is not None and row.validation is not None:
            scores[row.configuration.head][value].append(row.validation.mean)
    if any(isinstance(value, str) for by_value in scores.values() for value in by_value):  # a word among numbers
        kind = "words"
    means = {
        head: {value: statistics.fmean(by_value[value]) for value in _in_order(by_value, kind)}
        for head, by_value in scores.items()
        if len(by_value) > 1
    }
    return Axis(name, kind, means)


def _in_order(values: Iterable[Any], kind: str) -> list[Any]:
    return sorted(values, key=str if kind == "words" else None)  # a class weighing of one's own is no text


def _encoder(modality: str, configuration: Configuration) -> str | None:
    return dict(configuration.encoders).get(modality)


def _setting(name: str, configuration: Configuration) -> Any:
    if name not in configuration.used:
        return None
    value = getattr(configuration.settings, name)
    return "all" if value is None else value  # per_class
