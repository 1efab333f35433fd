"""What a head answers on the test rows, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Predictions"]


@dataclass(frozen=True)
class Predictions:
    """A head's answers to n rows.

    Shape:
        classes: (n,) int64
        confidences: (n,) float32, their probabilities
        is_known: (n,) bool; the other rows have no vector of what the head sees, and their answers are guesses
    """

    classes: np.ndarray
    confidences: np.ndarray
    is_known: np.ndarray
