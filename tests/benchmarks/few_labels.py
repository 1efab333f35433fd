"""Measure heads where few products have a label: `python tests/benchmarks/few_labels.py CACHE --label COLUMN`.

From each class that has enough products, as many as `--per-class` says are drawn, a fifth of them for validation; all
other products of these classes are the test rows. Of products that are copies of each other one is taken. With
`--drawn` the vectors are drawn instead, so that it is known what fusion can gain: `complementary` (each modality tells
half of the label), `redundant` (both tell all of it), `noise` (the picture tells nothing), `label-noise` (as
complementary, and a fifth of the labels to learn from are wrong) and `xor` (neither tells anything alone).

Printed are the means over draws, macro-F1 less that of text alone with a 95 % interval (Student's t over the draws,
paired), and the seconds of CPU of one fit with its answers, members of late fusion and of an ensemble included; the
latter is made of the other heads named. A head with `+names` (`stack+names`) begins with the directions of the
classes' names, which `embed-extract --class-names COLUMN` puts into the cache; `text-names` has no label at all. What
is drawn is which products have labels: all draws are of one catalogue.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cache import Cache, EncoderSpec  # noqa: E402 - they are on the path by now
from heads.data.class_names import find_class_names  # noqa: E402
from heads.data.groups import find_groups  # noqa: E402
from heads.data.labels import Labels, make_labels  # noqa: E402
from heads.data.splits import Split  # noqa: E402
from heads.data.vectors import Vectors, load_vectors  # noqa: E402
from heads.experiment.configuration import Configuration, FoldJob  # noqa: E402
from heads.experiment.experiment import Experiment  # noqa: E402
from heads.experiment.late_fusion import Weighting  # noqa: E402
from heads.experiment.problem import Problem  # noqa: E402
from heads.experiment.zero_label import NAMES, answer_by_names  # noqa: E402
from heads.metrics.scores import scores  # noqa: E402
from heads.settings import FitSettings  # noqa: E402

VALIDATION_SHARE = 0.2
LEAST_TEST = 20  # products of a class
TRAIN_SHARE, TEST_SHARE, LEAST_ROWS = 0.65, 0.2, 10  # where all have labels
DRAWN = ("complementary", "redundant", "noise", "label-noise", "xor")
DRAWN_DIM, N_DRAWN, N_PARTS = 64, 4000, 4
WRONG = 0.2  # of the labels


Names = dict[tuple[str, str], torch.Tensor]  # of an encoder, (K, D)


def load(path: Path, label: str, encoders: Mapping[str, str]) -> tuple[Vectors, np.ndarray]:
    """Return the vectors of all modalities, and each row's class; -1 for copies of other rows and rows without all."""
    with Cache(path) as cache:
        chosen = {name: encoders.get(name) or cache.encoders(name)[0] for name in cache.modalities}
        vectors = load_vectors(cache, encoders=chosen)
        has_all = np.logical_and.reduce([mask.numpy() for mask in vectors.present.values()])
        labels = make_labels(label, cache.column(label), usable=has_all, min_rows=1)
        groups = find_groups(cache, labels, encoders={name: [one] for name, one in chosen.items()}).of_rows
    rows = np.flatnonzero(labels.targets >= 0)
    firsts = rows[np.unique(groups[rows], return_index=True)[1]]
    targets = np.full(len(labels.targets), -1)
    targets[firsts] = labels.targets[firsts]
    return vectors, targets


def load_names(path: Path, label: str, vectors: Vectors) -> Names:
    """Return the vectors of the names of all classes that `load` has, where the cache has them."""
    with Cache(path) as cache:
        has_all = np.logical_and.reduce([mask.numpy() for mask in vectors.present.values()])
        classes = make_labels(label, cache.column(label), usable=has_all, min_rows=1).classes
        return find_class_names(cache, vectors.encoders.items(), classes, column=label)[0]


