"""Stacking: each modality's own logistic head, and a pool of their logits that is fitted out of fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.fitting.log_linear_pool import fit_pool
from heads.modules.fitting.out_of_fold import HELD_ROWS, inner_folds
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.fitting.unseen_classes import LEAST_LOG_PROBABILITY, find_seen_classes
from heads.modules.late import row_weights
from heads.modules.linear_member import LinearMember, fit_member
from heads.modules.one_by_one import drawing_apart
from heads.modules.parts.standardiser import zero_absent

__all__ = ["Stack", "StackFit", "build", "fit", "fit_stack", "last_temperature"]


class Stack(nn.Module):
    """Add the logits of a linear head a modality, each times a weight that is fitted on rows it did not learn from.

    A member's logits are divided by its own temperature, at which it is right about how sure it is alone. With all
    modalities there the weights are as fitted: their sum is above 1 where the members' evidence adds up. Of a row that
    lacks some, the weights are renormalised over what it has (as in `late`) to a sum that goes from 1, one modality
    alone, to that of all. The final temperature is the whole's.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) logits
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        n_members = len(self.modalities)
        self.members = nn.ModuleDict({name: LinearMember(dims[name], n_classes) for name in self.modalities})
        self.register_buffer("weights", torch.full((n_members,), 1 / n_members))
        self.register_buffer("temperatures", torch.ones(n_members))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("shifts", torch.zeros(n_classes))  # of classes without training rows: far down

    def logits(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return each member's logits, (B, M, K)."""
        vectors = zero_absent({name: inputs[name] for name in self.modalities}, present)
        return torch.stack([self.members[name](vectors[name]) for name in self.modalities], dim=1)

    def pool(self, logits: Tensor, present: Mapping[str, Tensor]) -> Tensor:
        """Return the pooled logits, before the last temperature, of the members' (B, M, K), (B, K)."""
        mask = torch.stack([present[name] for name in self.modalities], dim=1).to(logits.dtype)  # (B, M)
        weights = self.get_buffer("weights").to(logits.dtype)
        shares = row_weights(weights, mask)
        shares = shares / shares.sum(1, keepdim=True)
        n_others = max(1, len(self.modalities) - 1)
        share_of_sum = (mask.sum(1, keepdim=True) - 1).clamp_min(0) / n_others  # 0 alone, 1 with all
        totals = 1 + (weights.sum() - 1) * share_of_sum if len(self.modalities) > 1 else weights.sum()
        factors = shares * totals / self.get_buffer("temperatures").to(logits.dtype)
        return (logits * factors[:, :, None]).sum(1)

    def untempered(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return the pooled logits, before the last temperature, (B, K)."""
        return self.pool(self.logits(inputs, present), present)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.untempered(inputs, present) / self.get_buffer("temperature") + self.get_buffer("shifts")


@dataclass(frozen=True)
class StackFit:
    """The head, what was chosen for each member, and what heads fitted in the same way answered out of fold.

    Shape:
        held: (n,) int64, the rows that were held out
        members: (n, M, K) logits of the members
        pooled: (n, K) logits, before the last temperature
        seen_classes: (n, K) bool, the classes that the fold of the row had learned
    """

    module: Stack
    strengths: dict[str, float]
    of_one_length: dict[str, bool]
    held: Tensor
    members: Tensor
    pooled: Tensor
    seen_classes: Tensor


def fit_stack(rows: RowsToFit, *, most_held: int | None = HELD_ROWS) -> StackFit:
    """Return the stack of the training rows.

    Members, their temperatures and the pool follow from the training rows alone, by inner folds that no group of copies
    straddles. The last temperature is that of the rows held out and the validation rows together.

    Raises:
        LabelError: the training rows are all of one class.
    """
    rows = rows.on_cpu()
    is_seen = find_seen_classes(rows.targets[rows.train], n_classes=rows.n_classes)
    with drawing_apart():
        module = Stack(rows.dims, n_classes=rows.n_classes).eval().requires_grad_(False)
    module.get_buffer("shifts").copy_(torch.where(is_seen, 0.0, LEAST_LOG_PROBABILITY))
    folds = inner_folds(rows, most_rows=most_held)
    fits = {name: fit_member(rows, name, folds) for name in module.modalities}
    for name, member_fit in fits.items():
        module.members[name] = member_fit.module
    held = torch.cat([fold.held for fold in folds] or [rows.train[:0]])
    seen_classes = torch.cat([fold.seen_classes(rows) for fold in folds] or [is_seen[None][:0]])
    nothing = torch.zeros(0, rows.n_classes)
    logits = torch.stack([torch.cat([nothing, *fits[name].held]) for name in module.modalities], dim=1)  # (n, M, K)
    present = {name: mask[held] for name, mask in rows.present.items()}
    temperatures = torch.tensor([fits[name].temperature for name in module.modalities])
    whole = torch.stack(list(present.values())).all(0)  # the rows that have all say what evidence adds up to
    weights, _ = fit_pool(
        logits[whole] / temperatures[:, None],
        rows.targets[held[whole]],
        seen_classes=seen_classes[whole],
        row_weights=rows.row_weights[held[whole]],
    )
    module.get_buffer("temperatures").copy_(temperatures)
    module.get_buffer("weights").copy_(weights)
    pooled = module.pool(logits, present)
    module.get_buffer("temperature").copy_(last_temperature(module.untempered, rows, held, pooled, seen_classes))
    return StackFit(
        module,
        {name: member_fit.strength for name, member_fit in fits.items()},
        {name: member_fit.of_one_length for name, member_fit in fits.items()},
        held,
        logits,
        pooled,
        seen_classes,
    )


def last_temperature(
    untempered: Callable[..., Tensor], rows: RowsToFit, held: Tensor, pooled: Tensor, seen_classes: Tensor
) -> Tensor:
    """Return the temperature of the logits of rows held out, (n, K), and of the validation rows, together.

    A row counts as often as its sample weight says. The weights of classes, which a loss may have, count for nothing
    here: the temperature says how sure the answers to rows as they come ought to be, as that of late fusion does.
    """
    is_seen = torch.bincount(rows.targets[rows.train], minlength=rows.n_classes) > 0
    validation_rows = rows.validation[~torch.isin(rows.validation, rows.train) & is_seen[rows.targets[rows.validation]]]
    logits = torch.cat([pooled, untempered(*take_rows(rows.inputs, rows.present, validation_rows))])
    all_rows = torch.cat([held, validation_rows])
    (weight,), _ = fit_pool(
        logits[:, None],
        rows.targets[all_rows],
        seen_classes=torch.cat([seen_classes, is_seen.expand(len(validation_rows), -1)]),
        row_weights=torch.ones(len(all_rows)) if rows.sample_weights is None else rows.sample_weights[all_rows],
    )
    return 1 / weight


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Stack(description.dims, n_classes=description.n_classes)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    return fit_stack(rows).module, {}
