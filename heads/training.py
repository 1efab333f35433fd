"""Training, from a cache to a run folder: labels, split, every head, its scores, and the verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from cache import Cache
from heads.device import find_device, find_dtype
from heads.errors import HeadError
from heads.evaluate import calibration_error, log_loss, per_class, resampled_scores, scores
from heads.fit import fit_jobs
from heads.job import Fit, Job
from heads.late import Late, parse_weights
from heads.memory import memory_bytes
from heads.problem import Problem, describe, fitted_standardise, pose, task_of
from heads.run import check_name, write_answers, write_run
from heads.settings import TrainSettings
from heads.trained import TrainedHead, write_json
from heads.verdict import Verdict, interval, judge

__all__ = ["RunReport", "train"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class RunReport:
    """What a training found."""

    run_path: Path
    label: str
    n_classes: int
    n_rows: dict[str, int]  # side of the split -> rows
    encoders: dict[str, str]
    untrained: list[str]  # the encoders whose weights are random
    weights: dict[str, float]  # of late fusion
    metrics: dict[str, dict]  # head -> its scores on the test rows
    verdicts: list[Verdict]
    notes: list[str]
    elapsed_s: float


def train(
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: TrainSettings | None = None,
    runs_path: str | Path = "runs",
    name: str | None = None,
    command: Sequence[str] | None = None,
) -> RunReport:
    """Train every modality alone and the fusions asked for, write a run folder, and return what was found.

    The test rows are looked at once, when all heads are done.

    Raises:
        CacheError: the cache cannot be read, or lacks a modality.
        LabelError, SplitError, SettingError, HeadError, RunError: what was asked for cannot be done.
    """
    settings = settings or TrainSettings()
    started = time.monotonic()
    check_name(Path(runs_path), name)
    with Cache(cache_path) as cache:
        problem = pose(cache, settings)
    weights = parse_weights(settings.weights, list(problem.vectors.dims))
    heads, fits = _fit_heads(problem, settings, weights)
    probabilities = {head.name: head.probabilities(problem.vectors) for head in heads}
    metrics = _measure(problem, probabilities, fits)
    verdicts = _compare(problem, probabilities, metrics, settings)
    saved = [head for head in heads if getattr(head.module, "is_saved", True)]
    config = {
        "command": list(command) if command else None,
        "cache": str(cache_path),
        "cache_content_sha256": problem.content_sha256,
        "label": problem.labels.column,
        "classes": problem.labels.classes,
        "heads": [head.name for head in saved],
        "encoders": problem.vectors.encoders,
        "untrained_encoders": problem.vectors.untrained,
        "late_weights": weights,
        "settings": asdict(settings),
        "split": {side: problem.ids_of(getattr(problem.split, side)) for side in ("train", "validation", "test")},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }

    def write(folder: Path) -> None:
        write_json(folder / "config.json", config)
        found = {"heads": metrics, "verdicts": [verdict.to_dict() for verdict in verdicts], "notes": problem.notes}
        write_json(folder / "metrics.json", found)
        with (folder / "predictions.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            test = problem.split.test
            write_answers(
                file,
                problem.ids_of(test),
                {head: matrix[test] for head, matrix in probabilities.items()},
                problem.labels.classes,
                answered={head.name: problem.vectors.some_present(head.description.dims)[test] for head in heads},
                labels=[problem.labels.classes[code] for code in problem.labels.codes[test]],
            )
        for head in saved:
            head.save(folder, golden=problem.vectors, golden_rows=problem.split.test)

    run_path = write_run(Path(runs_path), name, problem.labels.column, write)
    return RunReport(
        run_path=run_path,
        label=problem.labels.column,
        n_classes=len(problem.labels.classes),
        n_rows={side: len(getattr(problem.split, side)) for side in ("train", "validation", "test")},
        encoders=problem.vectors.encoders,
        untrained=problem.vectors.untrained,
        weights=weights if "late" in metrics else {},
        metrics=metrics,
        verdicts=verdicts,
        notes=problem.notes,
        elapsed_s=time.monotonic() - started,
    )


def _fit_heads(
    problem: Problem, settings: TrainSettings, weights: Mapping[str, float]
) -> tuple[list[TrainedHead], dict[str, Fit]]:
    """Fit each modality alone and the fusions; late fusion is made of the single heads."""
    vectors = problem.vectors
    standardise = fitted_standardise(vectors, problem.split)
    task = task_of(vectors, standardise, problem.labels.codes, problem.split)
    n_classes = len(problem.labels.classes)
    described = [
        describe(name, vectors, n_classes=n_classes, settings=settings, weights=weights)
        for name in (*vectors.dims, *problem.fusions)
    ]
    jobs = [Job(description, task, settings) for description in described if description.name != "late"]
    device = find_device(settings.device)
    dtype = find_dtype(settings.precision, device)
    fits: dict[str, Fit] = {}
    for place, found in fit_jobs(jobs, device=device, dtype=dtype, memory=memory_bytes(settings.memory)):
        if isinstance(found, HeadError):
            raise found
        name = jobs[place].description.name
        fits[name] = found
        log.info("%s: %d epochs, the best was %d, %.1f s", name, len(found.history), found.best_epoch, found.elapsed_s)
    if "late" in problem.fusions:
        members = {modality: fits[modality] for modality in vectors.dims}
        module = Late({name: own.module for name, own in members.items()}, weights=weights).eval()
        (description,) = (own for own in described if own.name == "late")
        fits["late"] = Fit(module, description, 0, [], sum(own.elapsed_s for own in members.values()))
    heads = [
        TrainedHead(
            description=fits[description.name].description,
            module=fits[description.name].module,
            standardise=standardise.part(description.dims, description.token_dims),
            label=problem.labels.column,
            classes=problem.labels.classes,
            encoders={modality: vectors.encoders[modality] for modality in description.dims},
            specs={modality: vectors.specs[modality] for modality in description.dims},
        )
        for description in described
    ]
    return heads, fits


def _measure(problem: Problem, probabilities: Mapping[str, np.ndarray], fits: Mapping[str, Fit]) -> dict[str, dict]:
    """Return each head's scores on the test rows, with those on training and validation rows beside them."""
    codes, n_classes = problem.labels.codes, len(problem.labels.classes)
    found = {}
    for name, matrix in probabilities.items():
        answers = matrix.argmax(1)
        by_side = {side: scores(codes[rows], answers[rows], n_classes) for side, rows in vars(problem.split).items()}
        test = problem.split.test
        found[name] = {
            **by_side["test"],
            "log_loss": log_loss(matrix[test], codes[test]),
            "calibration_error": calibration_error(matrix[test], codes[test]),
            "train_test_gap": by_side["train"]["accuracy"] - by_side["test"]["accuracy"],
            "train": by_side["train"],
            "validation": by_side["validation"],
            "best_epoch": fits[name].best_epoch,
            "history": fits[name].history,
            "fit_s": fits[name].elapsed_s,
            "classes": per_class(codes[test], answers[test], problem.labels.classes),
        }
    return found


