"""A label as training reads it."""

from __future__ import annotations

from cache.keys import normalised

__all__ = ["clean_label"]


def clean_label(cell: str) -> str:
    r"""Return the cell as a text is read: Unicode NFC, runs of white space as one blank, none at its ends.

    >>> clean_label("  Tea\n cups"), clean_label("Cafe\u0301") == clean_label("Caf\xe9")
    ('Tea cups', True)
    """
    return normalised(cell)
