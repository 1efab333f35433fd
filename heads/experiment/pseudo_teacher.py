"""Who gives pseudo-labels: a stack of logistic heads, which says out of fold how often it is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from heads.errors import HeadError
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.pseudo_labels import LEAST_HELD, Consensus
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.stack import Stack, StackFit, fit_stack
from heads.settings import FitSettings
from heads.training.direct import rows_of
from heads.training.job import Job

__all__ = ["ask_teacher", "check_pseudo_labels"]

TEACHER = "stack"  # whatever heads are trained: the best of few labels (docs/decisions/048), and calibrated
BLOCK_CELLS = 2**24  # of logits that are held at a time


def check_pseudo_labels(experiment: Experiment) -> None:
    """Check that pseudo-labels can be had, so that nobody trains for nothing.

    Raises:
        HeadError: the vectors stay on the disk; no product can get one; or there are too few training rows to be sure.
    """
    problem = experiment.problem
    vectors, modalities = problem.joint_vectors(problem.combinations[0], 0), " and ".join(problem.encoders)
    if not all(isinstance(matrix, Tensor) for matrix in vectors.inputs.values()):
        raise _refusal("all vectors in memory, but --memory leaves them on the disk. Give it more")
    labels, unlabelled = problem.labels, problem.unlabelled
    n_empty = 0 if labels.is_unlabelled is None else int(labels.is_unlabelled.sum())
    if not n_empty:
        raise _refusal(f"products whose {labels.column} is empty, got none. Extract some that have no label")
    if unlabelled is None or not len(unlabelled):
        raise _refusal(
            f"products without a label that share nothing with others and that no column holds out, got none of the "
            f"{n_empty:,} whose {labels.column} is empty. Extract more"
        )
    if not _whole(vectors.present, torch.from_numpy(unlabelled)).any():
        raise _refusal(
            f"products without a label that have {modalities}, got none of {len(unlabelled):,}. Name fewer modalities"
        )
    n_train = int(_whole(vectors.present, torch.from_numpy(problem.folds[0].train)).sum())
    if n_train < LEAST_HELD:
        raise _refusal(
            f"{LEAST_HELD} training rows or more that have {modalities}, for as many answers have to be right before "
            f"one is believed, got {n_train:,}. Label more"
        )


def _refusal(expected: str) -> HeadError:
    return HeadError(f"--pseudo-label: expected {expected}, or leave the option out.")


def ask_teacher(experiment: Experiment, rows: np.ndarray, *, seed: int) -> tuple[Consensus, Consensus]:
    """Return what a stack that learns from the training rows answers to those held out in turns, and to some rows.

    Rows that lack a modality are left out of both: not all heads see them. The validation rows are not looked at, not
    even for a temperature.

    Shape:
        rows: (n,) int64

    Raises:
        LabelError: the training rows are all of one class.
    """
    encoders = experiment.problem.combinations[0]
    job = FoldJob(Configuration.of(TEACHER, encoders, FitSettings()), 0, seed)
    task = experiment.inputs.task(job.configuration.encoders, 0)
    fit_rows = rows_of(Job(experiment.describe(job), task, job.settings), device=torch.device("cpu"))
    fitted = fit_stack(replace(fit_rows, validation=fit_rows.train))
    return _held_out(fit_rows, fitted), _answers(fit_rows, fitted.module, rows)


def _held_out(fit_rows: RowsToFit, fitted: StackFit) -> Consensus:
    has_all = _whole(fit_rows.present, fitted.held)
    unseen = ~fitted.seen_classes[has_all]
    logits = (fitted.pooled[has_all] / fitted.module.get_buffer("temperature")).masked_fill(unseen, -torch.inf)
    members = fitted.members[has_all].masked_fill(unseen[:, None], -torch.inf)
    return _consensus(fitted.held[has_all], logits, members)


def _answers(fit_rows: RowsToFit, module: Stack, rows: np.ndarray) -> Consensus:
    whole_rows = torch.from_numpy(rows)
    whole_rows = whole_rows[_whole(fit_rows.present, whole_rows)]
    blocks = []
    for block_rows in whole_rows.split(max(1, BLOCK_CELLS // (fit_rows.n_classes * len(module.modalities)))):
        inputs, present = take_rows(fit_rows.inputs, fit_rows.present, block_rows)
        members = module.logits(inputs, present) + module.get_buffer("shifts")
        blocks.append(_consensus(block_rows, module(inputs, present), members))
    parts = [[getattr(block, name) for block in blocks] for name in ("rows", "classes", "confidences", "agrees")]
    kinds = (np.int64, np.int64, np.float32, bool)
    return Consensus(*(np.concatenate([np.empty(0, kind), *part]) for kind, part in zip(kinds, parts, strict=True)))


def _whole(present: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    return torch.stack([mask[rows] for mask in present.values()]).all(0)


def _consensus(rows: Tensor, logits: Tensor, members: Tensor) -> Consensus:
    """Return what pooled logits, (n, K), and the members' logits, (n, M, K), say."""
    confidences, classes = logits.softmax(1).max(1)
    agrees = (members.argmax(2) == classes[:, None]).all(1)
    return Consensus(rows.numpy(), classes.numpy(), confidences.float().numpy(), agrees.numpy())
