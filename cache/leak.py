"""Columns that give a label away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

__all__ = ["LEAK", "gives_away", "told_by_others"]

LEAK = 0.98  # of the rows that have companions: from here on the column says the label in other words


def told_by_others(values: Sequence[str], labels: Sequence[str]) -> tuple[float, float]:
    """Return how often the other rows of the same value tell a row's label, and how many rows have such companions.

    The first is, among rows with companions, the share of those whose label is the commonest of their companions' and
    no other is as common; so a column of ids tells nothing, and one that is the label in other words tells all.

    >>> told_by_others(["a", "a", "b", "b", "c"], ["x", "x", "y", "y", "x"])
    (1.0, 0.8)
    >>> told_by_others(["a", "a", "a", "a"], ["x", "x", "x", "y"])
    (0.75, 1.0)

    Shape:
        values, labels: N cells each
    """
    counts: dict[str, list[int]] = defaultdict(list)  # of each value, its labels' rows
    for (value, _), count in Counter(zip(values, labels, strict=True)).items():
        counts[value].append(count)
    n_told = n_companions = 0
    for own in counts.values():
        most, second, *_ = [*sorted(own, reverse=True), 0]
        n_rows = sum(own)
        n_companions += n_rows if n_rows > 1 else 0
        n_told += most if most - 1 > second else 0  # without the row itself its label has one less
    return n_told / max(n_companions, 1), n_companions / max(len(values), 1)


def gives_away(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether a column says the label in other words, for `LEAK` of the rows with companions, which most have.

    Where one label is nearly everywhere, any column tells it that often; so a leak errs at most half as often as who
    always says the commonest.
    """
    told, n_companions = told_by_others(values, labels)
    commonest = max(Counter(labels).values(), default=0) / max(len(labels), 1)
    return told >= LEAK and n_companions > 0.5 and 1 - told <= (1 - commonest) / 2 and commonest < 1
