"""The options of a request, which say how to answer it, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from heads.serving.refusal import Refusal

__all__ = ["count_of", "flag_of", "word_of"]


def count_of(options: Mapping[str, Any], name: str, *, default: int, most: int) -> int:
    """Return an option that is a whole number from 1 to `most`.

    Raises:
        Refusal: it is not.
    """
    value = options.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Refusal(422, f"Expected {name} to be a whole number from 1 to {most}, got {str(value)[:40]!r}.")
    return value


def flag_of(options: Mapping[str, Any], name: str) -> bool:
    """Return an option that is true or false.

    Raises:
        Refusal: it is neither true nor false.
    """
    words = {"true": True, "1": True, "false": False, "0": False, "": False}
    value = options.get(name, False)
    value = words.get(value.lower(), value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise Refusal(422, f"Expected {name} to be true or false, got {str(value)[:40]!r}.")
    return value


def word_of(options: Mapping[str, Any], name: str, *, default: str, words: Sequence[str]) -> str:
    """Return an option that is one of some words.

    Raises:
        Refusal: it is not.
    """
    value = options.get(name, default)
    if value not in words:
        raise Refusal(422, f"Expected {name} to be {' or '.join(words)}, got {str(value)[:40]!r}.")
    return str(value)
