"""The heads of a run, and their answers to the rows of each side of its split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from cache.console.notes import PROGRESS
from heads.data.draws import generator_of
from heads.errors import HeadError
from heads.experiment.configuration import Configuration, FoldJob, configurations_of
from heads.experiment.experiment import Experiment
from heads.experiment.few_rows import few_rows
from heads.experiment.fold_inputs import FoldInputs
from heads.experiment.late_fusion import MemberAnswers
from heads.experiment.problem import Problem
from heads.experiment.results import Trained
from heads.experiment.zero_label import answer_by_names
from heads.head_types import head_type
from heads.metrics.answers import Answers
from heads.metrics.scores import scores
from heads.modules.plugin import head_name
from heads.modules.saving.saved_head import TrainedHead
from heads.settings import TrainSettings

__all__ = ["SIDES", "Roster", "train_heads"]

SIDES = ("train", "validation", "test")

log = logging.getLogger("embed_once")


class Roster:
    """What came of the heads and the controls of a run, by name; each answers the rows of all `SIDES`."""

    def __init__(self, problem: Problem, inputs: FoldInputs, *, seed: int) -> None:
        self.problem = problem
        self.inputs = inputs
        self.seed = seed  # of what is drawn of them
        (self.encoders,) = self.problem.combinations
        (self.split,) = self.problem.folds
        self.vectors = self.problem.joint_vectors(self.encoders, 0)
        self.trained: dict[str, Trained] = {}
        self.controls: dict[str, Trained] = {}
        self.by_names: dict[str, dict[str, Answers]] = {}  # modality -> what the classes' names alone say of each side
        self.sized: dict[str, dict[str, Trained]] = {}  # size -> what came of each head that is trained by steps

    @property
    def heads(self) -> dict[str, TrainedHead]:
        """The heads themselves."""
        return {name: trained.head for name, trained in self.trained.items()}

    @property
    def saved(self) -> dict[str, TrainedHead]:
        """The heads that can be written: models of scikit-learn's live in memory only."""
        return {name: head for name, head in self.heads.items() if head_type(name).is_saved}

    @property
    def remarks(self) -> list[str]:
        """What heads say of how they came out, a sentence each."""
        of_heads = {name: getattr(head.module, "remark", "") for name, head in self.heads.items()}
        return [f"{name}: {remark}." for name, remark in of_heads.items() if remark]

    @property
    def singles(self) -> list[str]:
        """The modalities, each a head of its own."""
        return [name for name in self.trained if name in self.vectors.dims]

    @property
    def fusions(self) -> list[str]:
        """The other heads."""
        return [name for name in self.trained if name not in self.vectors.dims]

    @property
    def best_single(self) -> str:
        """The modality whose head has the best macro-F1 on the validation rows."""
        return max(self.singles, key=lambda name: self.scores(name, "validation")["macro_f1"])

    def is_known(self, name: str) -> np.ndarray:
        """Return the rows that have something of what a head or a control sees, (N,) bool; the others it guesses."""
        return self.vectors.some_present([name] if name in self.vectors.dims else None)

    def answers(self, head: TrainedHead) -> dict[str, Answers]:
        """Return what a head that is made of others answers to each side of the split."""
        return self.inputs.answers(head, tuple(sorted(self.encoders.items())), 0)

    def scores(self, name: str, side: str) -> dict[str, float]:
        """Return a head's scores on one side of the split."""
        targets = self.problem.labels.targets[getattr(self.split, side)]
        return scores(targets, self.trained[name].answers[side].predictions, len(self.problem.labels.classes))

    def whole_answers(self, names: Sequence[str], side: str, *, most_cells: int | None = None) -> MemberAnswers:
        """Return all that some heads answer to one side of the split, or to some of its rows where it has many.

        These are the same at each call: what several calls return belongs together.
        """
        rows = few_rows(
            getattr(self.split, side),
            n_classes=len(self.problem.labels.classes),
            generator=generator_of(self.seed, "few rows"),
            most_cells=most_cells,
        )
        encoders = tuple(sorted(self.encoders.items()))
        logs = {name: self.inputs.log_probabilities(self.trained[name].head, encoders, 0, rows=rows) for name in names}
        return MemberAnswers.of(logs, rows, problem=self.problem, vectors=self.vectors)


def train_heads(
    experiment: Experiment, settings: TrainSettings, *, sizes: Mapping[str, TrainSettings] | None = None
) -> Roster:
    """Return each modality's own head, the fusions and the controls, trained; the heads in other `sizes`, too.

    A control that cannot be trained is left out.

    Raises:
        HeadError: a head cannot be trained.
    """
    roster = Roster(experiment.problem, experiment.inputs, seed=settings.seed)
    configurations = configurations_of(roster.problem.fusions, [roster.encoders], [settings])
    names = {configuration.head for configuration in configurations}
    controls = [Configuration.of(name, roster.encoders, settings) for name in settings.controls if name not in names]
    jobs = {
        job: configuration in controls
        for configuration in (*configurations, *controls)
        for job in configuration.jobs(n_folds=1, seeds=[settings.seed])
    }
    sized = {size: _jobs_of(roster, of_size) for size, of_size in (sizes or {}).items()}
    results: dict[FoldJob, Trained] = {}

    def take(job: FoldJob, result: Trained | HeadError) -> None:
        if isinstance(result, Trained):
            results[job] = result
            if result.history:
                epochs = f"{len(result.history)} epochs, the best was {result.best_epoch}"
                log.log(PROGRESS, "%s: %s, %.1f s", head_name(job.configuration.head), epochs, result.elapsed_s)
            if remark := getattr(result.head.module, "remark", ""):
                log.info("%s: %s.", head_name(job.configuration.head), remark)
        elif jobs.get(job):
            log.info("A control is left out: %s", result)
        else:
            raise result

    experiment.run(list(dict.fromkeys([*jobs, *(job for size_jobs in sized.values() for job in size_jobs)])), take)
    for job, is_control in jobs.items():
        if job in results:
            (roster.controls if is_control else roster.trained)[head_name(job.configuration.head)] = results[job]
    if settings.controls:
        roster.by_names = answer_by_names(roster.problem, roster.encoders, seed=settings.seed)
    for size, size_jobs in sized.items():
        roster.sized[size] = {head_name(job.configuration.head): results[job] for job in size_jobs}
    return roster


def _jobs_of(roster: Roster, settings: TrainSettings) -> list[FoldJob]:
    """Return the heads to which a size makes a difference."""
    configurations = configurations_of(roster.problem.fusions, [roster.encoders], [settings])
    return [
        FoldJob(configuration, 0, settings.seed)
        for configuration in configurations
        if not head_type(configuration.head).at_once
    ]
