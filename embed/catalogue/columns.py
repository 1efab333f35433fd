"""Which of a catalogue's columns plays which role."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from cache.cloud.addresses import is_url
from cache.columns.column_names import USUAL_NAMES, no_such_column, share_filled, usual_column, usual_columns
from cache.columns.column_types import guess_kind
from embed.catalogue.pictures.picture_lists import is_picture_name
from embed.catalogue.table import Table, first_rows
from embed.errors import CatalogueError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["ColumnFinder", "check_column", "check_distinct", "find_id_column", "find_roles", "shortened_hint"]

MOST_LIKELY = 3  # columns that a message proposes
LEAST_WORDS = 2.0  # of a text, on average

_ID = re.compile(r"[\w-]+")
_ARROWS = {">", "\u203a", "\xbb"}  # › and » as well
_SHORTENED = re.compile(r"[0-9][.,][0-9]+E\+[0-9]+", re.IGNORECASE)  # 4006381333931 in a narrow column

log = logging.getLogger("embed_once")


class ColumnFinder:
    """Finds the columns that are asked for, or have the most telling of the usual names and are not nearly empty.

    How full columns are is looked up in the table's first rows, and only where several have usual names.
    """

    def __init__(self, table: Table, settings: ExtractSettings) -> None:
        self.table = table
        self.columns = table.columns
        self.settings = settings

    def find(self, role: str) -> str | None:
        """Return the column of a role (``id``, ``image``, ``text``, ``label``); None where there is none."""
        requested = getattr(self.settings, "label" if role == "label" else f"{role}_column")
        if requested is not None:
            return requested if requested in self.columns else None
        columns = self.columns
        if role in ("image", "text"):
            is_unfit = self._holds_file_names if role == "text" else self._holds_category_paths
            usual = set(usual_columns(role, columns))
            columns = [name for name in columns if name not in usual or not is_unfit(name)]
        column = usual_column(role, columns, self._filled)
        if column is not None and role == "id" and column.lower() == "handle":  # which may be a product's, or a group's
            cells = self.first_rows[column]
            return column if len(set(cells)) == len(cells) else None
        return column

    @cached_property
    def first_rows(self) -> dict[str, list[str]]:
        """The cells of the table's first rows."""
        return first_rows(self.table)

    def _holds_file_names(self, column: str) -> bool:
        """Return whether most cells are names of pictures' files, or URLs, which are no texts."""
        cells = [cell.strip() for cell in self.first_rows[column] if cell.strip()]
        n_files = sum(is_picture_name(cell) or (is_url(cell) and len(cell.split()) == 1) for cell in cells)
        return 2 * n_files > len(cells)

    def _holds_category_paths(self, column: str) -> bool:
        """Return whether most cells are as ``Kitchen > Mugs``, which are no files."""
        cells = [cell for cell in self.first_rows[column] if cell.strip()]
        n_paths = sum(not _ARROWS.isdisjoint(cell) for cell in cells if not is_picture_name(cell))
        return 2 * n_paths > len(cells)

    def _filled(self, column: str) -> float:
        return share_filled(self.first_rows[column])


def find_roles(finder: ColumnFinder, path: Path) -> dict[str, str]:
    """Return the column of each modality that has one, {modality: column}.

    Raises:
        CatalogueError: a modality that is to be encoded has none, or a column that is named is not there.
    """
    settings = finder.settings
    roles = {}
    for modality in MODALITIES:
        if modality == "text" and settings.text_columns is not None:
            roles[modality] = ", ".join(settings.text_column_names)
            for name in settings.text_column_names:
                check_column("--text-columns", name, finder.columns)
            continue
        column = _find_column(modality, finder, path, is_needed=modality in settings.modalities)
        if column is not None:
            roles[modality] = column
    return roles


