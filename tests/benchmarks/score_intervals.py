"""Measure how often the interval of a head's own score holds the truth: `python tests/benchmarks/score_intervals.py`.

Answers are drawn and nothing is trained: classes from alike to Zipf's, each row right by one chance, its mistakes among
all other classes alike, in copies of a product all or none. Told is how many of the 95 % intervals hold the accuracy
and the macro-F1 of endless rows, and their mean width in points: of `score_interval`, and of percentiles of the same
resamples, widened by their bias, as it was before.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from verdicts import interval  # noqa: E402 - they are on the path by now

from heads.metrics.score_interval import score_interval  # noqa: E402
from heads.metrics.scores import resampled_scores, scores  # noqa: E402
from heads.metrics.verdict import even_groups  # noqa: E402

PROBLEMS = [  # rows, copies of each product, classes, exponent of Zipf's law, accuracy
    (30, 1, 2, 0.0, 0.7), (30, 1, 3, 0.0, 0.9), (30, 1, 3, 0.0, 0.95), (30, 1, 2, 0.0, 0.98), (120, 4, 3, 0.0, 0.95),
    (100, 1, 5, 0.0, 0.98), (300, 1, 5, 0.0, 0.99), (300, 1, 5, 0.0, 0.995), (1000, 1, 10, 0.0, 0.998),
    (300, 1, 20, 1.0, 0.7), (300, 1, 20, 1.0, 0.98), (1000, 1, 2, 3.0, 0.98), (1000, 1, 66, 1.0, 0.9),
]  # fmt: skip


def measure(
    n_rows: int, n_copies: int, n_classes: int, exponent: float, accuracy: float, *, n_problems: int, n_resamples: int
) -> np.ndarray:
    """Return how many intervals hold the truth and their widths, in percent: (2, 2, 2), by method and score."""
    shares = np.arange(1, n_classes + 1) ** -exponent
    shares /= shares.sum()
    answered = shares * accuracy + (1 - shares) * (1 - accuracy) / (n_classes - 1)
    truth = np.array([accuracy, (2 * shares * accuracy / (shares + answered)).mean()])
    total = np.zeros((2, 2, 2))
    for child in np.random.SeedSequence(0).spawn(n_problems):
        generator = np.random.default_rng(child)
        groups = np.arange(n_rows) // n_copies
        targets = generator.choice(n_classes, size=n_rows, p=shares)[groups]
        mistakes = (targets + 1 + generator.integers(n_classes - 1, size=n_rows)) % n_classes
        answers = np.where((generator.random(n_rows) < accuracy)[groups], targets, mistakes)
        resampled = resampled_scores(
            targets, {"head": answers}, groups, n_classes=n_classes, n_resamples=n_resamples, generator=generator
        )["head"]
        head_scores = scores(targets, answers, n_classes)
        value = np.array([head_scores["accuracy"], head_scores["macro_f1"]])
        n_seen = np.array([groups[-1] + 1, even_groups(targets, groups)])
        found = score_interval(value, resampled, n_seen), np.clip(interval(value, resampled), 0, 1)
        total += [[(low <= truth) & (truth <= high), high - low] for low, high in found]
    return 100 * total / n_problems


@click.command()
@click.option("--problems", "n_problems", default=400, show_default=True)
@click.option("--resamples", "n_resamples", default=500, show_default=True)
def command(n_problems: int, n_resamples: int) -> None:
    """Print the table, a line as it is measured."""
    click.echo("rows  copies  classes  Zipf  accuracy |  accuracy held, width; before |  macro-F1 held, width; before")
    for n_rows, n_copies, n_classes, exponent, accuracy in PROBLEMS:
        now, before = measure(
            n_rows, n_copies, n_classes, exponent, accuracy, n_problems=n_problems, n_resamples=n_resamples
        )
        held = " | ".join(f"{now[0, n]:13.1f}{now[1, n]:6.1f};{before[0, n]:5.1f}{before[1, n]:5.1f}" for n in (0, 1))
        click.echo(f"{n_rows:4}{n_copies:8}{n_classes:9}{exponent:6g}{accuracy:10g} | {held}")


if __name__ == "__main__":
    command()
