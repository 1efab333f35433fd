"""A race: configurations are trained fold by fold, and those that are certainly behind stop."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from heads.ablation.dropped import Dropped
from heads.ablation.job_runner import Bench
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
    """Configurations on a bench, of which fewer are trained on each fold.

    (Racing: Maron and Moore, NIPS 1993; F-race: Birattari and others, GECCO 2002.)

    The validation rows choose the best single modality and the best fusion: each is a race of its own. After a fold
    each configuration is compared with the best of its race on the folds that all have, row by row; it stops where the
    mean over all folds would be behind, too, with 95 % for both races and all looks together. How much another fold and
    training does beyond its rows is measured on the best, which are trained on a second fold before any is dropped. A
    single modality that late fusion averages stays as long as that does.
    """

    def __init__(self, bench: Bench, configurations: Sequence[Configuration], *, seed: int) -> None:
        self.dropped: dict[Configuration, Dropped] = {}
        self._bench = bench
        self._generator = generator_of(seed, "race")
        self._alive = list(configurations)
        self._naming = Naming(configurations)
        self._noise = Noise()
        self._groups = bench.problem.groups

    def run(self) -> None:
        """Train all on a fold, or on as many as take no longer, and who is left on the others."""
        n_all, n_done = len(self._bench.problem.folds), 0
        while n_done < n_all:
            is_open = any(len(family) > 1 for family in self._families(self._alive))
            n_next = self._bench.folds_at_once(self._alive, fold=n_done) if is_open else n_all
            folds = list(range(n_done, min(n_done + n_next, n_all)))
            self._train(self._alive, folds)
            n_done += len(folds)
            if n_done == 1:
                self._train(self._ahead(), [1])
            if n_done < n_all:
                self._look(n_done)
            elif is_open and len(folds) == n_all:
                line = f"All {n_all} folds are trained at once, and none stops: so small heads take as long on one."
                self._bench.tell_dropped({}, line)

    def _train(self, configurations: Sequence[Configuration], folds: Sequence[int]) -> None:
        """Train, and go on without those that did not converge: they have no place in the ranking."""
        self._bench.run(configurations, folds=folds)
        self._alive = [one for one in self._alive if not self._bench.has_failed(one)]

    def _ahead(self) -> list[Configuration]:
        """Return the best on the first fold, and what is trained with them."""
        units = units_of(self._alive, lambda one: one.members)
        ahead = []
        for family in self._families(self._alive):
            scores = {one: self._validation_score(one) for one in family}
            n_ahead = max(LEAST_AHEAD, round(SHARE_AHEAD * len(family)))
            ahead += sorted(family, key=lambda one: -scores[one])[:n_ahead]
        chosen = set(ahead)
        return [one for unit in units if chosen & set(unit) for one in unit]

    def _validation_score(self, one: Configuration) -> float:
        return statistics.fmean(
            self._bench.outcomes[job].validation["macro_f1"] for job in self._bench.jobs_of(one) if job.fold == 0
        )

    def _families(self, configurations: Sequence[Configuration]) -> list[list[Configuration]]:
        """Return the fusions and the single modalities among some configurations."""
        return [[one for one in configurations if one.is_single is is_single] for is_single in (False, True)]

    def _look(self, n_done: int) -> None:
        """Drop who is certainly behind on the folds that all have."""
        self._measure_noise(n_done)
        behind: dict[Configuration, Dropped] = {}
        for family in self._families(self._alive):
            needed = {member for one in self._alive if one not in behind for member in one.members}
            found = self._behind(family, n_done)
            behind |= {one: why for one, why in found.items() if one not in needed}
        self._alive = [one for one in self._alive if one not in behind]
        self.dropped |= behind
        self._bench.tell_dropped(behind, self._line(behind, n_done))

    def _behind(self, family: Sequence[Configuration], n_done: int) -> dict[Configuration, Dropped]:
        n_all = len(self._bench.problem.folds)
        if len(family) < 2 or not self._noise.n_free:
            return {}
        n_looks = 2 * (n_all - 1)  # of both races
        folds = [self._fold_scores(family, fold) for fold in range(n_done)]
        best, differences = predict_differences(
            folds, n_all=n_all, noise=self._noise, risk=RISK / n_looks, generator=self._generator
        )
        return {
            one: Dropped(n_done, family[best], difference)
            for one, difference in zip(family, differences, strict=True)
            if difference.high < 0
        }

    def _measure_noise(self, n_done: int) -> None:
        """Measure what training adds, and keep what is known best."""
        n_folds = max(n_done, 2)
        both = [one for one in self._alive if self._has_folds(one, n_folds)]
        families = [[self._fold_scores(own, fold) for fold in range(n_folds)] for own in self._families(both) if own]
        self._noise = max(self._noise, measure_noise(families), key=lambda noise: noise.n_free)

    def _has_folds(self, one: Configuration, n_folds: int) -> bool:
        """Whether a configuration is trained on the first folds, so many."""
        return {job.fold for job in self._bench.done_jobs(one)} >= set(range(n_folds))

    def _fold_scores(self, configurations: Sequence[Configuration], fold: int) -> FoldScores:
        problem, outcomes = self._bench.problem, self._bench.outcomes
        rows, n_classes = problem.folds[fold].validation, len(problem.labels.classes)
        targets = problem.labels.targets[rows]
        known, places = self._group_places(rows)
        scores = np.zeros(len(configurations))
        influences = np.zeros((len(configurations), known), dtype=np.float32)
        for place, one in enumerate(configurations):
            jobs = [job for job in self._bench.jobs_of(one) if job.fold == fold]
            for job in jobs:
                score, of_rows = macro_f1_influences(targets, outcomes[job].validation_predictions, n_classes)
                scores[place] += score / len(jobs)
                influences[place] += np.bincount(places, of_rows, minlength=known) / len(jobs)
        return FoldScores(scores, influences)

    def _group_places(self, rows: np.ndarray) -> tuple[int, np.ndarray]:
        """Return how many groups of duplicates the validation rows of all folds have, and the place of each row's.

        Of very many some are put together, which leaves the variance of a sum over them what it is on average.
        """
        every = np.unique(self._groups[np.concatenate([fold.validation for fold in self._bench.problem.folds])])
        return min(len(every), MOST_GROUPS), np.searchsorted(every, self._groups[rows]) % MOST_GROUPS

    def _line(self, behind: dict[Configuration, Dropped], n_done: int) -> str:
        n_all = len(self._bench.problem.folds)
        line = f"After {n_done} of {n_all} folds {len(self._alive)} configurations go on"
        if not behind:
            return f"{line}, none is certainly behind."
        nearest = max(behind, key=lambda one: behind[one].difference.value)
        return (
            f"{line}, {len(behind)} stop: they would be behind over all folds, too (95 % for all together). Nearest of "
            f"them was {self._naming.name(nearest)}, {behind[nearest].in_words(self._naming)}."
        )
