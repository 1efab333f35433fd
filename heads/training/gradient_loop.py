"""Training one stack of heads: mini-batches from memory, each head stopped early by macro-F1 on its validation rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from heads.device import to_device, to_host
from heads.errors import HeadError
from heads.training.adamw import StackedAdamW
from heads.training.batch_loader import Batch, draw_epoch, validation_blocks
from heads.training.head_state import Member
from heads.training.job import Fit, Job
from heads.training.row_source import Source
from heads.training.stack import Stack

__all__ = ["descend"]

FIGURES = ("train", "validation", "macro_f1")
POSITION_SEED = 0x5EED  # of the positions where batches take their dropout masks: the same in every training


def descend(
    jobs: Sequence[Job], sources: Sequence[Source], *, stop: threading.Event | None = None
) -> Iterator[tuple[int, Fit | HeadError]]:
    """Train jobs of one shape together, and yield each one's index and its fit as soon as it has stopped.

    A head that stops leaves the stack. One whose loss is no number any more is an error instead of a fit. With `stop`
    set, what is unfinished after the epoch is given up.
    """
    device = sources[0].like.device
    stack = Stack([job.description for job in jobs], [job.settings.seed for job in jobs], device=device)
    members = [Member(index, job, source) for index, (job, source) in enumerate(zip(jobs, sources, strict=True))]
    optimiser = StackedAdamW(
        stack.parameters,
        learning_rates=[job.settings.learning_rate for job in jobs],
        weight_decays=[job.settings.weight_decay for job in jobs],
    )
    position_generator = np.random.default_rng(POSITION_SEED)
    while members and not (stop and stop.is_set()):
        started = time.monotonic()
        measured = {"train": _one_epoch(stack, optimiser, members, position_generator), **_validate(stack, members)}
        figures = {name: tensor.tolist() for name, tensor in to_host(measured).items()}  # the only wait of an epoch
        share_s = (time.monotonic() - started) / len(members)
        tensors = stack.tensors
        for index, member in enumerate(members):
            state = {name: tensor[index] for name, tensor in tensors.items()}
            member.note(*(figures[name][index] for name in FIGURES), state=state, share_s=share_s)
        for member in members:
            if member.error is not None:
                yield member.job_index, member.error
            elif member.has_stopped:
                yield member.job_index, member.fit()
        remaining = [index for index, member in enumerate(members) if not (member.has_stopped or member.error)]
        if len(remaining) < len(members):
            members = [members[index] for index in remaining]
            if members:
                indices = to_device(torch.tensor(remaining), device)
                stack.keep(indices)
                optimiser.keep(indices, stack.parameters)


def _one_epoch(
    stack: Stack, optimiser: StackedAdamW, members: Sequence[Member], position_generator: np.random.Generator
) -> Tensor:
    """Return each head's mean training loss, (J,)."""
    stack.module.train()
    like = members[0].source.like
    generators, rates = zip(*((member.generator, member.job.description.dropout) for member in members), strict=True)
    for layer in stack.dropouts:
        layer.redraw(generators, rates, batch_size=members[0].plan.batch_size, like=like)
    weights, shifts = (
        None if all(row.eq(neutral).all() for row in table) else to_device(torch.stack(table), like.device)  # (J, K)
        for table, neutral in (
            ([member.class_weights for member in members], 1.0),
            ([member.logit_shifts for member in members], 0.0),
        )
    )
    totals, n_steps = torch.zeros(len(members), device=like.device), members[0].plan.n_steps
    shares = list(zip(*(member.shares_of_rate() for member in members), strict=True))  # a step: a number a head
    for batch, step_shares in zip(draw_epoch(members), shares, strict=True):
        position = position_generator.random()
        for layer in stack.dropouts:
            layer.advance(position)
        losses = _losses(stack.module(*batch.arguments), batch, weights, shifts)
        optimiser.step(stack.gradients(losses.sum()), step_shares)
        totals += losses.detach()
    return totals / n_steps


def _losses(logits: Tensor, batch: Batch, class_weights: Tensor | None, shifts: Tensor | None) -> Tensor:
    """Return each head's mean cross-entropy, (J,); shifts of the logits and weights of classes apply where given."""
    logits = logits.float() if shifts is None else logits.float() + shifts[:, None, :]
    losses = _row_losses(logits, batch.targets)
    losses = losses if class_weights is None else losses * class_weights.gather(1, batch.targets)
    return (losses if batch.row_weights is None else losses * batch.row_weights).mean(1)


def _row_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each row, (J, B), from logits (J, B, K)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


@torch.inference_mode()
def _validate(stack: Stack, members: Sequence[Member]) -> dict[str, Tensor]:
    """Return each head's loss, `validation`, and `macro_f1` on its own validation rows, (J,) each."""
    stack.module.eval()
    n_heads, n_classes = len(members), members[0].job.description.n_classes
    device = members[0].source.like.device
    # Hits, labels and answers; the last class is padding.
    counts = torch.zeros(3, n_heads * (n_classes + 1), device=device)
    totals, n_counted = torch.zeros(n_heads, device=device), torch.zeros(n_heads, device=device)
    offsets = torch.arange(n_heads, device=device)[:, None] * (n_classes + 1)
    for batch in validation_blocks(members):
        logits = stack.module(*batch.arguments).float()  # (J, B, K)
        is_row = batch.targets >= 0  # (J, B)
        targets = batch.targets.clamp_min(0)
        weights = is_row.float() if batch.row_weights is None else batch.row_weights * is_row  # (J, B)
        totals += (_row_losses(logits, targets) * weights).sum(1)
        n_counted += weights.sum(1)
        answers = torch.where(is_row, logits.argmax(2), n_classes)
        labels = torch.where(is_row, targets, n_classes)
        hits = torch.where(answers == labels, labels, n_classes)
        bins = (torch.stack([hits, labels, answers]) + offsets).flatten(1)  # (3, J B)
        spread = weights.flatten().expand(bins.shape)
        counts.scatter_add_(1, bins, spread)  # bincount would wait for the device to say how many
    hits, labels, answers = counts.unflatten(1, (n_heads, -1))[..., :-1]
    either = labels + answers
    f1 = (2 * hits / either.where(either > 0, 1)).sum(1) / (either > 0).sum(1).clamp_min(1)
    return {"validation": totals / n_counted, "macro_f1": f1}
