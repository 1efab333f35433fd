"""Fitting one head: mini-batches from memory, stopped early by macro-F1 on the validation rows."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.build import HeadDescription, build
from heads.errors import HeadError
from heads.evaluate import scores
from heads.settings import TrainSettings
from heads.splits import Split
from heads.standardise import Standardise
from heads.tokens import ProductTokens, batches_of, rows_within

__all__ = ["Fit", "Task", "fit"]

STEPS_AN_EPOCH = 16  # at least, where the rows are few
LEAST_BATCH_SIZE = 16  # batch norm on fewer rows is mostly noise
VALIDATED_TOGETHER = 1024  # rows, so that memory is bounded; fewer where the tokens are many


@dataclass(frozen=True)
class Task:
    """What a head learns from: standardised vectors of N products, their tokens, their classes, and the split.

    Shape:
        inputs: {modality: (N, D) float32}, zeros where absent
        present: {modality: (N,) bool}
        codes: (N,) int64
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    codes: Tensor
    split: Split
    tokens: Mapping[str, ProductTokens] = field(default_factory=dict)  # as they are in the cache
    standardise: Standardise | None = None  # of the tokens, batch by batch


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
    train, validation = (
        _Rows.of(task, description, torch.from_numpy(rows)) for rows in (task.split.train, task.split.validation)
    )
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


@dataclass(frozen=True)
class _Rows:
    """The rows of one side of the split, with what one head sees of them."""

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    tokens: Mapping[str, ProductTokens]
    codes: Tensor
    standardise: Standardise | None

    @classmethod
    def of(cls, task: Task, description: HeadDescription, rows: Tensor) -> _Rows:
        return cls(
            inputs={name: task.inputs[name][rows] for name in description.dims},
            present={name: task.present[name][rows] for name in description.dims},
            tokens={name: task.tokens[name].take(rows) for name in description.token_dims},
            codes=task.codes[rows],
            standardise=task.standardise,
        )

    def __len__(self) -> int:
        return len(self.codes)

    def answer(self, module: nn.Module, rows: Tensor) -> Tensor:
        """Return the module's logits for some of the rows, (B, K)."""
        arguments: list[Mapping] = [
            {name: matrix[rows] for name, matrix in self.inputs.items()},
            {name: mask[rows] for name, mask in self.present.items()},
        ]
        if self.tokens:
            batches = batches_of(self.tokens, rows)
            arguments.append(self.standardise.tokens(batches) if self.standardise else batches)
        return module(*arguments)


def _one_epoch(
    module: nn.Module, optimiser: torch.optim.Optimizer, rows: _Rows, batch_size: int, generator: torch.Generator
) -> float:
    module.train()
    total = 0.0
    order = torch.randperm(len(rows), generator=generator)
    for batch in order.split(batch_size):
        if len(batch) == 1 and len(order) > 1:
            continue  # batch norm needs two rows; the odd one has its turn in another epoch
        loss = F.cross_entropy(rows.answer(module, batch), rows.codes[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(batch)
    return total / len(order)


@torch.inference_mode()
def _validate(module: nn.Module, rows: _Rows, n_classes: int) -> tuple[float, float]:
    module.eval()
    n_places = sum(int(own.counts.max()) for own in rows.tokens.values())
    blocks = torch.arange(len(rows)).split(rows_within(n_places, most=VALIDATED_TOGETHER))
    logits = torch.cat([rows.answer(module, block) for block in blocks])
    loss = F.cross_entropy(logits, rows.codes).item()
    answers = logits.argmax(1).numpy().astype(np.int64)
    return loss, scores(rows.codes.numpy(), answers, n_classes)["macro_f1"]
