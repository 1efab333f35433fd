"""Columns whose cells may be lists, where a format has such: those of pictures and labels, by name or as asked."""

from __future__ import annotations

from cache.column_names import usual_columns
from embed.settings import ExtractSettings

__all__ = ["LISTS_STAY", "keeps_lists"]

LISTS_STAY = " (lists that --label or --image-column name stay)"


def keeps_lists(name: str, settings: ExtractSettings) -> bool:
    """Return whether lists in a column stay, as JSON: it is asked for, or called as pictures and labels are.

    >>> keeps_lists("categories", ExtractSettings()), keeps_lists("tags", ExtractSettings())
    (True, False)
    """
    asked = {settings.label, settings.image_column}
    return name in asked or any(usual_columns(role, [name]) for role in ("image", "label"))
