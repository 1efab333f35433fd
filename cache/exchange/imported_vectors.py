"""`ImportedVectors`: vectors that another program made, and what stands beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache.errors import CacheError
from cache.system.reading import reading

__all__ = ["ImportedVectors", "read_texts"]

MOST_CELL_BYTES = 2**24


@dataclass(frozen=True)
class ImportedVectors:
    """N vectors, which can be read a block at a time and again and again, and the columns of texts beside them.

    Shape:
        blocks: yields (B, D) floats; a row of NaN alone is no vector
    """

    path: Path
    n_rows: int
    dim: int
    blocks: Callable[[], Iterator[np.ndarray]]
    texts: dict[str, list[str]] = field(default_factory=dict)
    column: str = ""  # the name of the vectors' column; "" where there are no columns


def read_texts(path: Path) -> dict[str, list[str]]:
    """Return the columns of a CSV file with a header, as they are written.

    Raises:
        CacheError: there is no such file, or it is no such table; the message names the line.
        UnreadableError: the system cannot read it.
    """
    csv.field_size_limit(MOST_CELL_BYTES)
    try:
        with reading(path), path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = csv.reader(file, strict=True)
            names = next(lines, [])
            rows = []
            for cells in lines:
                if cells and len(cells) != len(names):
                    raise CacheError(
                        f"Expected line {lines.line_num} of {path} to have {len(names)} cells as the header, got "
                        f"{len(cells)}. Mend it."
                    )
                rows += [cells] if cells else []
    except FileNotFoundError as error:
        raise CacheError(f"--ids: expected a CSV file, but {path} is not there. Name another.") from error
    except csv.Error as error:
        raise CacheError(f"--ids: expected {path} to be a CSV file, got one that is not: {error}.") from error
    if not names or len(set(names)) < len(names):
        raise CacheError(f"--ids: expected {path} to begin with different names of columns, got {names}.")
    return {name: [cells[n] for cells in rows] for n, name in enumerate(names)}
