"""Multinomial logistic regression, fitted at every strength of regularisation at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from heads.errors import LabelError, SettingError
from heads.metrics.scores import log_loss, scores
from heads.modules.description import HeadDescription
from heads.modules.lbfgs import minimise
from heads.modules.rows_to_fit import RowsToFit
from heads.modules.standardiser import zero_absent
from heads.modules.unseen_classes import LEAST_LOG_PROBABILITY, classes_seen

__all__ = ["STRENGTHS", "Logistic", "LogisticFit", "build", "fit", "fit_logistic"]

STRENGTHS = tuple(10 ** (exponent / 3) for exponent in range(-12, 7, 2))  # 1e-4 to 1e2: scikit-learn's C
STEPS_A_ROUND = 25  # of L-BFGS, before the coefficients are scaled anew
FEW_STEPS = 5  # to convergence say that the scales still held
LEAST_CURVATURE = 1e-9
FAR_BELOW = -1e4  # the logit of a class that its fold has no training rows of
BLOCK_CELLS = 8_000_000  # rows are taken in blocks of about so many logits


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

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        own = zero_absent({modality: inputs[modality] for modality in self.modalities}, present)
        return self.layer(torch.cat(list(own.values()), dim=1))


@dataclass(frozen=True)
class LogisticFit:
    """The head of the strength that did best on the validation rows, and what the others did.

    The lists follow the strengths, weakest C first; `n_steps` are L-BFGS's.
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
    codes: Tensor,
    *,
    n_classes: int,
    folds: Sequence[tuple[Tensor, Tensor]],
    strengths: Sequence[float] = STRENGTHS,
    row_weights: Tensor | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 300,
) -> list[LogisticFit]:
    """Return the best logistic regression of each fold, by macro-F1 on its validation rows; ties go to the log loss.

    Minimised is scikit-learn's objective, ``C * sum of row_weight * loss + |W|^2 / 2`` with free intercepts, by L-BFGS
    (`heads.modules.lbfgs`) for all folds and strengths together: they share one matrix product over the rows. A class
    without training rows gets a logit of about -28 everywhere. All is computed in the inputs' precision; float32
    will do. `tolerance` bounds the gradient of the mean loss in coordinates in which the curvature is about 1.

    Shape:
        inputs: {modality: (N, D_modality)}, standardised
        present: {modality: (N,)} bool
        codes: (N,) int64
        folds: (training rows, validation rows) each, (n,) int64
        row_weights: (N,) non-negative; 1 where there are none

    Raises:
        SettingError: a strength is not positive and finite, or there is none.
        LabelError: a fold's training rows are all of one class.
    """
    strengths = sorted(float(strength) for strength in strengths)
    if not strengths or not all(0 < strength < float("inf") for strength in strengths):
        raise SettingError(f"Strengths must be positive and finite, and at least one, however got {strengths}.")
    for train, _ in folds:
        if len(codes[train].unique()) < 2:
            raise LabelError("The training rows must be of at least two classes, however they are of one. Add rows.")
    modalities = sorted(inputs)
    own = zero_absent({modality: inputs[modality] for modality in modalities}, present)
    vectors = torch.cat(list(own.values()), dim=1)  # (N, D)
    weights = torch.ones(len(codes), device=codes.device) if row_weights is None else row_weights
    problems = _Problems(
        vectors, codes, n_classes=n_classes, trains=[train for train, _ in folds], strengths=strengths, weights=weights
    )
    layers, n_steps, converged = problems.solve(tolerance=tolerance, max_steps=max_steps)  # J of (K, D + 1)
    fits = []
    for n, (_, validation) in enumerate(folds):
        here = slice(n * len(strengths), (n + 1) * len(strengths))
        logits = torch.stack(
            [torch.addmm(layer[:, -1], vectors[validation], layer[:, :-1].T) for layer in layers[here]]
        )  # (S, n, K)
        macro_f1s, log_losses = _scores_of(logits, codes[validation], n_classes)
        best = max(range(len(strengths)), key=lambda s: (macro_f1s[s], -log_losses[s]))
        module = Logistic({modality: inputs[modality].shape[1] for modality in modalities}, n_classes=n_classes)
        layer = layers[here][best]
        module.layer.load_state_dict({"weight": layer[:, :-1], "bias": layer[:, -1]})
        fits.append(
            LogisticFit(
                module=module.to(vectors.device).eval(),
                strength=strengths[best], strengths=strengths, macro_f1s=macro_f1s, log_losses=log_losses,
                n_steps=n_steps[here].tolist(), converged=converged[here].tolist(),
            )
        )  # fmt: skip
    return fits


