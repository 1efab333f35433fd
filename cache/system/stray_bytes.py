r"""Bytes that are not Unicode: kept as ``surrogateescape`` has them, written to CSV as they were, shown as ``\xe9``."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["SHOWN", "STRAY", "open_csv", "printable", "shown", "shown_values"]

SHOWN = "embed_once.shown"  # an error handler for encoding
STRAY = re.compile("[\udc80-\udcff]")
# Control characters, and those that change the direction of writing, which make a name look like another.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def open_csv(path: Path) -> IO[str]:
    """Open a CSV file to write in UTF-8; bytes that were not Unicode become what they were."""
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")


def shown(text: str) -> str:
    r"""Return a text for people and for JSON, which any program can take: bytes that are not Unicode stand as ``\xe9``.

    >>> print(shown("caf\udce9"))
    caf\xe9
    """
    return text.encode(errors=SHOWN).decode()


def printable(text: str) -> str:
    r"""Return a text for a terminal, which obeys control characters: all but line ends and tabs are escaped.

    >>> print(printable("\x1b[2Jred\n\u202eder"))
    \x1b[2Jred
    \u202eder
    """
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shown_values(value: Any) -> Any:
    """Return what JSON can hold with all texts as they are shown, the keys of mappings too."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown_values(name): shown_values(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown_values(part) for part in value]
    return value


def _show(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes behind half surrogates, and escape all else as Python does."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if STRAY.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}", error.start + 1
    return character.encode("ascii", "backslashreplace").decode(), error.start + 1


codecs.register_error(SHOWN, _show)
