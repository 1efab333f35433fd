"""What settings come to on the rows of a fold: how long a head is trained, in which batches and at which rates.

Several settings may come to the same: a training that plans 8 epochs does not ask whether there may be 20 or 40.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from heads.errors import SettingError
from heads.schedules import SCHEDULES, Schedule, count_stalls
from heads.settings import FitSettings
from heads.training.sampler import batch_size_of, parse_per_class

__all__ = ["TrainingPlan", "class_weights", "count_epoch_rows", "plain_settings"]


@dataclass(frozen=True)
class TrainingPlan:
    """A training by steps, in numbers; plans that are equal train the same.

    Settings that make no difference do not show: a patience longer than the training is as long as the training.
    """

    batch_size: int
    n_steps: int  # of an epoch
    n_epochs: int  # at most
    n_warmup: int  # steps
    peak: float  # the largest share of the learning rate
    fall: Callable[[float, int], float]
    patience: int  # epochs without a better score that end it
    stall: int  # epochs without a better score at which the rate falls; 0 where it does not look at scores
    keep: str
    schedule: Schedule = field(compare=False)  # all that follows from it stands above

    @classmethod
    def of(cls, settings: FitSettings, *, n_rows: int) -> TrainingPlan:
        """Return the plan where an epoch has so many rows.

        >>> plans = [TrainingPlan.of(FitSettings(max_epochs=most), n_rows=25_000) for most in (4, 20, 40)]
        >>> [plan.n_epochs for plan in plans], plans[1] == plans[2]
        ([4, 8, 8], True)
        """
        schedule = SCHEDULES[settings.schedule]
        batch_size = batch_size_of(n_rows, settings.batch_size)
        n_steps = n_rows // batch_size
        n_epochs = schedule.epochs(settings.max_epochs, epoch_steps=n_steps, batch_size=batch_size)
        longest = max(1, n_epochs - 1)  # after the first epoch
        return cls(
            batch_size=batch_size,
            n_steps=n_steps,
            n_epochs=n_epochs,
            n_warmup=round(schedule.rise(settings.warmup, n_epochs=n_epochs) * n_steps),
            peak=schedule.peak(batch_size),
            fall=schedule.fall,
            patience=longest if settings.keep == "last" else min(settings.patience, longest),
            stall=min(max(1, settings.patience // 2), longest) if schedule.falls_at_stalls else 0,
            keep=settings.keep,
            schedule=schedule,
        )

    def shares_of_rate(self, scores: Sequence[Any]) -> list[float]:
        """Return the share of the learning rate at each step of the epoch after those of these scores."""
        first_step, n_all_steps = len(scores) * self.n_steps, self.n_epochs * self.n_steps
        n_stalls = count_stalls(scores, patience=self.stall) if self.stall else 0
        return [
            self.peak * self.schedule.share(step, n_warmup=self.n_warmup, n_steps=n_all_steps, n_stalls=n_stalls)
            for step in range(first_step, first_step + self.n_steps)
        ]


def count_epoch_rows(per_class: str | None, counts: Tensor) -> int:
    """Return how many rows an epoch has, where so many training rows are of each class, (K,)."""
    n_each = parse_per_class(per_class, counts.numpy())
    return int(counts.sum()) if n_each is None else n_each * int((counts > 0).sum())


def class_weights(counts: Tensor, choice: str | Sequence[float]) -> Tensor:
    """Return weights of mean 1 over the training rows: all equal, such that every class weighs the same, or as given.

    Shape:
        counts, output: (K,), the training rows of each class, or what their weights come to
        choice: ``equal``, ``balanced``, or (K,) positive numbers

    Raises:
        SettingError: there is not one number a class.
    """
    if choice == "equal":
        return torch.ones(len(counts))
    if choice == "balanced":
        return (counts.sum() / ((counts > 0).sum() * counts.where(counts > 0, 1))).float()
    if len(choice) != len(counts):
        raise SettingError(f"class_weights: expected one number a class ({len(counts)}), got {len(choice)}.")
    weights = torch.tensor(choice, dtype=torch.float64)
    return (weights * (counts.sum() / (counts * weights).sum())).float()


def plain_settings(settings: FitSettings, *, counts: Tensor, weighted: Tensor) -> FitSettings:
    """Return the plainest settings that train the same: equal settings for all that train alike on these rows.

    What makes no difference on these rows is at its default, and else at the least that means the same.

    Shape:
        counts, weighted: (K,), how many training rows each class has, and what their weights come to

    >>> counts = torch.full((100,), 250)
    >>> settings = FitSettings(max_epochs=40, warmup=0.5, patience=20, class_weights="balanced")
    >>> plain_settings(settings, counts=counts, weighted=counts) == FitSettings(patience=7)
    True
    """
    facts = _facts(settings, counts, weighted)
    for name, value in _plainer(settings, counts):
        plainer = replace(settings, **{name: value})
        if plainer != settings and _facts(plainer, counts, weighted) == facts:
            settings = plainer
    return settings


def _plainer(settings: FitSettings, counts: Tensor) -> Iterator[tuple[str, Any]]:
    """Yield values that may mean the same, the default of a setting last."""
    plan = TrainingPlan.of(settings, n_rows=count_epoch_rows(settings.per_class, counts))
    n_each = parse_per_class(settings.per_class, counts.numpy())
    values = {
        "per_class": None if n_each is None else str(n_each),
        "max_epochs": plan.n_epochs,
        "warmup": plan.n_warmup / plan.n_steps,
        "batch_size": max(2, plan.batch_size),
        "patience": plan.patience,
    }
    for name, value in values.items():
        yield name, value
        yield name, getattr(FitSettings, name)
    yield "class_weights", FitSettings.class_weights


def _facts(settings: FitSettings, counts: Tensor, weighted: Tensor) -> tuple:
    """Return all that a training takes from those settings that may mean the same."""
    plan = TrainingPlan.of(settings, n_rows=count_epoch_rows(settings.per_class, counts))
    weights: object = settings.class_weights
    if isinstance(weights, str):  # of one's own one compares nothing
        weights = class_weights(weighted, weights)[counts > 0].tolist()
    return plan, parse_per_class(settings.per_class, counts.numpy()), weights
