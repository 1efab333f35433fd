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
        return _in_order({value for own in self.means.values() for value in own}, self.kind)


def axes_of(rows: Sequence[Ranked], naming: Naming) -> list[Axis]:
    """Return every axis along which some head has several values."""
    found = [_axis(f"{own} encoder", "words", rows, partial(_encoder, own)) for own in naming.modalities]
    found += [_axis(own.replace("_", " "), axis_kind(own), rows, partial(_setting, own)) for own in naming.settings]
    return [axis for axis in found if axis.means]


def _axis(name: str, kind: str, rows: Sequence[Ranked], value_of: Callable[[Configuration], Any]) -> Axis:
    scores: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        value = value_of(row.configuration)
        if value is not None and row.validation is not None:
            scores[row.configuration.head][value].append(row.validation.mean)
    if any(isinstance(value, str) for own in scores.values() for value in own):  # a word among numbers
        kind = "words"
    means = {
        head: {value: statistics.fmean(own[value]) for value in _in_order(own, kind)}
        for head, own in scores.items()
        if len(own) > 1
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
