"""Measure what pseudo-labels are worth: `python tests/benchmarks/pseudo_labels.py CACHE --label COLUMN`.

From each class that has enough products, as many as `--per-class` says keep their label, a fifth of them for
validation. Of its other products one half are the test rows, and of the other half the labels are blanked. Of products
that are copies of each other one is taken. All draws are of one catalogue.

Printed are, as means over draws: how many pseudo-labels there were and how many of them are right; the macro-F1 on the
test rows of each head without them and with them, and the difference with a 95 % interval (Student's t over the draws,
paired), of all draws with pseudo-labels, and as `heads-train --pseudo-label` does, which keeps them where the
validation rows gain.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labelled_products import draw_split, load
from paired_interval import interval

from heads.data.labels import Labels
from heads.data.splitting.splits import Split
from heads.data.vectors import Vectors
from heads.experiment.experiment import Experiment
from heads.experiment.problem import Problem
from heads.experiment.pseudo_training import choose, train_with_pseudo_labels
from heads.experiment.trained_heads import SIDES, Roster, train_heads
from heads.settings import TrainSettings


def draw_problem(
    vectors: Vectors, every: np.ndarray, per_class: int, generator: np.random.Generator, fusions: tuple[str, ...]
) -> tuple[Problem, np.ndarray]:
    """Return a problem with unlabelled rows, and each row's true class."""
    truth, split = draw_split(every, per_class, generator)
    unused = generator.permutation(split.test)
    test, unlabelled = (np.sort(half) for half in np.array_split(unused, 2))
    targets = truth.copy()
    targets[unlabelled] = -1
    problem = Problem(
        ids=[],
        vectors={(name, encoder): [vectors.part([name])] for name, encoder in vectors.encoders.items()},
        labels=Labels("label", [str(number) for number in range(truth.max() + 1)], targets, []),
        groups=np.arange(len(targets)),
        is_placeholder=np.zeros(len(targets), dtype=bool),
        folds=[Split(split.train, split.validation, test)],
        fusions=fusions,
        notes=[],
        content_sha256="",
        unlabelled=unlabelled,
    )
    return problem, truth


def measure(problem: Problem, truth: np.ndarray, settings: TrainSettings) -> dict:
    """Return what pseudo-labels do: how many, how many right, whether they are kept, and heads' scores on test rows."""
    experiment = Experiment.of(problem, settings, sides=SIDES)
    roster = train_heads(experiment, settings)
    again, finding = train_with_pseudo_labels(roster, experiment, settings, choose(experiment, seed=settings.seed))
    chosen = again.problem.pseudo_labels if again else None
    return {
        "n": finding.n_labelled,
        "precision": float((truth[chosen.rows] == chosen.classes).mean()) if chosen else float("nan"),
        "is_kept": finding.is_kept,
        "validation": finding.macro_f1.value if finding.macro_f1 else 0.0,
        "without": _macro_f1(roster),
        "with": _macro_f1(again or roster),
    }


def _macro_f1(roster: Roster) -> dict[str, float]:
    return {name: 100 * roster.scores(name, "test")["macro_f1"] for name in roster.trained}


def show(draws: list[dict]) -> None:
    """Print a table of all draws."""
    numbers = [draw["n"] for draw in draws]
    right = [100 * draw["precision"] for draw in draws if draw["n"]]
    shown = f"{min(right):.1f} to {max(right):.1f}" if right else "-"
    n_kept = sum(draw["is_kept"] for draw in draws)
    click.echo(f"  pseudo-labels: {min(numbers)} to {max(numbers)}, {shown} % right; kept in {n_kept} draws")
    click.echo(f"  {'head':12}{'without':>8}{'with':>8}  {'difference':22}{'as kept':22}")
    for head in draws[0]["without"]:
        without, gained = (np.array([draw[when][head] for draw in draws]) for when in ("without", "with"))
        is_kept = np.array([draw["is_kept"] for draw in draws])
        cells = [_cell(gained - without), _cell(np.where(is_kept, gained - without, 0.0))]
        click.echo(f"  {head:12}{without.mean():8.1f}{gained.mean():8.1f}  {cells[0]:22}{cells[1]:22}")


def _cell(differences: np.ndarray) -> str:
    wide, gain = interval(differences)
    return f"{gain:+.1f} [{gain - wide:+.1f}, {gain + wide:+.1f}]"


@click.command()
@click.argument("cache", type=click.Path(exists=True, path_type=Path))
@click.option("--label", default="label", show_default=True, help="The column to learn.")
@click.option("--encoder", "encoders", multiple=True, help="image=NAME; the first one of each modality otherwise.")
@click.option("--per-class", default="5,20", show_default=True, help="Products of each class that have a label.")
@click.option("--draws", default=5, show_default=True)
@click.option("--fusions", default="early,late,stack", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(
    cache: Path,
    label: str,
    encoders: tuple[str, ...],
    per_class: str,
    draws: int,
    fusions: str,
    json_path: Path | None,
) -> None:
    """Print a table a number of labels, as it is measured."""
    vectors, every = load(cache, label, dict(choice.split("=", 1) for choice in encoders))
    table: list[Mapping[str, object]] = []
    for n_labels in map(int, per_class.split(",")):
        measured = []
        for seed in range(draws):
            names = tuple(fusions.split(","))
            problem, truth = draw_problem(vectors, every, n_labels, np.random.default_rng(seed), names)
            settings = TrainSettings(fusions=names, seed=seed, controls=(), precision="fp32")
            measured.append(measure(problem, truth, settings))
        (split,), n_classes = problem.folds, len(problem.labels.classes)
        n_unlabelled = (truth >= 0).sum() - sum(len(rows) for rows in vars(split).values())
        click.echo(
            f"{label}, {n_labels} a class, {n_classes} classes, {draws} draws: {len(split.validation)} validation, "
            f"{len(split.test)} test, {n_unlabelled} unlabelled rows"
        )
        show(measured)
        table.append({"label": label, "per_class": n_labels, "classes": n_classes, "draws": measured})
        if json_path is not None:
            json_path.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    command()
