"""A linear head of one modality: its input's scaling and its strength are those of least log loss out of fold.

Where the names of the classes are in the space of the modality's vectors, their directions are added to its weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.modules.fitting.log_linear_pool import fit_pool
from heads.modules.fitting.out_of_fold import InnerFold
from heads.modules.fitting.rows_to_fit import RowsToFit
from heads.modules.fitting.sklearn_fit import fit_converged
from heads.modules.fitting.strength_search import USUAL_STRENGTH, search_strengths
from heads.modules.logistic import layer_of
from heads.modules.one_by_one import drawing_apart
from heads.modules.parts.scalings import of_one_length

__all__ = ["LinearMember", "MemberFit", "fit_member"]

STRENGTHS = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0)  # scikit-learn's C
ROUGH, FINE = 1e-3, 1e-4  # the mean loss's gradient at which a solver stops: in the search, and for the final fit
MOST_STEPS = 500


class LinearMember(nn.Module):
    """One linear layer over a modality's vectors, as they are or each brought to the length sqrt(D).

    Shape:
        vectors: (B, D) float32, standardised
        output: (B, K) logits
    """

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("of_one_length", torch.tensor(False))
        self.layer = nn.Linear(dim, n_classes)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layer(torch.where(self.get_buffer("of_one_length"), of_one_length(vectors), vectors))


@dataclass(frozen=True)
class MemberFit:
    """The head, what was chosen for it, and what heads fitted in the same way answered out of fold.

    Shape:
        held: a tensor a fold, (n_held, K) logits
    """

    module: LinearMember
    of_one_length: bool
    strength: float
    temperature: float  # out of fold
    log_loss: float  # out of fold, of the rows that have the modality
    held: list[Tensor]


def fit_member(rows: RowsToFit, modality: str, folds: Sequence[InnerFold]) -> MemberFit:
    """Return a modality's head, fitted to those training rows that have it; all are on the CPU.

    For each scaling the strength is that of least log loss of the rows held out, at the best temperature, of those that
    `search_strengths` tries; scikit-learn's logistic regression starts in each fold from where the one before ended. To
    what it comes to the directions of the classes' names are added, all times one weight, where LP++ (CVPR 2024) has a
    weight a class.
    """
    vectors, present = rows.inputs[modality], rows.present[modality]
    present_folds = [InnerFold(fold.learned[present[fold.learned]], fold.held[present[fold.held]]) for fold in folds]
    choices = [
        _choose(of_one_length(vectors) if is_scaled else vectors, rows, present_folds) for is_scaled in (False, True)
    ]
    best = min(choices, key=lambda choice: choice.log_loss)
    is_best_scaled = best is choices[1]
    with drawing_apart():
        module = LinearMember(vectors.shape[1], rows.n_classes).eval().requires_grad_(False)
    module.get_buffer("of_one_length").fill_(is_best_scaled)
    scaled = of_one_length(vectors) if is_best_scaled else vectors
    learned = rows.train[present[rows.train]]
    all_layers = [_fitted(_model(FINE, best.strength), scaled, rows, learned), *best.layers]
    weight, log_loss = best.weight, best.log_loss
    if (names := rows.class_names.get(modality)) is not None:
        layer_weight, names_weight, log_loss = _fit_names(names, scaled, rows, present_folds, best, learned=learned)
        all_layers = [
            (layer_weight * weights + names_weight * names, layer_weight * biases) for weights, biases in all_layers
        ]
        weight = 1.0
    layer, *layers = all_layers
    module.layer.load_state_dict(dict(zip(("weight", "bias"), layer, strict=True)))
    held = [F.linear(scaled[fold.held], *layer) for fold, layer in zip(folds, layers, strict=True)]
    return MemberFit(module, is_best_scaled, best.strength, 1 / weight, log_loss, held)


@dataclass(frozen=True)
class _Choice:
    strength: float
    weight: float
    log_loss: float
    layers: list[tuple[Tensor, Tensor]]  # a fold


def _choose(vectors: Tensor, rows: RowsToFit, folds: Sequence[InnerFold]) -> _Choice:
    """Return the strength of least log loss on the rows held out at its best temperature, with a layer a fold.

    Where nothing is held out it is the usual one.
    """
    held, seen_classes, is_seen = _held_out_rows(rows, folds)
    targets = rows.targets[held]
    models = [_model(ROUGH, USUAL_STRENGTH) for _ in folds]

    def choice_of(strength: float) -> _Choice:
        layers = [
            _fitted(model.set_params(C=strength), vectors, rows, fold.learned)
            for model, fold in zip(models, folds, strict=True)
        ]
        answers = [F.linear(vectors[fold.held], *layer) for fold, layer in zip(folds, layers, strict=True)]
        logits = torch.cat(answers or [vectors.new_zeros(0, rows.n_classes)])[is_seen, None]
        (weight,), loss = fit_pool(
            logits, targets[is_seen], seen_classes=seen_classes[is_seen], row_weights=rows.row_weights[held[is_seen]]
        )
        return _Choice(strength, float(weight), loss, layers)

    strengths = STRENGTHS if is_seen.any() else (USUAL_STRENGTH,)
    choices = search_strengths(choice_of, strengths, loss_of=lambda choice: choice.log_loss)
    return min((choice for _, choice in choices), key=lambda choice: choice.log_loss)


def _held_out_rows(rows: RowsToFit, folds: Sequence[InnerFold]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows held out, (n,), the classes that each one's fold has seen, (n, K), and whether its own is one."""
    held = torch.cat([fold.held for fold in folds] or [rows.train[:0]])
    seen_classes = torch.cat(
        [fold.seen_classes(rows) for fold in folds] or [torch.ones(0, rows.n_classes, dtype=torch.bool)]
    )
    return held, seen_classes, seen_classes.gather(1, rows.targets[held][:, None])[:, 0]


