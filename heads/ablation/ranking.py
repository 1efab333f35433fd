"""The ranking of an ablation: chosen by validation rows, told by test rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from heads.ablation.dropped import Dropped
from heads.experiment.configuration import Configuration, FoldJob
from heads.head_types import head_type
from heads.metrics.differences import Difference, compare
from heads.metrics.placeholder_scores import score_apart
from heads.metrics.scores import resampled_scores, scores
from heads.metrics.verdict import MARGIN, Verdict, judge

if TYPE_CHECKING:
    from heads.experiment.problem import Problem
    from heads.experiment.results import Outcome

__all__ = ["Ranked", "Ranking", "Spread", "rank"]


@dataclass(frozen=True)
class Spread:
    """A score, and its standard deviation over folds and seeds.

    That of validation rows is the mean over folds and seeds. Test rows are scored as the differences are: over those of
    all folds together, the mean over the seeds. A macro-F1 of each fold, averaged, is another number.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values; the deviation of one is 0."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


@dataclass(frozen=True)
class Ranked:
    """What came of a configuration; scores are of its jobs that converged, and there are none where one did not."""

    configuration: Configuration
    n_jobs: int
    n_failed: int
    elapsed_s: float  # of all its jobs
    error: str | None = None
    dropped: Dropped | None = None  # from a race: then there are no scores, which would be of fewer folds
    validation: Spread | None = None  # macro-F1 on the validation rows: what chooses
    accuracy: Spread | None = None  # on the test rows, as what follows
    macro_f1: Spread | None = None
    accuracy_difference: Difference | None = None  # to the best single modality; None for itself
    macro_f1_difference: Difference | None = None
    apart: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # rows with a placeholder, and without


@dataclass(frozen=True)
class Ranking:
    """Configurations from the best on the validation rows to the worst; then what a race dropped, then failures."""

    rows: list[Ranked]
    single: Configuration | None  # the best of one modality
    fusion: Configuration | None  # the best of several
    verdict: Verdict | None


def rank(
    problem: Problem,
    jobs: Mapping[Configuration, Sequence[FoldJob]],
    outcomes: Mapping[FoldJob, Outcome],
    *,
    n_resamples: int,
    generator: np.random.Generator,
    margin: float = MARGIN,
    dropped: Mapping[Configuration, Dropped] | None = None,
) -> Ranking:
    """Return the ranking of configurations by their mean macro-F1 on the validation rows.

    The best of many by its test rows would be too good: it was lucky there, too. So the validation rows choose the best
    single modality and the best fusion, never an ensemble, which they have selected the members of; and the test rows,
    which chose nothing, tell the difference. The verdict is on these two, one test; the differences of all
    configurations are many, and their intervals hold for all together.

    Scores and differences are over the test rows of all folds together, each row tested once, and averaged over the
    seeds. Intervals come from a bootstrap that draws whole groups of duplicates, the same for all.

    What a race dropped has no scores here, for they would be of other rows; it stands below, who came farthest first.

    Shape:
        jobs: {configuration: its jobs by seed and fold}
    """
    dropped = dropped or {}
    rows = {one: _summary(one, [outcomes[job] for job in own], dropped.get(one)) for one, own in jobs.items()}
    good = sorted(
        (one for one, row in rows.items() if row.validation is not None),
        key=lambda one: -rows[one].validation.mean,  # type: ignore[union-attr]
    )
    single = next((one for one in good if one.is_single), None)
    fusions = (one for one in good if not one.is_single and not head_type(one.head).averages_fusions)
    fusion = next(fusions, None)
    answers = {one: _answers(jobs[one], outcomes) for one in good}
    values, resampled = _pooled_scores(problem, answers, n_resamples, generator)
    groups = problem.groups[problem.test_rows]
    differences: Mapping[Configuration, Sequence[Difference]] = {}
    if single is not None:
        others, n_groups = [one for one in good if one != single], len(np.unique(groups))
        differences = compare(others, single, scores=values, resampled=resampled, n_groups=n_groups)
    ranked = [
        replace(_ranked(rows[one], values[one], differences.get(one)), apart=_scored_apart(problem, answers[one]))
        for one in good
    ]
    verdict = None
    if single is not None and fusion is not None:
        (verdict,) = judge(
            [fusion.head],
            single.head,
            others=[modality for modality, _ in fusion.encoders if modality != single.head],
            groups=groups,
            scores={fusion.head: values[fusion], single.head: values[single]},
            resampled={fusion.head: resampled[fusion], single.head: resampled[single]},
            targets=problem.labels.targets[problem.test_rows],
            margin=margin,
        )
    stopped = sorted((row for row in rows.values() if row.dropped), key=_came)
    failures = [row for row in rows.values() if row.error is not None]
    return Ranking([*ranked, *stopped, *failures], single, fusion, verdict)


