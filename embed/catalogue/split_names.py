"""Splits that the names of folders and files say: ``train``, ``val``, ``test``, as most datasets call them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

__all__ = ["SPLIT", "SPLITS", "splits_of_files"]

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
        said = [SPLITS.intersection(re.findall("[a-z]+", name.lower())) for name in names]
        if all(len(words) == 1 for words in said) and len(set().union(*said)) > 1:
            return {file: word for file, (word,) in zip(files, said, strict=True)}
    return {}
