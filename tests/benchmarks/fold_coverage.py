"""Measure how often intervals over folds are right: `python tests/benchmarks/fold_coverage.py`.

A catalogue is drawn over and over around the same centres, and the protocol of `few_labels.py` run on each: five folds,
three seeds, labelled products of the other folds. Two heads that cost nothing, the nearest mean of both modalities and
of one, give the paired differences in macro-F1. Of the mean over all catalogues, which is taken for the truth, is told
how many of the 95 % intervals hold it: with the results taken for independent, and corrected for shared rows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from labelled_products import N_FOLDS, Protocol, folds_of  # noqa: E402 - they are on the path by now
from paired_interval import interval  # noqa: E402

from heads.data.splitting.splits import Split  # noqa: E402
from heads.metrics.scores import scores  # noqa: E402

N_CLASSES, DIM, N_ROWS, SIGNAL = 20, 16, 1200, 0.55


def macro_f1(vectors: np.ndarray, targets: np.ndarray, split: Split) -> float:
    """Return the macro-F1 of the nearest mean, in points."""
    learned = np.concatenate([split.train, split.validation])
    means = np.stack([vectors[learned[targets[learned] == number]].mean(0) for number in range(N_CLASSES)])
    answers = ((vectors[split.test][:, None] - means) ** 2).sum(2).argmin(1)
    return 100 * scores(targets[split.test], answers, N_CLASSES)["macro_f1"]


def differences(centres: np.ndarray, per_class: int, generator: np.random.Generator, *, seeds: int) -> np.ndarray:
    """Return what both modalities gain over one, of each fold and seed of a drawn catalogue."""
    targets, groups = np.arange(N_ROWS) % N_CLASSES, np.arange(N_ROWS)
    vectors = centres[:, targets] + generator.standard_normal((2, N_ROWS, DIM))
    gained = []
    for _ in range(seeds):
        seed = int(generator.integers(2**30))
        _, splits = folds_of(targets, groups, per_class, Protocol(), seed=seed, folds=range(N_FOLDS))
        gained += [
            macro_f1(np.concatenate([*vectors], axis=1), targets, split) - macro_f1(vectors[0], targets, split)
            for split in splits
        ]
    return np.array(gained)


@click.command()
@click.option("--per-class", default="5,20,40", show_default=True)
@click.option("--catalogues", default=200, show_default=True)
@click.option("--seeds", default=3, show_default=True)
def command(per_class: str, catalogues: int, seeds: int) -> None:
    """Print a line a number of labels and a kind of interval."""
    centres = SIGNAL * np.random.default_rng(1).standard_normal((2, N_CLASSES, DIM))
    click.echo(f"{'a class':>8}{'interval':>12}{'covered':>9}{'half width':>12}{'deviation of the mean':>23}")
    for n_labels in map(int, per_class.split(",")):
        generator = np.random.default_rng(n_labels)
        drawn = [differences(centres, n_labels, generator, seeds=seeds) for _ in range(catalogues)]
        means = np.array([differences_of_draw.mean() for differences_of_draw in drawn])
        for name, shared in (("plain", 0.0), ("corrected", 1 / (N_FOLDS - 1))):
            wide = np.array([interval(differences_of_draw, test_to_train=shared)[0] for differences_of_draw in drawn])
            covered = 100 * (np.abs(means - means.mean()) <= wide).mean()
            click.echo(f"{n_labels:8}{name:>12}{covered:8.1f}%{wide.mean():12.2f}{means.std(ddof=1):23.2f}")


if __name__ == "__main__":
    command()