class _Problems:
    """The J = folds x strengths problems over the same rows, and their solution.

    The rows are centred (the intercept makes up for it) and turned onto their principal axes, where the penalty is as
    it was and the Hessian is nearly diagonal. Each coefficient is scaled by the square root of its diagonal, taken
    again every few steps, for it shrinks as answers get sure. L-BFGS then needs tens of steps instead of hundreds, and
    the gradient says how far away the solution is.
    """

    def __init__(
        self, vectors: Tensor, codes: Tensor, *, n_classes: int, trains: Sequence[Tensor], strengths: Sequence[float],
        weights: Tensor,
    ) -> None:  # fmt: skip
        rows = torch.cat(list(trains)).unique()
        self.codes = codes[rows]  # (n,)
        inside = torch.stack([torch.isin(rows, train) for train in trains], dim=1)  # (n, F)
        fold_weights = inside * weights[rows].to(vectors.dtype)[:, None]
        totals = fold_weights.sum(0)  # (F,)
        self.row_weights = fold_weights / totals
        self.seen = torch.stack([classes_seen(codes[train], n_classes=n_classes) for train in trains])  # (F, K)
        self.n_strengths, self.n_classes, self.dim = len(strengths), n_classes, vectors.shape[1]
        self.n_problems = len(trains) * len(strengths)

        pooled = self.row_weights.mean(1)  # (n,)
        own = vectors[rows]
        self.mean = pooled @ own
        own -= self.mean
        axes = torch.linalg.eigh(((own * pooled[:, None]).T @ own).double()).eigenvectors
        self.axes = axes.to(own.dtype)  # (D, D)
        self.vectors = torch.cat([own @ self.axes, torch.ones_like(own[:, :1])], dim=1)  # (n, D + 1)

        # scikit-learn has one vector for two classes, of twice the length: the same penalty on it is twice ours.
        doubled = 1 + (self.seen.sum(1) == 2).to(own.dtype)  # (F,)
        ridges = (doubled / totals)[:, None] / torch.tensor(strengths, dtype=own.dtype, device=own.device)
        self.ridges = ridges.flatten()  # (J,)

    def solve(self, *, tolerance: float, max_steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights and intercepts (J, K, D + 1), the steps taken (J,), and who converged (J,)."""
        coefficients = self.vectors.new_zeros(self.n_problems, self.dim + 1, self.n_classes)
        left = torch.arange(self.n_problems, device=coefficients.device)
        n_steps, converged = torch.zeros_like(left), torch.zeros_like(left).bool()
        for _ in range(math.ceil(max_steps / STEPS_A_ROUND)):
            scales = self._curvatures(coefficients[left], left).rsqrt()
            found = minimise(
                partial(self._objective, left=left, scales=scales),
                (coefficients[left] / scales).flatten(1),
                tolerance=tolerance,
                max_steps=STEPS_A_ROUND,
            )
            coefficients[left] = found.points.view_as(scales) * scales
            n_steps[left] += found.n_steps
            converged[left] = found.converged
            is_stuck = ~found.converged & (found.n_steps < STEPS_A_ROUND)
            left = left[~is_stuck & (found.n_steps > FEW_STEPS)]
            if not len(left):
                break
        return self._layers(coefficients), n_steps, converged

    def _objective(self, points: Tensor, which: Tensor, *, left: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss plus penalty of each problem, and its gradient, as `heads.modules.lbfgs` asks."""
        problems, own_scales = left[which], scales[which]
        coefficients = points.view_as(own_scales) * own_scales  # (A, D + 1, K)
        values = torch.zeros(len(which), dtype=torch.float64, device=points.device)
        slopes = coefficients.new_zeros(self.dim + 1, coefficients[:, 0].numel())  # (D + 1, A * K)
        for vectors, codes, weights, logits in self._blocks(coefficients, problems):
            own_places = codes[:, None, None].expand(-1, len(which), 1)
            own = logits.gather(2, own_places)  # (b, A, 1)
            totals = logits.exp_().sum(2, keepdim=True)
            values += (weights * (totals.log() - own)).double().sum((0, 2))
            residuals = logits.mul_(weights / totals).scatter_add_(2, own_places, -weights)
            slopes.addmm_(vectors.T, residuals.flatten(1))
        ridges = self.ridges[problems]
        gradients = slopes.unflatten(1, (len(which), -1)).transpose(0, 1).contiguous()  # (A, D + 1, K)
        gradients[:, :-1].addcmul_(coefficients[:, :-1], ridges[:, None, None])
        values += ridges.double() / 2 * coefficients[:, :-1].double().square().sum((1, 2))
        return values, gradients.mul_(own_scales).flatten(1)

    def _curvatures(self, coefficients: Tensor, problems: Tensor) -> Tensor:
        """Return the diagonal of each problem's Hessian, (A, D + 1, K)."""
        sums = coefficients.new_zeros(self.dim + 1, coefficients[:, 0].numel())  # (D + 1, A * K)
        for vectors, _, weights, logits in self._blocks(coefficients, problems):
            shares = logits.softmax(2)
            sums.addmm_(vectors.square().T, (shares * (1 - shares) * weights).flatten(1))
        curvatures = sums.unflatten(1, (len(problems), -1)).transpose(0, 1).contiguous()
        curvatures[:, :-1] += self.ridges[problems][:, None, None]
        return curvatures.clamp_min_(LEAST_CURVATURE)

    def _blocks(self, coefficients: Tensor, problems: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield vectors (b, D + 1), codes (b,), weights (b, A, 1) and logits (b, A, K) of some rows at a time.

        The largest logit of a row is 0; those of classes that the fold has no rows of are far below.
        """
        folds = problems // self.n_strengths
        matrix = coefficients.transpose(0, 1).reshape(self.dim + 1, -1)  # (D + 1, A * K)
        below = torch.where(self.seen[folds], 0.0, FAR_BELOW).to(matrix.dtype)  # (A, K)
        n_rows = max(1, BLOCK_CELLS // matrix.shape[1])
        for vectors, codes, weights in zip(
            self.vectors.split(n_rows), self.codes.split(n_rows), self.row_weights.split(n_rows), strict=True
        ):
            logits = (vectors @ matrix).unflatten(1, (len(problems), -1)).add_(below)
            yield vectors, codes, weights[:, folds, None], logits.sub_(logits.amax(2, keepdim=True))

    def _layers(self, coefficients: Tensor) -> Tensor:
        """Return weights and intercepts in the coordinates that the rows came in, (J, K, D + 1)."""
        weights = torch.einsum("de,jek->jkd", self.axes, coefficients[:, :-1])  # (J, K, D)
        seen = self.seen.repeat_interleave(self.n_strengths, dim=0)  # (J, K)
        biases = torch.where(seen, coefficients[:, -1] - weights @ self.mean, LEAST_LOG_PROBABILITY)
        return torch.cat([weights, biases[:, :, None]], dim=2)


def _scores_of(logits: Tensor, codes: Tensor, n_classes: int) -> tuple[list[float], list[float]]:
    """Return macro-F1 and log loss of each strength's logits, (S, n, K)."""
    own_codes = codes.cpu().numpy()
    probabilities = logits.softmax(2).cpu().numpy()
    return (
        [scores(own_codes, matrix.argmax(1), n_classes)["macro_f1"] for matrix in probabilities],
        [log_loss(matrix, own_codes) for matrix in probabilities],
    )


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Logistic(description.dims, n_classes=description.n_classes)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    folds = [(rows.train, rows.validation)]
    (found,) = fit_logistic(*rows.data, n_classes=rows.n_classes, folds=folds, row_weights=rows.row_weights)
    return found.module, {}
