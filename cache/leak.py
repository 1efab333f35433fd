"""Columns that give a label away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

__all__ = ["LEAK", "gives_away", "pairs_give_away", "told_by_others", "told_by_pairs"]

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
    return told_by_pairs(Counter(zip(values, labels, strict=True)))


def told_by_pairs(pairs: Mapping[tuple[str, str], int]) -> tuple[float, float]:
    """Return what `told_by_others` does, of how many rows each pair of a value and a label has.

    >>> told_by_pairs({("a", "x"): 3, ("a", "y"): 1})
    (0.75, 1.0)
    """
    counts: dict[str, list[int]] = defaultdict(list)  # of each value, its labels' rows
    for (value, _), count in pairs.items():
        counts[value].append(count)
    n_told = n_companions = 0
    for own in counts.values():
        most, second, *_ = [*sorted(own, reverse=True), 0]
        n_rows = sum(own)
        n_companions += n_rows if n_rows > 1 else 0
        n_told += most if most - 1 > second else 0  # without the row itself its label has one less
    return n_told / max(n_companions, 1), n_companions / max(sum(pairs.values()), 1)


def gives_away(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether a column says the label in other words, for `LEAK` of the rows with companions, which most have.

    Where one label is nearly everywhere, any column tells it that often; so a leak errs at most half as often as who
    always says the commonest.
    """
    return pairs_give_away(Counter(zip(values, labels, strict=True)))


def pairs_give_away(pairs: Mapping[tuple[str, str], int]) -> bool:
    """Return what `gives_away` does, of how many rows each pair of a value and a label has."""
    told, n_companions = told_by_pairs(pairs)
    of_labels: Counter[str] = Counter()
    for (_, label), count in pairs.items():
        of_labels[label] += count
    commonest = max(of_labels.values(), default=0) / max(sum(of_labels.values()), 1)
    return told >= LEAK and n_companions > 0.5 and 1 - told <= (1 - commonest) / 2 and commonest < 1
