"""What an engine is, and what it says of a job that is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from heads.ablation.ablation_settings import AblationSettings
from heads.experiment.configuration import FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.results import Outcome

__all__ = ["Engine", "FinishedJob"]


class FinishedJob(NamedTuple):
    """A job that is done, and what came of it."""

    job: FoldJob
    outcome: Outcome
    is_lasting: bool = True  # not where memory was missing, of which there may be more next time


class Engine(Protocol):
    """Whoever trains jobs; the same job comes to the same outcome with each that trains on the same kind of device."""

    trains_here: bool  # so that the device must be one of this machine

    @classmethod
    def open(
        cls, experiment: Experiment, cache_path: Path, settings: AblationSettings
    ) -> AbstractContextManager[Engine]:
        """Return what the engine is open in, for an experiment on that cache."""

    @property
    def trained_on(self) -> Mapping[str, str]:
        """What is computed on, and in which numbers."""

    def train(self, jobs: Sequence[FoldJob], take: Callable[[FinishedJob], None]) -> None:
        """Train jobs, and let `take` have what comes of each as soon as it is there, in any order.

        Members of late fusion are trained with it and taken too, so that a job may be taken twice. What is trained when
        Ctrl-C comes is still taken.
        """