def _came(row: Ranked) -> tuple[float, float]:
    return (-row.dropped.n_folds, -row.dropped.difference.value) if row.dropped else (0, 0)


def _summary(configuration: Configuration, outcomes: Sequence[Outcome], dropped: Dropped | None = None) -> Ranked:
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    about = {
        "configuration": configuration,
        "n_jobs": len(outcomes),
        "n_failed": len(errors),
        "elapsed_s": sum(outcome.elapsed_s for outcome in outcomes),
    }
    if errors:
        return Ranked(**about, error=errors[0])  # type: ignore[arg-type]
    if dropped:
        return Ranked(**about, dropped=dropped)  # type: ignore[arg-type]
    return Ranked(
        **about,  # type: ignore[arg-type]
        validation=Spread.of([outcome.validation["macro_f1"] for outcome in outcomes]),
        accuracy=Spread.of([outcome.test["accuracy"] for outcome in outcomes]),
        macro_f1=Spread.of([outcome.test["macro_f1"] for outcome in outcomes]),
    )


def _answers(jobs: Sequence[FoldJob], outcomes: Mapping[FoldJob, Outcome]) -> list[np.ndarray]:
    """Return for each seed the answers to the test rows of all folds, (n,) int64."""
    answers = []
    for seed in sorted({job.seed for job in jobs}):
        of_seed = sorted((job.fold, outcomes[job].predictions) for job in jobs if job.seed == seed)
        answers.append(np.concatenate([found for _, found in of_seed]).astype(np.int64))
    return answers


def _pooled_scores(
    problem: Problem,
    answers: Mapping[Configuration, Sequence[np.ndarray]],
    n_resamples: int,
    generator: np.random.Generator,
) -> tuple[dict[Configuration, np.ndarray], dict[Configuration, np.ndarray]]:
    """Return accuracy and macro-F1 over the test rows of all folds, (2,), and the same on resamples, (R, 2).

    Both are means over the seeds.
    """
    if not answers:
        return {}, {}
    rows = problem.test_rows
    targets, n_classes = problem.labels.targets[rows], len(problem.labels.classes)
    named = {one: [f"{place} {n}" for n in range(len(own))] for place, (one, own) in enumerate(answers.items())}
    by_name = {name: own for one in answers for name, own in zip(named[one], answers[one], strict=True)}
    resampled = resampled_scores(
        targets, by_name, problem.groups[rows], n_classes=n_classes, n_resamples=n_resamples, generator=generator
    )
    values = {one: _mean_scores(targets, own, n_classes) for one, own in answers.items()}
    return values, {one: np.mean([resampled[name] for name in names], axis=0) for one, names in named.items()}


def _mean_scores(targets: np.ndarray, answers: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
    """Return accuracy and macro-F1, (2,), the means over the seeds."""
    by_seed = [scores(targets, own, n_classes) for own in answers]
    return np.mean([[own["accuracy"], own["macro_f1"]] for own in by_seed], axis=0)


def _scored_apart(problem: Problem, answers: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    rows = problem.test_rows
    targets, n_classes = problem.labels.targets[rows], len(problem.labels.classes)

    def measure(some: np.ndarray) -> dict[str, float]:
        accuracy, macro_f1 = _mean_scores(targets[some], [own[some] for own in answers], n_classes).tolist()
        return {"accuracy": accuracy, "macro_f1": macro_f1}

    return score_apart(problem.is_placeholder[rows], measure)


def _ranked(row: Ranked, pooled: np.ndarray, differences: Sequence[Difference] | None) -> Ranked:
    """Return a row with its scores over the test rows of all folds together in the place of the means over folds."""
    spreads = {
        name: replace(getattr(row, name), mean=float(value))
        for name, value in zip(("accuracy", "macro_f1"), pooled, strict=True)
    }
    if differences is None:
        return replace(row, **spreads)
    accuracy, macro_f1 = differences
    return replace(row, **spreads, accuracy_difference=accuracy, macro_f1_difference=macro_f1)
