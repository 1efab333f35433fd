"""Fitting one head: mini-batches from memory, stopped early by macro-F1 on the validation rows."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.build import HeadDescription, build
from heads.errors import HeadError
from heads.evaluate import scores
from heads.settings import TrainSettings
from heads.splits import Split

__all__ = ["Fit", "Task", "fit"]

STEPS_AN_EPOCH = 16  # at least, where the rows are few
LEAST_BATCH_SIZE = 16  # batch norm on fewer rows is mostly noise


@dataclass(frozen=True)
class Task:
    """What a head learns from: standardised vectors of N products, their classes, and the split.

    Shape:
        inputs: {modality: (N, D) float32}, zeros where absent
        present: {modality: (N,) bool}
        codes: (N,) int64
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    codes: Tensor
    split: Split


@dataclass(frozen=True)
class Fit:
    """A fitted head and how it got there; its weights are those of the best epoch."""

    module: nn.Module
    best_epoch: int
    history: list[dict[str, float]]  # an epoch: training loss, validation loss and macro-F1
    elapsed_s: float


def fit(description: HeadDescription, task: Task, settings: TrainSettings) -> Fit:
    """Return the head fitted with AdamW on the cross-entropy; the same seed gives the same head."""
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):  # of initial weights and dropout; the caller's state stays
        torch.manual_seed(settings.seed)
        module = build(description)
        best_epoch, history = _descend(module, description, task, settings)
    return Fit(module.eval(), best_epoch, history, time.monotonic() - started)


def _descend(
    module: nn.Module, description: HeadDescription, task: Task, settings: TrainSettings
) -> tuple[int, list[dict[str, float]]]:
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    modalities = list(description.dims)
    train = _take(task, modalities, torch.from_numpy(task.split.train))
    validation = _take(task, modalities, torch.from_numpy(task.split.validation))
    generator = torch.Generator().manual_seed(settings.seed)
    batch_size = min(settings.batch_size, max(LEAST_BATCH_SIZE, len(task.split.train) // STEPS_AN_EPOCH))
    history: list[dict[str, float]] = []
    best = (-1.0, -float("inf"))
    best_epoch, best_state = 0, copy.deepcopy(module.state_dict())
    for epoch in range(1, settings.max_epochs + 1):
        train_loss = _one_epoch(module, optimiser, train, batch_size, generator)
        validation_loss, macro_f1 = _validate(module, validation, description.n_classes)
        history.append({"train_loss": train_loss, "validation_loss": validation_loss, "validation_macro_f1": macro_f1})
        if not math.isfinite(train_loss + validation_loss):
            raise HeadError(
                f"Training must converge, however the loss of {description.name} is not finite in epoch {epoch}. Lower "
                f"--learning-rate, which is {settings.learning_rate:g}."
            )
        if (macro_f1, -validation_loss) > best:
            best = (macro_f1, -validation_loss)
            best_epoch, best_state = epoch, copy.deepcopy(module.state_dict())
        if epoch - best_epoch >= settings.patience:
            break
    module.load_state_dict(best_state)
    return best_epoch, history


Rows = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]  # inputs, present, codes


def _take(task: Task, modalities: list[str], rows: Tensor) -> Rows:
    return (
        {name: task.inputs[name][rows] for name in modalities},
        {name: task.present[name][rows] for name in modalities},
        task.codes[rows],
    )


def _one_epoch(
    module: nn.Module, optimiser: torch.optim.Optimizer, rows: Rows, batch_size: int, generator: torch.Generator
) -> float:
    inputs, present, codes = rows
    module.train()
    total = 0.0
    order = torch.randperm(len(codes), generator=generator)
    for batch in order.split(batch_size):
        if len(batch) == 1 and len(order) > 1:
            continue  # batch norm needs two rows; the odd one has its turn in another epoch
        logits = module(
            {name: matrix[batch] for name, matrix in inputs.items()},
            {name: mask[batch] for name, mask in present.items()},
        )
        loss = F.cross_entropy(logits, codes[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(batch)
    return total / len(order)


@torch.inference_mode()
def _validate(module: nn.Module, rows: Rows, n_classes: int) -> tuple[float, float]:
    inputs, present, codes = rows
    module.eval()
    logits = module(inputs, present)
    loss = F.cross_entropy(logits, codes).item()
    return loss, scores(codes.numpy(), logits.argmax(1).numpy().astype(np.int64), n_classes)["macro_f1"]
