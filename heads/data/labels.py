"""Labels: from a column of cells to classes, with a rule for what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cache import Cache
from cache.columns.column_names import USUAL_NAMES, mistyped_column, no_such_column, usual_column, usual_columns
from cache.columns.column_types import guess_kind
from cache.columns.label_hints import choice_sentence, label_candidates
from cache.columns.label_levels import PATHS_ARE, first_names, label_at
from cache.columns.labels import clean_label
from cache.system.stray_bytes import STRAY, shown
from heads.data.corrections import Corrections
from heads.data.label_notes import level_notes, name_notes, several_notes, some_names
from heads.errors import LabelError

__all__ = ["Labels", "cells_of", "choice_notes", "find_label_column", "make_labels", "read_labels"]

MOST_NAMES = 100_000  # of labels; where there are more, no notes are made on their names


@dataclass(frozen=True)
class Labels:
    """The classes, sorted, and each row's class.

    Shape:
        targets: (N,) int64, the class's position; -1 where the row is left out
        is_unlabelled: (N,) bool, whether the cell is empty; None: not looked at
    """

    column: str
    classes: list[str]
    targets: np.ndarray
    notes: list[str]  # what was left out and by which rule
    left_out: Mapping[str, int] = field(default_factory=dict)  # the rule -> how many rows
    is_unlabelled: np.ndarray | None = None


def find_label_column(cache: Cache, requested: str | None, *, may_be_new: bool = False) -> str:
    """Return the column to learn: the requested one, or the first of the usual names that is not nearly empty.

    A requested column must exist, unless it `may_be_new` since its labels come from elsewhere; even then it must not
    look like a misspelt column.

    Raises:
        LabelError: there is none such; the message lists the columns there are.
    """
    columns = cache.columns()
    if requested is not None:
        if requested not in columns and (not may_be_new or mistyped_column(requested, columns)):
            new = " A new column needs a name less like those." if may_be_new else ""
            raise LabelError(no_such_column("--label", requested, columns) + new)
        return requested
    usual = usual_column(
        "label", columns, lambda name: float(np.mean([bool(cell.strip()) for cell in cache.column(name)]))
    )
    if usual is not None:
        return usual
    likely = label_candidates((name, cache.column(name)) for name in columns)
    may = f"; {', '.join(likely)} may be one" if likely else ""
    raise LabelError(
        f"Expected the catalogue to have a column to learn ({', '.join(USUAL_NAMES['label'][:4])} or the like), but "
        f"its columns are {', '.join(columns) or 'none'}. Name it with --label{may}."
    )


def choice_notes(cache: Cache, column: str) -> list[str]:
    """Return a note where the column that was found by its name is not plainly the one to learn."""
    usual = usual_columns("label", cache.columns())
    if len(usual) < 2:
        return []
    sentence = choice_sentence(column, {name: sum(bool(cell.strip()) for cell in cache.column(name)) for name in usual})
    return [sentence] if sentence else []


def cells_of(cache: Cache, column: str) -> list[str]:
    """Return the cells of a column, empty ones where it is new: all of its labels are still to come."""
    return cache.column(column) if column in cache.columns() else [""] * len(cache)


def read_labels(cells: Sequence[str], level: int | None = None) -> np.ndarray:
    """Return the label in each cell, (N,) of str objects, "" where there is none.

    A `level` is that of paths and lists in the cells, see `label_at`; None takes the cells as they are.
    """
    if level is None:
        labels = {cell: clean_label(cell) for cell in set(cells)}
    else:
        roots = first_names(set(cells))
        labels = {cell: label_at(cell, level, roots) for cell in set(cells)}
    return np.array([labels[cell] for cell in cells], dtype=object)


def make_labels(
    column: str,
    cells: Sequence[str],
    *,
    usable: np.ndarray,
    min_rows: int,
    level: int | None = None,
    corrections: Corrections | None = None,
    ids: Sequence[str] = (),
) -> Labels:
    """Return the classes of the rows that are usable, have a label, and whose class has at least `min_rows` of them.

    A `level` is that of paths and lists in the cells, see `label_at`; None takes the cells as they are. Corrections
    are of the products of these `ids`, and are made before anything else.

    Shape:
        usable: (N,) bool, the rows that have a vector of some modality

    Raises:
        LabelError: fewer than two classes are left, or the corrections are none of these products.
    """
    cleaned = read_labels(cells, level)
    in_catalogue = set(cleaned.tolist())
    notes: list[str] = []
    if corrections is not None:
        cleaned, notes = corrections.applied(cleaned, ids, level=level, roots=first_names(set(cells)))
    labelled = cleaned != ""
    lack = "is empty" if level is None else f"has no level {level}"
    if not usable.all():
        notes.append(f"{_count(int((~usable).sum()), 'row')} left out: no modality has a vector.")
    if not labelled[usable].all():
        notes.append(f"{_count(int((~labelled & usable).sum()), 'row')} left out: {column} {lack}.")
    names, inverse, counts = _counted(cleaned[usable & labelled])
    is_kept = counts >= min_rows
    is_stray = np.array([bool(STRAY.search(name)) for name in names], dtype=bool)
    if is_stray.any():
        stray_names = some_names(list(map(shown, names[is_stray])))
        notes.append(
            f"{_count(int(counts[is_stray].sum()), 'row')} of {_count(int(is_stray.sum()), 'class', 'classes')} have "
            f"labels that are not Unicode ({stray_names}): they are learnt and answered "
            "as they are. embed-extract --encoding reads a CSV or JSON catalogue in its own encoding."
        )
    if not is_kept.all():
        n_rows, rare_names = int(counts[~is_kept].sum()), names[~is_kept].tolist()
        notes.append(
            f"{_count(len(rare_names), 'class', 'classes')} with fewer than {min_rows} rows left out "
            f"({_count(n_rows, 'row')}: {some_names(rare_names)}); --min-rows changes the rule."
        )
    if is_kept.sum() < 2:
        raise _too_few_classes(column, names, counts, min_rows=min_rows, level=level)
    if len(names) <= MOST_NAMES:
        by_name = dict(zip(names.tolist(), counts.tolist(), strict=True))
        classes = names[is_kept].tolist()
        notes += name_notes(column, by_name, classes=classes, catalogue=in_catalogue, level=level)
        notes += level_notes(column, cells, level, classes) if level is not None else several_notes(column, by_name)
    new_targets = np.where(is_kept, np.cumsum(is_kept) - 1, -1)
    targets = np.full(len(cells), -1, dtype=np.int64)
    targets[usable & labelled] = new_targets[inverse]
    left_out = {
        "without a vector": int((~usable).sum()),
        "without a label": int((~labelled & usable).sum()),
        f"of classes of fewer than {min_rows} (--min-rows)": int(counts[~is_kept].sum()),
    }
    is_empty = ~labelled if level is None else ~labelled & (read_labels(cells) == "")
    return Labels(column, names[is_kept].tolist(), targets, notes, left_out, is_empty)


def _too_few_classes(
    column: str, names: np.ndarray, counts: np.ndarray, *, min_rows: int, level: int | None
) -> LabelError:
    """Return the error that a column has fewer than two classes of at least `min_rows` rows."""
    largest = np.argsort(-counts, kind="stable")[:5]
    shown_classes = ", ".join(f"{names[index]} ({counts[index]})" for index in largest)
    plural_kind = {"number": "numbers", "date": "dates"}.get(guess_kind(names[:MOST_NAMES]) or "")
    advice = f" Its labels are {plural_kind}, each of which is a class: a column of ranges of them can be learnt."
    if level is not None and not len(names):
        return LabelError(
            f"Expected the labels of the column {column!r} to be paths or lists with a level {level}, got none. "
            f"{PATHS_ARE} Leave --label-level out, or name another level."
        )
    return LabelError(
        f"Expected the column {column!r} to have two classes or more of at least {min_rows} rows, got "
        f"{int((counts >= min_rows).sum())}: {shown_classes or 'no labels'}{', …' if len(names) > 5 else ''}. Choose "
        f"another --label, or lower --min-rows.{advice if plural_kind else ''}"
    )


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `np.unique` does of n strings, which sorts all of them: names, each one's number, and counts."""
    names = sorted(set(labels))
    numbers = {name: number for number, name in enumerate(names)}
    inverse = np.fromiter(map(numbers.__getitem__, labels), np.int64, len(labels))
    # As objects: an array of fixed width would make every name as wide as the longest.
    return np.array(names, dtype=object), inverse, np.bincount(inverse, minlength=len(names))


def _count(n: int, singular: str, plural: str | None = None) -> str:
    return f"{n} {singular if n == 1 else plural or singular + 's'}"
