"""Which of a catalogue's columns a head may learn from: what gives the label away, and what says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from cache.columns.column_types import guess_kind, is_missing
from cache.columns.leak import NearLeak, find_near_leaks, gives_away
from heads.data.metadata.column_encoders import parse_counts
from heads.data.metadata.fitted_metadata import MOST_CATEGORIES

__all__ = ["EMPTY", "FOLLOWS", "GIVES_AWAY", "fault_of", "faults_by_column", "near_leaks"]

# What speaks against a column, the first that is true of it; {label} is the label's column.
EMPTY = "no training row has a value"
CONSTANT = "all training rows have the same"
GIVES_AWAY = "whoever knows it knows {label}"
FOLLOWS = "whoever knows {label} knows it, as a coarser name for the answer"
NAMES = "every value is another, as an id's or a file's"
FREE_TEXT = "most values are different, as those of a free text"
LONG_TEXT = "the values are a text of several words"

MOST_ROWS = 100_000  # of a fold that are looked at
MOST_HINT_ROWS = 20_000  # that are looked at for near leaks
MOSTLY = 0.5  # of the values
LONG_WORDS = 4.0  # on average, from which on many values are a text


def faults_by_column(
    cells: Mapping[str, Sequence[str]],
    labels: Sequence[Sequence[str]],
    rows: Sequence[np.ndarray],
    *,
    are_counted: bool = False,
) -> dict[str, str]:
    """Return what speaks against some columns, {column: fault}, on the training rows of any of the folds.

    Of very many rows some are looked at. `are_counted` looks at the columns' word and character counts alone.

    Shape:
        cells: {column: N cells}
        labels: a label for each of the rows, in each fold
        rows: (n,) int64, the training rows of each fold
    """
    faults: dict[str, str] = {}
    for fold_labels, fold_rows in zip(labels, rows, strict=True):
        sample = _sample(len(fold_rows), most=MOST_ROWS)
        sample_labels = [fold_labels[position] for position in sample]
        for name in cells.keys() - faults.keys():
            values = [cells[name][fold_rows[position]] for position in sample]
            if fault := fault_of(values, sample_labels, is_counted=are_counted):
                faults[name] = fault
    return {name: faults[name] for name in cells if name in faults}


def near_leaks(cells: Mapping[str, Sequence[str]], labels: Sequence[str], rows: np.ndarray) -> list[NearLeak]:
    """Return what `find_near_leaks` does of the training rows; of very many rows some are looked at.

    Shape:
        cells: {column: N cells}, of columns that nothing speaks against
        labels: a label for each of the rows
        rows: (n,) int64, the training rows
    """
    sample = _sample(len(rows), most=MOST_HINT_ROWS)
    sample_cells = {name: [column[rows[position]] for position in sample] for name, column in cells.items()}
    return find_near_leaks(sample_cells, [labels[position] for position in sample])


def fault_of(values: Sequence[str], labels: Sequence[str], *, is_counted: bool = False) -> str | None:
    """Return what speaks against a column, None where nothing does; `is_counted` looks at its text's counts alone.

    A column may give the label away where it has a value, and have many gaps.

    >>> fault_of(["1", "1", "2", "2"] * 5, ["a", "a", "b", "b"] * 5)
    'whoever knows it knows {label}'
    """
    kind = "counts" if is_counted else guess_kind(values)
    is_filled = [kind is not None and not is_missing(value, kind) for value in values]
    filled, filled_labels = list(compress(values, is_filled)), list(compress(labels, is_filled))
    if not filled:
        return EMPTY
    if is_counted:
        values, filled = (list(map(str, parse_counts(cells).tolist())) for cells in (values, filled))
    if len(set(values)) == 1:
        return CONSTANT
    if gives_away(values, labels) or gives_away(filled, filled_labels):
        return GIVES_AWAY
    if gives_away(labels, values) or gives_away(filled_labels, filled):
        return FOLLOWS
    distinct = set(filled)
    if (
        kind == "number"
        and len(distinct) == len(filled)
        and all("".join(value.split()).isdecimal() for value in distinct)
    ):
        return NAMES
    if kind != "categorical":
        return None
    if len(distinct) == len(filled):
        return NAMES
    if len(distinct) > MOSTLY * len(filled):
        return FREE_TEXT
    n_words = np.mean([len(value.split()) for value in filled])
    return LONG_TEXT if len(distinct) > MOST_CATEGORIES and n_words >= LONG_WORDS else None


def _sample(n_rows: int, *, most: int) -> list[int]:
    """Return positions of rows in random order, the same at each call: of all, or of `most` where there are more."""
    return np.random.default_rng(0).permutation(n_rows)[:most].tolist()
