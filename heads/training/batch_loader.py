"""Batches for a stack of heads: each head's own rows, from its own task, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from heads.data.tokens import ProductTokens, TokenBatch, rows_within
from heads.device import to_device
from heads.training.head_state import Member
from heads.training.row_source import View
from heads.training.sampler import WINDOW_ROWS, validated_together

__all__ = ["Batch", "draw_epoch", "validation_blocks"]


class Batch(NamedTuple):
    """B rows for each of J heads.

    Shape:
        arguments: what heads take: inputs {modality: (J, B, D)}, present {modality: (J, B)}, and tokens if they look at
            such
        targets: (J, B) int64, -1 where a position is padding
        row_weights: (J, B) float32; None: 1 each
    """

    arguments: tuple[Mapping, ...]
    targets: Tensor
    row_weights: Tensor | None


def draw_epoch(members: Sequence[Member]) -> Iterator[Batch]:
    """Yield the batches of an epoch, in each head's own order and with its own modalities dropped."""
    epochs = [member.draw_epoch() for member in members]
    n_steps, batch_size = epochs[0].rows.shape
    for steps in torch.arange(n_steps).split(max(1, WINDOW_ROWS // batch_size)):
        views = [
            member.view(epoch.rows[steps], {name: numbers[steps] for name, numbers in epoch.versions.items()})
            for member, epoch in zip(members, epochs, strict=True)
        ]
        # All heads of a stack drop modalities, or none does.
        keep_masks = [epoch.keep_mask[steps] for epoch in epochs if epoch.keep_mask is not None]
        yield from _batches_of(members, views, torch.stack(keep_masks) if keep_masks else None)
        del views  # before the next window is read


def validation_blocks(members: Sequence[Member]) -> Iterator[Batch]:
    """Yield all validation rows in blocks of one size, so that no head's numbers follow from the others'."""
    n_positions = max(sum(int(states.counts.max()) for states in _tokens_of(member).values()) for member in members)
    most_rows = max(validated_together(len(member.validation)) for member in members)  # a stack has one
    n_together = rows_within(n_positions, most_rows=most_rows)  # fewer where the tokens are many
    for start in range(0, max(len(member.validation) for member in members), n_together):
        blocks = [member.validation[start : start + n_together] for member in members]
        views = []
        for member, rows in zip(members, blocks, strict=True):
            padded = F.pad(rows, (0, n_together - len(rows)), value=int(member.validation[0]))
            views.append(member.view(padded[None]))
        (batch,) = _batches_of(members, views, None)
        for targets, rows in zip(batch.targets, blocks, strict=True):
            targets[len(rows) :] = -1
        yield batch


def _batches_of(members: Sequence[Member], views: Sequence[View], keep_mask: Tensor | None) -> Iterator[Batch]:
    """Yield the batches of views whose rows are (S, B); what is small is looked up for all S steps at once.

    Shape:
        keep_mask: (J, S, B, M) bool, the modalities that are not dropped
    """
    names = sorted(members[0].job.description.dims)
    targets = torch.stack([view.targets[view.rows] for view in views])  # (J, S, B)
    present = {name: torch.stack([view.present[name][view.rows] for view in views]) for name in names}
    weights = [
        member.row_weights[view.products]
        for member, view in zip(members, views, strict=True)
        if member.row_weights is not None  # of all heads of a stack or of none
    ]
    row_weights = to_device(torch.stack(weights), targets.device) if weights else None
    if keep_mask is not None:
        present = _without(present, to_device(keep_mask, targets.device))
    for step in range(targets.shape[1]):
        inputs = {
            name: _side_by_side([view.inputs[name] for view in views], [view.vector_rows[name][step] for view in views])
            for name in names
        }
        arguments: list[Mapping] = [inputs, {name: mask[:, step] for name, mask in present.items()}]
        if members[0].job.description.token_dims:
            (member,) = members  # tokens are ragged: such a head stands alone
            arguments.append(_token_batches(member, views[0].products[step]))
        yield Batch(tuple(arguments), targets[:, step], None if row_weights is None else row_weights[:, step])


def _side_by_side(tables: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """Return the rows of each table, (J, B, ...); neighbours of one table are taken at once."""
    if len(tables) == 1:
        return tables[0].index_select(0, rows[0])[None]
    gathered = tables[0].new_empty(len(rows), len(rows[0]), *tables[0].shape[1:])
    start = 0
    for _, run in groupby(tables, key=id):
        stop = start + len(list(run))
        rows_of_run = rows[start] if stop == start + 1 else torch.cat(list(rows[start:stop]))
        torch.index_select(tables[start], 0, rows_of_run, out=gathered[start:stop].flatten(0, 1))
        start = stop
    return gathered


def _without(present: Mapping[str, Tensor], keep_mask: Tensor) -> dict[str, Tensor]:
    """Return the presence masks after modality dropout, in which a row that has modalities keeps at least one."""
    mask = torch.stack(list(present.values()), dim=-1)  # (J, S, B, M)
    remaining = mask & keep_mask
    remaining = torch.where(remaining.any(-1, keepdim=True), remaining, mask)
    return dict(zip(present, remaining.unbind(-1), strict=True))


def _tokens_of(member: Member) -> dict[str, ProductTokens]:
    return {name: member.task.tokens[name] for name in member.job.description.token_dims}


def _token_batches(member: Member, rows: Tensor) -> dict[str, TokenBatch]:
    batches = {name: states.take(rows).batch() for name, states in _tokens_of(member).items()}
    if member.task.standardise is not None:
        batches = member.task.standardise.tokens(batches)
    dtype, device = member.source.like.dtype, member.source.like.device
    return {
        name: TokenBatch(to_device(values[None].to(dtype), device), to_device(mask[None], device))
        for name, (values, mask) in batches.items()
    }
