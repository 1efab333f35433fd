"""Splits that the names of folders and files say: ``train``, ``val``, ``test``, as most datasets call them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

__all__ = ["SPLIT", "SPLITS", "is_of_split", "splits_of_files"]

SPLIT = "split"  # the column that says them
MOST_PARTS = 4  # of a path, from its name up
SPLITS = {"dev", "eval", "evaluation", "test", "testing", "train", "training", "val", "valid", "validation"}


def splits_of_files(files: Collection[Path]) -> dict[Path, str]:
    """Return the split that each file's name says, or else a folder above it; none unless all do, and several.

    >>> files = [Path("data/train-00000-of-00001.parquet"), Path("data/test-00000-of-00001.parquet")]
    >>> list(splits_of_files(files).values()), splits_of_files(files[:1])
    (['train', 'test'], {})
    >>> list(splits_of_files([Path("train/a/0.csv"), Path("test/a/0.csv")]).values())
    ['train', 'test']
    """
    for names in zip(*(reversed(file.parts[-MOST_PARTS:]) for file in files), strict=False):
        splits = list(map(_splits_in, names))
        if all(len(words) == 1 for words in splits) and len(set().union(*splits)) > 1:
            return {file: word for file, (word,) in zip(files, splits, strict=True)}
    return {}


def is_of_split(name: str, table_name: str) -> bool:
    """Return whether a path says no other split than a table's name does, or than training where that says none.

    Words are the same split where their first two letters are: ``train`` and ``training``, ``val`` and ``validation``.

    >>> is_of_split("train/7.jpg", "Training.csv"), is_of_split("test/7.jpg", "shop.csv")
    (True, False)
    """
    splits, table_splits = ({word[:2] for word in _splits_in(path)} for path in (name, table_name))
    return splits <= (table_splits or {"tr"})


def _splits_in(name: str) -> set[str]:
    """Return the words of a name that say splits, in lower case."""
    return SPLITS.intersection(re.findall("[a-z]+", name.lower()))
