"""Folds: every row is tested once, classes in proportion, duplicates on one side."""

from __future__ import annotations

import numpy as np

from heads.data.splitting.splits import Split, check_sides, lay_lines, positions_on_lines
from heads.errors import SplitError

__all__ = ["draw_folds", "split_folds"]


def split_folds(
    targets: np.ndarray, groups: np.ndarray, *, n_folds: int, validation_share: float, generator: np.random.Generator
) -> list[Split]:
    """Return stratified folds, each a split in which no group straddles two sides; each row is tested in one of them.

    The validation rows of a fold are drawn from those that it does not test (`draw_folds`), as `split_rows` draws them;
    their share is of all rows.

    Shape:
        targets: (N,) int64, the class of each row, -1 for rows that belong to no side
        groups: (N,) int64

    Raises:
        SplitError: a side of a fold is left empty.
    """
    tested_in = draw_folds(targets, groups, n_folds=n_folds, generator=generator)
    folds = []
    for fold in range(n_folds):
        learned_targets = np.where(tested_in == fold, -1, targets)
        share = validation_share * n_folds / (n_folds - 1)  # of the rows that are left
        positions = positions_on_lines(learned_targets, groups, generator)
        is_validation = (positions >= 0) & (positions < share)
        split = Split(
            train=np.flatnonzero((learned_targets >= 0) & ~is_validation),
            validation=np.flatnonzero(is_validation),
            test=np.flatnonzero(tested_in == fold),
        )
        try:
            check_sides(split)
        except SplitError as error:
            raise SplitError(f"Fold {fold + 1} of {n_folds}: {error} So do fewer --folds.") from error
        folds.append(split)
    return folds


def draw_folds(targets: np.ndarray, groups: np.ndarray, *, n_folds: int, generator: np.random.Generator) -> np.ndarray:
    """Return the fold that tests each row, (N,) int64; `n_folds` for rows that none tests, -1 for those without class.

    Each class's groups stand in random order along a circle, one step a row, that is cut into equal arcs from a random
    point on; the arc where the middle of a group falls is the fold that tests it. A group that is more than half of its
    class trains in every fold, and is tested in none.

    Shape:
        targets: (N,) int64, the class of each row, -1 for rows that belong to no side
        groups: (N,) int64
    """
    lines = lay_lines(targets, groups, generator)
    offsets = generator.random(int(lines.classes.max(initial=-1)) + 1)  # else small classes fill the same folds
    arcs = np.floor((lines.middles + offsets[lines.classes]) % 1 * n_folds).astype(np.int64)
    tested_in = np.full(len(targets), -1)
    tested_in[lines.rows] = np.where(lines.outweighs, n_folds, np.minimum(arcs, n_folds - 1))
    return tested_in
