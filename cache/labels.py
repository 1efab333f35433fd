"""A label as training reads it."""

from __future__ import annotations

__all__ = ["clean_label"]


def clean_label(cell: str) -> str:
    r"""Return the cell with runs of white space as one blank, and none at its ends.

    >>> clean_label("  Tea\n cups")
    'Tea cups'
    """
    return " ".join(cell.split())
