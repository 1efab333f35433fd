"""Training once more with pseudo-labels, and whether the validation rows gain by it."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cache.console.notes import PROGRESS
from cache.system.stray_bytes import open_csv
from heads.data.draws import generator_of
from heads.experiment.experiment import Experiment
from heads.experiment.problem import Problem
from heads.experiment.pseudo_labels import PseudoLabels, choose_pseudo_labels, precision_thresholds
from heads.experiment.pseudo_teacher import ask_teacher
from heads.experiment.trained_heads import SIDES, Roster, train_heads
from heads.metrics.differences import Difference, compare
from heads.metrics.scores import resampled_scores, scores
from heads.settings import TrainSettings

__all__ = [
    "PSEUDO_LABELS", "PseudoChoice", "PseudoFinding", "choose", "train_with_pseudo_labels", "write_pseudo_labels",
]  # fmt: skip

PSEUDO_LABELS = "pseudo_labels.csv"  # in the folder of a run that learned from some
WITH, WITHOUT = "with", "without"

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class PseudoFinding:
    """What came of pseudo-labels; the differences are of validation rows, with minus without."""

    sentence: str
    is_kept: bool  # else the run's heads are those that were trained without them
    n_unlabelled: int
    n_labelled: int = 0
    per_class: dict[str, int] = field(default_factory=dict)  # class -> how many were chosen
    thresholds: dict[str, float] = field(default_factory=dict)  # class -> confidence; of those that have one
    accuracy: Difference | None = None  # of the fusions' mean, or the only head's
    macro_f1: Difference | None = None
    heads: dict[str, dict[str, float]] = field(default_factory=dict)  # head -> score -> its difference


@dataclass(frozen=True)
class PseudoChoice:
    """Which products get a label, as it is known before any head is trained."""

    labels: PseudoLabels
    thresholds: dict[str, float]  # class -> confidence; of those that have one
    n_unlabelled: int
    candidates: str  # the products that could get one, in words


def train_with_pseudo_labels(
    roster: Roster,
    experiment: Experiment,
    settings: TrainSettings,
    choice: PseudoChoice,
    *,
    sizes: Mapping[str, TrainSettings] | None = None,
) -> tuple[Roster | None, PseudoFinding]:
    """Return the heads trained once more with pseudo-labels, None where there are none, and what came of that.

    The validation rows decide alone whether the new heads are to be kept: where the fusions' macro-F1 is higher on
    average.

    Raises:
        HeadError: a head cannot be trained.
    """
    problem, chosen, thresholds, candidates = experiment.problem, choice.labels, choice.thresholds, choice.candidates
    if not len(chosen.rows):
        return None, PseudoFinding(
            f"Pseudo-labels: none of the {candidates} got one. Too few training rows that "
            "were held out are answered alike and right by all heads, or no product is answered as surely.",
            False,
            choice.n_unlabelled,
            thresholds=thresholds,
        )
    log.log(PROGRESS, "The heads are trained once more, with %d pseudo-labels.", len(chosen.rows))
    again = Experiment.of(
        replace(problem, pseudo_labels=chosen), settings, sides=SIDES, n_resamples=settings.n_resamples
    )
    roster_with = train_heads(again, settings, sizes=sizes)
    accuracy, macro_f1, heads = _effect(roster, roster_with, settings)
    is_kept = macro_f1.value > 0
    per_class = np.bincount(chosen.classes, minlength=len(problem.labels.classes))
    finding = PseudoFinding(
        _sentence(roster, candidates, per_class, macro_f1, is_kept=is_kept),
        is_kept,
        choice.n_unlabelled,
        len(chosen.rows),
        {name: int(count) for name, count in zip(problem.labels.classes, per_class, strict=True) if count},
        thresholds,
        accuracy,
        macro_f1,
        heads,
    )
    return roster_with, finding


def write_pseudo_labels(folder: Path, problem: Problem) -> None:
    """Write one CSV line a product that got a pseudo-label: its id, the label, and its probability."""
    if (pseudo_labels := problem.pseudo_labels) is None:
        return
    with open_csv(folder / PSEUDO_LABELS) as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "probability"])
        for name, number, confidence in zip(
            problem.ids_of(pseudo_labels.rows), pseudo_labels.classes, pseudo_labels.confidences, strict=True
        ):
            writer.writerow([name, problem.labels.classes[number], f"{confidence:.6f}"])


def choose(experiment: Experiment, *, seed: int) -> PseudoChoice:
    """Return the pseudo-labels of some of the products without a label.

    Neither validation nor test rows nor copies of them get one or decide who does.

    Raises:
        LabelError: the training rows are all of one class.
    """
    problem = experiment.problem
    rows = np.empty(0, dtype=np.int64) if problem.unlabelled is None else problem.unlabelled
    (split,), classes, targets = problem.folds, problem.labels.classes, problem.labels.targets
    held_consensus, unlabelled_consensus = ask_teacher(experiment, rows, seed=seed)
    thresholds = precision_thresholds(held_consensus, targets[held_consensus.rows], n_classes=len(classes))
    caps = np.bincount(targets[split.train], minlength=len(classes))
    chosen = choose_pseudo_labels(
        unlabelled_consensus,
        groups=problem.groups,
        thresholds=thresholds,
        caps=caps,
        generator=generator_of(seed, "pseudo labels"),
    )
    of_classes = {
        name: float(threshold) for name, threshold in zip(classes, thresholds, strict=True) if threshold < np.inf
    }
    n_whole = len(unlabelled_consensus.rows)
    lacking = f" ({n_whole:,} of which have all modalities)" if n_whole < len(rows) else ""
    return PseudoChoice(chosen, of_classes, len(rows), f"{len(rows):,} products without a label{lacking}")


def _effect(
    roster: Roster, roster_with: Roster, settings: TrainSettings
) -> tuple[Difference, Difference, dict[str, dict[str, float]]]:
    """Return the differences in accuracy and macro-F1 on the validation rows, and each head's."""
    values, resampled = _scored(roster, settings)
    values_with, resampled_with = _scored(roster_with, settings)
    judged = _judged(roster)
    accuracy, macro_f1 = compare(
        [WITH],
        WITHOUT,
        scores={
            which: np.mean([head_values[name] for name in judged], axis=0)
            for which, head_values in ((WITH, values_with), (WITHOUT, values))
        },
        resampled={WITH: resampled_with, WITHOUT: resampled},
        n_groups=len(np.unique(roster.problem.groups[roster.split.validation])),
    )[WITH]
    differences = {name: (values_with[name] - values[name]).tolist() for name in values}
    by_head = {
        name: dict(zip(("accuracy", "macro_f1"), head_values, strict=True)) for name, head_values in differences.items()
    }
    return accuracy, macro_f1, by_head


