"""The labels that products have already, and the classes that there may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cache.columns.labels import clean_label

__all__ = ["KnownLabels", "collect_labels"]


@dataclass(frozen=True)
class KnownLabels:
    """The classes, sorted, also those that no product has, and each product's class.

    Shape:
        targets: (N,) int64, the class's position; -1 where the product has no label
    """

    column: str
    classes: list[str]
    targets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """How many products each class has, (K,) int64."""
        return np.bincount(self.targets[self.targets >= 0], minlength=len(self.classes))


def collect_labels(column: str, labels: Sequence[str], classes: Iterable[str] = ()) -> KnownLabels:
    """Return the labels of a column, in which "" stands for none, with their classes and those that are named besides.

    >>> collect_labels("kind", ["cup", "", "a pot"], ["lid"]).classes
    ['a pot', 'cup', 'lid']
    """
    names = sorted({*labels, *map(clean_label, classes)} - {""})
    codes = {name: code for code, name in enumerate(names)} | {"": -1}
    return KnownLabels(column, names, np.array([codes[label] for label in labels], dtype=np.int64))