def draw_vectors(kind: str, generator: np.random.Generator) -> tuple[Vectors, np.ndarray]:
    """Return vectors and classes of which it is known what they tell."""
    n_parts = 2 if kind == "xor" else N_PARTS
    shown = {name: generator.integers(n_parts, size=N_DRAWN) for name in ("image", "text")}
    targets = shown["image"] * n_parts + shown["text"]
    if kind == "xor":
        targets = shown["image"] ^ shown["text"]
    if kind in ("redundant", "noise"):
        targets = shown["text"]
        shown["image"] = targets
    inputs = {}
    for name, parts in shown.items():
        signal = 0.0 if (kind, name) == ("noise", "image") else 0.3
        centres = generator.standard_normal((n_parts, DRAWN_DIM)) * signal
        matrix = centres[parts] + generator.standard_normal((N_DRAWN, DRAWN_DIM))
        inputs[name] = torch.from_numpy(matrix.astype(np.float32))
    present = {name: torch.ones(N_DRAWN, dtype=torch.bool) for name in inputs}
    specs = {name: EncoderSpec(name, {"weights": kind}) for name in inputs}
    return Vectors(encoders=dict.fromkeys(inputs, kind), specs=specs, inputs=inputs, present=present), targets


def draw_split(targets: np.ndarray, per_class: int, generator: np.random.Generator) -> tuple[np.ndarray, Split]:
    """Return the classes of the rows, without those that have too few, and who has a label; of 0 a class nearly all."""
    counts = np.bincount(targets[targets >= 0])
    kept = np.flatnonzero(counts >= (per_class + LEAST_TEST if per_class else LEAST_ROWS))
    names = np.full(len(counts), -1)
    names[kept] = np.arange(len(kept))
    targets = np.where(targets >= 0, names[targets], -1)
    if not per_class:
        rows = generator.permutation(np.flatnonzero(targets >= 0))
        parts = np.split(rows, [int(len(rows) * share) for share in (TRAIN_SHARE, 1 - TEST_SHARE)])
        return targets, Split(*map(np.sort, parts))
    sides: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    n_validation = max(1, round(per_class * VALIDATION_SHARE))
    for number in range(len(kept)):
        rows = generator.permutation(np.flatnonzero(targets == number))
        for side, some in zip(sides, np.split(rows, [per_class - n_validation, per_class]), strict=True):
            sides[side].append(some)
    return targets, Split(**{side: np.sort(np.concatenate(rows)) for side, rows in sides.items()})


