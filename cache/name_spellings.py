"""The ways that Unicode has to write one name of a file: Macs part letters from their accents, tables mostly do not."""

from __future__ import annotations

import unicodedata

__all__ = ["name_spellings"]


def name_spellings(name: str) -> list[str]:
    """Return a name as it is written, and then in the forms in which a file may have it.

    >>> [len(one) for one in name_spellings("größe.jpg")], name_spellings("a.jpg")
    ([9, 10], ['a.jpg'])
    """
    if name.isascii():
        return [name]
    return list(dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]))
