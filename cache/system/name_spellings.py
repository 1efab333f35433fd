"""The ways that Unicode has to write one name of a file: Macs part letters from their accents, tables mostly do not."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

__all__ = ["name_spellings", "spelling_in"]


def name_spellings(name: str) -> list[str]:
    """Return a name as it is written, and then in the forms in which a file may have it.

    >>> [len(one) for one in name_spellings("größe.jpg")], name_spellings("a.jpg")
    ([9, 10], ['a.jpg'])
    """
    if name.isascii():
        return [name]
    return list(dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]))


def spelling_in(folder: Path, name: str) -> str:
    """Return a name in the form that a file below a folder has; as it is where none has, or there is but one form."""
    spellings = name_spellings(name)
    if len(spellings) == 1:
        return name  # the folder is not asked
    return next((one for one in spellings if os.path.lexists(folder / one)), name)
