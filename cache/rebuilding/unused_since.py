"""Since which day each content is known to be unused.

A cache has no dates, so that the same content gives the same file. The file ``<cache>.unused`` beside it is a ``.npy``
table of modality, key and day (as `datetime.date.toordinal` counts), which `cache-gc --keep-days` writes each time it
looks. Without the file, or with a damaged one, the days begin anew: contents are kept longer, never shorter.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cache.errors import CacheError
from cache.system.aside import write_aside
from cache.system.reading import facts_of, reading

__all__ = ["days_unused"]

log = logging.getLogger("embed_once")

ROW = np.dtype([("modality", "S32"), ("key", "S64"), ("day", "<i4")])


def days_unused(cache_path: Path, unused: Mapping[str, np.ndarray], *, today: int) -> dict[str, np.ndarray]:
    """Return for how many days each unused content is known to be unused; note today for those that are new.

    Contents that are used again are forgotten. A day in the future, as after a clock was set back, counts as today.

    Shape:
        unused: {modality: (n,) S64 keys}
        output: {modality: (n,) int64}

    Raises:
        CacheError: the file could not be written.
        UnreadableError: the system could not read it.
    """
    path = cache_path.with_name(cache_path.name + ".unused")
    noted = {(row["modality"], row["key"]): int(row["day"]) for row in _read(path)}
    first_days = {
        modality: np.array([min(noted.get((modality.encode(), key), today), today) for key in keys], dtype=np.int64)
        for modality, keys in unused.items()
    }
    rows = [
        (modality, key, day)
        for modality, keys in unused.items()
        for key, day in zip(keys, first_days[modality].tolist(), strict=True)
    ]
    table = np.array(rows, dtype=ROW)
    try:
        write_aside(path, lambda aside: _write(aside, table), folder=path.parent)
    except OSError as error:
        raise CacheError(
            f"--keep-days: expected to note unused contents in {path}, but: {error.strerror}. Nothing was changed. "
            "Correct that and type the same line again."
        ) from error
    return {modality: today - days for modality, days in first_days.items()}


def _read(path: Path) -> np.ndarray:
    """Return the rows of the file; none where there is no file, or it is no such table."""
    if facts_of(path) is None:
        return np.empty(0, dtype=ROW)
    try:
        with reading(path):
            table = np.load(path, allow_pickle=False)
        if table.dtype != ROW or table.ndim != 1:
            raise ValueError("it is another table")
    except (ValueError, EOFError) as error:
        log.warning("%s is no list of unused contents (%s): their days begin anew.", path, error)
        return np.empty(0, dtype=ROW)
    return table


def _write(path: Path, table: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, table, allow_pickle=False)
