"""Compare short trainings with long ones: `python tests/benchmarks/short_trainings.py --cache CACHE --json FILE`.

Heads are trained one at a time, on one thread, from the same seeds on the same folds, with each of the settings that
are named. The problems: `large` is drawn, 38,441 rows of 512 + 768 dimensions in 105 classes of Zipf's sizes, of which
3 % have a wrong label; `small` is 300 such rows in 5 classes; `COLUMN` is that column of CACHE, and `COLUMN:N` the same
with N labels a class, a fifth of them for validation. Of products that are copies of each other one is taken.

`before` are the defaults up to 2026-11, and `default` those of today; other settings are named by what they change of
`before`, such as `schedule=cosine,max_epochs=12,steps=500`. `steps` raises the epochs to what makes so many steps, and
`rate` is the learning rate of batches of 512 rows: of smaller ones in proportion, but at least 0.002.

A line a problem, head and setting: accuracy and macro-F1 on the test rows, percent; the mean differences to the first
setting in points with 95 % intervals (Student's t over the folds, each its seeds' mean); epochs, and the seconds of
CPU of one training. FILE remembers what was trained, a line each, so that a command can be given again with more.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from labelled_products import draw_split, load  # noqa: E402 - they are on the path by now
from paired_interval import interval  # noqa: E402

from cache import EncoderSpec  # noqa: E402
from heads.data.labels import Labels  # noqa: E402
from heads.data.splitting.splits import Split  # noqa: E402
from heads.data.vectors import Vectors  # noqa: E402
from heads.experiment.configuration import Configuration  # noqa: E402
from heads.experiment.experiment import Experiment  # noqa: E402
from heads.experiment.problem import Problem  # noqa: E402
from heads.metrics.scores import scores  # noqa: E402
from heads.settings import FitSettings, TrainSettings  # noqa: E402
from heads.training.gradient_loop import descend  # noqa: E402
from heads.training.job import Job  # noqa: E402
from heads.training.row_source import open_source  # noqa: E402
from heads.training.sampler import batch_size_of  # noqa: E402

BEFORE = {
    "schedule": "none", "warmup": 0.0, "learning_rate": 2e-3, "batch_size": 256, "max_epochs": 60, "patience": 6
}  # fmt: skip
DIMS = {"image": 512, "text": 768}
DRAWN = {"large": (38_441, 105), "small": (300, 5)}  # rows, classes
N_MODES, LATENT_DIM, WRONG = 3, 24, 0.03  # kinds within a class; dimensions that they differ in; share of the labels
SPREAD = {"image": 0.85, "text": 0.75}  # of the rows around their kind, of its distance to others
SHARES = {"validation": 0.15, "test": 0.2}
LEAST_ROWS = 10  # of a class


@dataclass(frozen=True)
class Fold:
    """The rows of one training, and what they are."""

    targets: np.ndarray  # (N,) int64, -1: none
    split: Split


def draw(n_rows: int, n_classes: int) -> tuple[Vectors, np.ndarray]:
    """Return drawn vectors and targets (N,): each class has kinds, which a network bends into its vectors."""
    generator = np.random.default_rng(0)
    shares = 1 / np.arange(5, 5 + n_classes)
    targets = generator.choice(n_classes, size=n_rows, p=shares / shares.sum())
    kinds = targets * N_MODES + generator.integers(N_MODES, size=n_rows)
    inputs = {}
    for name, dim in DIMS.items():
        centres = generator.standard_normal((n_classes * N_MODES, LATENT_DIM))
        latent = centres[kinds] + SPREAD[name] * generator.standard_normal((n_rows, LATENT_DIM))
        hidden = np.tanh(latent @ generator.standard_normal((LATENT_DIM, dim)) / LATENT_DIM**0.5)
        matrix = hidden @ generator.standard_normal((dim, dim)) / dim**0.5 + 0.5 * generator.standard_normal(
            (n_rows, dim)
        )
        inputs[name] = torch.from_numpy(matrix.astype(np.float32))
    wrong = generator.random(n_rows) < WRONG
    targets[wrong] = generator.integers(n_classes, size=int(wrong.sum()))
    present = {name: torch.ones(n_rows, dtype=torch.bool) for name in inputs}
    specs = {name: EncoderSpec(name, {"weights": "drawn"}) for name in inputs}
    return Vectors(encoders=dict.fromkeys(inputs, "drawn"), specs=specs, inputs=inputs, present=present), targets


@cache
def vectors_of(problem: str, cache_path: Path | None) -> tuple[Vectors, np.ndarray]:
    """Return the vectors and targets of a problem, whatever its folds are."""
    if problem in DRAWN:
        return draw(*DRAWN[problem])
    if cache_path is None:
        raise click.UsageError(f"--problem: expected {' or '.join(DRAWN)} without --cache, got {problem}.")
    return load(cache_path, problem, {})


def fold_of(targets: np.ndarray, number: int, n_folds: int, per_class: int) -> Fold:
    """Return a fold of all rows, or a draw of so many labels a class."""
    if per_class:
        return Fold(*draw_split(targets, per_class, np.random.default_rng(number)))
    counts = np.bincount(targets[targets >= 0])
    new_numbers = np.cumsum(counts >= LEAST_ROWS) - 1
    targets = np.where((targets >= 0) & (counts[targets] >= LEAST_ROWS), new_numbers[targets], -1)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(targets >= 0))
    parts = np.array_split(rows, n_folds) if n_folds > 1 else np.split(rows, [int(SHARES["test"] * len(rows))])
    test = parts[number]
    learned = np.concatenate([part for position, part in enumerate(parts) if position != number])
    n_validation = int(SHARES["validation"] * len(rows))
    return Fold(targets, Split(np.sort(learned[n_validation:]), np.sort(learned[:n_validation]), np.sort(test)))


def settings_of(name: str, n_rows: int) -> FitSettings:
    """Return the settings of this name for so many training rows."""
    if name == "default":
        return FitSettings()
    if name == "before":
        return FitSettings(**BEFORE)
    changes: dict[str, Any] = {}
    for change in name.split(","):
        key, value = change.split("=")
        changes[key] = type(BEFORE[key])(value) if key in BEFORE else float(value)
    n_steps, rate = changes.pop("steps", 0), changes.pop("rate", None)
    changes = {**BEFORE, **changes}
    batch_size = batch_size_of(n_rows, changes["batch_size"])
    if rate is not None:
        changes["learning_rate"] = max(BEFORE["learning_rate"], rate * batch_size / 512)
    changes["max_epochs"] = max(changes["max_epochs"], math.ceil(n_steps / (n_rows // batch_size)))
    return FitSettings(**changes)


def train(vectors: Vectors, fold: Fold, requested: Sequence[tuple[str, str, int]]) -> Iterator[dict[str, Any]]:
    """Train heads on a fold, each (head, setting, seed), and yield what each comes to."""
    targets, split = fold.targets, fold.split
    problem = Problem(
        ids=[],
        vectors={(name, encoder): [vectors.part([name])] for name, encoder in vectors.encoders.items()},
        labels=Labels("label", [str(number) for number in range(int(targets.max()) + 1)], targets, []),
        groups=np.arange(len(targets)),
        is_placeholder=np.zeros(len(targets), dtype=bool),
        folds=[split],
        fusions=(),
        notes=[],
        content_sha256="",
    )
    experiment = Experiment.of(problem, TrainSettings(device="cpu"), sides=("test",))
    source = None
    for head, setting, seed in requested:
        encoders = {head: vectors.encoders[head]} if head in vectors.dims else vectors.encoders
        settings = settings_of(setting, len(split.train))
        (job,) = Configuration.of(head, encoders, settings).jobs(n_folds=1, seeds=[seed])
        task = experiment.inputs.task(job.configuration.encoders, 0, job.settings.scaling)
        source = source or open_source(task, torch.empty(0, dtype=experiment.dtype))
        started = time.thread_time()
        ((_, fit),) = descend([Job(experiment.describe(job), task, job.settings)], [source])
        seconds = time.thread_time() - started
        if isinstance(fit, Exception):
            raise fit
        answers = experiment.inputs.answers(
            experiment.head(job, fit.description, fit.module), job.configuration.encoders, 0
        )
        reached = scores(targets[split.test], answers["test"].predictions, len(problem.labels.classes))
        yield {
            "head": head, "setting": setting, "seed": seed, "seconds": seconds, "epochs": len(fit.history),
            "best_epoch": fit.best_epoch, "rows": len(split.train), "classes": len(problem.labels.classes),
            **{score: 100 * reached[score] for score in ("accuracy", "macro_f1")},
        }  # fmt: skip


def show(trainings: Sequence[Mapping[str, Any]], problem: str, settings: Sequence[str]) -> None:
    """Print a line a head and setting of a problem, of the trainings that all these settings have."""
    by_head: dict[str, dict[tuple[int, int], dict[str, Mapping[str, Any]]]] = {}
    for training in trainings:
        draws = by_head.setdefault(training["head"], defaultdict(dict))
        draws[training["fold"], training["seed"]][training["setting"]] = training
    for head, draws in by_head.items():
        shared = {draw: by_setting for draw, by_setting in sorted(draws.items()) if by_setting.keys() >= set(settings)}
        if shared:
            show_head(f"{problem}, {head}", shared, settings)


def show_head(
    title: str, draws: Mapping[tuple[int, int], Mapping[str, Mapping[str, Any]]], settings: Sequence[str]
) -> None:
    """Print a line a setting of one head; its trainings are {(fold, seed): {setting: training}}."""
    folds = sorted({fold for fold, _ in draws})
    first = next(iter(draws.values()))[settings[0]]
    n_seeds = len(draws) / len(folds)
    click.echo(f"{title}: {first['rows']:,} training rows, {first['classes']} classes, {len(folds)} × {n_seeds:g}")
    for name in settings:
        mean = {
            key: float(np.mean([by_setting[name][key] for by_setting in draws.values()]))
            for key in ("accuracy", "macro_f1", "epochs", "best_epoch", "seconds")
        }
        gained = ["", ""]
        if name != settings[0]:
            gained = [gain_in_words(draws, name, settings[0], score) for score in ("accuracy", "macro_f1")]
        click.echo(
            f"  {name:58} {mean['accuracy']:6.2f} {mean['macro_f1']:6.2f}  {gained[0]:22} {gained[1]:22}"
            f" {mean['epochs']:5.1f} ({mean['best_epoch']:.1f}) {mean['seconds']:7.2f} s"
        )


def gain_in_words(
    draws: Mapping[tuple[int, int], Mapping[str, Mapping[str, Any]]], setting: str, baseline: str, score: str
) -> str:
    """Return the mean gain in a score over a baseline, with its 95 % interval over the folds' means."""
    gains: dict[int, list[float]] = defaultdict(list)
    for (fold, _), by_setting in draws.items():
        gains[fold].append(by_setting[setting][score] - by_setting[baseline][score])
    wide, gain = interval(np.array([np.mean(of_seeds) for of_seeds in gains.values()]))
    return f"{gain:+.2f} [{gain - wide:+.2f}, {gain + wide:+.2f}]"


