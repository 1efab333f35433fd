"""What a head answers on the test rows, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """A head's answers to n rows.

    Shape:
        codes: (n,) int64, the classes answered
        confidences: (n,) float32, their probabilities
        there: (n,) bool; the other rows have no vector of what the head sees, and their answers are guesses
    """

    codes: np.ndarray
    confidences: np.ndarray
    there: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, there: np.ndarray) -> Answers:
        """Return the answers of probabilities, (n, K)."""
        codes = probabilities.argmax(1)
        return cls(codes, probabilities[np.arange(len(codes)), codes], there)
