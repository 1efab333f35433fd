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
from heads.experiment.results import Trained
from heads.experiment.trained_heads import Roster
from heads.experiment.weight_sweep import SweepPoint
from heads.experiment.zero_label import NAMES
from heads.metrics.answers import Answers
from heads.metrics.mcnemar import mcnemar_test
from heads.metrics.per_class_changes import tally_classes
from heads.metrics.placeholder_scores import score_apart
from heads.metrics.registry import JUDGED, measure
from heads.metrics.score_interval import score_interval
from heads.metrics.scores import per_class, resampled_scores
from heads.metrics.verdict import Verdict, even_groups, judge, warn_of_control
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
    missing: dict[str, dict[str, dict[str, float]]]  # modalities present -> head -> scores
    sweep: list[SweepPoint]  # of late fusion's weights, where they were swept on the validation rows
    answers: dict[str, Predictions]  # head -> its answers to the test rows
    n_altered: int  # test rows that were shuffled or lost modalities
    n_swept: int = 0  # test rows that `sweep` looked at
    sizes: list[SizeFinding] = field(default_factory=list)


def find_out(roster: Roster, settings: TrainSettings) -> Findings:
    """Return what the heads and controls come to; here, and nowhere before, the test rows' labels are looked at."""
    problem = roster.problem
    cards, predictions = {}, {}
    for name, trained in (roster.trained | roster.controls).items():
        cards[name] = _scorecard(roster, trained.answers, _training_facts(trained))
        predictions[name] = _test_predictions(roster, name, trained.answers)
    for modality, answers in roster.by_names.items():
        cards[modality + NAMES] = _scorecard(roster, answers, {"best_epoch": 0, "history": [], "fit_s": 0.0})
        predictions[modality + NAMES] = _test_predictions(roster, modality, answers)
    metrics = {name: cards[name] for name in roster.trained}
    control_metrics = {name: card for name, card in cards.items() if name not in roster.trained}
    predicted_classes = {name: of_head.classes for name, of_head in predictions.items()}
    verdicts = _compare(roster, predicted_classes, metrics, control_metrics, settings)
    missing = {}
    altered_rows = _some_of(roster.split.test, settings.seed)
    if len(roster.vectors.dims) > 1:
        missing = score_missing(
            list(roster.heads.values()),
            roster.vectors.take(torch.from_numpy(altered_rows)),
            problem.labels.targets[altered_rows],
            generator=generator_of(settings.seed, "missing entries"),
        )
    is_swept = settings.weights == "sweep" and "late" in roster.trained
    swept = roster.whole_answers(roster.singles, "test") if is_swept else None
    points, n_swept = (sweep(swept), len(swept.targets)) if swept else ([], 0)
    return Findings(
        metrics=metrics,
        controls=control_metrics,
        verdicts=verdicts,
        missing=missing,
        sweep=points,
        answers={name: predictions[name] for name in roster.trained},
        n_altered=len(altered_rows),
        n_swept=n_swept,
        sizes=compare_sizes(roster),
    )


def _some_of(rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows that are answered many times over, with altered vectors: all, or a sample where they are many."""
    if len(rows) <= ALTERED_ROWS:
        return rows
    return np.sort(generator_of(seed, "altered rows").choice(rows, ALTERED_ROWS, replace=False))


def _training_facts(trained: Trained) -> dict:
    """Return how a head got there, in JSON's types."""
    facts = {"best_epoch": trained.best_epoch, "history": trained.history, "fit_s": trained.elapsed_s}
    if trained.logit_adjustment is not None:
        facts["logit_adjustment"] = trained.logit_adjustment
    return facts


def _test_predictions(roster: Roster, name: str, answers: Mapping[str, Answers]) -> Predictions:
    """Return the predictions for the test rows, of a head or of the classes' names in one modality."""
    test = answers["test"]
    return Predictions(test.predictions, test.confidences, roster.is_known(name)[roster.split.test])


def _scorecard(roster: Roster, answers: Mapping[str, Answers], training_facts: Mapping[str, object]) -> dict:
    """Return the scores on the test rows, with those of the other sides of the split and the facts beside them."""
    targets, n_classes = roster.problem.labels.targets, len(roster.problem.labels.classes)
    by_side = {
        side: measure(of_side, targets[getattr(roster.split, side)], n_classes) for side, of_side in answers.items()
    }
    test_scores = by_side.pop("test")
    return {
        **test_scores,
        "train_test_gap": by_side["train"]["accuracy"] - test_scores["accuracy"],
        **by_side,
        "classes": per_class(targets[roster.split.test], answers["test"].predictions, roster.problem.labels.classes),
        **training_facts,
        **_scored_apart(roster, answers["test"]),
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
    targets, groups = problem.labels.targets[test], problem.groups[test]
    resampled = resampled_scores(
        targets,
        answers,
        groups,
        n_classes=len(problem.labels.classes),
        n_resamples=settings.n_resamples,
        generator=generator_of(settings.seed, "bootstrap"),
    )
    cards = metrics | control_metrics
    values = {name: np.array([card[score] for score in JUDGED]) for name, card in cards.items()}
    n_seen = np.array([len(np.unique(groups)), even_groups(targets, groups)])
    for name, card in cards.items():
        low, high = score_interval(values[name], resampled[name], n_seen)
        card.update({f"{score}_interval": [float(low[n]), float(high[n])] for n, score in enumerate(JUDGED)})
    best = roster.best_single
    other_singles = [name for name in roster.singles if name != best]
    altered_rows = _some_of(test, settings.seed)
    altered_vectors = roster.vectors.take(torch.from_numpy(altered_rows))
    fusions = [name for name in roster.fusions if not name.endswith(GUARD)]
    generator = generator_of(settings.seed, "shuffles")
    importance = measure_importance(
        [roster.heads[name] for name in fusions],
        altered_vectors,
        problem.labels.targets[altered_rows],
        generator=generator,
    )
    judged = {
        single: judge(
            fusions, single, others=other_singles if single == best else [], groups=groups,
            scores=values, resampled=resampled, targets=targets, margin=settings.margin / 100,
        )
        for single in (best, *control_metrics)
    }  # fmt: skip
    verdicts = []
    for name, verdict, *against in zip(fusions, *judged.values(), strict=True):
        warnings = {
            control_verdict.single: warning
            for control_verdict in against
            if (warning := warn_of_control(control_verdict))
        }
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
