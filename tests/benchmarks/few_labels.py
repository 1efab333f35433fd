"""Measure heads where few products have a label: `python tests/benchmarks/few_labels.py CACHE --label COLUMN`.

Of each class that has enough products, five stratified folds are drawn a seed. In turn each is the test rows, and of
the other four as many products of a class as `--per-class` says have a label, a fifth of them for validation. Of
products that are copies of each other one is taken. With `--drawn` the vectors are drawn (`drawn_problems.py`), anew
for each fold and seed. Options change one thing at a time (`Protocol`); `--draws` takes no folds, but labelled products
by chance and all others of their classes as test rows.

Printed are the means, macro-F1 less that of text alone with a 95 % interval (paired, `paired_interval.py`), and the
seconds of CPU of one fit with its answers, members of late fusion and of an ensemble included; the latter is made of
the other heads named. Folds of a catalogue share rows, and their interval is corrected for that; drawn problems and
independent draws get Student's t. A head with `+names` (`stack+names`) begins with the directions of the classes'
names, which `embed-extract --class-names COLUMN` puts into the cache; `text-names` has no label at all; `stack~text` is
a stack of the text alone. All results are of one catalogue. `--json` keeps them, and goes on where it was stopped.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from drawn_problems import DRAWN, draw_vectors, mislabel  # noqa: E402 - they are on the path by now
from kept_results import KeptResults  # noqa: E402
from labelled_products import (  # noqa: E402
    N_FOLDS,
    Names,
    Protocol,
    draw_split,
    firsts,
    folds_of,
    load_groups,
    load_names,
)
from paired_interval import interval  # noqa: E402

from heads.data.labels import Labels  # noqa: E402
from heads.data.splitting.splits import Split  # noqa: E402
from heads.data.vectors import Vectors  # noqa: E402
from heads.experiment.configuration import Configuration, FoldJob  # noqa: E402
from heads.experiment.experiment import Experiment  # noqa: E402
from heads.experiment.late_fusion import Weighting  # noqa: E402
from heads.experiment.problem import Problem  # noqa: E402
from heads.experiment.zero_label import NAMES, answer_by_names  # noqa: E402
from heads.metrics.scores import scores  # noqa: E402
from heads.settings import FitSettings  # noqa: E402

HEADS = "text,image,early,late,gated,attention,lowrank,logistic,stack,residual"


def measure(
    vectors: Vectors,
    targets: np.ndarray,
    split: Split,
    heads: Sequence[str],
    *,
    groups: np.ndarray,
    class_names: Names,
    seed: int,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each head's name with its scores on the test rows, and its seconds of CPU."""
    n_classes = int(targets.max()) + 1
    names = [str(number) for number in range(n_classes)]
    problem = Problem(
        ids=[],
        vectors={(name, encoder): [vectors.part([name])] for name, encoder in vectors.encoders.items()},
        labels=Labels("label", names, targets, []),
        groups=groups,
        is_placeholder=np.zeros(len(targets), dtype=bool),
        folds=[split],
        fusions=tuple(heads),
        notes=[],
        content_sha256="",
    )
    beside = tuple(dict.fromkeys(re.split("[@+~]", head)[0] for head in heads if head not in vectors.dims))
    by_names = answer_by_names(replace(problem, class_names=class_names), vectors.encoders, seed=seed)
    for head in heads:
        if (modality := head.removesuffix(NAMES)) in by_names and modality != head:
            reached = scores(targets[split.test], by_names[modality]["test"].predictions, n_classes)
            yield head, in_percent(reached) | {"seconds": 0.0}
            continue
        whole, _, alone = head.partition("~")
        plain, plus, _ = whole.partition("+names")
        name, *changes = plain.split("@")
        changed = {
            key: type(getattr(FitSettings, key))(value) for key, value in (change.split("=") for change in changes)
        }
        settings = FitSettings(seed=seed, **changed)
        weighting = Weighting(dict.fromkeys(vectors.dims, 1 / len(vectors.dims)))
        experiment = Experiment(
            replace(problem, class_names=class_names if plus else {}),
            sides=("test",),
            weighting=weighting,
            device=torch.device("cpu"),
            precision="fp32",
        )
        only = name if name in vectors.dims else alone
        encoders = {only: vectors.encoders[only]} if only else dict(vectors.encoders)
        started = time.process_time()
        results: dict[str, object] = {}
        job = FoldJob(Configuration.of(name, encoders, settings, beside=beside), 0, seed)
        experiment.run([job], lambda job, result, by_head=results: by_head.update({job.configuration.head: result}))
        trained = results[name]
        if isinstance(trained, Exception):
            raise trained
        reached = scores(targets[split.test], trained.answers["test"].predictions, n_classes)  # type: ignore[attr-defined]
        yield head, in_percent(reached) | {"seconds": time.process_time() - started}


