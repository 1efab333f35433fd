"""Which rows are one product or copies of one, and so stand on one side of every split."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cache import Cache
from cache.arrays.key_index import KeyIndex
from cache.columns.column_names import PICTURE_KEYS, no_such_column
from cache.columns.column_types import is_missing
from cache.shares import percent
from heads.data.labels import Labels
from heads.data.splitting.connected_components import first_in_component
from heads.data.splitting.duplicate_contents import first_duplicates, first_near_duplicates
from heads.errors import LabelError

__all__ = ["Groups", "Placeholder", "find_groups", "find_placeholders", "share_content"]

LEAST_PLACEHOLDER_ROWS = 25
LEAST_PLACEHOLDER_SHARE = 0.01  # of the rows that have a class
MOST_CHARACTERS = 40  # of a placeholder that is shown


@dataclass(frozen=True)
class Placeholder:
    """A content that says nothing of a product, and the rows that have it, (n,) int64."""

    modality: str
    rows: np.ndarray


@dataclass(frozen=True)
class Groups:
    """The group of each row, and the placeholders: contents of so many rows and labels that they say nothing.

    Shape:
        of_rows: (N,) int64
        is_placeholder: (N,) bool, whether one of the row's contents is a placeholder
    """

    of_rows: np.ndarray
    is_placeholder: np.ndarray
    notes: list[str]
    placeholders: list[Placeholder]


def find_groups(
    cache: Cache,
    labels: Labels,
    *,
    encoders: Mapping[str, Sequence[str]],
    column: str | None = None,
    cosine: float | None = None,
) -> Groups:
    """Return the groups of rows that share a content, contents whose vectors are alike, or a cell of a column.

    A content under many rows of many labels (a "no image" picture, a title that says ``nan``) is a placeholder and
    joins no rows: all that have it would be one group, in the training rows, and the rest would be scored without them.

    Raises:
        LabelError: there is no such column.
    """
    sources, notes = [], []
    placeholders: list[Placeholder] = []
    is_placeholder = np.zeros(len(cache), dtype=bool)
    for modality in cache.modalities:
        contents, names = _readable_contents(cache, modality), encoders.get(modality, ())
        has = contents >= 0
        texts = _same_texts(cache, modality, contents)
        firsts = first_duplicates(cache, modality, names)
        alike = np.where(has, firsts[contents], -1) if has.any() else contents
        if note := _alike_note(modality, contents, np.where(has, share_content([texts, alike]), -1)):
            notes.append(note)
        says_nothing = np.zeros(len(cache), dtype=bool)
        for ids in (texts, alike):  # what an encoder makes one vector of may be many things, whose copies stay copies
            remaining_ids = np.where(says_nothing, -1, ids)
            for placeholder_id in find_placeholders(remaining_ids, labels.targets):
                has_it = remaining_ids == placeholder_id
                notes.append(_placeholder_note(cache, modality, has_it, labels))
                placeholders.append(Placeholder(modality, np.flatnonzero(has_it)))
                says_nothing |= has_it
            sources.append(np.where(says_nothing, -1, ids))
        is_placeholder |= says_nothing
        if cosine is not None and has.any():
            firsts = first_near_duplicates(cache, modality, names, cosine=cosine, firsts=firsts)
            sources.append(np.where(has & ~says_nothing, firsts[contents], -1))
        shared, picture_notes = _share_pictures(cache, modality, contents, firsts, labels)
        sources += shared
        notes += picture_notes
    if column is not None:
        sources.append(_ids_of_cells(cache, column))
    return Groups(share_content(sources), is_placeholder, notes, placeholders)


def find_placeholders(ids: np.ndarray, targets: np.ndarray) -> list[int]:
    """Return the ids of many rows whose classes look more like those of all rows than like one class.

    Many are 25 rows and one in a hundred. The most frequent class of an id's rows has a share below the middle between
    1 and the share of the most frequent class of all rows.

    Shape:
        ids: (N,) int64, -1 where the row has none
        targets: (N,) int64, -1 where the row has no class
    """
    used = (ids >= 0) & (targets >= 0)
    n_labelled = int((targets >= 0).sum())
    if not used.any():
        return []
    least_rows = max(LEAST_PLACEHOLDER_ROWS, LEAST_PLACEHOLDER_SHARE * n_labelled)
    most_frequent = np.bincount(targets[targets >= 0]).max() / n_labelled
    counts = np.bincount(ids[used])
    placeholders = []
    for content_id in np.flatnonzero(counts >= least_rows).tolist():
        purity = np.bincount(targets[used & (ids == content_id)]).max() / counts[content_id]
        if purity < (1 + most_frequent) / 2:
            placeholders.append(content_id)
    return placeholders


def share_content(ids_by_source: Sequence[np.ndarray]) -> np.ndarray:
    """Return a group for each product, the same for all that share an id of some source, directly or through others.

    Shape:
        ids_by_source: (N,) int64 each, such as the row of the product's picture; -1 where it has none
        output: (N,) int64
    """
    rows, shifted_ids = [], []
    n_ids = 0
    for ids in ids_by_source:
        has = np.flatnonzero(ids >= 0)
        rows.append(has)
        shifted_ids.append(ids[has] + n_ids)
        n_ids += int(ids.max(initial=-1)) + 1
    return _joined(np.concatenate(rows), np.concatenate(shifted_ids), n_rows=len(ids_by_source[0]))


def _joined(rows: np.ndarray, ids: np.ndarray, *, n_rows: int) -> np.ndarray:
    """Return a group for each of the rows, (n_rows,), the same for rows that have an id in common.

    Shape:
        rows, ids: (E,) int64, a row and one of the ids that it has
    """
    first_rows = np.empty(int(ids.max(initial=-1)) + 1, dtype=np.int64)
    first_rows[ids[::-1]] = rows[::-1]  # the first row of an id is written last
    firsts = first_in_component(np.stack([first_rows[ids], rows], axis=1), n_rows)
    return (np.cumsum(firsts == np.arange(n_rows)) - 1)[firsts]


def _share_pictures(
    cache: Cache, modality: str, contents: np.ndarray, firsts: np.ndarray, labels: Labels
) -> tuple[list[np.ndarray], list[str]]:
    """Return groups, (N,) each, of rows that have one of several pictures in common, and notes on placeholders.

    There are none unless rows have the mean of several pictures.
    """
    spec = cache.content_spec(modality)
    if spec is None or spec.fields.get("pictures") != "mean" or PICTURE_KEYS not in cache.columns():
        return [], []
    cells = cache.column(PICTURE_KEYS)
    listed = [(row, key) for row, cell in enumerate(cells) for key in cell.split()]
    listed_pictures = KeyIndex(cache.keys(modality)).rows_of([key for _, key in listed])
    pairs = [(row, picture) for (row, _), picture in zip(listed, listed_pictures.tolist(), strict=True) if picture >= 0]
    pairs += [(row, picture) for row, picture in enumerate(contents.tolist()) if picture >= 0 and not cells[row]]
    rows, pictures = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    groups, notes = [], []
    says_nothing = np.zeros(len(rows), dtype=bool)
    for ids in (pictures, firsts[pictures]):
        remaining_ids = np.where(says_nothing, -1, ids)
        for picture in find_placeholders(remaining_ids, labels.targets[rows]):
            is_it = remaining_ids == picture
            says_nothing |= is_it
            if n_listed := sum(bool(cells[row]) for row in rows[is_it].tolist()):
                notes.append(
                    f"one {modality} is among the several of {n_listed} rows of many classes: a placeholder, which "
                    "makes no copies of them."
                )
        groups.append(_joined(rows[~says_nothing], ids[~says_nothing], n_rows=len(cache)))
    return groups, notes


def _readable_contents(cache: Cache, modality: str) -> np.ndarray:
    """Return each product's content row, -1 where it could not be read: a page saved as a picture is no duplicate."""
    rows = cache.rows(modality)
    readable = np.append(cache.content_statuses(modality) == b"ok", False)
    return np.where(readable[rows], rows, -1)


