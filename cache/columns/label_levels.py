"""One level of a label that is a path: ``Kitchen > Mugs``, ``Home >> Kitchen``, ``a|b``, or a list of names.

The separator of a cell is the first of `SEPARATORS` that it has, or the slash where it begins with one of several or
has two or more, as in ``Men/Tops/Shirts``. A cell may list several paths, as shops export them
(``Clothing > Shirts, Clothing > Sale``): what follows one of `LIST_MARKS` begins another path where its first name is
the first name of some path. So may a list: it is one of paths where its first item is one, but for slashes and bars.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from cache.columns.labels import clean_label

__all__ = [
    "PATHS_ARE",
    "first_names",
    "is_path_or_list",
    "label_at",
    "label_levels",
    "levels_sentence",
    "names_below_several",
]

MOSTLY_PATHS = 0.5  # the share of rows with a path, from which on a label is taken to be one
SEPARATORS = (">>", "->", "=>", ">", "|", "&gt;", "\u203a", " \xbb ", "\u2192", "::")
LIST_MARKS = (",", ";", "|")
SLASH = "/"
PATHS_ARE = 'A path is written a > b, a | b, a -> b, a :: b or a/b/c, and a list ["a", "b"].'
NAME_FIELDS = ("name", "value", "title")  # of an object in a list, the first that it has
MOST_CHARACTERS = 100_000  # of a list

_ENTITY = re.compile("&(amp|lt|quot|apos|nbsp|#x?[0-9a-f]+)$", re.IGNORECASE)  # but for its semicolon


def label_at(cell: str, level: int, roots: Collection[str] = ()) -> str:
    """Return the name at a level: 1 is the first, -1 the last; "" where the cell has no such level.

    >>> [label_at("Home >> Kitchen >> Mugs", level) for level in (1, 2, -1, 4)]
    ['Home', 'Kitchen', 'Mugs', '']
    """
    levels = label_levels(cell, roots)
    index = _index(levels, level)
    return levels[index] if 0 <= index < len(levels) else ""


def label_levels(cell: str, roots: Collection[str] = ()) -> list[str]:
    """Return the names of a cell's path, the first level first; of several paths, of the first, as far as any leads it.

    `roots` are the first names of paths in other cells, by which several paths in one are told, and names with slashes
    from paths.

    >>> label_levels('[["Beauty", "Hair Care"], ["Gifts"]]')
    ['Beauty', 'Hair Care']
    >>> label_levels('["Clothing >> Shorts"]')
    ['Clothing', 'Shorts']
    >>> label_levels('[{"id": "a1", "name": "Kitchen"}, {"id": "b0", "name": "Mugs"}]')
    ['Kitchen', 'Mugs']
    >>> label_levels("Clothing, Clothing > Shirts, Sale", roots={"Sale"})
    ['Clothing', 'Shirts']
    """
    text = _text_or_names(cell)
    if isinstance(text, list):
        if not text or _separator(text[0]) in (None, SLASH, "|"):  # which names in a list may have
            return text
        return _longest_of_first([label_levels(name) for name in text])
    separator = _separator(text)
    root = _root(text, SLASH) if separator == SLASH else ""
    if root and roots and root not in roots:
        separator = None
    if separator is None and not roots:
        return _clean([text])
    return _first_path(text, separator or SEPARATORS[0], roots)


def first_names(cells: Iterable[str]) -> set[str]:
    """Return the first names of the paths in cells, of each cell's first path.

    Where more paths have other marks, those with slashes are names: ``TV/Audio/Video``.

    >>> sorted(first_names(["Clothing > Shirts, Sale", "Sale, Sale > Summer", "Mugs"]))
    ['Clothing', 'Sale']
    """
    roots: dict[bool, list[str]] = {True: [], False: []}  # whether of paths with slashes
    for cell in cells:
        text = _text_or_names(cell)
        if isinstance(text, str) and (separator := _separator(text)) is not None:
            roots[separator == SLASH].append(_root(text, separator))
    are_slashes = len(roots[True]) > len(roots[False])
    return {*roots[False], *(roots[True] if are_slashes else ())} - {""}


def names_below_several(cells: Iterable[str], level: int) -> dict[str, list[str]]:
    """Return the names of a level that stand below several others, with these: {name: names above it}.

    >>> names_below_several(["Men > Shirts", "Women > Shirts", "Men > Ties"], -1)
    {'Shirts': ['Men', 'Women']}
    """
    cells = set(cells)
    roots = first_names(cells)
    above: defaultdict[str, set[str]] = defaultdict(set)
    for cell in cells:
        levels = label_levels(cell, roots)
        index = _index(levels, level)
        if 0 < index < len(levels):
            above[levels[index]].add(levels[index - 1])
    return {name: sorted(names) for name, names in sorted(above.items()) if len(names) > 1}


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


def _index(levels: Sequence[str], level: int) -> int:
    """Return where a level is, counted from the first; less than 0, or beyond the last, where there is none."""
    return level - 1 if level > 0 else len(levels) + level


def _text_or_names(cell: str) -> str | list[str]:
    """Return a cell's text, also where a list has it alone; of a list of several or none, their names."""
    items = _list(cell.strip())
    while items and isinstance(items[0], list):
        items = items[0]
    if items is not None and len(items) != 1:
        return _clean([_name(item) for item in items])
    return _name(items[0]) if items else cell


def _separator(text: str) -> str | None:
    """Return what stands between the names of a path; None where the text is one name."""
    if (separator := next((mark for mark in SEPARATORS if mark in text), None)) is not None:
        return separator
    if SLASH not in text or "//" in text:  # an address is no path of names
        return None
    names = [name.strip() for name in text.strip().split(SLASH)]
    is_path = len(names) > 2 and (not names[0] or all(any(map(str.isalpha, name)) for name in names if name))
    return SLASH if is_path else None


def _root(text: str, separator: str) -> str:
    name = text.split(separator)[0]
    for mark in LIST_MARKS:
        if mark not in separator:
            name = name.split(mark)[0]
    return clean_label(name)


def _first_path(text: str, separator: str, roots: Collection[str]) -> list[str]:
    """Return the first of the paths that a text lists, or one that leads it on."""
    if separator == "&gt;":  # its semicolon ends no path
        text, separator = text.replace(separator, ">"), ">"
    own_root = _root(text, separator)
    for mark in LIST_MARKS:
        pieces = [] if mark in separator else text.split(mark)
        paths: list[str] = []
        for piece in pieces:
            root = clean_label(piece.split(separator)[0])
            is_cut = bool(paths) and mark == ";" and _ENTITY.search(paths[-1]) is not None
            if paths and (is_cut or (root != own_root and root not in roots)):
                paths[-1] += mark + piece  # a name with a comma
            else:
                paths.append(piece)
        if len(paths) > 1:
            return _longest_of_first([_clean(path.split(separator)) for path in paths])
    return _clean(text.split(separator))


def _longest_of_first(paths: Sequence[list[str]]) -> list[str]:
    """Return the first of some paths, or the longest that leads it on."""
    first, *others = paths
    return max([first, *(path for path in others if path[: len(first)] == first)], key=len)


def _clean(names: Sequence[str]) -> list[str]:
    return [name for name in map(clean_label, names) if name]


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
