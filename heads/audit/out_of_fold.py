"""What heads say of rows that they did not learn from, in a few numbers a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from cache.console.progress import Progress
from cache.system.memory_budget import memory_bytes
from heads.audit.audit_settings import AuditSettings
from heads.device import find_device
from heads.errors import HeadError
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.late_fusion import Weighting
from heads.experiment.problem import Problem
from heads.experiment.results import Trained
from heads.settings import FitSettings

__all__ = ["Opinions", "OutOfFold", "ask_out_of_fold", "class_thresholds"]

FUSED = "late"


@dataclass(frozen=True)
class Opinions:
    """What one modality's heads say of each row; nothing of rows that lack it or that no fold tested.

    Shape:
        classes: (N,) int64, the most probable class; -1 where nothing is said
        confidences: (N,) float32, its probability
        given_probabilities: (N,) float32, the probability of the row's label
    """

    classes: np.ndarray
    confidences: np.ndarray
    given_probabilities: np.ndarray


@dataclass(frozen=True)
class OutOfFold:
    """What the fused heads say of each row, and what those of each modality say.

    Shape:
        is_tested: (N,) bool, the rows that a fold tested
        given_probabilities: (N,) float32, the probability of the row's label
        alternatives: (N,) int64, the most probable class besides the label; -1 for rows that no fold tested
        alternative_probabilities: (N,) float32, its probability
        confident_classes: (N,) int64, the most probable of the classes that reach their thresholds; -1 where none does
        thresholds: (K,) float32
    """

    is_tested: np.ndarray
    given_probabilities: np.ndarray
    alternatives: np.ndarray
    alternative_probabilities: np.ndarray
    confident_classes: np.ndarray
    thresholds: np.ndarray
    by_modality: Mapping[str, Opinions]


def ask_out_of_fold(problem: Problem, settings: AuditSettings) -> OutOfFold:
    """Train each modality's head on every fold, average them, and return what they say of the rows that they test.

    One block of probabilities is in memory at a time, so that heads answer twice: for the thresholds, and for the
    classes that reach them.

    Raises:
        HeadError, LabelError: a head cannot be trained.
    """
    encoders = problem.combinations[0]
    experiment = Experiment(
        problem,
        sides=("test",),
        weighting=Weighting.parse("auto", list(encoders), seed=settings.seed),
        device=find_device(settings.device),
        precision=settings.precision,
        memory=memory_bytes(settings.memory),
    )
    fused = FUSED if len(encoders) > 1 else next(iter(encoders))
    jobs = [
        FoldJob(Configuration.of(fused, encoders, FitSettings()), fold, settings.seed)
        for fold in range(len(problem.folds))
    ]
    trained: dict[tuple[str, int], Trained] = {}
    n_heads = len(jobs) * (len(encoders) + (fused == FUSED))
    with Progress("Training heads that do not learn from what they answer", n_heads, unit="head") as progress:

        def take(job: FoldJob, result: Trained | HeadError) -> None:
            if isinstance(result, HeadError):
                raise result
            trained[job.configuration.head, job.fold] = result
            progress.advance(1)

        experiment.run(jobs, take)
    by_modality = {name: _opinions(problem, trained, name) for name in encoders}
    return _out_of_fold(problem, trained, fused, by_modality)


def class_thresholds(given_probabilities: np.ndarray, targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Return each class's threshold: the mean probability of the class in the rows that have it as their label.

    That of Northcutt, Jiang and Chuang, Confident learning (arXiv 1911.00068); infinite for a class without rows.

    Shape:
        given_probabilities: (n,) float32, the probability of each row's label
        targets: (n,) int64
        output: (K,) float32
    """
    counts = np.bincount(targets, minlength=n_classes)
    sums = np.bincount(targets, weights=given_probabilities, minlength=n_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf).astype(np.float32)


def _opinions(problem: Problem, trained: Mapping[tuple[str, int], Trained], name: str) -> Opinions:
    n_rows = len(problem.labels.targets)
    opinions = Opinions(np.full(n_rows, -1), np.zeros(n_rows, np.float32), np.zeros(n_rows, np.float32))
    for fold, split in enumerate(problem.folds):
        answers = trained[name, fold].answers["test"]
        present = (
            problem.joint_vectors(problem.combinations[0], fold).present[name][torch.from_numpy(split.test)].numpy()
        )
        rows = split.test[present]
        opinions.classes[rows] = answers.predictions[present]
        opinions.confidences[rows] = answers.confidences[present]
        opinions.given_probabilities[rows] = answers.of_targets[present]
    return opinions


def _out_of_fold(
    problem: Problem,
    trained: Mapping[tuple[str, int], Trained],
    fused: str,
    by_modality: Mapping[str, Opinions],
) -> OutOfFold:
    targets, n_rows = problem.labels.targets, len(problem.labels.targets)
    given_probabilities = np.zeros(n_rows, np.float32)
    for fold, split in enumerate(problem.folds):
        given_probabilities[split.test] = trained[fused, fold].answers["test"].of_targets
    is_tested = np.zeros(n_rows, dtype=bool)
    is_tested[problem.test_rows] = True
    thresholds = class_thresholds(given_probabilities[is_tested], targets[is_tested], len(problem.labels.classes))
    alternatives, confident_classes = np.full(n_rows, -1), np.full(n_rows, -1)
    alternative_probabilities = np.zeros(n_rows, np.float32)
    for rows, probabilities in _blocks(problem, trained, fused):
        row_indices = np.arange(len(rows))
        reaching = np.where(probabilities >= thresholds, probabilities, -1)
        best = reaching.argmax(1)
        confident_classes[rows] = np.where(reaching[row_indices, best] >= 0, best, -1)
        probabilities[row_indices, targets[rows]] = -1
        alternatives[rows] = probabilities.argmax(1)
        alternative_probabilities[rows] = probabilities[row_indices, alternatives[rows]]
    return OutOfFold(
        is_tested=is_tested,
        given_probabilities=given_probabilities,
        alternatives=alternatives,
        alternative_probabilities=alternative_probabilities,
        confident_classes=confident_classes,
        thresholds=thresholds,
        by_modality=by_modality,
    )


def _blocks(
    problem: Problem, trained: Mapping[tuple[str, int], Trained], fused: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of the tested rows, (b,) int64, each with the probabilities of all classes, (b, K) float32."""
    for fold, split in enumerate(problem.folds):
        vectors = problem.joint_vectors(problem.combinations[0], fold)
        head = trained[fused, fold].head
        blocks = head.answer_blocks(vectors.inputs, vectors.present, vectors.tokens, rows=torch.from_numpy(split.test))
        for positions, block in blocks:
            yield split.test[positions.numpy()], block.exp().numpy()
