"""The ways to write one file name in Unicode: Macs write letters and accents apart (NFD), tables mostly do not."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

__all__ = ["name_spellings", "spelling_in"]


def name_spellings(name: str) -> list[str]:
    """Return a name as it is written, and then in the other forms that a file's name may have.

    >>> [len(form) for form in name_spellings("größe.jpg")], name_spellings("a.jpg")
    ([9, 10], ['a.jpg'])
    """
    if name.isascii():
        return [name]
    return list(dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]))


def spelling_in(folder: Path, name: str) -> str:
    """Return a name in the form that a file in the folder has; as it is where there is no such file."""
    spellings = name_spellings(name)
    if len(spellings) == 1:
        return name  # the folder is not asked
    return next((spelling for spelling in spellings if os.path.lexists(folder / spelling)), name)
