"""Classes without training rows: what every head that is fitted at one go says of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heads.errors import LabelError

__all__ = ["LEAST_LOG_PROBABILITY", "find_seen_classes", "spread_over_classes"]

LEAST_LOG_PROBABILITY = math.log(1e-12)  # never the answer, and yet a loss that can be averaged


def find_seen_classes(targets: Tensor, *, n_classes: int) -> Tensor:
    """Return which classes occur among the targets of training rows, (K,) bool.

    Raises:
        LabelError: they are all of one class.
    """
    seen_classes = torch.bincount(targets, minlength=n_classes) > 0
    if seen_classes.sum() < 2:
        raise LabelError("Expected the training rows to be of two classes or more, but they are of one. Add rows.")
    return seen_classes


def spread_over_classes(log_probabilities: Tensor, seen_classes: Tensor) -> Tensor:
    """Return log-probabilities over all classes from those over the classes seen; nothing is below log(1e-12).

    Shape:
        log_probabilities: (B, k), of the k classes seen, in order
        seen_classes: (K,) bool
        output: (B, K)
    """
    all_classes = log_probabilities.new_full((len(log_probabilities), len(seen_classes)), LEAST_LOG_PROBABILITY)
    all_classes[:, seen_classes] = log_probabilities.clamp_min(LEAST_LOG_PROBABILITY)
    return all_classes
