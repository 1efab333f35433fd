"""The stacked answer, and a joint term that is added to it where rows held out say that it gains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.modules.description import HeadDescription
from heads.modules.fitting.out_of_fold import inner_folds
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.one_by_one import drawing_apart
from heads.modules.parts.joint_term import JointTerm, fit_offset, principal_components
from heads.modules.stack import Stack, StackFit, fit_stack, last_temperature

__all__ = ["Residual", "ResidualFit", "build", "fit", "fit_residual"]

PENALTIES = (0.1, 0.01, 1e-3, 1e-4)  # the first choice is an infinite one: the term stays zero
SURE = 2.0  # standard errors by which a term must gain


class Residual(Stack):
    """Add a joint term, which may be zero, to a stack's pooled logits (`heads.modules.parts.joint_term`).

    A row that lacks a modality gets the stack's answer.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) logits
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.joint = JointTerm(dims, n_classes=n_classes)

    def untempered(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return the logits before the last temperature, (B, K)."""
        return super().untempered(inputs, present) + self.joint(inputs, present)

    @property
    def answers_as(self) -> str | None:
        """The name of the head whose answers these are to the bit; None where they are none's."""
        return None if self.joint.layer.weight.any() else "stack"

    @property
    def remark(self) -> str:
        """What became of the joint term, in a few words."""
        if self.answers_as is None:
            return "products of the modalities gain on rows held out, and are added to the stack's logits"
        return (
            f"products of the modalities gain nothing for sure on rows held out: it answers as {self.answers_as} does"
        )


@dataclass(frozen=True)
class ResidualFit:
    """The head, and the penalty of its joint term: infinite where that is zero."""

    module: Residual
    penalty: float
    stack: StackFit


@dataclass(frozen=True)
class _HeldOutRows:
    """Rows that were held out and have all modalities, and what the stack answered to them out of fold.

    Shape:
        rows: (n,) int64
        products: (n, P), rotated so that P is n at most
        rotation: (P, all products)
        offset: (n, K) logits
        seen_classes: (n, K) bool, those that the fold of the row had learned
    """

    rows: Tensor
    products: Tensor
    rotation: Tensor
    offset: Tensor
    seen_classes: Tensor


def fit_residual(rows: RowsToFit) -> ResidualFit:
    """Return the stack of the training rows, with a joint term where that gains.

    The out-of-fold answers to training rows are a fixed offset, and the term is fitted to the same rows. Its penalty is
    that of least log loss in folds of them, no group of copies on both sides: the weakest that is still better than the
    one before, or none. A term must gain twice its standard error, or is zero.

    Raises:
        LabelError: the training rows are all of one class.
    """
    rows = rows.on_cpu()
    stacked = fit_stack(rows)
    with drawing_apart():
        module = Residual(rows.dims, n_classes=rows.n_classes).eval().requires_grad_(False)
    module.load_state_dict(stacked.module.state_dict(), strict=False)
    joint = module.joint
    for name in joint.modalities:
        components = joint.get_buffer(f"components_{name}")
        present_rows = rows.train[rows.present[name][rows.train]]
        components.copy_(principal_components(rows.inputs[name][present_rows], len(components)))
    has_all = torch.stack([rows.present[name][stacked.held] for name in joint.modalities]).all(0)
    if not has_all.any():
        return ResidualFit(module, math.inf, stacked)
    held = _hold_out(rows, joint, stacked, has_all)
    penalty, added = _choose(rows, held)
    if math.isfinite(penalty):
        weights = _fitted(rows, held, torch.arange(len(held.rows)), penalty) @ held.rotation
        joint.layer.weight.copy_(weights)
        pooled = stacked.pooled.clone()
        pooled[has_all] += added
        temperature = last_temperature(module.untempered, rows, stacked.held, pooled, stacked.seen_classes)
        module.get_buffer("temperature").copy_(temperature)
    return ResidualFit(module, penalty, stacked)


def _hold_out(rows: RowsToFit, joint: JointTerm, stacked: StackFit, has_all: Tensor) -> _HeldOutRows:
    held_rows = stacked.held[has_all]
    products = joint.products(*take_rows(rows.inputs, rows.present, held_rows))
    rotation = torch.eye(products.shape[1])
    if len(held_rows) < products.shape[1]:  # a squared penalty knows no rotations, and the rows span fewer dimensions
        rotation = torch.linalg.svd(products, full_matrices=False).Vh
    return _HeldOutRows(
        held_rows, products @ rotation.T, rotation, stacked.pooled[has_all], stacked.seen_classes[has_all]
    )


def _choose(rows: RowsToFit, held: _HeldOutRows) -> tuple[float, Tensor]:
    """Return the penalty, infinite where no term surely gains, and what terms fitted in folds add, (n, K)."""
    folds = inner_folds(replace(rows, train=held.rows), most_rows=None)
    position_of_row = torch.full_like(rows.targets, -1)
    position_of_row[held.rows] = torch.arange(len(held.rows))
    before = _losses(rows, held, torch.zeros_like(held.offset))
    best, best_gain, best_added = math.inf, 0.0, torch.zeros_like(held.offset)
    last_gain = 0.0
    for penalty in PENALTIES:
        added = torch.zeros_like(held.offset)
        for fold in folds:
            held_positions = position_of_row[fold.held]
            added[held_positions] = (
                held.products[held_positions] @ _fitted(rows, held, position_of_row[fold.learned], penalty).T
            )
        gain, error = _mean_and_error(before - _losses(rows, held, added), rows.groups[held.rows])
        if gain > best_gain and gain > SURE * error:
            best, best_gain, best_added = penalty, gain, added
        if gain < last_gain:
            break
        last_gain = gain
    return best, best_added


def _fitted(rows: RowsToFit, held: _HeldOutRows, positions: Tensor, penalty: float) -> Tensor:
    """Return the term's weights, fitted to some of the rows held out, (K, P)."""
    fitted_rows = held.rows[positions]
    return fit_offset(
        held.products[positions],
        held.offset[positions],
        rows.targets[fitted_rows],
        seen_classes=held.seen_classes[positions],
        row_weights=rows.row_weights[fitted_rows],
        penalty=penalty,
    )


def _losses(rows: RowsToFit, held: _HeldOutRows, added: Tensor) -> Tensor:
    """Return each row's share of the log loss, times the number of rows, (n,) float64."""
    logits = (held.offset + added).double().masked_fill(~held.seen_classes, -torch.inf)
    weights = rows.row_weights[held.rows].double()
    return F.cross_entropy(logits, rows.targets[held.rows], reduction="none") * weights / weights.mean()


def _mean_and_error(values: Tensor, groups: Tensor) -> tuple[float, float]:
    """Return the mean of values and its standard error; groups are drawn whole."""
    mean = values.mean()
    group_numbers = groups.unique(return_inverse=True)[1]
    sums = torch.zeros(int(group_numbers.max()) + 1, dtype=values.dtype).index_add_(0, group_numbers, values - mean)
    return float(mean), float(sums.square().sum().sqrt() / len(values))


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Residual(description.dims, n_classes=description.n_classes)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    return fit_residual(rows).module, {}
