"""The usual names of a catalogue's columns, by what they are for."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Sequence

from cache.arrays.string_column import StringColumn

__all__ = [
    "PICTURE_KEYS",
    "USUAL_NAMES",
    "mistyped_column",
    "near_column",
    "no_such_column",
    "plain_name",
    "share_filled",
    "usual_column",
    "usual_columns",
]

# What may stand around a usual name without changing it: the marks of forms, and the namespaces of feeds.
SYMBOLS = " \t*:#"
NAMESPACES = ("g", "og", "dc")
NOTES = tuple(form.format(word) for word in ("required", "optional", "mandatory") for form in ("({})", "[{}]"))
LONGEST_NAME = 100  # letters

ALIKE = 0.8  # difflib's ratio from which on a name is taken for a mistyped other one

# A column less filled than this share of a role's fullest is passed over; labels may stand in few rows.
LEAST_FILLED = {"label": 0.1}
USUALLY_FILLED = 0.5

MOST_SLIPS = 2  # letters of a name that are missing, too many or wrong

# The column of products that have the mean of several pictures: the pictures' content keys, with blanks between.
PICTURE_KEYS = "picture_keys"

# The most telling first. Case, blanks, "_" and "-" do not count, and neither do marks: "*Title (required)", "g:title".
USUAL_NAMES = {
    "id": ("id", "product_id", "item_id", "sku", "asin", "uid", "uniq_id", "handle", "item_sku", "seller_sku"),
    "image": (
        "image", "image_path", "filename", "image_file", "image_filename", "image_name", "img", "img_path",
        "image_src", "picture", "photo", "file_name", "path", "file", "images", "pictures", "photos", "main_image",
        "image_url", "image_link", "main_image_url", "img_url", "picture_url", "pic_url",
        "image_urls", "base_image",
    ),
    "text": (
        "text", "title", "productDisplayName", "product_title", "product_name", "display_name", "item_name", "name",
        "caption", "description", "product_description",
    ),
    "label": (
        "label", "category", "class", "target", "labels", "categories", "category_name", "class_name",
        "product_category", "product_type",
    ),
    "group": (
        "item_group_id", "product_group_id", "group_id", "handle", "parent_id", "parent_asin", "parent_sku", "parent",
        "product_id", "item_id", "style_id", "product", "product_group", "asin", "sku",
    ),
}  # fmt: skip


def usual_column(role: str, columns: Iterable[str], filled: Callable[[str], float] | None = None) -> str | None:
    """Return the column that has the most telling of a role's usual names; None where no column has one.

    `filled` returns the share of a column's cells that are filled. Where it is given, a column that is less than half
    as full as the fullest is passed over; for labels, less than a tenth as full.

    >>> usual_column("image", ["Title", "Image Path"])
    'Image Path'
    >>> usual_column("text", ["Title", "Name"], {"Title": 0.1, "Name": 1.0}.__getitem__)
    'Name'
    """
    usual = usual_columns(role, columns)
    if filled is None or len(usual) < 2:
        return next(iter(usual), None)
    shares = [filled(column) for column in usual]
    least_share = LEAST_FILLED.get(role, USUALLY_FILLED) * max(shares)
    return next(column for column, share in zip(usual, shares, strict=True) if share >= least_share)


def usual_columns(role: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that have one of a role's usual names, the most telling first.

    Columns whose names have marks are returned only where no column has a usual name without marks.

    >>> usual_columns("text", ["*Title (required)", "Name:"]), usual_columns("label", ["Label:", "class"])
    (['*Title (required)', 'Name:'], ['class'])
    >>> usual_columns("id", ["g:id", "seller:id", "ID (parent)"])
    ['g:id']
    """
    columns = [column for column in columns if len(column) <= LONGEST_NAME]
    for spell in (plain_name, _unmarked_name):
        by_name = {spell(column): column for column in reversed(columns)}  # the first column of those with one name
        if usual := [by_name[name] for name in _plain_usual_names(role) if name in by_name]:
            return usual
    return []


def near_column(name: str, columns: Iterable[str]) -> str | None:
    """Return the column whose name is most like `name`, which is none of them; None where none is like it.

    >>> near_column("articletyp", ["id", "articleType"])
    'articleType'
    """
    by_plain_name = {plain_name(column): column for column in reversed(list(columns))}
    matches = difflib.get_close_matches(plain_name(name), by_plain_name, n=1, cutoff=ALIKE)
    return by_plain_name[matches[0]] if matches else None


def mistyped_column(name: str, columns: Iterable[str]) -> str | None:
    """Return the column of which `name`, which is none of them, is a slip; None where it may be a new column's name.

    A slip changes at most `MOST_SLIPS` letters. No slip, but the name of another column, is a name that adds to a
    column's name, that has other digits, or that is a usual name of labels.

    >>> mistyped_column("articletyp", ["id", "articleType"]), mistyped_column("article type", ["articleType"])
    ('articleType', 'articleType')
    >>> mistyped_column("articleType2", ["articleType"]), mistyped_column("category", ["subCategory"])
    (None, None)
    """
    nearest = near_column(name, columns)
    if nearest is None:
        return None
    plain, column = plain_name(name), plain_name(nearest)
    if plain == column:
        return nearest
    if plain.startswith(column) or plain.endswith(column) or re.findall(r"\d", plain) != re.findall(r"\d", column):
        return None
    usual_labels = _plain_usual_names("label")
    if plain in usual_labels and column not in usual_labels:
        return None
    edits = difflib.SequenceMatcher(None, plain, column, autojunk=False).get_opcodes()
    n_slips = sum(
        max(stop - start, column_stop - column_start)
        for tag, start, stop, column_start, column_stop in edits
        if tag != "equal"
    )
    return nearest if n_slips <= MOST_SLIPS else None


def no_such_column(option: str, name: str | None, columns: Sequence[str]) -> str:
    """Return the message for an option that names a column that the catalogue lacks."""
    nearest = near_column(name, columns) if name is not None else None
    expected = f"{option}: expected one of the catalogue's columns ({', '.join(columns) or 'none'}), got {name!r}."
    return f"{expected} Did you mean {nearest}?" if nearest else expected


def plain_name(name: str) -> str:
    """Return a column's name without what does not count in it: case, blanks, "_" and "-"."""
    return re.sub(r"[\s_-]", "", name).lower()


def share_filled(cells: Sequence[str]) -> float:
    """Return the share of the cells that are more than blanks."""
    n_filled = cells.n_filled if isinstance(cells, StringColumn) else sum(bool(cell.strip()) for cell in cells)
    return n_filled / max(1, len(cells))


@functools.cache
def _plain_usual_names(role: str) -> tuple[str, ...]:
    return tuple(map(plain_name, USUAL_NAMES[role]))


def _unmarked_name(name: str) -> str:
    """Return a column's plain name without the marks around it."""
    text = name.strip(SYMBOLS).lower()
    namespace, _, local_name = text.partition(":")
    text = local_name if namespace in NAMESPACES else text
    for note in NOTES:
        text = text.removesuffix(note).removeprefix(note).strip(SYMBOLS)
    return plain_name(text)
