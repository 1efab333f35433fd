"""One level of a label that is a path: ``Kitchen > Mugs``, ``Home >> Kitchen``, ``a|b``, or a list of names.

What parts the names is the first of `SEPARATORS` that a cell has, or slashes where it begins with one of several.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import Any

from cache.columns.labels import clean_label

__all__ = ["is_path_or_list", "label_at", "label_levels", "levels_sentence"]

MOSTLY_PATHS = 0.5  # of the rows, from which on a label is one of paths
SEPARATORS = (">>", ">", "|", "&gt;", "\u203a", " \xbb ")  # the first that a cell has
SLASH = "/"
NAMES = ("name", "value", "title")  # of an object in a list, the first that it has
MOST_CHARACTERS = 100_000  # of a list


def label_at(cell: str, level: int) -> str:
    """Return the name at a level: 1 is the first, -1 the last; "" where the cell has no such level.

    >>> [label_at("Home >> Kitchen >> Mugs", level) for level in (1, 2, -1, 4)]
    ['Home', 'Kitchen', 'Mugs', '']
    """
    levels = label_levels(cell)
    place = level - 1 if level > 0 else len(levels) + level
    return levels[place] if 0 <= place < len(levels) else ""


def label_levels(cell: str) -> list[str]:
    """Return the names of a cell's path, the first level first; of a list of paths those of the first one.

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
        is_of_slashes = text.strip().startswith(SLASH) and text.count(SLASH) > 1
        separator = next((one for one in SEPARATORS if one in text), SLASH if is_of_slashes else None)
        names = [text] if separator is None else text.split(separator)
    return [name for name in map(clean_label, names) if name]


def is_path_or_list(name: str) -> bool:
    """Return whether a label is of several names, or a list even of one.

    >>> [is_path_or_list(name) for name in ("Home \u203a Mugs", '["Mugs"]', "Mugs", "[Mugs]")]
    [True, True, False, False]
    """
    levels = label_levels(name)
    return len(levels) > 1 or (name.lstrip().startswith("[") and levels != [name])


def levels_sentence(column: str, classes: Iterable[tuple[str, int]]) -> str:
    """Return what to say of labels most rows of which have a path or a list, (name, rows); "" where they do not.

    >>> levels_sentence("kind", [("Home > Mugs", 7), ("Lamps", 3)]).partition(": ")[2]
    '--label-level 1 learns the first name, -1 the last.'
    >>> levels_sentence("kind", [("Home > Mugs", 3), ("Lamps", 7)])
    ''
    """
    classes = list(classes)
    paths = [one for one in classes if is_path_or_list(one[0])]
    n_rows, n_of_paths = (sum(count for _, count in some) for some in (classes, paths))
    if not n_rows or n_of_paths < MOSTLY_PATHS * n_rows:
        return ""
    example, _ = max(paths, key=lambda one: one[1])
    return (
        f"Labels of {column} are paths or lists ({example}), each of which is a class as a whole: --label-level 1 "
        "learns the first name, -1 the last."
    )


def _list(cell: str) -> list[Any] | None:
    """Return the list that a cell is, as JSON or as Python writes it; None where it is none."""
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
    if isinstance(item, dict):
        item = next((item[name] for name in NAMES if name in item), "")
    return "" if item is None or isinstance(item, list | dict) else str(item)
