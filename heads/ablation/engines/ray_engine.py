"""The engine whose workers are on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from cache import Cache
from cache.workers.ray_pool import RayPool
from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.engines.local_engine import LocalEngine
from heads.ablation.engines.protocol import FinishedJob
from heads.ablation.job_keys import JobKeys
from heads.ablation.units import units_of
from heads.errors import HeadError
from heads.experiment.configuration import FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.problem import pose

__all__ = ["RayEngine", "Trainer"]

TASKS_A_WORKER = 4  # so that the last ones end together, and little is lost with a worker

# What was trained on, and each job's key and what came of it.
Answer = tuple[Mapping[str, str], list[tuple[str, FinishedJob]]]


class Trainer:
    """A worker: it reads the cache on its node, poses the same problem, and trains the jobs that it is sent.

    Raises:
        HeadError: the node has no such folder or cache.
    """

    def __init__(self, folder: Path, cache_path: Path, settings: AblationSettings) -> None:
        for path in (folder, cache_path):
            if not path.exists():
                raise HeadError(
                    f"Expected every node to have {path}, but {os.uname().nodename} has not. Put the cache, and "
                    "heads of your own, on a file system that all share."
                )
        os.chdir(folder)  # that paths of a user's own heads start from
        with Cache(cache_path) as cache:
            problem = pose(cache, settings)
        experiment = Experiment.of(problem, settings, sides=("validation", "test"))
        self._engine = LocalEngine(experiment)
        self._keys = JobKeys(experiment, trained_on=self._engine.trained_on)

    def do(self, jobs: Sequence[FoldJob]) -> Answer:
        """Train jobs, and return what came of them."""
        outcomes: list[FinishedJob] = []
        self._engine.train(jobs, outcomes.append)
        return self._engine.trained_on, [(self._keys.of(finished.job), finished) for finished in outcomes]


class RayEngine:
    """Jobs go to workers, some at a time, and their outcomes come back; no vector passes between machines.

    `experiment` is that of the driver, which trains nothing.

    Raises:
        HeadError: a worker has another cache, or trains on another kind of device than the first.
        WorkerError: workers died again and again.
    """

    trains_here = False

    def __init__(self, experiment: Experiment, pool: RayPool) -> None:
        self._pool = pool
        ((_, (self.trained_on, _)),) = pool.run([[]], describe=_describe)
        self._keys = JobKeys(experiment, trained_on=self.trained_on)

    @classmethod
    @contextmanager
    def open(cls, experiment: Experiment, cache_path: Path, settings: AblationSettings) -> Iterator[RayEngine]:
        """Yield the engine, while there are workers."""
        arguments = (Path.cwd(), cache_path.absolute(), settings)
        with RayPool(Trainer, arguments, settings=settings.ray) as pool:
            yield cls(experiment, pool)

    def train(self, jobs: Sequence[FoldJob], take: Callable[[FinishedJob], None]) -> None:
        """Have jobs trained, and let `take` have what comes of each."""
        units = units_of(jobs, lambda job: job.members)  # in their order: those of like shape are stacked
        size = -(-len(units) // (TASKS_A_WORKER * self._pool.n_wanted))
        tasks = [list(chain(*units[start : start + size])) for start in range(0, len(units), size)]
        for _, (trained_on, outcomes) in self._pool.run(tasks, describe=_describe):
            if trained_on != self.trained_on:
                raise HeadError(
                    f"Expected all workers to train on one kind of device, got {_shown(self.trained_on)} and "
                    f"{_shown(trained_on)}. Name one with --device and --precision."
                )
            for key, finished in outcomes:
                if key != self._keys.of(finished.job):
                    raise HeadError(
                        "Expected every worker to learn from the same cache and heads as are here, but one has others "
                        "at that path. Put them on a file system that all share."
                    )
                take(finished)


def _describe(jobs: Sequence[FoldJob]) -> str:
    return f"{len(jobs)} jobs of {', '.join(sorted({job.configuration.head for job in jobs}))}" if jobs else "nothing"


def _shown(trained_on: Mapping[str, str]) -> str:
    return f"{trained_on['device']} in {trained_on['precision']}"