@click.command()
@click.option("--cache", "cache_path", type=click.Path(exists=True, path_type=Path))
@click.option("--problem", "problems", multiple=True, default=("large", "small"), show_default=True)
@click.option("--head", "heads", multiple=True, default=("image", "early", "attention"), show_default=True)
@click.option("--setting", "settings", multiple=True, default=("before", "default"), show_default=True)
@click.option("--folds", "n_folds", default=5, show_default=True, help="Of so many; draws, of a problem of few labels.")
@click.option("--first", "n_first", type=int, help="Of these folds, train on the first so many alone.")
@click.option("--seeds", "n_seeds", default=3, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), required=True, help="What is remembered.")
@click.option("--train/--no-train", "trains", default=True, help="Whether to train what is not remembered.")
def main(
    cache_path: Path | None, problems: tuple[str, ...], heads: tuple[str, ...], settings: tuple[str, ...],
    n_folds: int, n_first: int | None, n_seeds: int, json_path: Path, trains: bool,
) -> None:  # fmt: skip
    """Compare settings of a training, head by head."""
    torch.set_num_threads(1)
    json_path.touch()
    remembered = [json.loads(line) for line in json_path.read_text(encoding="utf-8").splitlines()]
    remembered_keys = {
        (training["problem"], training["fold"], training["head"], training["setting"], training["seed"])
        for training in remembered
    }
    for problem in problems:
        column, _, per_class = problem.partition(":")
        for fold in range(n_first or n_folds if trains else 0):
            requested = [(head, setting, seed) for seed in range(n_seeds) for head in heads for setting in settings]
            requested = [training for training in requested if (problem, fold, *training) not in remembered_keys]
            if not requested:
                continue
            vectors, targets = vectors_of(column, cache_path)
            rows = fold_of(targets, fold, n_folds, int(per_class or 0))
            with json_path.open("a", encoding="utf-8") as file:
                for training in train(vectors, rows, requested):
                    remembered.append({"problem": problem, "fold": fold, **training})
                    print(json.dumps(remembered[-1]), file=file, flush=True)
        mine = [
            training
            for training in remembered
            if training["problem"] == problem and training["head"] in heads and training["seed"] < n_seeds
        ]
        show(mine, problem, settings)


if __name__ == "__main__":
    main()
