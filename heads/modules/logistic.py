"""Multinomial logistic regression by scikit-learn, at the strength of regularisation that does best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from heads.errors import SettingError
from heads.metrics.scores import log_loss, scores
from heads.modules.description import HeadDescription
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.fitting.sklearn_fit import fit_converged
from heads.modules.fitting.strength_search import search_strengths
from heads.modules.fitting.unseen_classes import LEAST_LOG_PROBABILITY, find_seen_classes
from heads.modules.one_by_one import drawing_apart
from heads.modules.parts.standardiser import concatenate

__all__ = ["STRENGTHS", "Logistic", "LogisticFit", "build", "fit", "fit_logistic", "layer_of"]

STRENGTHS = tuple(10 ** (exponent / 3) for exponent in range(-12, 7, 2))  # 1e-4 to 1e2: scikit-learn's C
# The solver stops at so small a share of the largest entry of the gradient at which it starts, within these bounds: a
# gradient is as small as the share of a class is, and what is gained beyond is lost on other rows.
TOLERANCE, LEAST_TOLERANCE, MOST_TOLERANCE = 0.015, 1e-4, 1e-3


class Logistic(nn.Module):
    """Classify the concatenation of all modalities with one linear layer.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) logits
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.layer = nn.Linear(sum(dims.values()), n_classes)

    def joined(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return the concatenation that the layer sees, zeros where a modality is absent, (B, D)."""
        return concatenate(inputs, present, self.modalities)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.layer(self.joined(inputs, present))


@dataclass(frozen=True)
class LogisticFit:
    """The head of the strength that did best on the validation rows, and what the others did.

    The lists follow the strengths that were tried, smallest C first; `n_steps` are L-BFGS's.
    """

    module: Logistic
    strength: float
    strengths: list[float]
    macro_f1s: list[float]
    log_losses: list[float]
    n_steps: list[int]
    converged: list[bool]


def fit_logistic(
    inputs: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    n_classes: int,
    train: Tensor,
    validation: Tensor,
    strengths: Sequence[float] = STRENGTHS,
    row_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    tolerance: float | None = None,
    max_steps: int = 1000,
) -> LogisticFit:
    """Return the best logistic regression by macro-F1 on the validation rows; ties go to the log loss.

    Fitted is scikit-learn's `LogisticRegression`, which minimises ``C * sum of row_weight * loss + |W|^2 / 2`` with
    free intercepts by L-BFGS until no entry of the mean loss's gradient is above `tolerance` (None: 1e-4 to 1e-3, in
    proportion to the largest one where the layer is all zeros). The strengths are tried by the validation rows' log
    loss, each from where the one before ended (`search_strengths`). It computes on the CPU, in the inputs' precision. A
    class without training rows gets a logit of about -28 everywhere.

    Shape:
        inputs: {modality: (N, D_modality)}, standardised
        present: {modality: (N,)} bool
        targets: (N,) int64
        train, validation: (n,) int64
        row_weights: (N,) non-negative, of the training rows' losses; 1 where there are none
        sample_weights: (N,) non-negative, of the validation rows; likewise

    Raises:
        SettingError: a strength is not positive and finite, or there is none.
        LabelError: the training rows are all of one class.
    """
    from sklearn.linear_model import LogisticRegression

    strengths = sorted(float(strength) for strength in strengths)
    if not strengths or not all(0 < strength < float("inf") for strength in strengths):
        raise SettingError(f"Expected one strength or more, positive and finite, got {strengths}.")
    seen_classes = find_seen_classes(targets[train], n_classes=n_classes).cpu()
    with drawing_apart():  # a layer draws from the generator that another thread may have seeded for a head
        module = Logistic({name: inputs[name].shape[1] for name in inputs}, n_classes=n_classes).eval()

    vectors, validation_vectors = (
        module.joined(*take_rows(inputs, present, rows)).cpu() for rows in (train, validation)
    )
    labels, validation_labels = (targets[rows].cpu().numpy() for rows in (train, validation))
    weights, validation_weights = (
        None if weights_of_all is None else weights_of_all[rows].cpu().numpy()
        for weights_of_all, rows in ((row_weights, train), (sample_weights, validation))
    )

    def attempt(model: LogisticRegression, strength: float) -> _Tried:
        is_done = fit_converged(model.set_params(C=strength), vectors.numpy(), labels, weights)
        layer = layer_of(model, seen_classes, vectors.dtype)
        probabilities = nn.functional.linear(validation_vectors, *layer).softmax(1).numpy()
        macro_f1 = scores(validation_labels, probabilities.argmax(1), n_classes, validation_weights)["macro_f1"]
        loss = log_loss(probabilities, validation_labels, validation_weights)
        return _Tried(layer, macro_f1, loss, int(model.n_iter_.max()), is_done)

    tolerance = _tolerance(vectors, labels, weights) if tolerance is None else tolerance
    model = LogisticRegression(warm_start=True, tol=tolerance, max_iter=max_steps)
    tried = dict(search_strengths(lambda one: attempt(model, one), strengths, loss_of=lambda one: one.log_loss))
    best = max(tried, key=lambda strength: (tried[strength].macro_f1, -tried[strength].log_loss))
    module.layer.load_state_dict(dict(zip(("weight", "bias"), tried[best].layer, strict=True)))
    _, *columns = zip(*(tried[strength] for strength in sorted(tried)), strict=True)
    return LogisticFit(module.to(targets.device), best, sorted(tried), *map(list, columns))


class _Tried(NamedTuple):
    layer: tuple[Tensor, Tensor]
    macro_f1: float
    log_loss: float
    n_steps: int
    converged: bool


def _tolerance(vectors: Tensor, labels: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the entry of a gradient at which a solver stops, for vectors (n, D), their classes and weights (n,)."""
    classes = torch.from_numpy(labels)
    row_shares = torch.ones(len(classes)) if weights is None else torch.from_numpy(weights)
    row_shares = (row_shares / row_shares.sum()).to(vectors.dtype)
    shares = torch.bincount(classes, row_shares).to(vectors.dtype)  # (K,)
    weighted = vectors * row_shares[:, None]
    sums = vectors.new_zeros(len(shares), vectors.shape[1]).index_add_(0, classes, weighted)
    gradient = sums - shares[:, None] * weighted.sum(0)  # where each row's answer is the classes' shares
    return min(max(TOLERANCE * float(gradient.abs().max()), LEAST_TOLERANCE), MOST_TOLERANCE)


def layer_of(model: Any, seen_classes: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return a model's weights (K, D) and intercepts (K,) of all classes, fitted to the `seen_classes`, (K,) bool."""
    coefficients, intercepts = (torch.from_numpy(fitted).to(dtype) for fitted in (model.coef_, model.intercept_))
    if len(coefficients) == 1:  # of two classes it has the difference alone
        coefficients, intercepts = (torch.cat([-second, second]) / 2 for second in (coefficients, intercepts))
    weights = coefficients.new_zeros(len(seen_classes), coefficients.shape[1])
    biases = intercepts.new_full((len(seen_classes),), LEAST_LOG_PROBABILITY)
    weights[seen_classes], biases[seen_classes] = coefficients, intercepts
    return weights, biases


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Logistic(description.dims, n_classes=description.n_classes)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    return fit_logistic(*rows.vectors_and_targets, **rows.sides, row_weights=rows.row_weights).module, {}
