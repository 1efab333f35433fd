"""What a run finds out about its heads: scores with intervals, verdicts, controls, and scores without a modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from heads.data.draws import generator_of
from heads.experiment.findings.importance import measure_importance
from heads.experiment.findings.missing_modalities import score_missing
from heads.experiment.findings.predictions import Predictions
from heads.experiment.findings.sizes import SizeFinding, compare_sizes
from heads.experiment.late_fusion import sweep
from heads.experiment.trained_heads import Roster
from heads.experiment.weight_sweep import SweepPoint
from heads.experiment.zero_label import NAMES
from heads.metrics.answers import Answers
from heads.metrics.differences import interval
from heads.metrics.mcnemar import mcnemar_test
from heads.metrics.per_class_changes import tally_classes
from heads.metrics.placeholder_scores import score_apart
from heads.metrics.registry import measure
from heads.metrics.scores import per_class, resampled_scores
from heads.metrics.verdict import Verdict, judge, warn_of_control
from heads.modules.guard import GUARD
from heads.settings import TrainSettings

__all__ = ["Findings", "find_out"]

ALTERED_ROWS = 20_000  # test rows that are shuffled or lose modalities


@dataclass(frozen=True)
class Findings:
    """All scores are of the test rows, but for those that say otherwise."""

    metrics: dict[str, dict]  # head -> scores
    controls: dict[str, dict]
    verdicts: list[Verdict]
    missing: dict[str, dict[str, dict[str, float]]]  # what is there -> head -> scores
    sweep: list[SweepPoint]  # of late fusion's weights, where they were swept on the validation rows
    answers: dict[str, Predictions]  # head -> its answers to the test rows
    n_altered: int  # test rows that were shuffled or lost modalities
    n_swept: int = 0  # test rows that `sweep` looked at
    sizes: list[SizeFinding] = field(default_factory=list)


def find_out(roster: Roster, settings: TrainSettings) -> Findings:
    """Return what the heads and controls come to; here, and nowhere before, the test rows' labels are looked at."""
    problem = roster.problem
    cards, answers = {}, {}
    for name, trained in (roster.trained | roster.controls).items():
        sides = trained.answers
        fitted = {"best_epoch": trained.best_epoch, "history": trained.history, "fit_s": trained.elapsed_s}
        if trained.logit_adjustment is not None:
            fitted["logit_adjustment"] = trained.logit_adjustment
        cards[name] = _scorecard(roster, sides) | fitted | _scored_apart(roster, sides["test"])
        answers[name] = Predictions(
            sides["test"].predictions, sides["test"].confidences, roster.is_known(name)[roster.split.test]
        )
    for modality, sides in roster.by_names.items():
        name = modality + NAMES
        cards[name] = _scorecard(roster, sides) | {"best_epoch": 0, "history": [], "fit_s": 0.0}
        cards[name] |= _scored_apart(roster, sides["test"])
        is_known = roster.is_known(modality)[roster.split.test]
        answers[name] = Predictions(sides["test"].predictions, sides["test"].confidences, is_known)
    controls = [*roster.controls, *(modality + NAMES for modality in roster.by_names)]
    metrics, control_metrics = ({name: cards[name] for name in own} for own in (roster.trained, controls))
    targets = {name: own.classes for name, own in answers.items()}
    verdicts = _compare(roster, targets, metrics, control_metrics, settings)
    missing = {}
    some = _some_of(roster.split.test, settings.seed)
    if len(roster.vectors.dims) > 1:
        missing = score_missing(
            list(roster.heads.values()),
            roster.vectors.take(torch.from_numpy(some)),
            problem.labels.targets[some],
            generator=generator_of(settings.seed, "missing entries"),
        )
    is_swept = settings.weights == "sweep" and "late" in roster.trained
    swept = roster.whole_answers(roster.singles, "test") if is_swept else None
    points, n_swept = (sweep(swept), len(swept.targets)) if swept else ([], 0)
    own_answers = {name: answers[name] for name in roster.trained}
    sizes = compare_sizes(roster)
    return Findings(metrics, control_metrics, verdicts, missing, points, own_answers, len(some), n_swept, sizes)


