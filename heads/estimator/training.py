"""One head, trained on vectors in memory: an experiment of one fold without a test side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from heads.data.labels import Labels
from heads.data.splitting.splits import Split
from heads.data.vectors import Vectors
from heads.device import find_device
from heads.errors import HeadError
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.late_fusion import Weighting
from heads.experiment.problem import Problem
from heads.experiment.results import Trained
from heads.head_types import fusion_names
from heads.settings import FitSettings

__all__ = ["train_head"]

COLUMNS = "columns"  # the encoder's name: the vectors are columns of X


def train_head(
    fusion: str,
    vectors: Vectors,
    labels: Labels,
    split: Split,
    settings: FitSettings,
    *,
    late_weights: Mapping[str, float],
    sample_weights: np.ndarray | None,
    groups: np.ndarray | None,
    device: str,
    precision: str,
) -> dict[str, Trained]:
    """Train a head, and return it and late fusion's members, {name: trained}.

    Shape:
        sample_weights: (N,) float64, how often each row counts; None: once
        groups: (N,) of any type, of rows that belong together; None: each is one

    Raises:
        HeadError, SettingError: the head cannot be trained.
    """
    modalities = list(vectors.dims)
    problem = Problem(
        ids=[],
        vectors={(name, COLUMNS): [vectors.part([name])] for name in modalities},
        labels=labels,
        groups=np.arange(len(labels.targets)) if groups is None else np.unique(groups, return_inverse=True)[1],
        is_placeholder=np.zeros(len(labels.targets), dtype=bool),
        folds=[split],
        fusions=(fusion,),
        notes=[],
        content_sha256="",
        sample_weights=sample_weights,
    )
    experiment = Experiment(
        problem, sides=(), weighting=Weighting(late_weights), device=find_device(device), precision=precision
    )
    encoders = {fusion: COLUMNS} if fusion in modalities else dict.fromkeys(modalities, COLUMNS)
    job = FoldJob(Configuration.of(fusion, encoders, settings, beside=fusion_names()), 0, settings.seed)
    trained: dict[str, Trained] = {}

    def take(job: FoldJob, result: Trained | HeadError) -> None:
        if isinstance(result, HeadError):
            raise result
        trained[job.configuration.head] = result

    experiment.run([job], take)
    return trained
