"""The items of a JSON file one by one: its lines, or what stands in its list or one behind another on many lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from embed.catalogue.text_file import MAX_LINE, read_lines
from embed.errors import CatalogueError

__all__ = ["find_items", "hint_for"]

CHUNK = 2**20  # characters that are read at once

_SEPARATORS = re.compile(r"[\s,\ufeff]*")


def find_items(file: IO[str], path: Path) -> tuple[str, Iterator[tuple[int, str]]]:
    """Return what the items are called, ``line`` or ``item``, and their numbers from 1 with their texts.

    A file that begins with ``[`` is a list; one whose first line ends within an object has objects of several lines.
    Items end where JSON says so; of lines nothing is checked, and empty ones are passed over.

    Raises:
        CatalogueError: a list is no JSON from some item on, or ends early.
    """
    numbered = enumerate(read_lines(file), 1)
    number, first = next(((number, line) for number, line in numbered if line.strip()), (1, ""))
    is_list = first.lstrip("\ufeff \t").startswith("[")
    if is_list or first.rstrip().endswith(("{", "[", ",", ":")):
        return "item", _items(file, first, path, is_list=is_list, line=number)
    return "line", ((number, line) for number, line in chain([(number, first)], numbered) if line.strip())


def hint_for(text: str) -> str:
    """Return in a sentence what to do about a file with a text that is no JSON object."""
    if re.match(r"[\s\[]*\{\s*'", text):
        return (
            "Its objects are Python's, in single quotes: write each as JSON, with json.dumps(ast.literal_eval(line)) "
            "in Python."
        )
    return "Make each line one JSON object, or the file one list of them, in UTF-8 or what --encoding names."


def _items(file: IO[str], buffer: str, path: Path, *, is_list: bool, line: int) -> Iterator[tuple[int, str]]:
    """Yield the items' numbers and texts; `buffer` is the part of the file that was read, and `line` where it begins.

    Raises:
        CatalogueError: an item is no JSON, or a list has no end, or more behind it.
    """
    decode = json.JSONDecoder().raw_decode
    at = buffer.index("[") + 1 if is_list else 0  # the next item's offset in the buffer
    is_whole = False  # whether the buffer goes to the file's end
    number = 1
    while True:
        at = _skip_separators(buffer, at)
        if is_list and buffer[at : at + 1] == "]":
            break
        reason = "the file ends before the list does"
        try:
            if at < len(buffer):
                _, end = decode(buffer, at)
                yield number, buffer[at:end]
                at, number = end, number + 1
                continue
            if is_whole and not is_list:
                return
        except json.JSONDecodeError as error:
            reason = error.msg
        except RecursionError:
            is_whole, reason = True, "it is nested too deeply"
        if is_whole or len(buffer) - at > MAX_LINE:
            line += buffer[:at].count("\n")
            raise CatalogueError(
                f"Expected {path} to hold JSON objects, but item {number} (line {line}) is none: {reason}. "
                f"{hint_for(buffer[at : at + CHUNK])}"
            )
        line += buffer[:at].count("\n")
        more = file.read(max(CHUNK, len(buffer) - at))
        buffer, at, is_whole = buffer[at:] + more, 0, not more
    if buffer[at + 1 :].strip() or file.read().strip():
        raise CatalogueError(
            f"Expected {path} to be one list of JSON objects, but it goes on behind the list's end. {hint_for('')}"
        )


def _skip_separators(text: str, start: int) -> int:
    match = _SEPARATORS.match(text, start)
    return start if match is None else match.end()
