"""Columns whose cells may be lists, where a format has such: those of pictures and labels, by name or as asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cache.columns.column_names import usual_columns
from embed.settings import ExtractSettings

__all__ = ["LISTS_STAY", "is_asked", "keeps_lists", "list_cell"]

LISTS_STAY = " (lists that --label or --image-column name stay)"


def keeps_lists(name: str, settings: ExtractSettings, *, others: Iterable[str] = ()) -> bool:
    """Return whether lists in a column stay, as JSON: it is asked for, or called as pictures and labels are.

    Of those that nobody asked for none stays beside `others`, columns without lists, that are called so, too.

    >>> keeps_lists("categories", ExtractSettings()), keeps_lists("tags", ExtractSettings())
    (True, False)
    >>> keeps_lists("categories", ExtractSettings(), others=["product_type"])
    False
    """
    roles = [role for role in ("image", "label") if not usual_columns(role, others)]
    return is_asked(name, settings) or any(usual_columns(role, [name]) for role in roles)


def is_asked(name: str, settings: ExtractSettings) -> bool:
    """Return whether an option names a column for the pictures or the label."""
    return name in (settings.label, settings.image_column)


def list_cell(items: list[Any]) -> str:
    """Return the cell of JSON that a list is, and an empty cell for an empty list, which says nothing.

    >>> list_cell(["Küche", "Tassen"]), list_cell([])
    ('["Küche", "Tassen"]', '')
    """
    return json.dumps(items, ensure_ascii=False, default=_plain) if items else ""


def _plain(value: Any) -> Any:
    """Return what JSON has no value for as a list, a number or text: NumPy's arrays and numbers, dates."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
