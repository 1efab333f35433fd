"""Columns that give a label away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

__all__ = ["HINT", "LEAK", "gives_away", "pairs_give_away", "pairs_hint", "told_by_others", "told_by_pairs"]

LEAK = 0.98  # the share of rows with companions from which on a column counts as giving the label away
HINT = 0.8  # from which on it is worth a look: a copy of the label with slips or gaps tells as much


def told_by_others(values: Sequence[str], labels: Sequence[str]) -> tuple[float, float]:
    """Return the share of rows whose label follows from their companions, and the share of rows with companions.

    A row's companions are the other rows of the same value. Its label follows from them if it is the one most common
    label among them. The first share is of the rows with companions: 0 for a column of ids, 1 for a copy of the label.

    >>> told_by_others(["a", "a", "b", "b", "c"], ["x", "x", "y", "y", "x"])
    (1.0, 0.8)
    >>> told_by_others(["a", "a", "a", "a"], ["x", "x", "x", "y"])
    (0.75, 1.0)

    Shape:
        values, labels: N cells each
    """
    return told_by_pairs(Counter(zip(values, labels, strict=True)))


def told_by_pairs(pairs: Mapping[tuple[str, str], int]) -> tuple[float, float]:
    """Return what `told_by_others` does, from the number of rows of each pair of a value and a label.

    >>> told_by_pairs({("a", "x"): 3, ("a", "y"): 1})
    (0.75, 1.0)
    """
    counts: dict[str, list[int]] = defaultdict(list)  # of each value, its labels' rows
    for (value, _), count in pairs.items():
        counts[value].append(count)
    n_told = n_companions = 0
    for n_rows_by_label in counts.values():
        most, second, *_ = [*sorted(n_rows_by_label, reverse=True), 0]
        n_rows = sum(n_rows_by_label)
        n_companions += n_rows if n_rows > 1 else 0
        n_told += most if most - 1 > second else 0  # without the row itself its label has one less
    return n_told / max(n_companions, 1), n_companions / max(sum(pairs.values()), 1)


def gives_away(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether a column tells the label of at least `LEAK` of the rows with companions, and most rows have some.

    Where one label is very common, any column tells it that often. So the column must also err at most half as often
    as the constant answer that is right most often.
    """
    return pairs_give_away(Counter(zip(values, labels, strict=True)))


def pairs_give_away(pairs: Mapping[tuple[str, str], int]) -> bool:
    """Return what `gives_away` does, from the number of rows of each pair of a value and a label."""
    return _tell(pairs, LEAK)


def pairs_hint(pairs: Mapping[tuple[str, str], int]) -> bool:
    """Return whether a column tells the label of `HINT` of the rows or more, as `gives_away` counts, but not of `LEAK`.

    >>> pairs_hint({("a", "x"): 46, ("a", "y"): 4, ("b", "y"): 45, ("b", "x"): 5})
    True
    """
    return _tell(pairs, HINT) and not _tell(pairs, LEAK)


def _tell(pairs: Mapping[tuple[str, str], int], least: float) -> bool:
    told, n_companions = told_by_pairs(pairs)
    of_labels: Counter[str] = Counter()
    for (_, label), count in pairs.items():
        of_labels[label] += count
    commonest = max(of_labels.values(), default=0) / max(sum(of_labels.values()), 1)
    return told >= least and n_companions > 0.5 and 1 - told <= (1 - commonest) / 2 and commonest < 1
