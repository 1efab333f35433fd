"""Corrections: a CSV file of products and their new labels, as a person leaves it who went through an audit."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache.columns.label_levels import label_at, label_levels
from cache.columns.labels import clean_label
from cache.system.stray_bytes import STRAY, open_csv, shown
from heads.errors import LabelError
from heads.typed_json import read_plain_file

__all__ = ["CORRECTIONS", "Corrections", "read_corrections"]

CORRECTIONS = "corrections.csv"  # in the folder of a run whose labels were corrected
COLUMNS = ("product", "label")
GIVEN = "given"  # the column in which an audit says what a product's label was
MOST_SHOWN = 3
DELIMITERS = ",;\t"  # spreadsheets of some countries write the second
MOST_CELL_CHARACTERS = 2**24


@dataclass(frozen=True)
class Corrections:
    """New labels of some products, {id: label}, and the name of the file that says so.

    `given` are the labels that products had when the file was written, of those of which it says it.
    """

    name: str
    labels: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)

    def applied(
        self, labels: np.ndarray, ids: Sequence[str], *, level: int | None = None, roots: Collection[str] = ()
    ) -> tuple[np.ndarray, list[str]]:
        """Return all products' labels with the new ones in place, and notes that count them.

        Of a new label that is a path the `level` is taken, as of the catalogue's; a class that there is already, or a
        label of one level, is taken as it is. Products and classes that are not Unicode may be named as they are shown,
        and products as spreadsheets write them. `roots` are the first names of the catalogue's paths, see `label_at`.

        Shape:
            labels, output: (N,) of str objects

        Raises:
            LabelError: there is no such product, or a label lacks the level or is not Unicode.
        """
        classes = {shown(label): label for label in labels.tolist()}  # a page can only name what is shown
        products = self._products(ids)
        new_labels: dict[str, str] = {}
        for name, label in self.labels.items():
            product, new_label = products.get(name, name), self._class_of(label, classes, level, roots)
            if new_labels.setdefault(product, new_label) != new_label:
                raise LabelError(
                    f"Expected {self.name} to give each product one label, got {shown(new_labels[product])} and "
                    f"{shown(new_label)} for {shown(product)}. Empty one of them."
                )
        if unknown := new_labels.keys() - set(ids):
            raise LabelError(
                f"Expected {self.name} to name products of the catalogue, got {len(unknown)} that are not there "
                f"({_examples(sorted(unknown))}). Mend their ids, or take the lines out."
            )
        corrected = np.array(
            [new_labels.get(product_id, label) for product_id, label in zip(ids, labels.tolist(), strict=True)], object
        )
        if not self.labels:
            return corrected, [f"{self.name} has no label in any line: nothing is corrected."]
        given = {
            products.get(name, name): label if level is None or label in classes else label_at(label, level, roots)
            for name, label in self.given.items()
        }
        n_same = sum(product_id in new_labels for product_id in ids) - int((corrected != labels).sum())
        notes = self._notes(ids, labels, corrected, given, n_same)
        if cut := [name for name, product in products.items() if _bare(name) == _bare(product)]:
            notes.append(
                f"{len(cut)} ids of {self.name} are the catalogue's but for blanks or the zeros before them, as "
                f"spreadsheets write them ({shown(cut[0])!r} is {shown(products[cut[0]])!r})."
            )
        return corrected, notes

    def _products(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the ids of products that the file names in another way: as they are shown, or as a spreadsheet does.

        A spreadsheet takes zeros for nothing, 00123 for 123; where two ids would be meant, none is.
        """
        known = set(ids)
        names = [name for name in self.labels if name not in known]
        if not names:
            return {}
        shown_ids = {shown(product_id): product_id for product_id in known if STRAY.search(product_id)}
        bare_ids: dict[str, str | None] = {}
        for product_id in known:
            bare = _bare(product_id)
            bare_ids[bare] = None if bare in bare_ids else product_id
        meant = {name: shown_ids.get(shown(name)) or bare_ids.get(_bare(name)) for name in names}
        return {name: product_id for name, product_id in meant.items() if product_id is not None}

    def _notes(
        self, ids: Sequence[str], labels: np.ndarray, corrected: np.ndarray, given: Mapping[str, str], n_same: int
    ) -> list[str]:
        """Return what is changed, and what of it speaks for ids or labels that changed since the file was written."""
        changes = [(ids[row], labels[row], corrected[row]) for row in np.flatnonzero(corrected != labels).tolist()]
        same = f"; {n_same} had theirs already" if n_same else ""
        notes = [f"{self.name} changes the labels of {len(changes)} products{same}."]
        if n_stale := sum(given.get(product_id, shown(label)) != shown(label) for product_id, label, _ in changes):
            notes.append(
                f"{n_stale} of these had another label when {self.name} was written (its column {GIVEN}): look whether "
                "ids or labels have changed since."
            )
        new_classes = sorted({new_label for *_, new_label in changes} - set(labels.tolist()))
        if new_classes and labels.any():
            notes.append(f"{self.name} gives labels that no product has without it: {_examples(new_classes)}.")
        return notes

    def write(self, folder: Path) -> None:
        """Write the file that makes them again."""
        with open_csv(folder / CORRECTIONS) as file:
            csv.writer(file).writerows([COLUMNS, *self.labels.items()])

    def _class_of(self, label: str, classes: Mapping[str, str], level: int | None, roots: Collection[str]) -> str:
        if shown(label) in classes:
            return classes[shown(label)]
        if STRAY.search(label):
            raise LabelError(
                f"Expected {self.name} to be UTF-8, got the label {shown(label)}. Save it as CSV in UTF-8."
            )
        if level is None or len(label_levels(label)) == 1 or label_levels(label, roots) == [label]:
            return label
        if at_level := label_at(label, level, roots):
            return at_level
        raise LabelError(
            f"Expected the labels of {self.name} to have a level {level}, got {label!r}. Write the class alone."
        )


