"""Amounts as a person reads them: bytes and seconds with three digits or fewer, and nouns with their numbers."""

from __future__ import annotations

__all__ = ["plural", "show_bytes", "show_seconds"]


def show_bytes(n_bytes: float) -> str:
    """Return bytes in the largest unit that they fill.

    >>> show_bytes(24_500_000), show_bytes(900)
    ('24.5 MB', '900 B')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if n_bytes >= 0.9995 * size:
            return f"{n_bytes / size:.3g} {unit}" if n_bytes < 999.5 * size else f"{n_bytes / size:.0f} {unit}"
    return f"{n_bytes:.0f} B"


def show_seconds(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> show_seconds(43), show_seconds(600), show_seconds(7300)
    ('43 s', '10 min', '2.0 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 72 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def plural(n: int, singular: str, plural_noun: str | None = None) -> str:
    """Return a number with the noun that it counts.

    >>> plural(1, "row"), plural(6000, "row"), plural(2, "class", "classes")
    ('1 row', '6,000 rows', '2 classes')
    """
    return f"{n:,} {singular if n == 1 else plural_noun or singular + 's'}"
