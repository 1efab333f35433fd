"""The ranking of an ablation: chosen by validation rows, told by test rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cache.shares import percent
from heads.ablation.dropped import Dropped
from heads.experiment.configuration import Configuration, FoldJob
from heads.head_types import head_type
from heads.metrics.differences import Difference, compare
from heads.metrics.placeholder_scores import score_apart
from heads.metrics.scores import resampled_scores, scores
from heads.metrics.verdict import MARGIN, Verdict, verdicts_of

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
    deviation: float | None  # of one job nothing is known of it

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        mean = percent(self.mean)
        return mean if self.deviation is None else f"{mean} ± {100 * self.deviation:.1f}"


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
    single modality and the best fusion, never an ensemble, which they have selected the members of; and the test rows
    tell the difference. The differences of all configurations are many, and their intervals hold for all together.

    Of one fold the test rows chose nothing, and the verdict on these two is one test. What one of several folds tests
    is among the validation rows of others, so that the chosen were lucky there, too: the verdict's intervals are those
    of the table, which hold whichever fusion and whichever single modality is chosen.

    Scores and differences are over the test rows of all folds together, each row tested once, and averaged over the
    seeds. Intervals come from a bootstrap that draws whole groups of duplicates, the same for all.

    What a race dropped has no scores here, for they would be of other rows; it stands below, who came farthest first.

    Shape:
        jobs: {configuration: its jobs by seed and fold}
    """
    dropped = dropped or {}
    rows = {
        configuration: _summary(configuration, [outcomes[job] for job in its_jobs], dropped.get(configuration))
        for configuration, its_jobs in jobs.items()
    }
    by_validation = sorted(
        (row for row in rows.values() if row.validation is not None),
        key=lambda row: -row.validation.mean,  # type: ignore[union-attr]
    )
    best_first = [row.configuration for row in by_validation]
    single = next((candidate for candidate in best_first if candidate.is_single), None)
    fusion = next((candidate for candidate in best_first if _may_be_best_fusion(candidate)), None)
    answers = {configuration: _answers(jobs[configuration], outcomes) for configuration in best_first}
    pooled, resampled = _pooled_scores(problem, answers, n_resamples, generator)
    differences: Mapping[Configuration, Sequence[Difference]] = {}
    n_groups = len(np.unique(problem.groups[problem.test_rows]))
    if single is not None:
        others = [configuration for configuration in best_first if configuration != single]
        differences = compare(
            others, single, scores=pooled, resampled=resampled, n_groups=n_groups,
            rivals=[candidate for candidate in best_first if candidate.is_single and len(problem.folds) > 1],
        )  # fmt: skip
    ranked = [
        replace(
            _with_pooled_scores(rows[configuration], pooled[configuration], differences.get(configuration)),
            apart=_scored_apart(problem, answers[configuration]),
        )
        for configuration in best_first
    ]
    verdict = None
    if single is not None and fusion is not None:
        judged = differences
        if len(problem.folds) == 1:
            judged = compare([fusion], single, scores=pooled, resampled=resampled, n_groups=n_groups)
        verdict = _verdict(problem, fusion, single, judged[fusion], margin=margin, n_together=len(judged))
    stopped = sorted((row for row in rows.values() if row.dropped), key=_race_order)
    failures = [row for row in rows.values() if row.error is not None]
    return Ranking([*ranked, *stopped, *failures], single, fusion, verdict)


def _may_be_best_fusion(configuration: Configuration) -> bool:
    return not configuration.is_single and not head_type(configuration.head).averages_fusions


def _verdict(
    problem: Problem,
    fusion: Configuration,
    single: Configuration,
    differences: Sequence[Difference],
    *,
    margin: float,
    n_together: int,
) -> Verdict:
    """Return what the test rows say of the best fusion against the best single modality."""
    (verdict,) = verdicts_of(
        {fusion.head: differences},
        single.head,
        others=[modality for modality, _ in fusion.encoders if modality != single.head],
        groups=problem.groups[problem.test_rows],
        targets=problem.labels.targets[problem.test_rows],
        margin=margin,
        n_together=n_together,
    )
    return verdict


