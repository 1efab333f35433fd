"""Some products of many, for quick tries: so many of each class, and so many in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cache.columns.labels import clean_label

__all__ = ["choose_rows"]


def choose_rows(
    n_rows: int, *, labels: Sequence[str] | None, per_class: int | None, sample: int | None, seed: int
) -> list[int]:
    """Return the rows that are drawn, in their order: at most `per_class` of each label, of these at most `sample`.

    One random order of all rows decides, so that a larger sample of one seed holds the smaller ones. Where classes
    count, rows without a label are in none and are left out.

    >>> choose_rows(6, labels=list("aabbb") + [""], per_class=1, sample=None, seed=0)
    [0, 3]
    """
    rows = np.random.default_rng(seed).permutation(n_rows).tolist()
    if per_class is not None and labels is not None:
        n_drawn: Counter[str] = Counter()
        drawn_rows = []
        for row in rows:
            label = clean_label(labels[row])
            if label and n_drawn[label] < per_class:
                n_drawn[label] += 1
                drawn_rows.append(row)
        rows = drawn_rows
    return sorted(rows[:sample])
