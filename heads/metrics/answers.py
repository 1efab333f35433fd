"""What a head answers to rows whose classes are known, in four numbers a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """What scores are made of. A head of K classes gives n times K probabilities, which nothing keeps.

    Shape:
        predictions: (n,) int64, the most probable class of each row
        confidences: (n,) float32, its probability
        of_targets: (n,) float32, the probability of the row's own class
        ranks: (n,) int32, how many classes are more probable than the row's own
    """

    predictions: np.ndarray
    confidences: np.ndarray
    of_targets: np.ndarray
    ranks: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, targets: np.ndarray) -> Answers:
        """Return what is kept of probabilities.

        Shape:
            probabilities: (n, K)
            targets: (n,) int64
        """
        rows, predictions = np.arange(len(targets)), probabilities.argmax(1)
        of_targets = probabilities[rows, targets]
        ranks = (probabilities > of_targets[:, None]).sum(1, dtype=np.int32)
        return cls(predictions, probabilities[rows, predictions], of_targets, ranks)

    @classmethod
    def gathered(cls, n_rows: int, blocks: Iterable[tuple[np.ndarray, Answers]]) -> Answers:
        """Return the answers to n rows from blocks of them, each with the positions that it has among the n."""
        whole = cls(*(np.empty(n_rows, dtype) for dtype in (np.int64, np.float32, np.float32, np.int32)))
        for positions, block in blocks:
            for name, numbers in vars(block).items():
                getattr(whole, name)[positions] = numbers
        return whole

    def take(self, rows: np.ndarray) -> Answers:
        """Return the answers to some of the rows."""
        return Answers(**{name: numbers[rows] for name, numbers in vars(self).items()})