def in_percent(reached: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * reached[name] for name in ("accuracy", "macro_f1")}


def show(cell: Mapping[str, Any], heads: Sequence[str], *, test_to_train: float, against: str = "text") -> None:
    """Print a line a head."""
    about = ", ".join(f"{cell[name]:,} {name}" for name in ("classes", "train", "validation", "test"))
    n_results = len(cell["heads"][heads[0]]["macro_f1"])
    click.echo(f"{cell['problem']}, {cell['per_class']} a class: {about}; {n_results} results")
    click.echo(f"  {'head':24}{'accuracy':>8}{'macro-F1':>10}  {'over ' + against:22}{'seconds':>7}")
    for head in heads:
        mean = {name: np.mean(values) for name, values in cell["heads"][head].items()}
        gained = ""
        if head != against and against in heads:
            mine, theirs = (np.array(cell["heads"][scored_head]["macro_f1"]) for scored_head in (head, against))
            n = min(len(mine), len(theirs))
            wide, gain = interval(mine[:n] - theirs[:n], test_to_train=test_to_train)
            gained = f"{gain:+6.1f} [{gain - wide:+.1f}, {gain + wide:+.1f}]"
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
    help="Products of each class that have a label; with --draws 0: as many as it has.",
)
@click.option("--seeds", default=3, show_default=True, help="Times that five folds are drawn.")
@click.option("--draws", default=0, help="So many independent draws in place of folds.")
@click.option("--least", default=Protocol.least, show_default=True, help="Products that a class needs.")
@click.option("--validation", default=Protocol.validation, show_default=True, type=click.Choice(["inside", "beside"]))
@click.option("--test", "test_rows", default=Protocol.test, show_default=True, type=click.Choice(["fold", "rest"]))
@click.option("--copies", default=Protocol.copies, show_default=True, type=click.Choice(["one", "all"]))
@click.option("--heads", default=HEADS, show_default=True, help="logistic@scaling=l2, stack~text and the like.")
@click.option("--wrong-names", is_flag=True, help="Give each class the name of another one.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Keep all figures here.")
def command(
    cache: Path | None,
    label: str,
    encoders: tuple[str, ...],
    drawn: tuple[str, ...],
    per_class: str,
    seeds: int,
    draws: int,
    least: int,
    validation: str,
    test_rows: str,
    copies: str,
    heads: str,
    wrong_names: bool,
    json_path: Path | None,
) -> None:
    """Print a table a problem and number of labels, as it is measured."""
    torch.set_num_threads(1)
    protocol = Protocol(least, validation, test_rows, copies)
    kept_results = KeptResults(
        json_path,
        command="python tests/benchmarks/few_labels.py, and again with CACHE --label COLUMN",
        protocol={**asdict(protocol), "folds": N_FOLDS, "draws": draws},
    )
    chosen = heads.split(",")
    for kind in drawn or ((label,) if cache else DRAWN):
        loaded = load_groups(cache, label, dict(choice.split("=", 1) for choice in encoders)) if cache else None
        names = load_names(cache, label, loaded[0]) if cache and loaded else {}
        for n_labels in map(int, per_class.split(",")):
            cell = kept_results.cell(kind, n_labels)
            for n in range(draws or seeds * N_FOLDS):
                missing = [head for head in chosen if len(cell["heads"].get(head, {"seconds": ()})["seconds"]) <= n]
                if not missing:
                    continue
                generator = np.random.default_rng(n)
                vectors, every, groups = loaded or (*draw_vectors(kind, generator), np.arange(0))
                if not loaded:
                    groups = np.arange(len(every))
                if protocol.copies == "one":
                    every, groups = firsts(every, groups), np.arange(len(every))
                if draws:
                    targets, split = draw_split(every, n_labels, generator)
                else:
                    seed, fold = divmod(n, N_FOLDS)
                    targets, (split,) = folds_of(
                        every, groups, n_labels, protocol, seed=seed, folds=range(fold, fold + 1)
                    )
                which = np.unique(every[targets >= 0])
                class_names = {encoder: of_all[np.roll(which, wrong_names)] for encoder, of_all in names.items()}
                if kind == "label-noise":
                    targets = mislabel(targets, np.concatenate([split.train, split.validation]), generator)
                cell |= {"classes": int(targets.max()) + 1, "is_drawn": not loaded}
                cell |= {side: len(rows) for side, rows in vars(split).items()}
                fixed = {"groups": groups, "class_names": class_names, "seed": n}
                for head, result in measure(vectors, targets, split, missing, **fixed):
                    kept_results.add(cell, head, result)
                kept_results.save()
            is_shared = bool(loaded) and not draws
            show(cell, chosen, test_to_train=1 / (N_FOLDS - 1) if is_shared else 0.0)


if __name__ == "__main__":
    command()
