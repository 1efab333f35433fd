"""The label: its classes, and how long their tail is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cache.columns.labels import clean_label

__all__ = ["MIN_ROWS", "LabelProfile", "profile_label"]

MIN_ROWS = 10  # heads-train leaves smaller classes out, if not told otherwise
MOST_CLASSES = 1000  # listed by name


@dataclass(frozen=True)
class LabelProfile:
    """How the rows spread over the classes; runs of blanks in a label count as one, as in training."""

    column: str
    n_classes: int
    n_labelled: int
    n_unlabelled: int
    classes: list[tuple[str, int]]  # the largest first, at most `MOST_CLASSES` by name
    sizes: list[int]  # of all classes, the largest first
    smallest: list[tuple[str, int]]  # the smallest first, ten of them
    n_rare: int  # classes with fewer than `MIN_ROWS` rows
    n_rare_rows: int
    majority_share: float  # accuracy on the labelled rows of always predicting the largest class


def profile_label(column: str, counts: Mapping[str, int]) -> LabelProfile:
    """Return the distribution of a column's cells, given the rows that each has."""
    cleaned: Counter[str] = Counter()
    for cell, n in counts.items():
        cleaned[clean_label(cell)] += n
    n_unlabelled = cleaned.pop("", 0)
    classes = sorted(cleaned.items(), key=lambda pair: (-pair[1], pair[0]))
    sizes = [n for _, n in classes]
    n_labelled = sum(sizes)
    rare = [n for n in sizes if n < MIN_ROWS]
    return LabelProfile(
        column=column,
        n_classes=len(classes),
        n_labelled=n_labelled,
        n_unlabelled=n_unlabelled,
        classes=classes[:MOST_CLASSES],
        sizes=sizes,
        smallest=classes[::-1][:10],
        n_rare=len(rare),
        n_rare_rows=sum(rare),
        majority_share=sizes[0] / n_labelled if sizes else 0.0,
    )
