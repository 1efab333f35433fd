"""Which of a catalogue's columns a head may learn from: what gives the label away, and what says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cache.leak import gives_away
from heads.column_kind import guess_kind, is_missing
from heads.metadata import MOST_CATEGORIES, parse_counts

__all__ = ["EMPTY", "FOLLOWS", "GIVES_AWAY", "fault_of", "faults_by_column"]

# What speaks against a column, the first that is true of it; {label} is the label's column.
EMPTY = "no training row has a value"
CONSTANT = "all training rows have the same"
GIVES_AWAY = "whoever knows it knows {label}"
FOLLOWS = "whoever knows {label} knows it, as a coarser name for the answer"
NAMES = "every value is another, as an id's or a file's"
FREE_TEXT = "most values are different, as those of a free text"
LONG_TEXT = "the values are a text of several words"

MOSTLY = 0.5  # of the values
LONG_WORDS = 4.0  # on average, from which on many values are a text


def faults_by_column(
    cells: Mapping[str, Sequence[str]],
    labels: Sequence[Sequence[str]],
    rows: Sequence[np.ndarray],
    *,
    counts: Sequence[str] = (),
) -> dict[str, str]:
    """Return what speaks against some columns, {column: fault}, on the training rows of any of the folds.

    Shape:
        cells: {column: N cells}
        labels: a label for each of the rows, in each fold
        rows: (n,) int64, the training rows of each fold
        counts: the columns of which only the word and character counts are looked at
    """
    found: dict[str, str] = {}
    for own_labels, own_rows in zip(labels, rows, strict=True):
        for name in cells.keys() - found.keys():
            values = [cells[name][row] for row in own_rows.tolist()]
            if fault := fault_of(values, own_labels, is_counted=name in counts):
                found[name] = fault
    return {name: found[name] for name in cells if name in found}


def fault_of(values: Sequence[str], labels: Sequence[str], *, is_counted: bool = False) -> str | None:
    """Return what speaks against a column, None where nothing does; `is_counted` looks at its text's counts alone.

    >>> fault_of(["1", "1", "2", "2"] * 5, ["a", "a", "b", "b"] * 5)
    'whoever knows it knows {label}'
    """
    kind = "counts" if is_counted else guess_kind(values)
    filled = [value for value in values if kind and not is_missing(value, kind)]
    if not filled:
        return EMPTY
    if is_counted:
        values = [str(own) for own in parse_counts(values).tolist()]
    if len(set(values)) == 1:
        return CONSTANT
    if gives_away(values, labels):
        return GIVES_AWAY
    if gives_away(labels, values):
        return FOLLOWS
    distinct = set(filled)
    if kind == "number" and len(distinct) == len(filled) and all(value.strip().isdecimal() for value in distinct):
        return NAMES
    if kind != "categorical":
        return None
    if len(distinct) == len(filled):
        return NAMES
    if len(distinct) > MOSTLY * len(filled):
        return FREE_TEXT
    n_words = np.mean([len(value.split()) for value in filled])
    return LONG_TEXT if len(distinct) > MOST_CATEGORIES and n_words >= LONG_WORDS else None