def _some_of(rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows that are answered many times over, with vectors altered: all, or as many as fit everywhere."""
    if len(rows) <= ALTERED_ROWS:
        return rows
    return np.sort(generator_of(seed, "altered rows").choice(rows, ALTERED_ROWS, replace=False))


def _scorecard(roster: Roster, sides: Mapping[str, Answers]) -> dict:
    """Return the scores on the test rows, with those of the other sides beside them."""
    targets, n_classes = roster.problem.labels.targets, len(roster.problem.labels.classes)
    by_side = {side: measure(some, targets[getattr(roster.split, side)], n_classes) for side, some in sides.items()}
    test = targets[roster.split.test]
    own = by_side.pop("test")
    return {
        **own,
        "train_test_gap": by_side["train"]["accuracy"] - own["accuracy"],
        **by_side,
        "classes": per_class(test, sides["test"].predictions, roster.problem.labels.classes),
    }


def _scored_apart(roster: Roster, answers: Answers) -> dict:
    """Return the scores on the test rows with a placeholder and on the others, where there are both."""
    test = roster.split.test
    targets, n_classes = roster.problem.labels.targets[test], len(roster.problem.labels.classes)
    apart = score_apart(
        roster.problem.is_placeholder[test], lambda rows: measure(answers.take(rows), targets[rows], n_classes)
    )
    return {"apart": apart} if apart else {}


def _compare(
    roster: Roster,
    answers: Mapping[str, np.ndarray],
    metrics: dict[str, dict],
    control_metrics: dict[str, dict],
    settings: TrainSettings,
) -> list[Verdict]:
    """Add intervals to the metrics, and return the verdict on every fusion that has no guard."""
    problem, test = roster.problem, roster.split.test
    targets = problem.labels.targets[test]
    resampled = resampled_scores(
        targets,
        answers,
        problem.groups[test],
        n_classes=len(problem.labels.classes),
        n_resamples=settings.n_resamples,
        generator=generator_of(settings.seed, "bootstrap"),
    )
    values = {}
    for name, found in [*metrics.items(), *control_metrics.items()]:
        values[name] = np.array([found["accuracy"], found["macro_f1"]])
        low, high = np.clip(interval(values[name], resampled[name]), 0, 1)
        found["accuracy_interval"] = [float(low[0]), float(high[0])]
        found["macro_f1_interval"] = [float(low[1]), float(high[1])]
    best = roster.best_single
    others = [name for name in roster.singles if name != best]
    some = _some_of(test, settings.seed)
    seen = roster.vectors.take(torch.from_numpy(some))
    fusions = [name for name in roster.fusions if not name.endswith(GUARD)]
    generator = generator_of(settings.seed, "shuffles")
    importance = measure_importance(
        [roster.heads[name] for name in fusions], seen, problem.labels.targets[some], generator=generator
    )
    judged = {
        single: judge(
            fusions, single, others=others if single == best else [], groups=problem.groups[test],
            scores=values, resampled=resampled, targets=targets, margin=settings.margin / 100,
        )
        for single in (best, *control_metrics)
    }  # fmt: skip
    verdicts = []
    for name, verdict, *against in zip(fusions, *judged.values(), strict=True):
        warnings = {one.single: warning for one in against if (warning := warn_of_control(one))}
        verdicts.append(
            replace(
                verdict,
                rows=mcnemar_test(targets, answers[name], answers[best]),
                classes=tally_classes(targets, answers[name], answers[best], problem.labels.classes),
                importance=importance[name],
                warnings=list(warnings.values()),
                no_better_than=list(warnings),
            )
        )
    return verdicts