def _compare(
    problem: Problem,
    probabilities: Mapping[str, np.ndarray],
    metrics: dict[str, dict],
    settings: TrainSettings,
) -> list[Verdict]:
    """Add intervals to the metrics, and return the verdict on every fusion."""
    test = problem.split.test
    resampled = resampled_scores(
        problem.labels.codes[test],
        {name: matrix[test].argmax(1) for name, matrix in probabilities.items()},
        problem.groups[test],
        n_classes=len(problem.labels.classes),
        n_resamples=settings.n_resamples,
        generator=np.random.default_rng(settings.seed),
    )
    singles = list(problem.vectors.dims)
    best = max(singles, key=lambda name: metrics[name]["validation"]["macro_f1"])
    values = {name: np.array([scored["accuracy"], scored["macro_f1"]]) for name, scored in metrics.items()}
    for name, value in values.items():
        low, high = np.clip(interval(value, resampled[name]), 0, 1)
        metrics[name]["accuracy_interval"] = [float(low[0]), float(high[0])]
        metrics[name]["macro_f1_interval"] = [float(low[1]), float(high[1])]
    others = [name for name in singles if name != best]
    return [
        judge(name, best, others=others, n_rows=len(test), scores=values, resampled=resampled)
        for name in metrics
        if name not in singles
    ]
