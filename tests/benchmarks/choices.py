"""Measure how often an ablation's verdict is wrong on what it chose: `python tests/benchmarks/choices.py`.

All heads are worth the same: each is a ridge regression on features of its own, of which some are called single
modalities and some fusions; 4 classes, 600 rows that overlap. Validation rows choose, and test rows tell, on folds as
`heads-ablate` deals them. What one fold tests is among the validation rows of others.

verdict     share of the problems in which the chosen fusion is called better, and worse: 2.5 % each at most are wanted
one test    the same with an interval as though the test rows had had no part in the choice
optimism    points of accuracy by which that fusion's test rows are above the mean of all fusions'
table       share in which any of the table's differences, all of them zero, has an interval without zero: 5 %
alone       the same with intervals that take the best single modality as given

`--gain 0.2` puts the centres of the first fusion's classes apart by that much more: it is better, by as many points of
accuracy as stand in the column `gain`, and `verdict` and `one test` tell how often a fusion is found to be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from heads.ablation.ranking import Ranking, rank  # noqa: E402 - they are on the path by now
from heads.data.splitting.folds import split_folds  # noqa: E402
from heads.experiment.configuration import Configuration, FoldJob  # noqa: E402
from heads.experiment.results import Outcome  # noqa: E402
from heads.metrics.differences import compare  # noqa: E402
from heads.metrics.scores import resampled_scores, scores  # noqa: E402
from heads.settings import FitSettings  # noqa: E402

N_ROWS, N_CLASSES, N_FOLDS, N_DIMS, SIGNAL, N_RESAMPLES = 600, 4, 5, 6, 0.7, 500


def answer(vectors: np.ndarray, targets: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return a ridge regression's answers to all rows, (N,) int64."""
    inputs = np.column_stack([vectors, np.ones(len(vectors))])
    learned = inputs[train]
    weights = np.linalg.solve(
        learned.T @ learned + np.eye(inputs.shape[1]), learned.T @ np.eye(N_CLASSES)[targets[train]]
    )
    return (inputs @ weights).argmax(1)


def ranked(
    generator: np.random.Generator, *, n_singles: int, n_fusions: int, gain: float
) -> tuple[Ranking, dict[Configuration, np.ndarray], np.ndarray]:
    """Return the ranking of heads on a drawn problem, what each answers the test rows, and the classes of these."""
    targets = generator.integers(N_CLASSES, size=N_ROWS)
    centres = generator.standard_normal((N_CLASSES, N_DIMS)) * SIGNAL
    folds = split_folds(targets, np.arange(N_ROWS), n_folds=N_FOLDS, validation_share=0.15, generator=generator)
    heads = [Configuration("text", (("text", str(n)),), FitSettings()) for n in range(n_singles)]
    heads += [Configuration("early", (("image", ""), ("text", str(n))), FitSettings()) for n in range(n_fusions)]
    outcomes = {}
    for head in heads:
        distance = 1 + gain if head is heads[n_singles] else 1
        vectors = distance * centres[targets] + generator.standard_normal((N_ROWS, N_DIMS))
        for number, fold in enumerate(folds):
            answers = answer(vectors, targets, fold.train)
            validation, test = (
                scores(targets[rows], answers[rows], N_CLASSES) for rows in (fold.validation, fold.test)
            )
            outcomes[FoldJob(head, number, 0)] = Outcome(answers[fold.test], test=test, validation=validation)
    test_rows = np.concatenate([fold.test for fold in folds])
    problem = SimpleNamespace(
        labels=SimpleNamespace(targets=targets, classes=list("abcd")), groups=np.arange(N_ROWS), folds=folds,
        test_rows=test_rows, is_placeholder=np.zeros(N_ROWS, dtype=bool),
    )  # fmt: skip
    jobs = {head: [FoldJob(head, fold, 0) for fold in range(N_FOLDS)] for head in heads}
    answered = {head: np.concatenate([outcomes[job].predictions for job in jobs[head]]) for head in heads}
    ranking = rank(problem, jobs, outcomes, n_resamples=N_RESAMPLES, generator=generator)  # type: ignore[arg-type]
    return ranking, answered, targets[test_rows]


def measure(*, n_problems: int, n_singles: int, n_fusions: int, gain: float, seed: int = 0) -> list[float]:
    """Return the figures of a line, in percent and points."""
    rows = []
    for child in np.random.SeedSequence(seed).spawn(n_problems):
        generator = np.random.default_rng(child)
        ranking, answers, targets = ranked(generator, n_singles=n_singles, n_fusions=n_fusions, gain=gain)
        resampled = resampled_scores(
            targets, answers, np.arange(N_ROWS), n_classes=N_CLASSES, n_resamples=N_RESAMPLES, generator=generator
        )  # type: ignore[type-var]
        values = {
            head: np.array([scored["accuracy"], scored["macro_f1"]])
            for head, scored in ((head, scores(targets, own, N_CLASSES)) for head, own in answers.items())
        }
        given = {"scores": values, "resampled": resampled, "n_groups": N_ROWS}
        ((*chosen,),) = compare([ranking.fusion], ranking.single, **given).values()  # type: ignore[arg-type]
        others = [head for head in answers if head != ranking.single]
        alone = compare(others, ranking.single, **given).values()  # type: ignore[arg-type]
        signs = {difference.sign for difference in chosen}
        table = [own for row in ranking.rows for own in (row.accuracy_difference, row.macro_f1_difference) if own]
        accuracies = np.array([accuracy for accuracy, _ in values.values()])
        mean = accuracies[n_singles:].mean()
        rows.append(
            [
                100 * (ranking.verdict.outcome == "better"), 100 * (ranking.verdict.outcome == "worse"),
                100 * (1 in signs), 100 * (-1 in signs), 100 * (values[ranking.fusion][0] - mean),
                100 * any(own.sign for own in table), 100 * any(own.sign for both in alone for own in both),
                100 * (accuracies[n_singles] - accuracies[:n_singles].mean()),
            ]
        )  # fmt: skip
    return np.mean(rows, axis=0).tolist()


@click.command()
@click.option("--problems", "n_problems", default=400, show_default=True)
@click.option("--gain", default=0.0, show_default=True)
def command(n_problems: int, gain: float) -> None:
    """Print the table, a line as it is measured."""
    click.echo("singles  fusions     verdict    one test  optimism  table  alone  gain")
    for n_singles, n_fusions in ((1, 1), (1, 20), (2, 6), (10, 10), (20, 2)):
        better, worse, was_better, was_worse, optimism, table, alone, points = measure(
            n_problems=n_problems, n_singles=n_singles, n_fusions=n_fusions, gain=gain
        )
        click.echo(
            f"{n_singles:7}{n_fusions:9}{better:7.1f}{worse:5.1f}{was_better:7.1f}{was_worse:5.1f}{optimism:+10.1f}"
            f"{table:7.1f}{alone:7.1f}{points:+6.1f}"
        )


if __name__ == "__main__":
    command()
