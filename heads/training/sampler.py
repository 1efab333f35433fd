"""The order in which an epoch sees its rows: every row once, or a set number of each class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from heads.errors import SettingError

__all__ = [
    "BLOCK_ROWS",
    "VALIDATED_TOGETHER",
    "WINDOW_ROWS",
    "batch_size_of",
    "draw_order",
    "parse_per_class",
    "validated_together",
]

BLOCK_ROWS = 1024  # neighbours that stay together in the order of many rows, so that reading them from disk is quick
WINDOW_ROWS = 64 * BLOCK_ROWS  # rows that are shuffled together
STEPS_AN_EPOCH = 16  # at least, where the rows are few
LEAST_BATCH_SIZE = 16  # batch norm on fewer rows is mostly noise
VALIDATED_TOGETHER = 512  # rows of a head at most, so that memory is bounded
LEAST_VALIDATED = 64  # fewer cost as much


def batch_size_of(n_rows: int, most_rows: int) -> int:
    """Return how many rows a step takes: `most_rows`, or a power of two such that an epoch has 16 steps.

    >>> [batch_size_of(n_rows, 256) for n_rows in (20, 700, 4096, 100_000)]
    [16, 32, 256, 256]
    """
    rows_a_step = max(n_rows // STEPS_AN_EPOCH, LEAST_BATCH_SIZE)
    size = most_rows if rows_a_step >= most_rows else 1 << (rows_a_step.bit_length() - 1)
    return min(size, n_rows)


def validated_together(n_rows: int) -> int:
    """Return how many validation rows are answered at once: 512, or a power of two that holds them all.

    What is missing to it is computed for nothing; and only heads with as many are answered together.

    >>> [validated_together(n_rows) for n_rows in (1, 45, 512, 5000)]
    [64, 64, 512, 512]
    """
    return min(VALIDATED_TOGETHER, max(LEAST_VALIDATED, 1 << (n_rows - 1).bit_length()))


def parse_per_class(text: str | None, counts: np.ndarray) -> int | None:
    """Return how many rows of each class an epoch takes: a number, or ``smallest`` or ``largest``; None: all there are.

    Shape:
        counts: (K,) the training rows of each class

    Raises:
        SettingError: the text says something else.
    """
    if text in (None, "all"):
        return None
    if text in ("smallest", "largest"):
        sizes = counts[counts > 0]
        return int(sizes.min() if text == "smallest" else sizes.max())
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(f"--per-class: expected a number from 1, smallest, largest or all, got {text!r}.")
    return int(text)


def draw_order(targets: Tensor, per_class: int | None, generator: torch.Generator) -> Tensor:
    """Return positions among the training rows in the order of an epoch.

    All of them, each once: in windows of blocks that are drawn from all over, shuffled within the window. Or, of each
    class, `per_class`: drawn without replacement, again and again where the class has fewer.

    Shape:
        targets: (n,) int64, the class of each training row
        output: (n,) or (K * per_class,) int64, K the classes that occur
    """
    if per_class is not None:
        drawn = torch.cat([_take(rows, per_class, generator) for rows in _rows_by_class(targets)])
        return drawn[torch.randperm(len(drawn), generator=generator)]
    n_rows = len(targets)
    if n_rows <= WINDOW_ROWS:
        return torch.randperm(n_rows, generator=generator)
    n_blocks = -(-n_rows // BLOCK_ROWS)
    blocks = torch.randperm(n_blocks, generator=generator)
    order = (blocks[:, None] * BLOCK_ROWS + torch.arange(BLOCK_ROWS)).flatten()
    order = order[order < n_rows]
    return torch.cat([window[torch.randperm(len(window), generator=generator)] for window in order.split(WINDOW_ROWS)])


def _rows_by_class(targets: Tensor) -> list[Tensor]:
    order = torch.argsort(targets, stable=True)
    _, counts = targets.unique(return_counts=True)
    return list(order.split(counts.tolist()))


def _take(rows: Tensor, n_wanted: int, generator: torch.Generator) -> Tensor:
    rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-n_wanted // len(rows)))]
    return torch.cat(rounds)[:n_wanted]
