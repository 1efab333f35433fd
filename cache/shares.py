"""Shares in percent, as a person reads them in tables, pages and sentences."""

from __future__ import annotations

__all__ = ["percent"]

MOST_DIGITS = 4  # behind the point
NOTHING = 1e-9  # less than one of all rows there can be: what adding up shares may be off by


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, with so many digits behind the point, or more: what is not all is not called 100.

    Nor is what is not nothing called 0.

    >>> percent(0.1234), percent(5999 / 6000), percent(1 / 6000), percent(0.999, 0), percent(1), percent(0)
    ('12.3', '99.98', '0.02', '99.9', '100.0', '0.0')
    >>> percent(-1 / 6000), percent(1e-7), percent(1 - 1e-7)
    ('-0.02', '<0.0001', '>99.9999')
    """
    if min(abs(share), abs(1 - abs(share))) < NOTHING:
        return f"{100 * round(share):.{digits}f}"
    for n_digits in range(digits, MOST_DIGITS + 1):
        shown = f"{100 * share:.{n_digits}f}"
        if abs(float(shown)) not in (0, 100):
            return shown
    sign = "-" if share < 0 else ""
    return f"{sign}<{10**-MOST_DIGITS:.{MOST_DIGITS}f}" if abs(share) < 0.5 else f"{sign}>{100 - 10**-MOST_DIGITS}"
