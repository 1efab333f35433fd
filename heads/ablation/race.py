"""A race: configurations are trained fold by fold, and those that are certainly behind stop."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from heads.ablation.dropped import Dropped
from heads.ablation.job_runner import JobRunner
from heads.ablation.naming import Naming
from heads.ablation.units import units_of
from heads.data.draws import generator_of
from heads.experiment.configuration import Configuration
from heads.metrics.race import FoldScores, Noise, macro_f1_influences, measure_noise, predict_differences

__all__ = ["Race"]

RISK = 0.05  # that the best single modality or the best fusion of the whole ablation is dropped
LEAST_AHEAD, SHARE_AHEAD = 8, 0.1  # that are trained on a second fold, before any is dropped
MOST_GROUPS = 10_000  # of duplicates, for each of which a number a configuration and fold is held


class Race:
    """Configurations that a runner trains, fewer of them on each fold.

    (Racing: Maron and Moore, NIPS 1993; F-race: Birattari and others, GECCO 2002.)

    The validation rows choose the best single modality and the best fusion: each is a race of its own. After a fold
    each configuration is compared with the best of its race on the folds that all have, row by row; it stops where the
    mean over all folds would be behind, too, with 95 % for both races and all looks together. How much another fold and
    training does beyond its rows is measured on the best, which are trained on a second fold before any is dropped. A
    single modality that late fusion averages stays as long as that does.
    """

    def __init__(self, runner: JobRunner, configurations: Sequence[Configuration], *, seed: int) -> None:
        self.dropped: dict[Configuration, Dropped] = {}
        self._runner = runner
        self._generator = generator_of(seed, "race")
        self._alive = list(configurations)
        self._naming = Naming(configurations)
        self._noise = Noise()
        self._groups = runner.problem.groups

    def run(self) -> None:
        """Train all configurations on a fold, or on as many as take no longer, and those still alive on the others."""
        n_all, n_done = len(self._runner.problem.folds), 0
        while n_done < n_all:
            is_open = any(len(family) > 1 for family in self._families(self._alive))
            n_next = self._runner.folds_at_once(self._alive, fold=n_done) if is_open else n_all
            folds = list(range(n_done, min(n_done + n_next, n_all)))
            self._train(self._alive, folds)
            n_done += len(folds)
            if n_done == 1:
                self._train(self._front_runners(), [1])
            if n_done < n_all:
                self._drop_losers(n_done)
            elif is_open and len(folds) == n_all:
                line = f"All {n_all} folds are trained at once, and none stops: so small heads take as long on one."
                self._runner.tell_dropped({}, line)

    def _train(self, configurations: Sequence[Configuration], folds: Sequence[int]) -> None:
        """Train configurations, and drop those that did not converge: they have no place in the ranking."""
        self._runner.run(configurations, folds=folds)
        self._alive = [configuration for configuration in self._alive if not self._runner.has_failed(configuration)]

    def _front_runners(self) -> list[Configuration]:
        """Return the best on the first fold, and what is trained with them."""
        units = units_of(self._alive, lambda configuration: configuration.members)
        ahead = []
        for family in self._families(self._alive):
            scores = {configuration: self._validation_score(configuration) for configuration in family}
            n_ahead = max(LEAST_AHEAD, round(SHARE_AHEAD * len(family)))
            ahead += sorted(family, key=lambda configuration: -scores[configuration])[:n_ahead]
        front_runners = set(ahead)
        return [configuration for unit in units if front_runners & set(unit) for configuration in unit]

    def _validation_score(self, configuration: Configuration) -> float:
        return statistics.fmean(
            self._runner.outcomes[job].validation["macro_f1"]
            for job in self._runner.jobs_of(configuration)
            if job.fold == 0
        )

    def _families(self, configurations: Sequence[Configuration]) -> list[list[Configuration]]:
        """Return the fusions and the single modalities among some configurations."""
        return [
            [configuration for configuration in configurations if configuration.is_single is is_single]
            for is_single in (False, True)
        ]

    def _drop_losers(self, n_done: int) -> None:
        """Drop the configurations that are certainly behind on the folds that all have."""
        self._measure_noise(n_done)
        behind: dict[Configuration, Dropped] = {}
        for family in self._families(self._alive):
            going_on = [configuration for configuration in self._alive if configuration not in behind]
            needed = {member for configuration in going_on for member in configuration.members}
            family_behind = self._certainly_behind(family, n_done)
            behind |= {candidate: drop for candidate, drop in family_behind.items() if candidate not in needed}
        self._alive = [configuration for configuration in self._alive if configuration not in behind]
        self.dropped |= behind
        self._runner.tell_dropped(behind, self._progress_line(behind, n_done))

    def _certainly_behind(self, family: Sequence[Configuration], n_done: int) -> dict[Configuration, Dropped]:
        n_all = len(self._runner.problem.folds)
        if len(family) < 2 or not self._noise.n_free:
            return {}
        n_looks = 2 * (n_all - 1)  # of both races
        folds = [self._fold_scores(family, fold) for fold in range(n_done)]
        best, differences = predict_differences(
            folds, n_all=n_all, noise=self._noise, risk=RISK / n_looks, generator=self._generator
        )
        return {
            configuration: Dropped(n_done, family[best], difference)
            for configuration, difference in zip(family, differences, strict=True)
            if difference.high < 0
        }

    def _measure_noise(self, n_done: int) -> None:
        """Measure the noise of folds and trainings, and keep the measurement with the most degrees of freedom."""
        n_folds = max(n_done, 2)
        configurations = [configuration for configuration in self._alive if self._has_folds(configuration, n_folds)]
        scores = [
            [self._fold_scores(family, fold) for fold in range(n_folds)]
            for family in self._families(configurations)
            if family
        ]
        self._noise = max(self._noise, measure_noise(scores), key=lambda noise: noise.n_free)

    def _has_folds(self, configuration: Configuration, n_folds: int) -> bool:
        """Whether a configuration is trained on the first `n_folds` folds."""
        return {job.fold for job in self._runner.done_jobs(configuration)} >= set(range(n_folds))

    def _fold_scores(self, configurations: Sequence[Configuration], fold: int) -> FoldScores:
        problem, outcomes = self._runner.problem, self._runner.outcomes
        rows, n_classes = problem.folds[fold].validation, len(problem.labels.classes)
        targets = problem.labels.targets[rows]
        n_groups, group_columns = self._group_columns(rows)
        scores = np.zeros(len(configurations))
        influences = np.zeros((len(configurations), n_groups), dtype=np.float32)
        for index, configuration in enumerate(configurations):
            jobs = [job for job in self._runner.jobs_of(configuration) if job.fold == fold]
            for job in jobs:
                score, row_influences = macro_f1_influences(targets, outcomes[job].validation_predictions, n_classes)
                scores[index] += score / len(jobs)
                influences[index] += np.bincount(group_columns, row_influences, minlength=n_groups) / len(jobs)
        return FoldScores(scores, influences)

    def _group_columns(self, rows: np.ndarray) -> tuple[int, np.ndarray]:
        """Return how many groups of duplicates the validation rows of all folds have, and the number of each row's.

        More than MOST_GROUPS are put together, which on average leaves the variance of a sum over them what it is.

        Shape:
            rows: (n,) int64
            output: (n,) int64, below the number of groups
        """
        groups = np.unique(self._groups[np.concatenate([fold.validation for fold in self._runner.problem.folds])])
        return min(len(groups), MOST_GROUPS), np.searchsorted(groups, self._groups[rows]) % MOST_GROUPS

    def _progress_line(self, behind: dict[Configuration, Dropped], n_done: int) -> str:
        n_all = len(self._runner.problem.folds)
        line = f"After {n_done} of {n_all} folds {len(self._alive)} configurations go on"
        if not behind:
            return f"{line}, none is certainly behind."
        nearest = max(behind, key=lambda configuration: behind[configuration].difference.value)
        return (
            f"{line}, {len(behind)} stop: they would be behind over all folds, too (95 % for all together). Nearest of "
            f"them was {self._naming.name(nearest)}, {behind[nearest].in_words(self._naming)}."
        )
