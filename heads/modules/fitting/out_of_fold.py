"""Folds of the training rows, for heads that learn from what their parts answer to rows these did not see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heads.data.splitting.folds import draw_folds
from heads.modules.fitting.rows_to_fit import RowsToFit

__all__ = ["HELD_ROWS", "InnerFold", "inner_folds"]

N_FOLDS = 5
HELD_ROWS = 1000  # held out of all folds together are enough to choose a few numbers by


class InnerFold(NamedTuple):
    """Rows that a part learns from, and rows held out that it answers, (n,) int64 on the CPU."""

    learned: Tensor
    held: Tensor

    def seen_classes(self, rows: RowsToFit) -> Tensor:
        """Return the classes that were learned, for each row held out, (n_held, K) bool."""
        counts = torch.bincount(rows.targets[self.learned], minlength=rows.n_classes)
        return (counts > 0).expand(len(self.held), -1)


def inner_folds(rows: RowsToFit, *, most_rows: int | None = HELD_ROWS) -> list[InnerFold]:
    """Return up to five folds of the training rows, in which no group of copies is on both sides.

    Classes are in proportion. There are as many folds as hold out `most_rows` together; None: all that there are. A
    fold holds no row of a class that it has not learned, and is left out where it has learned one class, or holds none.
    """
    train = rows.train.cpu().numpy()
    targets = np.full(len(rows.targets), -1, dtype=np.int64)
    targets[train] = rows.targets.cpu().numpy()[train]
    generator = np.random.default_rng(rows.seed)
    tested_in = draw_folds(targets, rows.groups.cpu().numpy(), n_folds=N_FOLDS, generator=generator)[train]
    folds: list[InnerFold] = []
    for number in range(N_FOLDS):
        if most_rows is not None and sum(len(fold.held) for fold in folds) >= most_rows:
            break
        learned, held = train[tested_in != number], train[tested_in == number]
        classes = np.unique(targets[learned])
        held = held[np.isin(targets[held], classes)]
        if len(held) and len(classes) > 1:
            folds.append(InnerFold(torch.from_numpy(learned), torch.from_numpy(held)))
    return folds