def measure(
    vectors: Vectors, targets: np.ndarray, split: Split, heads: Sequence[str], *, class_names: Names, seed: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each head's name with its scores on the test rows, and its seconds of CPU."""
    n_classes = int(targets.max()) + 1
    names = [str(number) for number in range(n_classes)]
    problem = Problem(
        ids=[],
        vectors={(name, encoder): [vectors.part([name])] for name, encoder in vectors.encoders.items()},
        labels=Labels("label", names, targets, []),
        groups=np.arange(len(targets)),
        is_placeholder=np.zeros(len(targets), dtype=bool),
        folds=[split],
        fusions=tuple(heads),
        notes=[],
        content_sha256="",
    )
    beside = tuple(dict.fromkeys(re.split("[@+]", head)[0] for head in heads if head not in vectors.dims))
    by_names = answer_by_names(replace(problem, class_names=class_names), vectors.encoders, seed=seed)
    for head in heads:
        if (modality := head.removesuffix(NAMES)) in by_names and modality != head:
            reached = scores(targets[split.test], by_names[modality]["test"].predictions, n_classes)
            yield head, {score: 100 * reached[score] for score in ("accuracy", "macro_f1")} | {"seconds": 0.0}
            continue
        plain, plus, _ = head.partition("+names")
        name, *changes = plain.split("@")
        settings = FitSettings(seed=seed, **dict(change.split("=") for change in changes))
        weighting = Weighting(dict.fromkeys(vectors.dims, 1 / len(vectors.dims)))
        experiment = Experiment(
            replace(problem, class_names=class_names if plus else {}),
            sides=("test",),
            weighting=weighting,
            device=torch.device("cpu"),
            precision="fp32",
        )
        encoders = {name: vectors.encoders[name]} if name in vectors.dims else dict(vectors.encoders)
        started = time.process_time()
        results: dict[str, object] = {}
        job = FoldJob(Configuration.of(name, encoders, settings, beside=beside), 0, seed)
        experiment.run([job], lambda job, result, kept=results: kept.update({job.configuration.head: result}))
        trained = results[name]
        if isinstance(trained, Exception):
            raise trained
        reached = scores(targets[split.test], trained.answers["test"].predictions, n_classes)  # type: ignore[attr-defined]
        chosen = {score: 100 * reached[score] for score in ("accuracy", "macro_f1")}
        yield head, chosen | {"seconds": time.process_time() - started}


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the half width of the 95 % interval of the mean of some draws, and the mean."""
    from scipy.stats import t

    if len(differences) < 2:
        return float("nan"), float(differences.mean())
    wide = t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
    return float(wide), float(differences.mean())


def show(found: Mapping[str, list[dict[str, float]]], *, against: str = "text") -> None:
    """Print a line a head."""
    for head, draws in found.items():
        mean = {name: np.mean([one[name] for one in draws]) for name in draws[0]}
        pairs = zip(draws, found[against], strict=False)
        wide, gain = interval(np.array([mine["macro_f1"] - theirs["macro_f1"] for mine, theirs in pairs]))
        gained = "" if head == against else f"{gain:+6.1f} [{gain - wide:+.1f}, {gain + wide:+.1f}]"
        click.echo(f"  {head:24}{mean['accuracy']:8.1f}{mean['macro_f1']:10.1f}  {gained:22}{mean['seconds']:7.1f}")


@click.command()
@click.argument("cache", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--label", default="label", show_default=True, help="The column to learn.")
@click.option("--encoder", "encoders", multiple=True, help="image=NAME; the first one of each modality otherwise.")
@click.option("--drawn", multiple=True, type=click.Choice(DRAWN), help="Drawn problems instead of a cache.")
@click.option(
    "--per-class",
    default="5,20,100",
    show_default=True,
    help="Products of each class that have a label; 0: as many as it has.",
)
@click.option("--draws", default=5, show_default=True)
@click.option(
    "--heads",
    default="text,image,early,late,logistic,stack,residual,ensemble",
    show_default=True,
    help="logistic@scaling=l2 and the like.",
)
@click.option("--wrong-names", is_flag=True, help="Give each class the name of another one.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(
    cache: Path | None,
    label: str,
    encoders: tuple[str, ...],
    drawn: tuple[str, ...],
    per_class: str,
    draws: int,
    heads: str,
    wrong_names: bool,
    json_path: Path | None,
) -> None:
    """Print a table a problem and number of labels, as it is measured."""
    table = []
    for kind in drawn or ((label,) if cache else DRAWN):
        known = load(cache, label, dict(one.split("=", 1) for one in encoders)) if cache else None
        names = load_names(cache, label, known[0]) if cache and known else {}
        for n_labels in map(int, per_class.split(",")):
            found: dict[str, list[dict[str, float]]] = {head: [] for head in heads.split(",")}
            for seed in range(draws):
                generator = np.random.default_rng(seed)
                vectors, every = known or draw_vectors(kind, generator)
                targets, split = draw_split(every, n_labels, generator)
                kept = np.unique(every[targets >= 0])
                class_names = {encoder: of_all[np.roll(kept, wrong_names)] for encoder, of_all in names.items()}
                if kind == "label-noise":
                    learned = np.concatenate([split.train, split.validation])
                    wrong = generator.random(len(learned)) < WRONG
                    targets[learned[wrong]] = generator.integers(targets.max() + 1, size=wrong.sum())
                for head, one in measure(vectors, targets, split, list(found), class_names=class_names, seed=seed):
                    found[head].append(one)
            n_classes = int(targets.max()) + 1
            click.echo(f"{kind}, {n_labels} a class, {n_classes} classes, {len(split.test)} test rows, {draws} draws")
            click.echo(f"  {'head':24}{'accuracy':>8}{'macro-F1':>10}  {'over text alone':22}{'seconds':>7}")
            show(found)
            table.append({"problem": kind, "per_class": n_labels, "classes": n_classes, "draws": found})
            if json_path is not None:
                json_path.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    command()
