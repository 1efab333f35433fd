"""Columns whose cells may be lists, where a format has such: those of pictures and labels, by name or by option."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cache.columns.column_names import usual_columns
from embed.settings import ExtractSettings

__all__ = ["LISTS_STAY", "is_requested", "keeps_lists", "list_cell"]

LISTS_STAY = " (lists that --label or --image-column name stay)"


def keeps_lists(name: str, settings: ExtractSettings, *, plain_columns: Iterable[str] = ()) -> bool:
    """Return whether lists in a column stay, as JSON: an option names it, or it is called as pictures and labels are.

    A column that no option names does not keep its lists where one of the `plain_columns`, which have none, is called
    so, too.

    >>> keeps_lists("categories", ExtractSettings()), keeps_lists("tags", ExtractSettings())
    (True, False)
    >>> keeps_lists("categories", ExtractSettings(), plain_columns=["product_type"])
    False
    """
    roles = [role for role in ("image", "label") if not usual_columns(role, plain_columns)]
    return is_requested(name, settings) or any(usual_columns(role, [name]) for role in roles)


def is_requested(name: str, settings: ExtractSettings) -> bool:
    """Return whether an option names a column for the pictures or the label."""
    return name in (settings.label, settings.image_column)


def list_cell(items: list[Any]) -> str:
    """Return the cell of JSON that a list is, and an empty cell for an empty list, which says nothing.

    >>> list_cell(["Küche", "Tassen"]), list_cell([])
    ('["Küche", "Tassen"]', '')
    """
    return json.dumps(items, ensure_ascii=False, default=_plain) if items else ""


def _plain(value: Any) -> Any:
    """Return a value that JSON does not know, such as NumPy's or a date, as a list, a number or text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
