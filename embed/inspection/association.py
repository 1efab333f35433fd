"""How a column goes with the label: Cramér's V, and whether one follows from the other."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cache.columns.column_types import is_missing
from cache.columns.leak import is_beyond_chance, pairs_give_away, told_by_pairs

__all__ = ["Association", "PairCounter", "associate", "cramers_v"]

MOST_PAIRS = 500_000  # of a value and a label
MOST_SAMPLED = 20_000  # pairs of a column that has too many


@dataclass(frozen=True)
class Association:
    """How one column goes with the label, over the rows that have a label; an empty cell is a value like others."""

    column: str
    kind: str
    n_rows: int
    n_values: int
    v: float | None  # None where it has no meaning: one value, or one row a value
    tells_label: float  # share of the rows with others of the same value whose label those others predict
    told_by_label: float  # the same with column and label exchanged
    is_leak: bool  # the column says the label in other words
    follows: bool  # the column follows from the label


class PairCounter:
    """Counts the rows of each pair of a value and a label, for several columns.

    All columns together have at most `MOST_PAIRS` pairs (some 120 MB) and those of one column's batch: where there are
    more, the column that has most is given up: of it a sample of values is counted on, with all their rows.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self.pairs: dict[str, Counter[tuple[str, str]]] = {column: Counter() for column in columns}
        self.given_up: list[str] = []
        self.sampled: dict[str, ValueSample] = {}

    def add(self, batch: Mapping[str, Sequence[str]], labels: Sequence[str]) -> None:
        """Count more rows: the cells of each column, and the labels."""
        counted = set()
        for column in list(self.pairs):
            if column in self.pairs:  # or it was given up before its turn
                self.pairs[column].update(zip(batch[column], labels, strict=True))
                counted.add(column)
            while sum(map(len, self.pairs.values())) > MOST_PAIRS:
                self.give_up(max(self.pairs, key=lambda name: len(self.pairs[name])))
        for column, sample in self.sampled.items():
            if column not in counted:
                sample.add(Counter(zip(batch[column], labels, strict=True)))

    def give_up(self, column: str) -> None:
        """Count a column no longer, but for a sample of its values."""
        if (pairs := self.pairs.pop(column, None)) is not None:
            self.given_up.append(column)
            self.sampled[column] = ValueSample()
            self.sampled[column].add(pairs)


class ValueSample:
    """The pairs of those values of a column whose checksum is a multiple of `times`, which doubles as they become many.

    So each value is in the sample with all of its rows, or not at all.
    """

    def __init__(self) -> None:
        self.times = 1
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, pairs: Mapping[tuple[str, str], int]) -> None:
        """Count more rows."""
        self.pairs.update({pair: n for pair, n in pairs.items() if self._has(pair[0])})
        while len(self.pairs) > MOST_SAMPLED:
            self.times *= 2
            self.pairs = Counter({pair: n for pair, n in self.pairs.items() if self._has(pair[0])})

    def _has(self, value: str) -> bool:
        """Return whether a value is in the sample."""
        return zlib.crc32(value.encode("utf-8", "surrogateescape")) % self.times == 0


def associate(column: str, kind: str, pairs: Mapping[tuple[str, str], int]) -> Association | None:
    """Return how a column goes with the label; None where no row has a label."""
    labelled = {pair: n for pair, n in pairs.items() if pair[1]}
    if not labelled:
        return None
    exchanged = {(label, value): n for (value, label), n in labelled.items()}
    return Association(
        column=column,
        kind=kind,
        n_rows=sum(labelled.values()),
        n_values=len({value for value, _ in labelled}),
        v=cramers_v(labelled),
        tells_label=told_by_pairs(labelled)[0],
        told_by_label=told_by_pairs(exchanged)[0],
        is_leak=pairs_give_away(labelled) or _gives_away_where_filled(labelled),
        follows=pairs_give_away(exchanged),
    )


def _gives_away_where_filled(pairs: Mapping[tuple[str, str], int]) -> bool:
    """Return whether a column with gaps tells the label where it has values, in enough rows to know."""
    filled = {pair: n for pair, n in pairs.items() if not is_missing(pair[0], "number")}
    return pairs_give_away(filled) and is_beyond_chance(filled, told_by_pairs(filled)[0])


def cramers_v(pairs: Mapping[tuple[str, str], int]) -> float | None:
    """Return Cramér's V of two columns, corrected for its bias: 0 independent, 1 one follows from the other.

    The correction is W. Bergsma's, "A bias-correction for Cramér's V and Tschuprow's T", Journal of the Korean
    Statistical Society 42 (2013) 323-328: of columns of many values and few rows the plain V is large by chance.

    >>> cramers_v({("a", "x"): 50, ("b", "y"): 50})
    1.0
    >>> cramers_v({("a", "x"): 25, ("a", "y"): 25, ("b", "x"): 25, ("b", "y"): 25})
    0.0
    """
    rows: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for (value, label), count in pairs.items():
        rows[value] += count
        columns[label] += count
    n = sum(rows.values())
    if n < 2:
        return None
    # Chi squared over n; pairs that do not occur add nothing to this form of it.
    phi2 = sum(count / rows[value] * count / columns[label] for (value, label), count in pairs.items()) - 1
    n_rows, n_columns = (len(side) - (len(side) - 1) ** 2 / (n - 1) for side in (rows, columns))  # corrected
    largest_phi2 = min(n_rows, n_columns) - 1
    if largest_phi2 <= 1e-9:
        return None
    corrected = max(0.0, phi2 - (len(rows) - 1) * (len(columns) - 1) / (n - 1))
    return min(1.0, (corrected / largest_phi2) ** 0.5)
