"""JSON Lines as tables: each line is an object, each name a column; what is nested is left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embed.bad_lines import BadLines
from embed.settings import ExtractSettings
from embed.tables import BATCH_ROWS
from embed.text_file import find_encoding, open_text

__all__ = ["JsonLinesTable", "Names", "parse_object"]


log = logging.getLogger("embed_once")


class JsonLinesTable:
    """The objects of a JSON Lines file as rows of text; the file is read once for the names, and once for the cells.

    Numbers stay as they are written, ``null`` and ``NaN`` are empty cells, and so are names that an object lacks. A
    line that is no object is bad.

    Raises:
        CatalogueError: the file is empty or no text in this encoding, most lines are bad, or one is and `bad_lines`
            is ``error``.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.encoding = find_encoding(path, settings.encoding)
        self.is_error = settings.bad_lines == "error"
        names = Names()
        n_good = 0
        for row in self._rows():
            names.add(row)
            n_good += 1
        self.bad_lines.check_most(n_good, hint="Each line must be one JSON object.")
        self.columns = names.plain(self.path)

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in the file's order, each column a list of cells."""
        batch: dict[str, list[str]] = {name: [] for name in self.columns}
        n_rows = 0
        for row in self._rows():
            for name, cells in batch.items():
                cells.append(row.get(name) or "")
            n_rows += 1
            if n_rows == BATCH_ROWS:
                yield batch
                batch, n_rows = {name: [] for name in self.columns}, 0
        if n_rows:
            yield batch

    def _rows(self) -> Iterator[dict[str, str | None]]:
        self.bad_lines = BadLines(self.path, is_error=self.is_error)
        with open_text(self.path, self.encoding) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = parse_object(line)
                except ValueError as error:
                    self.bad_lines.add(number, f"is no JSON object: {error}")
                else:
                    yield row


class Names:
    """The names of all objects in their first order, and those that hold something nested."""

    def __init__(self) -> None:
        self.names: dict[str, bool] = {}  # whether its values are plain

    def add(self, row: dict[str, str | None]) -> None:
        """Note an object's names."""
        for name, cell in row.items():
            if cell is None:
                self.names[name] = False
            elif name not in self.names:
                self.names[name] = True

    def plain(self, path: Path) -> list[str]:
        """Return the names of plain values; a note tells the others."""
        for name, is_plain in self.names.items():
            if not is_plain:
                log.info(
                    "Column %s of %s holds lists or objects, which are no plain cells: it is left out.", name, path
                )
        return [name for name, is_plain in self.names.items() if is_plain]


def parse_object(text: str) -> dict[str, str | None]:
    """Return a JSON object's values as cells: text as it is, numbers as written, and None for lists and objects.

    >>> parse_object('{"id": 7, "price": 1.50, "sold": true, "brand": null, "tags": ["a"]}')
    {'id': '7', 'price': '1.50', 'sold': 'true', 'brand': '', 'tags': None}

    Raises:
        ValueError: it is no object, or repeats a name.
    """
    try:
        value = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=_constant, object_pairs_hook=_without_repeats
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is a {_kind(value)}")
    return {_text(name): _cell(cell) for name, cell in value.items()}


def _text(value: str) -> str:
    """Return a text that can be kept: half a surrogate pair, which JSON can write, stands for its own bytes."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    return value


def _constant(word: str) -> str | None:
    return None if word == "NaN" else word


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        raise ValueError(f"it repeats the name {repeated}")
    return found


def _cell(value: Any) -> str | None:
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None


def _kind(value: Any) -> str:
    return {list: "list", str: "text or a number", bool: "truth value"}.get(type(value), "null")
