"""JSON as tables: each line or item of a list is an object, each name a column; what is mostly nested is left out."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from embed.amounts import plural
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.formats.json_items import find_items, hint_for
from embed.catalogue.formats.single_object import hint_for_single_object
from embed.catalogue.list_columns import LISTS_STAY, keeps_lists, list_cell
from embed.catalogue.table import BATCH_ROWS
from embed.catalogue.text_file import find_encoding, open_text
from embed.contents.texts import SEPARATOR
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["JsonLinesTable", "Names", "parse_object"]

MOST_NAMES = 1000
LANGUAGES = ("language_tag", "language", "lang", "locale")  # names of what says that of a text

log = logging.getLogger("embed_once")


class JsonLinesTable:
    """The objects of a JSON file as rows of text; the file is read once for the names, and once for the cells.

    They stand one a line, in one list, or one behind another on several lines (`embed.catalogue.formats.json_items`).

    Numbers stay as they are written, ``null`` and ``NaN`` are empty cells, and so are names that an object lacks. A
    line or item that is no object is bad, and so is one with a list or an object where most have none. Lists of
    pictures and labels stay as JSON, so that one can be chosen: those of columns that are asked for, or are called so.
    Of texts in several languages, each an object with its ``value``, the English ones are the cell, else the first's;
    in a column that is plain through these alone, other lists and objects are empty cells.

    Raises:
        CatalogueError: the file is empty or no text in this encoding, most lines are bad, or one is and `bad_lines`
            is ``error``.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.encoding = find_encoding(path, settings.encoding)
        self.is_error = settings.bad_lines == "error"
        self.keeps_lists = lru_cache(MOST_NAMES)(partial(keeps_lists, settings=settings))  # asked of each list
        names = Names(path)
        n_good = 0
        for row in self._rows():
            names.add(row)
            n_good += 1
        self.bad_lines.check_most(n_good, hint=hint_for(self._first_bad))
        self.columns = names.plain()
        self._never_nested = [name for name in self.columns if names.is_mostly_plain(name)]
        for name in self.columns:
            if name not in self._never_nested and (n := names.n_nested[name]):
                log.info("%s of %s holds %s without a language: these cells are empty.", name, path, plural(n, "list"))
        hint = self._single_object_hint() if n_good == 1 else ""
        if n_good and not self.columns:
            raise CatalogueError(
                f"Expected the objects of {path} to have plain values, which are cells, but all are lists or objects. "
                + (hint or "Write those that tell of a product into its object.")
            )
        if hint:
            log.warning("%s is read as one product. %s", path, hint)

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in the file's order, each column a list of cells."""
        n_good = 0
        batch: dict[str, list[str]] = {name: [] for name in self.columns}
        for row in self._rows(plain=self._never_nested):
            for name, cells in batch.items():
                cells.append(row.get(name) or "")
            n_good += 1
            if n_good % BATCH_ROWS == 0:
                yield batch
                batch = {name: [] for name in self.columns}
        if n_good % BATCH_ROWS:
            yield batch
        self.bad_lines.check_most(n_good, hint=hint_for(self._first_bad))

    @contextmanager
    def _items(self) -> Iterator[tuple[str, Iterator[tuple[int, str]]]]:
        """Yield what the objects are called, ``line`` or ``item``, and their numbers from 1 with their texts."""
        with open_text(self.path, self.encoding) as file:
            yield find_items(file, self.path)

    def _single_object_hint(self) -> str:
        """Return what to do if the one object of the file holds all products; "" where it is one.

        Raises:
            CatalogueError: it is COCO's.
        """
        with self._items() as (_, items):
            for _, text in items:
                if isinstance(document := _loaded(text), dict):
                    return hint_for_single_object(document, self.path, keeps_lists=self.keeps_lists)
        return ""

    def _rows(self, plain: Sequence[str] = ()) -> Iterator[dict[str, str | None]]:
        """Yield the objects, each name's cell or None, and count the bad: also those with None for a `plain` name."""
        self._first_bad = ""
        with self._items() as (unit, items):
            self.bad_lines = BadLines(self.path, is_error=self.is_error, unit=unit)
            for number, text in items:
                try:
                    row = parse_object(text, keeps_lists=self.keeps_lists)
                except ValueError as error:
                    self._first_bad = self._first_bad or text
                    self.bad_lines.add(number, f"is no JSON object: {error}")
                    continue
                nested = next((name for name in plain if row.get(name, "") is None), None)
                if nested is not None:
                    self.bad_lines.add(number, f"has a list or an object as {nested}, which is plain elsewhere")
                    continue
                yield row