def _race_order(row: Ranked) -> tuple[float, float]:
    """Return a dropped row's sort key: who stayed for more folds first, then who was less behind."""
    return (-row.dropped.n_folds, -row.dropped.difference.value) if row.dropped else (0, 0)


def _summary(configuration: Configuration, outcomes: Sequence[Outcome], dropped: Dropped | None = None) -> Ranked:
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    facts = {
        "configuration": configuration,
        "n_jobs": len(outcomes),
        "n_failed": len(errors),
        "elapsed_s": sum(outcome.elapsed_s for outcome in outcomes),
    }
    if errors:
        return Ranked(**facts, error=errors[0])  # type: ignore[arg-type]
    if dropped:
        return Ranked(**facts, dropped=dropped)  # type: ignore[arg-type]
    return Ranked(
        **facts,  # type: ignore[arg-type]
        validation=Spread.of([outcome.validation["macro_f1"] for outcome in outcomes]),
        accuracy=Spread.of([outcome.test["accuracy"] for outcome in outcomes]),
        macro_f1=Spread.of([outcome.test["macro_f1"] for outcome in outcomes]),
    )


def _answers(jobs: Sequence[FoldJob], outcomes: Mapping[FoldJob, Outcome]) -> list[np.ndarray]:
    """Return for each seed the answers to the test rows of all folds, (n,) int64."""
    answers = []
    for seed in sorted({job.seed for job in jobs}):
        fold_answers = sorted((job.fold, outcomes[job].predictions) for job in jobs if job.seed == seed)
        answers.append(np.concatenate([predictions for _, predictions in fold_answers]).astype(np.int64))
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
    by_name = {
        f"{number} {seed}": of_seed
        for number, by_seed in enumerate(answers.values())
        for seed, of_seed in enumerate(by_seed)
    }
    resampled = resampled_scores(
        targets, by_name, problem.groups[rows], n_classes=n_classes, n_resamples=n_resamples, generator=generator
    )
    means = {configuration: _mean_scores(targets, by_seed, n_classes) for configuration, by_seed in answers.items()}
    resampled_means = {
        configuration: np.mean([resampled[f"{number} {seed}"] for seed in range(len(by_seed))], axis=0)
        for number, (configuration, by_seed) in enumerate(answers.items())
    }
    return means, resampled_means


def _mean_scores(targets: np.ndarray, answers: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
    """Return accuracy and macro-F1, (2,), the means over the seeds."""
    by_seed = [scores(targets, predictions, n_classes) for predictions in answers]
    return np.mean([[seed_scores["accuracy"], seed_scores["macro_f1"]] for seed_scores in by_seed], axis=0)


def _scored_apart(problem: Problem, answers: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    rows = problem.test_rows
    targets, n_classes = problem.labels.targets[rows], len(problem.labels.classes)

    def measure(subset: np.ndarray) -> dict[str, float]:
        by_seed = [predictions[subset] for predictions in answers]
        accuracy, macro_f1 = _mean_scores(targets[subset], by_seed, n_classes).tolist()
        return {"accuracy": accuracy, "macro_f1": macro_f1}

    return score_apart(problem.is_placeholder[rows], measure)


def _with_pooled_scores(row: Ranked, pooled: np.ndarray, differences: Sequence[Difference] | None) -> Ranked:
    """Return a row with its scores over the test rows of all folds together in the place of the means over folds."""
    spreads = {
        name: replace(getattr(row, name), mean=float(value))
        for name, value in zip(("accuracy", "macro_f1"), pooled, strict=True)
    }
    if differences is None:
        return replace(row, **spreads)
    accuracy, macro_f1 = differences
    return replace(row, **spreads, accuracy_difference=accuracy, macro_f1_difference=macro_f1)