def _scored(roster: Roster, settings: TrainSettings) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return each head's accuracy and macro-F1 on the validation rows, and the mean of those that are judged by.

    That is on resamples, (R, 2), which are the same at each call.
    """
    problem, rows, n_classes = roster.problem, roster.split.validation, len(roster.problem.labels.classes)
    targets = problem.labels.targets[rows]
    answers = {name: of_head.answers["validation"].predictions for name, of_head in roster.trained.items()}
    resampled = resampled_scores(
        targets,
        {name: answers[name] for name in _judged(roster)},
        problem.groups[rows],
        n_classes=n_classes,
        n_resamples=settings.n_resamples,
        generator=generator_of(settings.seed, "bootstrap"),
    )
    values = {name: scores(targets, predictions, n_classes) for name, predictions in answers.items()}
    pairs = {name: np.array([card["accuracy"], card["macro_f1"]]) for name, card in values.items()}
    return pairs, np.mean(list(resampled.values()), axis=0)


def _judged(roster: Roster) -> list[str]:
    """Return the heads by which pseudo-labels are kept or not."""
    return roster.fusions or roster.singles


def _sentence(roster: Roster, candidates: str, per_class: np.ndarray, macro_f1: Difference, *, is_kept: bool) -> str:
    names = _judged(roster)
    who = names[0] if len(names) == 1 else f"the {'fusions' if roster.fusions else 'heads'} on average"
    then = "they are learned from" if is_kept else "no gain, so the run is the one without them"
    return (
        f"Pseudo-labels: {int(per_class.sum()):,} of {candidates} got one, of "
        f"{int((per_class > 0).sum())} classes. With them the macro-F1 of {who} changes by {macro_f1} points on "
        f"the {len(roster.split.validation):,} validation rows: {then}."
    )
