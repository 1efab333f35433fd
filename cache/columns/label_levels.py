"""One level of a label that is a path: ``Kitchen > Mugs``, ``Home >> Kitchen``, ``a|b``, or a list of names.

The separator of a cell is the first of `SEPARATORS` that it has, or the slash where it begins with one of several.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import Any

from cache.columns.labels import clean_label

__all__ = ["is_path_or_list", "label_at", "label_levels", "levels_sentence"]

MOSTLY_PATHS = 0.5  # the share of rows with a path, from which on a label is taken to be one
SEPARATORS = (">>", ">", "|", "&gt;", "\u203a", " \xbb ")
SLASH = "/"
NAME_FIELDS = ("name", "value", "title")  # of an object in a list, the first that it has
MOST_CHARACTERS = 100_000  # of a list


def label_at(cell: str, level: int) -> str:
    """Return the name at a level: 1 is the first, -1 the last; "" where the cell has no such level.

    >>> [label_at("Home >> Kitchen >> Mugs", level) for level in (1, 2, -1, 4)]
    ['Home', 'Kitchen', 'Mugs', '']
    """
    levels = label_levels(cell)
    index = level - 1 if level > 0 else len(levels) + level
    return levels[index] if 0 <= index < len(levels) else ""


def label_levels(cell: str) -> list[str]:
    """Return the names of a cell's path, the first level first; of a list of paths, the names of the first path.

    >>> label_levels('[["Beauty", "Hair Care"], ["Gifts"]]')
    ['Beauty', 'Hair Care']
    >>> label_levels('["Clothing >> Shorts"]')
    ['Clothing', 'Shorts']
    >>> label_levels('[{"id": "a1", "name": "Kitchen"}, {"id": "b0", "name": "Mugs"}]')
    ['Kitchen', 'Mugs']
    """
    items = _list(cell.strip())
    while items and isinstance(items[0], list):
        items = items[0]
    if items is not None and len(items) != 1:
        names = [_name(item) for item in items]
    else:
        text = _name(items[0]) if items else cell
        has_slashes = text.strip().startswith(SLASH) and text.count(SLASH) > 1
        separator = next((mark for mark in SEPARATORS if mark in text), SLASH if has_slashes else None)
        names = [text] if separator is None else text.split(separator)
    return [name for name in map(clean_label, names) if name]


def is_path_or_list(name: str) -> bool:
    """Return whether a label is a path of several names, or a list, even of one name.

    >>> [is_path_or_list(name) for name in ("Home \u203a Mugs", '["Mugs"]', "Mugs", "[Mugs]")]
    [True, True, False, False]
    """
    levels = label_levels(name)
    return len(levels) > 1 or (name.lstrip().startswith("[") and levels != [name])


def levels_sentence(column: str, classes: Iterable[tuple[str, int]]) -> str:
    """Return a sentence on labels that are paths or lists in most rows; "" where they are not.

    `classes` are the labels, with the number of rows of each.

    >>> levels_sentence("kind", [("Home > Mugs", 7), ("Lamps", 3)]).partition(": ")[2]
    '--label-level 1 learns the first name, -1 the last.'
    >>> levels_sentence("kind", [("Home > Mugs", 3), ("Lamps", 7)])
    ''
    """
    counts = list(classes)
    path_counts = [(label, count) for label, count in counts if is_path_or_list(label)]
    n_rows = sum(count for _, count in counts)
    n_path_rows = sum(count for _, count in path_counts)
    if not n_rows or n_path_rows < MOSTLY_PATHS * n_rows:
        return ""
    example, _ = max(path_counts, key=lambda pair: pair[1])
    return (
        f"Labels of {column} are paths or lists ({example}), each of which is a class as a whole: --label-level 1 "
        "learns the first name, -1 the last."
    )


def _list(cell: str) -> list[Any] | None:
    """Return the list that a cell holds in JSON or as Python writes it; None where it holds none."""
    if not cell.startswith("[") or len(cell) > MOST_CHARACTERS:
        return None
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return None
    return value if isinstance(value, list) else None


def _name(item: Any) -> str:
    """Return the name that an item of a list is or has; "" where it has none."""
    if isinstance(item, dict):
        item = next((item[name] for name in NAME_FIELDS if name in item), "")
    return "" if item is None or isinstance(item, list | dict) else str(item)
