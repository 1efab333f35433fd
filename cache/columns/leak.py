"""Columns that give a label away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cache.shares import percent

__all__ = [
    "HINT",
    "LEAK",
    "NearLeak",
    "find_near_leaks",
    "gives_away",
    "is_beyond_chance",
    "pairs_give_away",
    "pairs_hint",
    "told_by_others",
    "told_by_pairs",
]

Pairs = Mapping[tuple[Any, Any], int]  # the number of rows of each pair of a value and a label

LEAK = 0.98  # the share of rows with companions from which on a column counts as giving the label away
HINT = 0.8  # the share from which on it is worth a look: a copy of the label with slips or gaps tells as much
LEAST_ERRORS = 20  # of the constant answer: with fewer, one of many columns errs half as often by chance
MOST_PAIRED = 20  # columns that are looked at in pairs


@dataclass(frozen=True)
class NearLeak:
    """A column, or two together, that tell the label of most rows."""

    columns: tuple[str, ...]
    share: float  # of the rows with companions

    def sentence(self, label: str) -> str:
        """Return that in words.

        >>> print(NearLeak(("at",), 0.93).sentence("kind"))
        at tells kind in 93 % of the rows, nearly as a copy of it would. Is that known of products whose kind is not?
        """
        tell = "tells" if len(self.columns) == 1 else "together tell"
        return (
            f"{' and '.join(self.columns)} {tell} {label} in {percent(self.share, 0)} % of the rows, nearly as a copy "
            f"of it would. Is that known of products whose {label} is not?"
        )


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


def told_by_pairs(pairs: Pairs) -> tuple[float, float]:
    """Return what `told_by_others` does, from the number of rows of each pair of a value and a label.

    >>> told_by_pairs({("a", "x"): 3, ("a", "y"): 1})
    (0.75, 1.0)
    """
    counts: dict[Hashable, list[int]] = defaultdict(list)  # value -> the number of rows of each of its labels
    for (value, _), count in pairs.items():
        counts[value].append(count)
    n_told = n_companions = 0
    for n_rows_by_label in counts.values():
        most, second_most, *_ = [*sorted(n_rows_by_label, reverse=True), 0]
        n_rows = sum(n_rows_by_label)
        n_companions += n_rows if n_rows > 1 else 0
        n_told += most if most - 1 > second_most else 0  # without the row itself its label has one less
    return n_told / max(n_companions, 1), n_companions / max(sum(pairs.values()), 1)


def gives_away(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether a column tells the label of at least `LEAK` of the rows with companions, and most rows have some.

    Where one label is very common, any column tells it that often. So the column must also err at most half as often
    as the constant answer that is right most often.
    """
    return pairs_give_away(Counter(zip(values, labels, strict=True)))


def pairs_give_away(pairs: Pairs) -> bool:
    """Return what `gives_away` does, from the number of rows of each pair of a value and a label."""
    return _tells(pairs, LEAK)


def pairs_hint(pairs: Pairs) -> bool:
    """Return whether a column tells the label of `HINT` of the rows or more, as `gives_away` counts, but not of `LEAK`.

    Among many columns, or pairs of them, one may tell a few rows' labels by chance, so there must be enough rows.

    >>> pairs_hint({("a", "x"): 46, ("a", "y"): 4, ("b", "y"): 45, ("b", "x"): 5})
    True
    """
    return _tells(pairs, HINT) and not _tells(pairs, LEAK) and is_beyond_chance(pairs, told_by_pairs(pairs)[0])


def is_beyond_chance(pairs: Pairs, told_share: float) -> bool:
    """Return whether a column that tells the share `told_share` of labels tells more than one of noise would.

    The column must err at most half as often as the constant answer, which must err at least `LEAST_ERRORS` times on
    the rows with companions.
    """
    errors = 1 - _commonest_share(pairs)
    n_companions = told_by_pairs(pairs)[1] * sum(pairs.values())
    return 1 - told_share <= errors / 2 and errors * n_companions >= LEAST_ERRORS


def find_near_leaks(cells: Mapping[str, Sequence[Hashable]], labels: Sequence[str]) -> list[NearLeak]:
    """Return the columns, and pairs of columns, that tell the label of most rows and are no leak by `gives_away`.

    Pairs are of columns that tell little by themselves; unlike single columns, they may be leaks by that rule, too.

    Shape:
        cells: {column: N cells}, of columns that nothing else speaks against
        labels: N
    """
    near_leaks: list[NearLeak] = []
    for name, values in cells.items():
        pairs = Counter(zip(values, labels, strict=True))
        if pairs_hint(pairs):
            near_leaks.append(NearLeak((name,), told_by_pairs(pairs)[0]))
    telling_names = {name for near_leak in near_leaks for name in near_leak.columns}
    other_names = [name for name in cells if name not in telling_names][:MOST_PAIRED]
    for names in combinations(other_names, 2):
        joint_values = zip(*(cells[name] for name in names), strict=True)
        joint_pairs = Counter(zip(joint_values, labels, strict=True))
        told_share = told_by_pairs(joint_pairs)[0]
        if pairs_hint(joint_pairs) or (pairs_give_away(joint_pairs) and is_beyond_chance(joint_pairs, told_share)):
            near_leaks.append(NearLeak(names, told_share))
    return near_leaks


def _tells(pairs: Pairs, least_share: float) -> bool:
    told_share, n_companions = told_by_pairs(pairs)
    commonest_share = _commonest_share(pairs)
    return (
        told_share >= least_share
        and n_companions > 0.5
        and 1 - told_share <= (1 - commonest_share) / 2
        and commonest_share < 1
    )


def _commonest_share(pairs: Pairs) -> float:
    """Return the share of the rows that have the commonest label."""
    label_counts: Counter[Hashable] = Counter()
    for (_, label), n in pairs.items():
        label_counts[label] += n
    return max(label_counts.values(), default=0) / max(label_counts.total(), 1)
