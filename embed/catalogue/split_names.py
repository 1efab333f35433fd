"""Splits that the names of folders and files say: ``train``, ``val``, ``test``, as most datasets call them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

__all__ = ["SPLIT", "SPLITS", "splits_of_files"]

SPLIT = "split"  # the column that says them
SPLITS = {"dev", "eval", "evaluation", "test", "testing", "train", "training", "val", "valid", "validation"}


def splits_of_files(files: Collection[Path]) -> dict[Path, str]:
    """Return the split that each file's name says, or else its folder's; none unless all say one, and not all the same.

    >>> files = [Path("data/train-00000-of-00001.parquet"), Path("data/test-00000-of-00001.parquet")]
    >>> list(splits_of_files(files).values()), splits_of_files(files[:1])
    (['train', 'test'], {})
    """
    for names in ([file.name for file in files], [file.parent.name for file in files]):
        said = [SPLITS.intersection(re.findall("[a-z]+", name.lower())) for name in names]
        if all(len(words) == 1 for words in said) and len(set().union(*said)) > 1:
            return {file: word for file, (word,) in zip(files, said, strict=True)}
    return {}