def _fit_names(
    names: Tensor, vectors: Tensor, rows: RowsToFit, folds: Sequence[InnerFold], choice: _Choice, *, learned: Tensor
) -> tuple[float, float, float]:
    """Return the weights of a layer and of the names' directions, (K, D), and the log loss that is left.

    They are those of least log loss on the rows held out. Where there are none the layer counts once, and the names as
    much as suits the rows learned, from which they have learned nothing.
    """
    held, seen_classes, is_seen = _held_out_rows(rows, folds)
    if is_seen.any():
        answers = [F.linear(vectors[fold.held], *layer) for fold, layer in zip(folds, choice.layers, strict=True)]
        logits = torch.stack([torch.cat(answers), vectors[held] @ names.T], dim=1)[is_seen]  # (n, 2, K)
        seen_rows = held[is_seen]
        pool = fit_pool(
            logits, rows.targets[seen_rows], seen_classes=seen_classes[is_seen], row_weights=rows.row_weights[seen_rows]
        )
        return float(pool.weights[0]), float(pool.weights[1]), pool.log_loss
    if not len(learned):
        return 1.0, 0.0, math.inf
    counts = torch.bincount(rows.targets[learned], minlength=rows.n_classes)
    logits = (vectors[learned] @ names.T)[:, None]  # (n, 1, K)
    seen_classes = (counts > 0).expand(len(learned), -1)
    pool = fit_pool(logits, rows.targets[learned], seen_classes=seen_classes, row_weights=rows.row_weights[learned])
    return 1.0, float(pool.weights[0]), math.inf


def _model(tolerance: float, strength: float) -> Any:
    """Return a model that is not fitted."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, warm_start=True, tol=tolerance, max_iter=MOST_STEPS)


def _fitted(model: Any, vectors: Tensor, rows: RowsToFit, learned: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (K, D) and intercepts (K,) fitted to some rows; of classes that are not among these they are 0."""
    labels = rows.targets[learned]
    seen_classes = torch.bincount(labels, minlength=rows.n_classes) > 0
    if seen_classes.sum() < 2:  # so few have the modality
        return vectors.new_zeros(rows.n_classes, vectors.shape[1]), vectors.new_zeros(rows.n_classes)
    fit_converged(model, vectors[learned].numpy(), labels.numpy(), rows.row_weights[learned].numpy())
    weights, biases = layer_of(model, seen_classes, vectors.dtype)
    return weights, biases.where(seen_classes, 0.0)
