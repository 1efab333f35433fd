"""The usual names of a catalogue's columns, by what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["USUAL_NAMES", "usual_column"]

# The most telling first; case, blanks, "_" and "-" do not count.
USUAL_NAMES = {
    "id": ("id", "product_id", "item_id", "sku", "asin", "uid", "uniq_id"),
    "image": (
        "image", "image_path", "filename", "image_file", "image_filename", "image_name", "img", "img_path",
        "picture", "photo", "file_name", "path", "file", "images", "pictures", "photos",
    ),
    "text": (
        "text", "title", "description", "productDisplayName", "product_title", "product_name",
        "display_name", "name", "caption",
    ),
    "label": ("label", "category", "class", "target"),
}  # fmt: skip


def usual_column(role: str, columns: Iterable[str]) -> str | None:
    """Return the column that has the most telling of a role's usual names; None where there is none.

    >>> usual_column("image", ["Title", "Image Path"])
    'Image Path'
    """
    by_plain_name: dict[str, str] = {}
    for column in columns:
        by_plain_name.setdefault(_plain(column), column)  # the first of equals
    return next((by_plain_name[_plain(name)] for name in USUAL_NAMES[role] if _plain(name) in by_plain_name), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
