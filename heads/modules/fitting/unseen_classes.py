"""Classes without training rows: what every head that is fitted at one go says of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heads.errors import LabelError

__all__ = ["LEAST_LOG_PROBABILITY", "classes_seen", "spread_over_classes"]

LEAST_LOG_PROBABILITY = math.log(1e-12)  # never the answer, and yet a loss that can be averaged


def classes_seen(targets: Tensor, *, n_classes: int) -> Tensor:
    """Return which classes occur among the targets of training rows, (K,) bool.

    Raises:
        LabelError: they are all of one class.
    """
    seen = torch.bincount(targets, minlength=n_classes) > 0
    if seen.sum() < 2:
        raise LabelError("Expected the training rows to be of two classes or more, but they are of one. Add rows.")
    return seen


def spread_over_classes(log_probabilities: Tensor, seen: Tensor) -> Tensor:
    """Return log-probabilities over all classes from those over the classes seen; nothing is below log(1e-12).

    Shape:
        log_probabilities: (B, k), of the k classes seen, in order
        seen: (K,) bool
        output: (B, K)
    """
    every = log_probabilities.new_full((len(log_probabilities), len(seen)), LEAST_LOG_PROBABILITY)
    every[:, seen] = log_probabilities.clamp_min(LEAST_LOG_PROBABILITY)
    return every
