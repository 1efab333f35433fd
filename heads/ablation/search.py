"""A search for settings: each head gets the same number of trials, and the validation rows judge them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from heads.ablation.distinct_settings import DistinctSettings
from heads.ablation.grid import Range
from heads.ablation.job_runner import JobRunner
from heads.errors import SettingError
from heads.experiment.configuration import Configuration, configurations_of
from heads.settings import FitSettings

__all__ = ["search"]

TRIALS_A_ROUND = 10  # asked for at once, so that stacks are full; the sampler's first ten are random anyway


def search(
    runner: JobRunner, axes: Mapping[str, tuple[Any, ...] | Range], *, n_trials: int, seed: int
) -> list[Configuration]:
    """Try `n_trials` settings for each head and its encoders, and return the configurations that were tried.

    Each has a study of its own (the tree-structured Parzen estimator, Bergstra et al., NeurIPS 2011), so that no head
    is tuned more than another; what it maximises is the mean macro-F1 over folds and seeds on the validation rows. Late
    fusion's trials are trials of its members too.

    Raises:
        SettingError: Optuna is not installed.
    """
    optuna = _import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = runner.problem
    fixed = {name: axis[0] for name, axis in axes.items() if not isinstance(axis, Range) and len(axis) == 1}
    searched = {name: axis for name, axis in axes.items() if name not in fixed}
    heads = configurations_of(problem.fusions, problem.combinations, [FitSettings(**fixed)])
    distinct = DistinctSettings(runner.plain_settings)
    studies = [
        _Study(optuna, configuration, searched, distinct, seed=seed + index)
        for index, configuration in enumerate(heads)
    ]
    tried: dict[Configuration, None] = {}
    for start in range(0, n_trials, TRIALS_A_ROUND):
        trials_by_study = {study: study.ask(min(TRIALS_A_ROUND, n_trials - start)) for study in studies}
        configurations = [configuration for trials in trials_by_study.values() for _trial, configuration in trials]
        configurations += [member for configuration in configurations for member in configuration.members]
        tried |= dict.fromkeys(configurations)
        runner.run(list(dict.fromkeys(configurations)))
        for study, trials in trials_by_study.items():
            for trial, configuration in trials:
                study.tell(trial, _objective(runner, configuration))
    runner.note(distinct.notes())
    return list(tried)


def _objective(runner: JobRunner, configuration: Configuration) -> float | None:
    """Return the mean macro-F1 on the validation rows; None where a job did not converge."""
    outcomes = [runner.outcomes[job] for job in runner.jobs_of(configuration)]
    if any(outcome.error is not None for outcome in outcomes):
        return None
    return statistics.fmean(outcome.validation["macro_f1"] for outcome in outcomes)


class _Study:
    """The search for one head's settings, among those that make a difference to it."""

    def __init__(
        self,
        optuna: ModuleType,
        configuration: Configuration,
        axes: Mapping[str, tuple[Any, ...] | Range],
        distinct: DistinctSettings,
        *,
        seed: int,
    ) -> None:
        self._optuna = optuna
        self._configuration = configuration
        self._axes = axes
        self._distinct = distinct
        used = [name for name in axes if name in configuration.used]
        self._distributions = {name: _distribution(optuna, axes[name]) for name in used}
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self, n_trials: int) -> Sequence[tuple[Any, Configuration]]:
        """Return trials, each with the configuration that it proposes."""
        if not self._distributions:  # nothing to search: there is one configuration
            return [(None, self._configuration)]
        trials = [self._study.ask(self._distributions) for _ in range(n_trials)]
        return [(trial, self._proposed(trial.params)) for trial in trials]

    def tell(self, trial: Any, value: float | None) -> None:
        """Say what a trial came to."""
        if trial is None:
            return
        if value is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, value)

    def _proposed(self, parameters: Mapping[str, Any]) -> Configuration:
        values = {name: _value(self._axes[name], parameter) for name, parameter in parameters.items()}
        settings = self._distinct.representative(replace(self._configuration.settings, **values))
        base = self._configuration
        return Configuration.of(base.head, dict(base.encoders), settings, beside=base.beside)


def _distribution(optuna: ModuleType, axis: tuple[Any, ...] | Range) -> Any:
    kinds = optuna.distributions
    if not isinstance(axis, Range):
        return kinds.CategoricalDistribution(axis)
    if axis.kind == "powers":
        return kinds.IntDistribution(int(axis.low).bit_length() - 1, int(axis.high).bit_length() - 1)
    if axis.kind == "whole":
        return kinds.IntDistribution(int(axis.low), int(axis.high))
    return kinds.FloatDistribution(axis.low, axis.high, log=axis.kind == "log")


def _value(axis: tuple[Any, ...] | Range, parameter: Any) -> Any:
    return 2**parameter if isinstance(axis, Range) and axis.kind == "powers" else parameter


def _import_optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise SettingError(
            "--search needs Optuna, but it is not installed here. Install it with pip install 'embed-once[search]' "
            "(or optuna), or leave --search out to try every combination of the lists."
        ) from error
    return optuna
