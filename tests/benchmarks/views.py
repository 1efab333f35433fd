"""Measure what views of pictures are worth: `python tests/benchmarks/views.py CACHE --label COLUMN`.

CACHE is of `embed-extract --views 4`. From each class that has enough products as many as `--per-class` says have a
label, a fifth of them for validation, and all others are the test rows; `all` is a split of all rows, a fifth each for
test and validation. Of products that are copies of each other one is taken. All draws are of one catalogue.

Printed are the macro-F1 on the test rows of heads trained on plain pictures, the same with answers that are the mean
of the log-probabilities over the views, heads trained with views drawn anew each epoch (`heads-train --views`), and
these with such answers, too: as means over draws, and as differences from the first, with a 95 % interval (Student's t
over the draws, paired).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labelled_products import draw_split, load
from paired_interval import interval

from cache import Cache
from heads.data.labels import Labels
from heads.data.picture_views import IMAGE, load_views
from heads.data.splitting.splits import Split, split_rows
from heads.data.vectors import Vectors
from heads.experiment.experiment import Experiment
from heads.experiment.problem import Problem
from heads.experiment.trained_heads import SIDES, train_heads
from heads.metrics.scores import scores
from heads.settings import TrainSettings

WAYS = ("plain", "plain, averaged", "views", "views, averaged")


def draw(every: np.ndarray, labelled: str, generator: np.random.Generator) -> tuple[np.ndarray, Split]:
    """Return the classes of the rows and a split: so many labels a class, or all."""
    if labelled != "all":
        return draw_split(every, int(labelled), generator)
    large_classes = np.flatnonzero(np.bincount(every[every >= 0]) >= TrainSettings.min_rows)
    targets = np.where(np.isin(every, large_classes), np.searchsorted(large_classes, every), -1)
    groups = np.arange(len(targets))
    return targets, split_rows(targets, groups, test_share=0.2, validation_share=0.2, generator=generator)


def measure(
    vectors: Vectors, views: Sequence[Tensor], targets: np.ndarray, split: Split, settings: TrainSettings
) -> dict[str, dict[str, float]]:
    """Return the macro-F1 of each head in each way, {head: {way: points}}, and the seconds of CPU of each training."""
    plain = Problem(
        ids=[],
        vectors={(name, encoder): [vectors.part([name])] for name, encoder in vectors.encoders.items()},
        labels=Labels("label", [str(number) for number in range(targets.max() + 1)], targets, []),
        groups=np.arange(len(targets)),
        is_placeholder=np.zeros(len(targets), dtype=bool),
        folds=[split],
        fusions=settings.fusions,
        notes=[],
        content_sha256="",
    )
    figures: dict[str, dict[str, float]] = {"seconds": {}}
    for way, problem in (
        ("plain", plain),
        ("views", replace(plain, views={(IMAGE, vectors.encoders[IMAGE]): views})),
    ):
        started = time.process_time()
        trained = train_heads(Experiment.of(problem, settings, sides=SIDES), settings).trained
        figures["seconds"][way] = time.process_time() - started
        for name in (IMAGE, *settings.fusions):
            head = trained[name].head
            rows = torch.from_numpy(split.test)
            logs = [
                head.log_probabilities(vectors.inputs | {IMAGE: pictures}, vectors.present, {}, rows=rows)
                for pictures in (vectors.inputs[IMAGE], *views)
            ]
            for suffix, answer in (("", logs[0]), (", averaged", torch.stack(logs).mean(0))):
                reached = scores(targets[split.test], answer.argmax(1).numpy(), int(targets.max()) + 1)
                figures.setdefault(name, {})[way + suffix] = 100 * reached["macro_f1"]
    return figures


def show(draws: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """Print a line a head and way."""
    for head in draws[0]:
        for way in draws[0][head]:
            reached, plain = (np.array([draw[head][compared_way] for draw in draws]) for compared_way in (way, "plain"))
            wide, gain = interval(reached - plain)
            gained = (
                "" if way == "plain" or head == "seconds" else f"{gain:+5.1f} [{gain - wide:+.1f}, {gain + wide:+.1f}]"
            )
            click.echo(f"  {head:10}{way:18}{reached.mean():6.1f}  {gained}")


@click.command()
@click.argument("cache", type=click.Path(exists=True, path_type=Path))
@click.option("--label", default="label", show_default=True, help="The column to learn.")
@click.option("--encoder", "encoders", multiple=True, help="image=NAME; the first one of each modality otherwise.")
@click.option("--per-class", default="5,20,all", show_default=True, help="Products of each class that have a label.")
@click.option("--draws", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(
    cache: Path, label: str, encoders: tuple[str, ...], per_class: str, draws: int, json_path: Path | None
) -> None:
    """Print a table a number of labels, as it is measured."""
    vectors, every = load(cache, label, dict(choice.split("=", 1) for choice in encoders))
    with Cache(cache) as opened:
        views = load_views(opened, vectors.encoders[IMAGE], vectors.present[IMAGE], memory=None)
    table = []
    for labelled in per_class.split(","):
        measured = []
        for seed in range(draws):
            targets, split = draw(every, labelled, np.random.default_rng(seed))
            settings = TrainSettings(fusions=("early",), seed=seed, controls=(), precision="fp32", device="cpu")
            measured.append(measure(vectors, views, targets, split, settings))
        n_classes, sides = int(targets.max()) + 1, {side: len(rows) for side, rows in vars(split).items()}
        click.echo(f"{label}, {labelled} a class, {n_classes} classes, {draws} draws, {1 + len(views)} views: {sides}")
        show(measured)
        table.append({"label": label, "per_class": labelled, "classes": n_classes, "rows": sides, "draws": measured})
        if json_path is not None:
            json_path.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    command()