class Names:
    """The names of all objects in their first order, and how many plain and nested values each has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_nested: dict[str, int] = {}
        self.n_plain: Counter[str] = Counter()  # not empty
        self.n_translated: Counter[str] = Counter()  # texts in several languages

    def add(self, row: dict[str, str | None]) -> None:
        """Note an object's names.

        Raises:
            CatalogueError: they are too many for columns.
        """
        for name, cell in row.items():
            self.n_nested[name] = self.n_nested.get(name, 0) + (cell is None)
            if cell:
                (self.n_translated if isinstance(cell, Translated) else self.n_plain)[name] += 1
        if len(self.n_nested) > MOST_NAMES:
            raise CatalogueError(
                "Expected the objects of a catalogue to share their names, which are its columns, but those of "
                f"{self.path} have more than {MOST_NAMES:,}: {', '.join(list(self.n_nested)[-3:])}, … Put what "
                "differs into one value."
            )

    def plain(self) -> list[str]:
        """Return the names of values most of which are plain; a note tells the others."""
        left_out = [name for name, n in self.n_nested.items() if n > self.n_plain[name] + self.n_translated[name]]
        if left_out:
            log.info(
                "%s of %s %s lists or objects, which are no plain cells: %s left out%s.",
                f"Column {left_out[0]}" if len(left_out) == 1 else f"Columns {', '.join(left_out)}",
                self.path,
                *(("holds", "it is") if len(left_out) == 1 else ("hold", "they are")),
                LISTS_STAY,
            )
        return [name for name in self.n_nested if name not in left_out]

    def is_mostly_plain(self, name: str) -> bool:
        """Return whether most values of a name are plain without those in several languages."""
        return self.n_nested[name] + self.n_translated[name] <= self.n_plain[name]


class Translated(str):
    """A cell of texts in several languages, which is one of these."""

    __slots__ = ()


def parse_object(text: str, *, keeps_lists: Callable[[str], bool] = lambda _: False) -> dict[str, str | None]:
    """Return a JSON object's values as cells: text as it is, numbers as written, and None for lists and objects.

    Of the names for which `keeps_lists` holds, lists are cells of JSON, and empty ones empty cells.

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
    return {
        _text(name): _text(list_cell(cell)) if isinstance(cell, list) and keeps_lists(name) else _cell(cell)
        for name, cell in value.items()
    }


def _loaded(text: str) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


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
    values = dict(pairs)
    if len(values) < len(pairs):
        (repeated, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it repeats the name {repeated}")
    return values


def _cell(value: Any) -> str | None:
    """Return the cell of a value whose numbers are texts already; None for a list or an object that is none."""
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and value and all(map(_language, value)):
        languages = list(map(_language, value))
        chosen = next((language for language in languages if language.lower().startswith("en")), languages[0])
        texts = (item["value"] for item, language in zip(value, languages, strict=True) if language == chosen)
        return Translated(_text(SEPARATOR.join(dict.fromkeys(texts))))
    return None


def _language(item: Any) -> str:
    """Return the language of a text that says one; "" where it is nothing of the kind."""
    if not (isinstance(item, dict) and isinstance(item.get("value"), str)):
        return ""
    return next((item[name] for name in LANGUAGES if isinstance(item.get(name), str)), "")


def _kind(value: Any) -> str:
    return {list: "list", str: "text or a number", bool: "truth value"}.get(type(value), "null")
