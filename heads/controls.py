"""Controls: cheap heads on the same split, which a fusion should beat before anybody believes in it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from heads.centroids import fit_centroids
from heads.job import Task
from heads.logistic import fit_logistic
from heads.majority import fit_majority
from heads.neighbours import fit_neighbours

__all__ = ["Control", "fit_controls"]

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Control:
    """A control's head, and the seconds it took to fit."""

    name: str
    module: nn.Module
    fit_s: float

    @torch.inference_mode()
    def probabilities(self, task: Task, rows: np.ndarray) -> np.ndarray:
        """Return the probability of every class for some rows, (n, K) float32."""
        answers = []
        for block in torch.from_numpy(rows).split(BLOCK_ROWS):
            inputs = {name: matrix[block] for name, matrix in task.inputs.items()}
            present = {name: mask[block] for name, mask in task.present.items()}
            answers.append(self.module(inputs, present).softmax(1).float())
        return torch.cat(answers).numpy()


def fit_controls(names: Sequence[str], task: Task, *, n_classes: int) -> Iterator[Control]:
    """Yield the controls named, fitted to the training rows of all modalities together.

    What they choose (how many neighbours, how strong a penalty), they choose by the validation rows.
    """
    train, validation = torch.from_numpy(task.split.train), torch.from_numpy(task.split.validation)
    inputs, present, codes = task.inputs, task.present, task.codes
    dims = {name: matrix.shape[1] for name, matrix in inputs.items()}
    module: nn.Module
    for name in names:
        started = time.monotonic()
        match name:
            case "majority":
                module = fit_majority(dims, codes, train, n_classes=n_classes)
            case "centroids":
                module = fit_centroids(
                    inputs, present, codes, n_classes=n_classes, train=train, validation=validation
                ).module
            case "neighbours":
                module = fit_neighbours(
                    inputs, present, codes, n_classes=n_classes, train=train, validation=validation
                ).module
            case _:
                folds = [(train, validation)]
                module = fit_logistic(inputs, present, codes, n_classes=n_classes, folds=folds)[0].module
        yield Control(name, module.eval(), time.monotonic() - started)
