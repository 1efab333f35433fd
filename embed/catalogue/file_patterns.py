"""Files that a pattern names, ``part-{000..003}.csv``, ``part-*.csv``, ``{train,test}.csv``, and folders below one."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cache.system.reading import raise_if_refused
from embed.errors import CatalogueError

__all__ = ["find_files", "folders_within", "is_pattern", "refuse_folder"]

MOST_FILES = 1_000_000
SIGNS = "{*?["

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*)\}")


def is_pattern(path: Path) -> bool:
    """Return whether a path that is no file stands for several."""
    return any(sign in str(path) for sign in SIGNS)


def find_files(path: Path) -> list[Path]:
    """Return the files that a pattern names: braces in their order, what ``*`` and ``?`` stand for sorted by name.

    Raises:
        CatalogueError: one of them is not there, or the braces count downwards.
    """
    files = []
    for name in itertools.islice(_expand(str(path)), MOST_FILES):
        matches = [name] if Path(name).is_file() else sorted(glob.glob(name))
        if not matches:
            raise CatalogueError(f"Expected {path} to name files that are there, but there is no {name}.")
        files += matches
    return [Path(file) for file in files]


def _expand(name: str) -> Iterator[str]:
    """Yield the names that braces stand for: ``{000..003}`` counts, ``{a,b}`` lists."""
    if match := _RANGE.search(name):
        first, last = match.groups()
        if int(first) > int(last):
            raise CatalogueError(
                f"Expected braces to count upwards, got {match[0]} in {name}: write {{{last}..{first}}}."
            )
        words: Iterator[str] = (f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1))
    elif match := _CHOICE.search(name):
        words = iter(match[1].split(","))
    else:
        yield name
        return
    for word in words:
        yield from _expand(name[: match.start()] + word + name[match.end() :])


def folders_within(folder: Path) -> Iterator[Path]:
    """Yield a folder and all below it, by name; none that begins with a dot, that is a link, or that has our own runs.

    Raises:
        CatalogueError: one cannot be read.
    """
    for path, names, _ in os.walk(folder, onerror=refuse_folder):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "runs")
        yield Path(path)


def refuse_folder(error: OSError) -> NoReturn:
    """Tell which folder cannot be read: what is in it would be missing."""
    if not isinstance(error, PermissionError):
        raise_if_refused(error, error.filename)
    raise CatalogueError(
        f"Expected each folder below a catalogue to be readable, but {error.filename} is not: {error.strerror}. "
        "Permit reading it, or move it elsewhere."
    ) from error
