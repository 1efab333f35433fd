"""Measure what labels are worth that `heads-review` asks for: `python tests/benchmarks/review.py CACHE --label NAME`.

The labels of a catalogue are hidden. A quarter of the rows is held out; of the others, one of each group of copies,
labels are given in rounds, to those that the review asks for and to as many drawn at random. After each round the quick
head of the review (a logistic regression) is fitted to the labels so far and answers the rows held out. Classes with
fewer than ten rows are left out. A seed is a split, the clusters and what chance draws; the intervals are Student's, of
the seeds' differences, and so of splits and choices on this one catalogue.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cache import Cache  # noqa: E402 - they are on the path by now
from heads.data.labels import make_labels  # noqa: E402
from heads.data.splitting.groups import find_groups  # noqa: E402
from heads.data.splitting.splits import positions_on_lines  # noqa: E402
from heads.metrics.scores import scores  # noqa: E402
from heads.review.joined_vectors import join_vectors  # noqa: E402
from heads.review.known_labels import KnownLabels  # noqa: E402
from heads.review.picks import choose_picks  # noqa: E402
from heads.review.quick_head import fit_quickly  # noqa: E402

TEST_SHARE = 0.25
SCORES = ("accuracy", "macro_f1")
WAYS = ("random", "review")


def measure(
    vectors: np.ndarray, labels: KnownLabels, groups: np.ndarray, *, budgets: list[int], seed: int
) -> dict[str, np.ndarray]:
    """Return accuracy and macro-F1 after each round, {way: (rounds, 2)}."""
    positions = positions_on_lines(labels.targets, groups, np.random.default_rng(seed))
    test = np.flatnonzero((positions >= 0) & (positions < TEST_SHARE))
    pool = np.flatnonzero(positions >= TEST_SHARE)
    pool = np.sort(pool[np.unique(groups[pool], return_index=True)[1]])
    scores_of = {}
    for way in WAYS:
        generator = np.random.default_rng(seed)
        given_labels, rounds = np.full(len(labels.targets), -1), []
        for budget in budgets:
            n_wanted, unlabelled = budget - int((given_labels >= 0).sum()), pool[given_labels[pool] < 0]
            if way == "random":
                rows = generator.choice(unlabelled, n_wanted, replace=False)
            else:
                so_far = KnownLabels(labels.column, labels.classes, given_labels)
                rows = np.array([pick.row for pick in choose_picks(vectors, so_far, unlabelled, n_wanted, generator)])
            given_labels[rows] = labels.targets[rows]
            head = fit_quickly(vectors, given_labels, n_classes=len(labels.classes))
            answers = head.probabilities(vectors[test]).argmax(1)
            scored = scores(labels.targets[test], answers, len(labels.classes))
            rounds.append([scored[name] for name in SCORES])
        scores_of[way] = np.array(rounds)
    return scores_of


def half_width(values: np.ndarray) -> np.ndarray:
    """Return half of the 95 % interval of the mean over the first axis."""
    from scipy.stats import t

    n = len(values)
    return t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


@click.command()
@click.argument("cache_path", type=click.Path(path_type=Path))
@click.option("--label", required=True, help="The column whose labels are hidden.")
@click.option("--budgets", default="50,100,200,400,800", show_default=True, help="Labels after each round.")
@click.option("--seeds", default=10, show_default=True, help="Splits.")
@click.option("--output", type=click.Path(path_type=Path), help="A CSV of every seed's scores.")
def main(cache_path: Path, label: str, budgets: str, seeds: int, output: Path | None) -> None:
    """Measure what labels are worth that a review asks for, beside labels at random."""
    rounds = [int(budget) for budget in budgets.split(",")]
    with Cache(cache_path) as cache:
        encoders = {modality: cache.encoder(modality) for modality in cache.modalities}
        vectors, has_vector = join_vectors(cache, encoders)
        made = make_labels(label, cache.column(label), usable=has_vector, min_rows=10)
        groups = find_groups(cache, made, encoders={name: [encoder] for name, encoder in encoders.items()}).of_rows
    labels = KnownLabels(label, made.classes, made.targets)
    every: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    for seed in range(seeds):
        for way, scores_of_rounds in measure(vectors, labels, groups, budgets=rounds, seed=seed).items():
            every[way].append(scores_of_rounds)
        click.echo(f"seed {seed} done", err=True)
    tables = {way: 100 * np.array(of_seeds) for way, of_seeds in every.items()}  # (seeds, rounds, 2)
    click.echo(f"{label}: {len(labels.classes)} classes, {int((labels.targets >= 0).sum())} rows, {seeds} seeds\n")
    click.echo("| labels | accuracy: random | review | difference | macro-F1: random | review | difference |")
    click.echo("|---|---|---|---|---|---|---|")
    gains = tables["review"] - tables["random"]
    for n, budget in enumerate(rounds):
        cells = [str(budget)]
        for score in range(len(SCORES)):
            cells += [f"{tables[way][:, n, score].mean():.1f}" for way in WAYS]
            cells.append(f"{gains[:, n, score].mean():+.1f} ± {half_width(gains)[n, score]:.1f}")
        click.echo(f"| {' | '.join(cells)} |")
    if output is not None:
        with output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["seed", "way", "labels", *SCORES])
            for way, table in tables.items():
                writer.writerows(
                    [seed, way, budget, *(f"{value:.2f}" for value in table[seed, n])]
                    for seed in range(seeds)
                    for n, budget in enumerate(rounds)
                )


if __name__ == "__main__":
    main()
