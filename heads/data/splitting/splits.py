"""Splits: stratified by class, duplicates on one side, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from heads.errors import SplitError

__all__ = [
    "Lines",
    "Split",
    "check_sides",
    "lay_lines",
    "positions_on_lines",
    "says_split",
    "side_of",
    "split_by_column",
    "split_rows",
    "straddlers",
]

SIDES = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "eval": "validation", "evaluation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Rows to train on, to stop and choose by, and to look at once; sorted, none in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def without(self, is_out: np.ndarray) -> tuple[Split, list[str]]:
        """Return the split without some rows of which nothing is known, and a note where there are any.

        Shape:
            is_out: (N,) bool, of all rows
        """
        kept_rows = {side: rows[~is_out[rows]] for side, rows in vars(self).items()}
        n_out = sum(len(rows) for rows in vars(self).values()) - sum(map(len, kept_rows.values()))
        return Split(**kept_rows), [f"{n_out} rows are left out: nothing is known of them."] if n_out else []


@dataclass(frozen=True)
class Lines:
    """Where the groups of the n rows that have a class lie along their class's line.

    Shape:
        rows: (n,) int64, among all
        middles: (n,) of the row's group, 0 to 1; a group that outweighs its class's others lies beyond 1
        classes: (n,) int64, the group's class
        is_largest: (n,) bool, whether the group is the largest of its class
        outweighs: (n,) bool, whether it is more than half of its class
    """

    rows: np.ndarray
    middles: np.ndarray
    classes: np.ndarray
    is_largest: np.ndarray
    outweighs: np.ndarray


def split_rows(
    targets: np.ndarray,
    groups: np.ndarray,
    *,
    test_share: float,
    validation_share: float,
    generator: np.random.Generator,
) -> Split:
    """Return a stratified split in which no group straddles two sides.

    Each class's groups are put in random order along a line of length 1, one step a row; where the middle of a group
    falls decides its side. A class's largest group belongs to the training rows, so that a class which is mostly one
    group can be learned; where it is more than half of its class, the line is made of the others alone. The time is
    that of sorting N rows.

    Shape:
        targets: (N,) int64, the class of each row, -1 for rows that belong to no side
        groups: (N,) int64

    Raises:
        SplitError: a side is left empty.
    """
    position = positions_on_lines(targets, groups, generator)
    used = targets >= 0
    split = Split(
        test=np.flatnonzero(used & (position < test_share)),
        validation=np.flatnonzero(used & (position >= test_share) & (position < test_share + validation_share)),
        train=np.flatnonzero(used & (position >= test_share + validation_share)),
    )
    check_sides(split)
    return split


def split_by_column(
    column: str,
    cells: list[str],
    targets: np.ndarray,
    groups: np.ndarray,
    *,
    validation_share: float,
    generator: np.random.Generator,
) -> Split:
    """Return the split that a column of ``train``, ``validation`` and ``test`` gives; an empty cell is in none of them.

    Where no cell says validation, the validation rows are drawn from the training rows.

    Raises:
        SplitError: a cell says something else, a side is left empty, or there is one class to learn.
    """
    unknown = sorted({cell.strip().lower() for cell in cells} - {*SIDES, ""})
    if unknown:
        raise SplitError(
            f"Expected --split-column {column} to say train, validation or test, but it says {', '.join(unknown[:5])}. "
            "Write these words in it, or leave its rows out with an empty cell."
        )
    sides = np.array([side_of(cell) for cell in cells])
    used = targets >= 0
    train, validation, test = (np.flatnonzero(used & (sides == side)) for side in ("train", "validation", "test"))
    if not len(validation) and len(train):
        inside = np.full_like(targets, -1)
        inside[train] = targets[train]
        positions = positions_on_lines(inside, groups, generator)[train]
        chosen = positions < max(validation_share, positions.min() + 1e-9)  # one group at least
        train, validation = train[~chosen], train[chosen]
    split = Split(train=train, validation=validation, test=test)
    check_sides(split)
    if len(np.unique(targets[train])) < 2:
        raise SplitError(
            f"Expected the training rows of --split-column {column} to be of two classes or more, but they are of one. "
            "Name another column, or leave it out."
        )
    return split


def side_of(cell: str) -> str:
    """Return the side that a cell of a split's column names, "" where it names none.

    >>> side_of(" Valid"), side_of("")
    ('validation', '')
    """
    return SIDES.get(cell.strip().lower(), "")


def says_split(cells: Iterable[str]) -> bool:
    """Return whether cells say train and test, and nothing that names no side.

    >>> says_split(["Train", "test", ""]), says_split(["train", "val"]), says_split(["train", "test", "holdout"])
    (True, False, False)
    """
    sides = {side_of(cell) for cell in set(cells) if cell.strip()}
    return sides >= {"train", "test"} and "" not in sides


def straddlers(split: Split, groups: np.ndarray) -> int:
    """Return how many test rows are in a group of training or validation rows."""
    learned_groups = np.concatenate([groups[split.train], groups[split.validation]])
    return int(np.isin(groups[split.test], learned_groups).sum())


def lay_lines(targets: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> Lines:
    """Return each class's groups in random order along a line of length 1, one step a row, the largest group last."""
    rows = np.flatnonzero(targets >= 0)
    # A group belongs to the class that most of its rows have; the first of equals.
    pairs, pair_sizes = np.unique(np.stack([groups[rows], targets[rows]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -pair_sizes, pairs[0]))
    group_ids, first_pair = np.unique(pairs[0][order], return_index=True)
    group_targets = pairs[1][order][first_pair]
    group_sizes = pair_sizes[order][first_pair]  # the rows of its own class: the others only come along

    shuffled = generator.permutation(len(group_ids))
    sizes, classes = group_sizes[shuffled], group_targets[shuffled]
    by_size = np.lexsort((sizes, classes))  # by class; within it by size, equals in random order
    is_largest = np.zeros(len(shuffled), dtype=bool)
    is_largest[by_size[np.diff(classes[by_size], append=-1) != 0]] = True

    line = np.lexsort((is_largest, classes))  # by class; within it in random order, the largest last
    sizes, classes = sizes[line], classes[line]
    class_sizes = np.bincount(classes, weights=sizes)
    class_starts = np.concatenate([[0], np.cumsum(class_sizes)])
    largest_sizes = np.bincount(classes, weights=sizes * is_largest[line])
    outweighs = largest_sizes > class_sizes / 2
    lengths = np.where(outweighs, class_sizes - largest_sizes, class_sizes)
    middles = (np.cumsum(sizes) - sizes / 2 - class_starts[classes]) / np.maximum(lengths, 1)[classes]

    row_group = np.searchsorted(group_ids, groups[rows])
    line_position = np.argsort(shuffled[line])
    return Lines(
        rows=rows,
        middles=middles[line_position][row_group],
        classes=classes[line_position][row_group],
        is_largest=is_largest[line][line_position][row_group],
        outweighs=(is_largest[line] & outweighs[classes])[line_position][row_group],
    )


def positions_on_lines(targets: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return where on its class's line the middle of each row's group falls, (N,) from 0 to 1; -1 if unused.

    A class's largest group is at 1.
    """
    lines = lay_lines(targets, groups, generator)
    positions = np.full(len(targets), -1.0)
    positions[lines.rows] = np.where(lines.is_largest, 1.0, lines.middles)
    return positions


def check_sides(split: Split) -> None:
    """Check that every side has rows.

    Raises:
        SplitError: one has too few.
    """
    for side, least_rows in (("train", 2), ("validation", 1), ("test", 1)):
        if len(getattr(split, side)) < least_rows:
            raise SplitError(
                f"Expected every side of the split to have rows, but {side} has too few (train {len(split.train)}, "
                f"validation {len(split.validation)}, test {len(split.test)}). Rows that share a picture, a text or a "
                "cell of --group-column stay together, and a class of one or two has none to test; more rows, other "
                "shares, a higher --min-rows or --split-column help."
            )
