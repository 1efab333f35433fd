"""A joint term: what products of two modalities' principal components add to logits that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.modules.parts.standardiser import zero_absent

__all__ = ["JointTerm", "fit_offset", "principal_components"]

N_COMPONENTS = 32  # of a modality: two have 1,024 products
MOST_STEPS, LEAST_SLOPE, LEAST_GAIN = 60, 1e-5, 1e-7  # of a solver


class JointTerm(nn.Module):
    """Add up products of the modalities' principal components, one of each of two, each times a weight a class.

    It begins at zero, and is zero for rows that lack a modality.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K), to be added to logits
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.pairs = list(combinations(self.modalities, 2))
        sizes = {name: min(N_COMPONENTS, dims[name]) for name in self.modalities}
        for name, size in sizes.items():
            self.register_buffer(f"components_{name}", torch.eye(size, dims[name]))
        n_products = sum(sizes[name] * sizes[partner] for name, partner in self.pairs)
        self.layer = nn.Linear(n_products, n_classes, bias=False)
        nn.init.zeros_(self.layer.weight)

    def products(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return the products of components, (B, P)."""
        vectors = zero_absent({name: inputs[name] for name in self.modalities}, present)
        components = {name: F.linear(vectors[name], self.get_buffer(f"components_{name}")) for name in self.modalities}
        pairs = [(components[name], components[partner]) for name, partner in self.pairs]
        products = [first[:, :, None] * second[:, None, :] for first, second in pairs]  # (B, C, C) each
        return torch.cat([product.flatten(1) for product in products], dim=1)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        has_all = torch.stack([present[name] for name in self.modalities]).all(0)
        return torch.where(has_all[:, None], self.layer(self.products(inputs, present)), 0.0)


def principal_components(vectors: Tensor, n_components: int) -> Tensor:
    """Return the directions in which standardised vectors vary most.

    They are scaled so that what a vector is along them has a squared length of 1 on average.

    Shape:
        vectors: (n, D)
        output: (n_components, D), at most D of them
    """
    variances, directions = torch.linalg.eigh(vectors.double().T @ vectors.double() / max(1, len(vectors)))  # ascending
    strongest = slice(-n_components, None)
    total = variances[strongest].sum().clamp_min(torch.finfo(torch.float32).tiny)
    return (directions.T[strongest].flip(0) / total.sqrt()).to(vectors.dtype)


def fit_offset(
    features: Tensor, offset: Tensor, targets: Tensor, *, seen_classes: Tensor, row_weights: Tensor, penalty: float
) -> Tensor:
    """Return the weights of features that are added to given logits, (K, P), of least mean log loss with a penalty.

    Minimised is the weighted mean of the losses + penalty / 2 * |W|^2, which is convex, from zero on, by L-BFGS in
    variables in which the Hessian is at most about 1 (a bound of Böhning's, Annals of the Institute of Statistical
    Mathematics 44, 1992).

    Shape:
        features: (n, P)
        offset: (n, K) logits
        targets: (n,) int64, each one of the row's `seen_classes`
        seen_classes: (n, K) bool, the classes that are compared
        row_weights: (n,) non-negative
    """
    from scipy.optimize import minimize

    n_classes = offset.shape[1]
    shares = row_weights.to(features) / row_weights.sum()
    scale = (shares @ features.square() / 2 + penalty).rsqrt()  # (P,)
    matrix, penalties = features * scale, penalty * scale.square()
    offset_logits = offset.to(features).masked_fill(~seen_classes, -torch.inf)
    one_hot = F.one_hot(targets, n_classes).to(features)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(point).to(matrix).view(-1, n_classes)  # (P, K)
        logs = (offset_logits + matrix @ weights).log_softmax(1)
        slopes = matrix.T @ (shares[:, None] * (logs.exp() - one_hot)) + penalties[:, None] * weights
        of_targets = logs.gather(1, targets[:, None])[:, 0]
        value = penalties.double() @ weights.double().square().sum(1) / 2 - shares.double() @ of_targets.double()
        return float(value), slopes.flatten().double().numpy()

    options = {"maxiter": MOST_STEPS, "gtol": LEAST_SLOPE, "ftol": LEAST_GAIN}
    solution = minimize(loss, np.zeros(len(scale) * n_classes), jac=True, method="L-BFGS-B", options=options)
    return (torch.from_numpy(solution.x).to(matrix).view(-1, n_classes) * scale[:, None]).T
