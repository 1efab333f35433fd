"""Quantiles of what was measured: values that occur, none between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["QUANTILES", "find_quantiles"]

QUANTILES = {"p0": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "p100": 1.0}

Number = TypeVar("Number", int, float)


def find_quantiles(values: Sequence[Number]) -> dict[str, Number]:
    """Return values at the places of `QUANTILES` in order, none of no values.

    >>> find_quantiles([30, 10, 20])["p50"]
    20
    """
    ordered = sorted(values)
    return {name: ordered[round(share * (len(ordered) - 1))] for name, share in QUANTILES.items()} if ordered else {}
