"""Confusions: which classes a head takes for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Confusions", "Pair", "count_confusions"]

MOST_CLASSES = 20  # of a matrix that can be read
MOST_PAIRS = 100


@dataclass(frozen=True)
class Pair:
    """How often the rows of one class are answered with another."""

    truth: str
    answer: str
    count: int
    support: int  # rows of the true class


@dataclass(frozen=True)
class Confusions:
    """A head's mistakes: a matrix of the classes that take part in the most of them, and the commonest pairs of all.

    Shape:
        counts: (k, k) int64, rows by truth and columns by answer
    """

    classes: list[str]  # the k classes shown
    counts: np.ndarray
    pairs: list[Pair]  # the commonest first
    n_classes: int
    n_mistakes: int
    n_pairs: int

    @property
    def n_shown(self) -> int:
        """The mistakes that the matrix shows."""
        return int(self.counts.sum() - np.trace(self.counts))


def count_confusions(targets: np.ndarray, predictions: np.ndarray, classes: list[str]) -> Confusions:
    """Return a head's mistakes; up to 20 classes are shown in their order, of more the 20 most confused, these first.

    A class takes part in a mistake as the truth or as the answer. Classes without any are left out where not all are
    shown; equals stand in the classes' order.

    Shape:
        targets, predictions: (n,) int64
    """
    n_classes = len(classes)
    wrong = targets != predictions
    numbers, counts = np.unique(targets[wrong] * n_classes + predictions[wrong], return_counts=True)  # (P,)
    pairs = np.stack(np.divmod(numbers, n_classes))  # (2, P), truth and answer
    support = np.bincount(targets, minlength=n_classes)
    shown = np.arange(n_classes)
    if n_classes > MOST_CLASSES:
        n_mistakes = np.bincount(pairs.ravel(), weights=np.tile(counts, 2), minlength=n_classes)
        shown = np.argsort(-n_mistakes, kind="stable")[:MOST_CLASSES]
        shown = shown[n_mistakes[shown] > 0]
    shown_position = np.full(n_classes, -1)
    shown_position[shown] = np.arange(len(shown))
    matrix = np.zeros((len(shown), len(shown)), dtype=np.int64)
    is_shown = (shown_position[targets] >= 0) & (shown_position[predictions] >= 0)
    np.add.at(matrix, (shown_position[targets[is_shown]], shown_position[predictions[is_shown]]), 1)
    order = np.argsort(-counts, kind="stable")[:MOST_PAIRS]
    return Confusions(
        classes=[classes[n] for n in shown],
        counts=matrix,
        pairs=[
            Pair(classes[truth], classes[answer], int(counts[n]), int(support[truth]))
            for n, (truth, answer) in zip(order, pairs.T[order], strict=True)
        ],
        n_classes=n_classes,
        n_mistakes=int(wrong.sum()),
        n_pairs=len(counts),
    )
