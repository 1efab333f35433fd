"""Cells that are not Unicode: how many there are, and which encoding reads them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from cache.arrays.string_column import StringColumn
from cache.system.stray_bytes import STRAY, shown
from embed.amounts import plural

__all__ = ["encoding_remedy", "tell_stray_bytes"]

N_NAMED = 4  # columns
N_GUESSED = 1000  # cells that the encoding is guessed by
MOST_CHARACTERS = 40  # of an example
WESTERN = "cp1252"  # of which Latin-1's letters are a part
LONG_RUN = 3  # letters outside ASCII that follow one another, as no Western word has them

# The bytes that are letters and signs of Western texts in cp1252: € … ‘ ’ “ ” • – — ™, and what Latin-1 has.
_WESTERN_BYTES = {0x80, 0x85, *range(0x91, 0x98), 0x99, *range(0xA0, 0x100)}
_RUN = re.compile("[\udc80-\udcff]+")

log = logging.getLogger("embed_once")


def tell_stray_bytes(columns: Mapping[str, Sequence[str]], path: Path) -> None:
    """Warn in a line of cells that are not Unicode: in which columns, how many, an example, and what reads them."""
    stray: dict[str, list[str]] = {}
    n_unicode = 0  # cells that are UTF-8, and more than ASCII
    for name, cells in columns.items():
        if isinstance(cells, StringColumn) and cells.is_ascii:
            continue
        stray_cells = []
        for cell in cells:
            if not cell.isascii():
                if STRAY.search(cell):
                    stray_cells.append(cell)
                else:
                    n_unicode += 1
        if stray_cells:
            stray[name] = stray_cells
    if not stray:
        return
    examples = list(chain.from_iterable(stray.values()))[:N_GUESSED]
    name, (example, *_) = max(stray.items(), key=lambda pair: len(pair[1]))
    named = [f"{shown(column)} ({len(cells)})" for column, cells in stray.items()]
    more = f" and {len(named) - N_NAMED} more columns" if len(named) > N_NAMED else ""
    log.warning(
        "%s of %s are not Unicode, in %s%s, such as '%s' in %s. %s",
        plural(sum(map(len, stray.values())), "cell"), path, ", ".join(named[:N_NAMED]), more,
        _short(shown(example)), shown(name), _remedy(example, examples, n_unicode),
    )  # fmt: skip


def _remedy(example: str, examples: Sequence[str], n_unicode: int) -> str:
    """Return in a sentence what to do about stray cells, where so many other cells are Unicode beyond ASCII."""
    if n_unicode:
        return (
            f"{plural(n_unicode, 'other cell')} of the file read as UTF-8, so that no one encoding reads all: mend "
            "these, or go on; their bytes are kept, and a text with such has no vector."
        )
    return encoding_remedy([example, *examples])


def encoding_remedy(examples: Sequence[str]) -> str:
    """Return in a sentence which encoding reads cells that are not Unicode, the first of which was shown."""
    if _is_western(examples):
        read = examples[0].encode(errors="surrogateescape").decode(WESTERN)
        return f"Of a CSV or JSON file, --encoding {WESTERN} reads that as '{_short(read)}'."
    return "Name the encoding of a CSV or JSON file with --encoding, or write it anew as UTF-8."


def _is_western(cells: Sequence[str]) -> bool:
    """Return whether cp1252 reads the cells as words of Western languages, whose accents stand apart."""
    runs = [run for cell in cells for run in _RUN.findall(cell)]
    n_bytes, n_in_long_runs = sum(map(len, runs)), sum(len(run) for run in runs if len(run) >= LONG_RUN)
    stray_bytes = {ord(character) - 0xDC00 for run in runs for character in run}  # as surrogateescape writes them
    return stray_bytes <= _WESTERN_BYTES and 2 * n_in_long_runs < n_bytes


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
