"""Which products have a label where few do: the catalogue's rows, and the draws of those to learn from and to test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cache import Cache
from heads.data.class_names import find_class_names
from heads.data.labels import make_labels
from heads.data.splitting.folds import draw_folds
from heads.data.splitting.groups import find_groups
from heads.data.splitting.splits import Split
from heads.data.vectors import Vectors, load_vectors

__all__ = ["Protocol", "draw_split", "firsts", "folds_of", "kept_classes", "load", "load_groups", "load_names"]

N_FOLDS = 5
VALIDATION_SHARE = 0.2
LEAST_TEST = 20  # products of a class
TRAIN_SHARE, TEST_SHARE, LEAST_ROWS = 0.65, 0.2, 10  # where all have labels

Names = dict[tuple[str, str], torch.Tensor]  # of an encoder, (K, D)


@dataclass(frozen=True)
class Protocol:
    """How labelled products and test rows are drawn; the defaults are those of the figures that are kept."""

    least: int = 25  # products of a class: five a fold; and so many that the other folds have those to label
    validation: str = "inside"  # a fifth of the labelled products; `beside`: as many more than these
    test: str = "fold"  # or `rest`: all products of the classes that have no label
    copies: str = "one"  # of a group is taken; or `all`, on one side of the folds


def load_groups(path: Path, label: str, encoders: Mapping[str, str]) -> tuple[Vectors, np.ndarray, np.ndarray]:
    """Return the vectors of all modalities, each row's class (-1 for rows without all), and its group of copies."""
    with Cache(path) as cache:
        chosen = {name: encoders.get(name) or cache.encoders(name)[0] for name in cache.modalities}
        vectors = load_vectors(cache, encoders=chosen)
        has_all = np.logical_and.reduce([mask.numpy() for mask in vectors.present.values()])
        labels = make_labels(label, cache.column(label), usable=has_all, min_rows=1)
        groups = find_groups(cache, labels, encoders={name: [encoder] for name, encoder in chosen.items()}).of_rows
    return vectors, labels.targets, groups


def firsts(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return each row's class; -1 for copies of other rows."""
    rows = np.flatnonzero(targets >= 0)
    first = rows[np.unique(groups[rows], return_index=True)[1]]
    chosen = np.full(len(targets), -1)
    chosen[first] = targets[first]
    return chosen


def load(path: Path, label: str, encoders: Mapping[str, str]) -> tuple[Vectors, np.ndarray]:
    """Return the vectors of all modalities, and each row's class; -1 for copies of other rows and rows without all."""
    vectors, targets, groups = load_groups(path, label, encoders)
    return vectors, firsts(targets, groups)


def load_names(path: Path, label: str, vectors: Vectors) -> Names:
    """Return the vectors of the names of all classes that `load` has, where the cache has them."""
    with Cache(path) as cache:
        has_all = np.logical_and.reduce([mask.numpy() for mask in vectors.present.values()])
        classes = make_labels(label, cache.column(label), usable=has_all, min_rows=1).classes
        return find_class_names(cache, vectors.encoders.items(), classes, column=label)[0]


def kept_classes(targets: np.ndarray, least: int) -> np.ndarray:
    """Return the rows' classes, numbered anew; -1 for those of classes with fewer rows."""
    counts = np.bincount(targets[targets >= 0])
    large_classes = np.flatnonzero(counts >= least)
    numbers = np.full(len(counts), -1)
    numbers[large_classes] = np.arange(len(large_classes))
    return np.where(targets >= 0, numbers[targets], -1)


def draw_split(targets: np.ndarray, per_class: int, generator: np.random.Generator) -> tuple[np.ndarray, Split]:
    """Return the classes of the rows, without those that have too few, and who has a label; of 0 a class nearly all."""
    targets = kept_classes(targets, per_class + LEAST_TEST if per_class else LEAST_ROWS)
    if not per_class:
        rows = generator.permutation(np.flatnonzero(targets >= 0))
        parts = np.split(rows, [int(len(rows) * share) for share in (TRAIN_SHARE, 1 - TEST_SHARE)])
        return targets, Split(*map(np.sort, parts))
    return targets, _draw(targets, targets, per_class, generator, beside=False)


def folds_of(
    targets: np.ndarray, groups: np.ndarray, per_class: int, protocol: Protocol, *, seed: int, folds: range
) -> tuple[np.ndarray, list[Split]]:
    """Return the rows' classes, and for each fold its test rows and the labelled products, of the other folds.

    The folds are stratified, and no group is on two sides; they follow from the seed, the products from seed and fold.
    """
    n_wanted = per_class + (_n_validation(per_class) if protocol.validation == "beside" else 0)
    room = 2 if protocol.copies == "one" else 10  # what chance and groups take from the other folds' four fifths
    targets = kept_classes(targets, max(protocol.least, -(-n_wanted * N_FOLDS // (N_FOLDS - 1)) + room))
    tested_in = draw_folds(targets, groups, n_folds=N_FOLDS, generator=np.random.default_rng(seed))
    splits = []
    for fold in folds:
        drawn_from = np.where(tested_in == fold, -1, targets)
        generator = np.random.default_rng([seed, fold])
        split = _draw(targets, drawn_from, per_class, generator, beside=protocol.validation == "beside")
        if protocol.test == "fold":
            split = Split(train=split.train, validation=split.validation, test=np.flatnonzero(tested_in == fold))
        splits.append(split)
    return targets, splits


def _n_validation(per_class: int) -> int:
    return max(1, round(per_class * VALIDATION_SHARE))


def _draw(
    targets: np.ndarray, drawn_from: np.ndarray, per_class: int, generator: np.random.Generator, *, beside: bool
) -> Split:
    """Return labelled products of each class, and all other rows of it as test rows."""
    sides: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    n_validation = _n_validation(per_class)
    n_train = per_class if beside else per_class - n_validation
    for number in range(int(targets.max()) + 1):
        rows = generator.permutation(np.flatnonzero(drawn_from == number))
        left_out = np.flatnonzero((targets == number) & (drawn_from != number))
        if len(rows) < n_train + n_validation:
            raise ValueError(f"Expected {n_train + n_validation} products of class {number}, got {len(rows)}.")
        parts = np.split(rows, [n_train, n_train + n_validation])
        for side, side_rows in zip(sides, [*parts[:2], np.concatenate([parts[2], left_out])], strict=True):
            sides[side].append(side_rows)
    return Split(**{side: np.sort(np.concatenate(rows)) for side, rows in sides.items()})
