"""What to know of a problem before its scores: rows without vectors, large groups, classes that lack rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from shlex import quote

import numpy as np

from cache import Cache
from cache.columns.group_columns import find_group_column, has_group_name
from cache.shares import percent
from heads.data.encoder_sets import NOT_ENCODED, absence_reasons
from heads.data.labels import Labels
from heads.data.splitting.splits import Split, says_split, straddlers
from heads.data.vectors import Vectors
from heads.errors import HeadError
from heads.settings import ProblemSettings

__all__ = [
    "absence_notes",
    "coverage_notes",
    "fold_notes",
    "group_notes",
    "redraw_notes",
    "row_notes",
    "split_column_notes",
    "token_notes",
]

MOST_ROWS = 100_000  # of more, only columns with a usual name are looked at for products of several rows
LEAST_PARTED = 0.05  # of the rows, of products whose rows are no copies of each other
SPLIT_NAMES = ("split", "subset", "set", "partition", "fold")
FEW_ABSENT = 20  # rows without a vector, of fewer than which many are of one label by chance
TELLING = 0.8  # of them, of one label, from which on their lack of a vector tells it
LARGE_GROUP = 0.05  # of the rows, from which on a group of duplicates is worth a note


def coverage_notes(cache: Cache, several: Iterable[Vectors]) -> list[str]:
    """Return a note for each encoder whose vectors some products lack, and why.

    Raises:
        HeadError: no product has one.
    """
    notes = []
    for vectors in several:
        for modality, encoder in vectors.encoders.items():
            present = vectors.present[modality].numpy()
            if not present.any():
                raise HeadError(f"Training needs vectors, but no product has one of {modality}/{encoder}.")
            if not (reasons := absence_reasons(cache, modality, present)):
                continue
            shown = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
            advice = " embed-extract with the options of that encoder encodes them." if NOT_ENCODED in reasons else ""
            n_absent = int((~present).sum())
            notes.append(f"{n_absent} of {len(present)} rows have no vector of {modality}/{encoder}: {shown}.{advice}")
    return notes


def absence_notes(labels: Labels, several: Iterable[Vectors]) -> list[str]:
    """Return a note for each encoder where the lack of a vector tells the label, which heads learn as well.

    Of the rows without one most have a label that others have half as often at most.
    """
    notes, has_label = [], labels.targets >= 0
    for vectors in several:
        for modality in vectors.encoders:
            present = vectors.present[modality].numpy()
            absent, others = labels.targets[has_label & ~present], labels.targets[has_label & present]
            if len(absent) < FEW_ABSENT or not len(others):
                continue
            commonest = np.bincount(absent).argmax()
            share, of_others = (absent == commonest).mean(), (others == commonest).mean()
            if share >= TELLING and 2 * of_others <= share:
                notes.append(
                    f"{percent(share, 0)} % of the {len(absent)} rows without {modality} are "
                    f"{labels.classes[commonest]}, and {percent(of_others, 0)} % of the others: heads learn that its "
                    f"absence tells {labels.column}. Is that so of products whose label is not known?"
                )
    return list(dict.fromkeys(notes))  # encoders of one modality mostly lack the same rows


def token_notes(several: Iterable[Vectors]) -> list[str]:
    """Return a note on the tokens that attention looks at."""
    shown = []
    for vectors in several:
        for modality, tokens in vectors.tokens.items():
            counts = tokens.counts[vectors.present[modality]]
            fewest, most = int(counts.min()), int(counts.max())
            shown.append(f"{modality} ({most if fewest == most else f'{fewest} to {most}'})")
    return [f"attention looks at the tokens of {' and '.join(shown)}."] if shown else []


def row_notes(
    cache: Cache, labels: Labels, groups: np.ndarray, folds: Sequence[Split], settings: ProblemSettings
) -> list[str]:
    """Return notes on columns that say which rows belong together or how to split them, and on the folds.

    Shape:
        groups: (N,) int64
    """
    split_column, group_column = settings.split_column, settings.group_column
    notes = []
    if group_column is None:
        notes += group_notes(cache, labels, groups, split_column=split_column)
    if split_column is None and settings.takes_split_column:
        notes += split_column_notes(cache, label=labels.column)
    return notes + fold_notes(labels, groups, folds, split_column=split_column, group_column=group_column)


def group_notes(cache: Cache, labels: Labels, groups: np.ndarray, *, split_column: str | None) -> list[str]:
    """Return a note on the column that most likely says which rows are of one product, where the groups part such rows.

    Shape:
        groups: (N,) int64
    """
    made_of = [spec.columns for modality in cache.content_modalities if (spec := cache.content_spec(modality))]
    left_out = {labels.column, split_column, *(name for names in made_of for name in names)}
    names = [*labels.classes, ""]  # who has no class has the last
    named = [names[target] for target in labels.targets.tolist()]
    likely = []
    for column in cache.columns():
        if column in left_out or (len(cache) > MOST_ROWS and not has_group_name(column)):
            continue
        cells = [cell.strip() for cell in cache.column(column)]
        if len(set(cells)) == len(cells):
            continue
        group_column = find_group_column(column, Counter(zip(cells, named, strict=True)))
        if group_column and (share := _share_parted(cells, groups)) >= LEAST_PARTED:
            likely.append((not group_column.is_named, -share, group_column))
    if not likely:
        return []
    best = min(likely, key=lambda candidate: candidate[:2])[-1]
    does = "keeps them together" if split_column is None else f"counts those that {split_column} parts"
    option = f"--group-column {quote(best.column)} {does}"
    return [f"{best.sentence(labels.column)}, yet can stand on both sides of the split; {option}."]


def split_column_notes(cache: Cache, *, label: str) -> list[str]:
    """Return a note on the first column but the `label` that says train and test, since no split column is set."""
    for column in cache.columns():
        if column == label:
            continue
        if len(cache) > MOST_ROWS and column.strip().lower() not in SPLIT_NAMES:
            continue
        if says_split(cache.column(column)):
            return [f"{column} says train and test: --split-column {quote(column)} takes that split."]
    return []


def _share_parted(cells: Sequence[str], groups: np.ndarray) -> float:
    """Return the share of the rows whose cell has others in another group."""
    values = np.unique(np.array(cells, dtype=object), return_inverse=True)[1]
    n_groups = np.bincount(np.unique(np.stack([values, groups]), axis=1)[0])
    is_filled = np.array([bool(cell) for cell in cells])
    return float((is_filled & (n_groups[values] > 1)).mean())


def fold_notes(
    labels: Labels,
    groups: np.ndarray,
    folds: Sequence[Split],
    *,
    split_column: str | None,
    group_column: str | None = None,
) -> list[str]:
    """Return notes on duplicates that straddle or keep rows out of the test, and on classes that a side lacks."""
    shared = "a picture or a text" if group_column is None else f"a picture, a text or a {group_column}"
    if len(folds) == 1:
        return _split_notes(labels, groups, folds[0], split_column, shared)
    tested = np.concatenate([fold.test for fold in folds])
    notes = []
    if n_untested := int((labels.targets >= 0).sum()) - len(tested):
        notes.append(
            f"{n_untested} rows share {shared} with more than half of their class: they train in every fold, "
            "and are tested in none."
        )
    if n_lacking := len(labels.classes) - len(np.unique(labels.targets[tested])):
        notes.append(f"{n_lacking} of {len(labels.classes)} classes have no test row in any fold.")
    return notes


def redraw_notes(labels: Labels, folds: Sequence[Split], per_class: Iterable[str | None]) -> list[str]:
    """Return a note on the number of rows of each class an epoch that draws every row again and again."""
    numbers = [int(text) for text in per_class if text is not None and text.isdecimal()]
    largest = max(int(np.bincount(labels.targets[fold.train]).max()) for fold in folds)
    if not numbers or (n_times := max(numbers) // largest) < 2:
        return []
    return [
        f"--per-class {max(numbers)}: the largest class has {largest} training rows, so that an epoch draws each row "
        f"{n_times:,} times or more, and takes as much longer. --per-class largest weighs the classes alike."
    ]


def _split_notes(labels: Labels, groups: np.ndarray, split: Split, split_column: str | None, shared: str) -> list[str]:
    notes = []
    if split_column is not None and (n_straddling := straddlers(split, groups)):
        notes.append(
            f"{n_straddling} of {len(split.test)} test rows share {shared} with training rows: "
            f"{split_column} lets duplicates straddle, and the scores are too good."
        )
    used = groups[labels.targets >= 0]
    largest = int(np.bincount(used).max())
    if largest > max(1, LARGE_GROUP * len(used)):
        notes.append(
            f"{largest} of {len(used)} rows share {shared} with each other (a placeholder?) and stand on one side of "
            "the split."
        )
    for side, rows in (("training", split.train), ("test", split.test)):
        if n_lacking := len(labels.classes) - len(np.unique(labels.targets[rows])):
            notes.append(f"{n_lacking} of {len(labels.classes)} classes have no {side} row in this split.")
            if side == "training" and (
                n_unseen := int((~np.isin(labels.targets[split.test], labels.targets[rows])).sum())
            ):
                notes[-1] += f" {n_unseen} of {len(split.test)} test rows are of them, where no head can be right."
    return notes