def _same_texts(cache: Cache, modality: str, contents: np.ndarray) -> np.ndarray:
    """Return an id for each row's content, (N,), the same for texts that differ in letter case and entities alone."""
    spec = cache.content_spec(modality)
    if modality != "text" or spec is None or not spec.columns or not set(spec.columns) <= set(cache.columns()):
        return contents.copy()
    cells = zip(*(cache.column(name) for name in spec.columns), strict=True)
    text_ids = _numbered(" ".join(html.unescape(" ".join(product_cells)).casefold().split()) for product_cells in cells)
    has = contents >= 0
    return np.where(has, share_content([contents, np.where(has, text_ids, -1)]), -1)


def _ids_of_cells(cache: Cache, column: str) -> np.ndarray:
    if column not in cache.columns():
        raise LabelError(no_such_column("--group-column", column, cache.columns()))
    cells = [cell.strip() for cell in cache.column(column)]
    ids = _numbered(cells)
    has = np.array([not is_missing(cell, "number") for cell in cells])
    return np.where(has, ids, -1)  # who has no cell, or one such as "nan", is a group of its own


def _numbered(cells: Iterable[str]) -> np.ndarray:
    """Return a number for each of N cells, the same for the same cells, (N,) int64."""
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(cell, len(numbers)) for cell in cells), np.int64)


def _alike_note(modality: str, contents: np.ndarray, ids: np.ndarray) -> str | None:
    """Return a note on rows that are the same thing as others under different bytes."""
    has = contents >= 0
    n_all = int(contents.max(initial=-1)) + 1
    pairs = np.sort(ids[has] * n_all + contents[has])  # as one number each, which are sorted many times as fast
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
    n_contents = np.bincount(pairs // max(1, n_all), minlength=1)
    is_joined = np.zeros(len(ids), dtype=bool)
    is_joined[has] = n_contents[ids[has]] > 1
    if not is_joined.any():
        return None
    why = "equal vectors, or the same text but for letter case and entities" if modality == "text" else "equal vectors"
    return (
        f"{int(is_joined.sum())} rows have the same {modality} as others though its bytes differ ({why}): they count "
        "as copies, on one side of the split."
    )


def _placeholder_note(cache: Cache, modality: str, rows: np.ndarray, labels: Labels) -> str:
    n_rows, n_classes = int(rows.sum()), len(np.unique(labels.targets[rows & (labels.targets >= 0)]))
    spec = cache.content_spec(modality)
    shown = ""
    if spec is not None and spec.columns and spec.columns[0] in cache.columns():
        cell = cache.column(spec.columns[0])[int(np.flatnonzero(rows)[0])].strip()
        shown = f" ({cell[:MOST_CHARACTERS]}{'…' if len(cell) > MOST_CHARACTERS else ''})"
    return (
        f"one {modality}{shown} stands under {n_rows} rows ({percent(n_rows / len(rows), 0)} %) of {n_classes} "
        "classes: a placeholder, which makes no copies of them; they are scored apart, too."
    )
