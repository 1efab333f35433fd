"""Corrections: a CSV file of products and their new labels, as a person leaves it who went through an audit."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
DELIMITERS = ",;\t"  # spreadsheets of some countries write the second
MOST_CELL_CHARACTERS = 2**24


@dataclass(frozen=True)
class Corrections:
    """New labels of some products, {id: label}, and the name of the file that says so."""

    name: str
    labels: Mapping[str, str]

    def applied(
        self, labels: np.ndarray, ids: Sequence[str], *, level: int | None = None
    ) -> tuple[np.ndarray, list[str]]:
        """Return all products' labels with the new ones in place, and a note that counts them.

        Of a new label that is a path the `level` is taken, as of the catalogue's; a class that there is already, or a
        label of one level, is taken as it is. Products and classes that are not Unicode may be named as they are shown.

        Shape:
            labels, output: (N,) of str objects

        Raises:
            LabelError: there is no such product, or a label lacks the level or is not Unicode.
        """
        classes = {shown(label): label for label in labels.tolist()}  # a page can only name what is shown
        products = {shown(product_id): product_id for product_id in ids if STRAY.search(product_id)}
        new_labels = {
            products.get(shown(product), product): self._class_of(label, classes, level)
            for product, label in self.labels.items()
        }
        if unknown := new_labels.keys() - set(ids):
            examples = ", ".join(map(shown, sorted(unknown)[:3]))
            raise LabelError(
                f"Expected {self.name} to name products of the catalogue, got {len(unknown)} that are not there "
                f"({examples}{', …' if len(unknown) > 3 else ''}). Mend their ids, or take the lines out."
            )
        corrected = np.array(
            [new_labels.get(product_id, label) for product_id, label in zip(ids, labels.tolist(), strict=True)], object
        )
        if not self.labels:
            return corrected, [f"{self.name} has no label in any line: nothing is corrected."]
        n_changed, n_same = int((corrected != labels).sum()), sum(product_id in new_labels for product_id in ids)
        same = f"; {n_same - n_changed} had theirs already" if n_same > n_changed else ""
        return corrected, [f"{self.name} changes the labels of {n_changed} products{same}."]

    def write(self, folder: Path) -> None:
        """Write the file that makes them again."""
        with open_csv(folder / CORRECTIONS) as file:
            csv.writer(file).writerows([COLUMNS, *self.labels.items()])

    def _class_of(self, label: str, classes: Mapping[str, str], level: int | None) -> str:
        if shown(label) in classes:
            return classes[shown(label)]
        if STRAY.search(label):
            raise LabelError(
                f"Expected {self.name} to be UTF-8, got the label {shown(label)}. Save it as CSV in UTF-8."
            )
        if level is None or len(label_levels(label)) == 1:
            return label
        if at_level := label_at(label, level):
            return at_level
        raise LabelError(
            f"Expected the labels of {self.name} to have a level {level}, got {label!r}. Write the class alone."
        )


def read_corrections(path: str | Path) -> Corrections:
    """Return what a CSV file with the columns ``product`` and ``label`` says; lines whose label is empty say nothing.

    Raises:
        LabelError: there is no such file, it is no such table, or it gives one product two labels.
        UnreadableError: the system cannot read it.
    """
    path = Path(path)
    labels: dict[str, str] = {}
    for number, product, cell in _lines(path):
        label = clean_label(cell)
        if label and labels.setdefault(product, label) != label:
            raise LabelError(
                f"Expected {path.name} to give each product one label, got {shown(labels[product])} and "
                f"{shown(label)} for {shown(product)} (line {number}). Empty one of them."
            )
    return Corrections(path.name, labels)


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield each line's number, product and label."""
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
        for cells in lines:
            if cells and len(cells) <= max(product, label):
                raise LabelError(
                    f"Expected line {lines.line_num} of {path} to have {len(names)} cells as the header, got "
                    f"{len(cells)}. Mend it."
                )
            if cells:
                yield lines.line_num, cells[product], cells[label]
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