def find_id_column(finder: ColumnFinder, path: Path) -> str | None:
    """Return the column of ids; None where there is none of a usual name, which is told.

    Raises:
        CatalogueError: the column that is named is not there.
    """
    column = _find_column("id", finder, path, is_needed=finder.settings.id_column is not None)
    if column is None:
        other_roles = {finder.find(role) for role in (*MODALITIES, "label")}
        likely = _likely_ids({name: cells for name, cells in finder.first_rows.items() if name not in other_roles})
        remedy = f" Name it with --id-column ({', '.join(likely[:MOST_LIKELY])} may be one)." if likely else ""
        usual = ", ".join(USUAL_NAMES["id"])
        log.info("No column of ids was found (%s): rows are numbered from 0.%s", usual, remedy)
    return column


def check_column(option: str, name: str | None, columns: list[str]) -> None:
    """Check that the column that an option names is there.

    Raises:
        CatalogueError: it is not.
    """
    if name not in columns:
        raise CatalogueError(no_such_column(option, name, columns))


def check_distinct(names: list[str], source: str) -> None:
    """Check that no two columns have one name; `source` is what they are columns of, for the message.

    Raises:
        CatalogueError: some have.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise CatalogueError(
            f"Expected columns to have names of their own, but {source} repeats {', '.join(repeated)}. Rename or "
            "remove what is too many."
        )


def shortened_hint(cell: str) -> str:
    """Return in a sentence what to do about an id that a spreadsheet has shortened; "" where none has.

    >>> shortened_hint("4.00638E+12")
    ' A spreadsheet has cut them to 4.00638E+12: export the column as text.'
    """
    return f" A spreadsheet has cut them to {cell}: export the column as text." if _SHORTENED.fullmatch(cell) else ""


def _find_column(role: str, finder: ColumnFinder, path: Path, *, is_needed: bool) -> str | None:
    """Return the column of a role, None where there is none and it is not needed.

    Raises:
        CatalogueError: it is needed, and there is none.
    """
    column = finder.find(role)
    if column is not None or not is_needed:
        return column
    requested = getattr(finder.settings, f"{role}_column")
    if requested is not None:
        check_column(f"--{role}-column", requested, finder.columns)
    other_role = "image" if role == "text" else "text"
    likely = _likely_texts(finder.first_rows) if role == "text" else []
    candidates = f" ({', '.join(likely[:MOST_LIKELY])} may be one)" if likely else ""
    template = ", make paths of other columns with --image-template 'images/{id}.jpg'" if role == "image" else ""
    if finder.find(other_role) is not None or (other_role == "text" and finder.settings.text_columns is not None):
        remedy = f"or do without: --modalities {other_role}"
    else:
        remedy = f"or name the {other_role}s: --{other_role}-column"
    raise CatalogueError(
        f"Expected {path} to have a column of {role}s ({', '.join(USUAL_NAMES[role][:4])}, …), but its columns are "
        f"{', '.join(finder.columns)}. Name it with --{role}-column{candidates}{template}, {remedy}."
    )


def _likely_ids(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns each of whose cells is another, of letters, digits and dashes, as they come.

    >>> _likely_ids({"Bild": ["1.jpg", "2.jpg"], "Artikelnummer": ["A-17", "A-18"], "Jahr": ["2012", "2012"]})
    ['Artikelnummer']
    """
    return [
        name for name, cells in columns.items() if len(set(cells)) == len(cells) > 1 and all(map(_ID.fullmatch, cells))
    ]


def _likely_texts(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns whose cells may be texts, most of them different and of several words, as they come.

    >>> _likely_texts({"id": ["1", "2"], "Bezeichnung": ["red mug", "blue mug"], "kind": ["a cup", "a cup"]})
    ['Bezeichnung']
    """
    likely = []
    for name, cells in columns.items():
        filled = [cell for cell in cells if cell.strip()]
        n_words = sum(len(cell.split()) for cell in filled)
        if (
            2 * len(set(filled)) > len(filled)
            and n_words >= LEAST_WORDS * len(filled)
            and guess_kind(filled) == "categorical"
        ):
            likely.append(name)
    return likely