def _bare(product: str) -> str:
    """Return an id without blanks around it, and without the zeros before digits."""
    name = product.strip()
    return (name.lstrip("0") or "0") if name.isdecimal() else name


def _examples(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:MOST_SHOWN])) + (", …" if len(names) > MOST_SHOWN else "")


def read_corrections(path: str | Path) -> Corrections:
    """Return what a CSV file with the columns ``product`` and ``label`` says; lines whose label is empty say nothing.

    Raises:
        LabelError: there is no such file, it is no such table, or it gives one product two labels.
        UnreadableError: the system cannot read it.
    """
    path = Path(path)
    labels: dict[str, str] = {}
    given: dict[str, str] = {}
    for number, product, cell, given_cell in _lines(path):
        label = clean_label(cell)
        if given_cell:
            given[product] = clean_label(given_cell)
        if label and labels.setdefault(product, label) != label:
            raise LabelError(
                f"Expected {path.name} to give each product one label, got {shown(labels[product])} and "
                f"{shown(label)} for {shown(product)} (line {number}). Empty one of them."
            )
    return Corrections(path.name, labels, given)


def _lines(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield each line's number, product, label, and the label that was given before, where it says so."""
    header, text = _read(path)
    csv.field_size_limit(MOST_CELL_CHARACTERS)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=header.count), strict=True)
    try:
        names = [name.strip() for name in next(lines, [])]
        if any(names.count(name) != 1 for name in COLUMNS):
            raise LabelError(
                f"--corrections: expected {path} to have the columns product and label once each, got "
                f"{shown(', '.join(names)) or 'none'}. Name them so in its first line."
            )
        product, label = map(names.index, COLUMNS)
        given = names.index(GIVEN) if names.count(GIVEN) == 1 else len(names)
        for cells in lines:
            if cells and len(cells) <= max(product, label):
                raise LabelError(
                    f"Expected line {lines.line_num} of {path} to have {len(names)} cells as the header, got "
                    f"{len(cells)}. Mend it."
                )
            if cells:
                yield lines.line_num, cells[product], cells[label], "".join(cells[given : given + 1])
    except csv.Error as error:
        raise LabelError(
            f"--corrections: expected {path} to be a CSV file, got one that is not (line {lines.line_num}: {error}). "
            "Mend it."
        ) from error


def _read(path: Path) -> tuple[str, str]:
    """Return a file's first line and all of its text; bytes that are not Unicode stay as they are."""
    try:
        content = read_plain_file(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise LabelError(f"--corrections: expected a CSV file, but {path} is none. Name another.") from error
    if b"\0" in content:
        raise LabelError(
            f"Expected {path} to be CSV in UTF-8, got one with zero bytes (UTF-16, or no text at all). Save it as CSV "
            "in UTF-8."
        )
    text = content.decode("utf-8-sig", "surrogateescape")
    return text.partition("\n")[0], text
