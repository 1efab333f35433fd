"""Late fusion's weights and temperatures, fitted on rows that the members did not train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from heads.errors import HeadError
from heads.modules.fitting.rows_to_fit import take_rows
from heads.modules.fitting.temperature import fit_temperature
from heads.modules.late import pool

__all__ = ["Mixture", "fit_mixture", "mix"]

PULL = 1.0  # of the temperature that a member has alone: to be e times another costs as much as half a nat
LEAST_GAIN, LEAST_TOTAL_GAIN = 0.02, 10.0  # of a member over the classes' shares: nats a row, and altogether
LEAST_VOICE = 0.2  # of all members together beside the classes' shares
FIRST_LOG_SHARE = -3.0  # of what no member explains, where the search starts
TOLERANCE = 1e-6
BLOCK_CELLS = 2**23  # logits that are computed on at once, 64 MiB a copy


@dataclass(frozen=True)
class Mixture:
    """How to average the members' answers: ``softmax(log(sum of weight * softmax(logits / own)) / temperature)``.

    The weights are of sum 1; an interval holds its weight in 95 % of the resamples.
    """

    weights: dict[str, float]
    temperatures: dict[str, float]  # modality -> its own
    temperature: float  # of the average
    intervals: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, weights: Mapping[str, float]) -> Mixture:
        """Return the average with given weights, and nothing else."""
        return cls(dict(weights), dict.fromkeys(weights, 1.0), 1.0, {})


def mix(log_probabilities: Mapping[str, Tensor], present: Mapping[str, Tensor], mixture: Mixture) -> Tensor:
    """Return the average of the members' answers, as `Late` takes it.

    Shape:
        log_probabilities: {modality: (N, K)}
        present: {modality: (N,)} bool
        output: (N, K) log-probabilities, float64
    """
    modalities = sorted(log_probabilities)
    mixed = torch.empty_like(log_probabilities[modalities[0]], dtype=torch.float64)
    weights, temperatures = (
        mixed.new_tensor([values[name] for name in modalities]) for values in (mixture.weights, mixture.temperatures)
    )
    temperature = mixed.new_tensor(mixture.temperature)
    for rows in _blocks(mixed, n_copies=len(modalities)):
        answers = torch.stack([log_probabilities[name][rows] for name in modalities], dim=1)  # (B, M, K)
        mask = torch.stack([present[name][rows] for name in modalities], dim=1)  # (B, M)
        mixed[rows] = pool(answers, mask, weights, temperatures, temperature)
    return mixed


def fit_mixture(
    log_probabilities: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    groups: Tensor,
    generator: np.random.Generator,
    n_resamples: int = 200,
) -> Mixture:
    """Return the weights and temperatures of least negative log-likelihood, with an interval on each weight.

    Weights and one temperature a member are fitted together, then one temperature to the average, which is less sure
    than its members (arXiv 2007.08792). A resample draws whole groups, for duplicates are no evidence of their own;
    the weights are fitted anew to each resample, from where they are, with the members' temperatures left as they are.
    Without resamples there are no intervals.

    Some rows no member explains: their labels are wrong, or all members are. The best answer to them are the
    classes' shares, and a member that answers just that, for it knows nothing, would be given a weight for it. So the
    shares stand by as one more member while the weights are fitted, and are left out afterwards; a member has to be
    better than they are. Where none is, these rows say nothing of the weights: all are equal, and may be anything.

    Shape:
        log_probabilities: {modality: (N, K)} finite
        present: {modality: (N,)} bool
        targets, groups: (N,) int64

    Raises:
        HeadError: no row has any modality, or a logit is not finite.
    """
    modalities = sorted(log_probabilities)
    mask = torch.stack([present[name] for name in modalities], dim=1)  # (N, M)
    has_any = mask.any(1)
    if not has_any.any():
        raise HeadError("Expected some rows to have a vector, but none has. Fit the weights on other rows.")
    mask, targets, groups = mask[has_any].double(), targets[has_any], groups[has_any]
    logits = torch.stack([log_probabilities[name][has_any].double() for name in modalities], dim=1)
    logits = logits.where(mask[:, :, None] > 0, 0.0)  # (n, M, K)
    single_temperatures = [
        fit_temperature(logits[rows, m], targets[rows]) if rows.any() else 1.0 for m, rows in enumerate(mask.bool().T)
    ]
    problem = _Problem(logits, mask, targets, alone=single_temperatures)
    del logits
    log_weights, log_temperatures = torch.from_numpy(_minimum(problem.jointly, problem.start)).to(mask).chunk(2)
    weights, temperatures = log_weights[:-1].softmax(0), log_temperatures[:-1].exp()
    if 1 - log_weights.softmax(0)[-1] < LEAST_VOICE:
        weights = torch.full_like(weights, 1 / len(modalities))
        intervals = [(0.0, 1.0)] * len(modalities)
    else:
        resamples = _drawn(groups.cpu().numpy(), n_resamples, generator)
        intervals = _intervals(problem, log_weights, log_temperatures, resamples) if n_resamples else []
    del problem  # it holds a copy of all logits, and `mix` makes others
    mixture = Mixture(
        weights=dict(zip(modalities, weights.tolist(), strict=True)),
        temperatures=dict(zip(modalities, temperatures.tolist(), strict=True)),
        temperature=1.0,
        intervals=dict(zip(modalities, intervals, strict=False)),
    )
    average = mix(*take_rows(log_probabilities, present, has_any), mixture)
    return replace(mixture, temperature=fit_temperature(average, targets))


def _blocks(cells: Tensor, *, n_copies: int = 1) -> list[slice]:
    """Return the rows of an array, (N, ...), in blocks of which so many copies have `BLOCK_CELLS` cells at most."""
    n_together = max(1, BLOCK_CELLS // (n_copies * cells[0].numel())) if len(cells) else 1
    return [slice(start, start + n_together) for start in range(0, len(cells), n_together)]


class _Problem:
    """The negative log-likelihood of weights and temperatures on n rows.

    A point holds the logarithms of M + 1 weights, up to a constant, and of as many temperatures; the last member are
    the classes' shares.
    """

    def __init__(self, logits: Tensor, mask: Tensor, targets: Tensor, *, alone: list[float]) -> None:
        n_rows, n_members, n_classes = logits.shape
        counts = torch.bincount(targets, minlength=n_classes).double() + 1
        log_shares = (counts / counts.sum()).log().expand(n_rows, 1, -1)
        self.logits, self.targets = torch.cat([logits, log_shares], dim=1), targets  # (n, M + 1, K)
        self.mask = torch.cat([mask, mask.new_ones(n_rows, 1)], dim=1)  # (n, M + 1)
        self.charge = LEAST_GAIN + LEAST_TOTAL_GAIN / n_rows
        self.log_alone = mask.new_tensor([*alone, 1.0]).log()  # (M + 1,)
        self.start = torch.cat([mask.new_zeros(n_members), mask.new_tensor([FIRST_LOG_SHARE]), self.log_alone])

    @property
    def blocks(self) -> list[slice]:
        """Rows that are computed at once: several copies of their logits are made."""
        return _blocks(self.logits)

    def log_likelihoods(self, log_temperatures: Tensor, rows: slice) -> Tensor:
        """Return each member's log-probability of the row's class, (n, M + 1)."""
        scaled = self.logits[rows] / log_temperatures.exp()[:, None]  # (n, M + 1, K)
        of_target = scaled.gather(2, self.targets[rows, None, None].expand(-1, scaled.shape[1], 1))[:, :, 0]
        return of_target - scaled.logsumexp(2)

    @torch.enable_grad()
    def jointly(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss of weights and temperatures on all rows, and its slopes, (2M + 2,)."""
        variables = torch.from_numpy(point).to(self.mask).requires_grad_()
        value, slopes, n_rows = 0.0, np.zeros_like(point), len(self.mask)
        for number, rows in enumerate(self.blocks):
            log_weights, log_temperatures = variables.chunk(2)
            mask = self.mask[rows]
            voices = log_weights.expand_as(mask).masked_fill(mask == 0, -torch.inf)
            log_likelihoods = self.log_likelihoods(log_temperatures, rows)
            loss = (voices.logsumexp(1) - (voices + log_likelihoods).logsumexp(1)).mean() * (len(mask) / n_rows)
            if number == 0:
                loss = loss - self.charge * log_weights.softmax(0)[-1]
                loss = loss + PULL / 2 / n_rows * (log_temperatures - self.log_alone).square().sum()
            value += float(loss.detach())
            slopes += torch.autograd.grad(loss, variables)[0].cpu().numpy()
        return value, slopes

    def likelihoods(self, log_temperatures: Tensor) -> Tensor:
        """Return the likelihoods up to a factor a row, 0 where a member is absent, (n, M + 1)."""
        unmasked = torch.cat([self.log_likelihoods(log_temperatures, rows) for rows in self.blocks])
        log_likelihoods = unmasked.masked_fill(self.mask == 0, -torch.inf)
        return (log_likelihoods - log_likelihoods.amax(1, keepdim=True)).exp()


@dataclass(frozen=True)
class _Resample:
    """The negative log-likelihood of weights alone on the n rows of a resample, each with its share of 1.

    Shape:
        likelihoods, mask: (n, M + 1) float64
        shares: (n,) float64
    """

    likelihoods: np.ndarray
    mask: np.ndarray
    shares: np.ndarray
    charge: float

    def __call__(self, log_weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss of weights, whose logarithms (M + 1,) are known up to a constant, and its slopes."""
        weights = _softmax(log_weights)
        averages, totals = self.likelihoods @ weights, self.mask @ weights  # (n,)
        value = self.shares @ np.log(totals / averages) - self.charge * weights[-1]
        slopes = (self.shares / totals) @ self.mask - (self.shares / averages) @ self.likelihoods  # of the weights
        slopes[-1] -= self.charge
        return value, weights * (slopes - weights @ slopes)


def _intervals(
    problem: _Problem, log_weights: Tensor, log_temperatures: Tensor, resamples: Iterator[np.ndarray]
) -> list[tuple[float, float]]:
    """Return what holds each member's weight in 95 % of the resamples, whose rows' shares are (n,)."""
    likelihoods, mask = problem.likelihoods(log_temperatures).cpu().numpy(), problem.mask.cpu().numpy()
    start = (log_weights - log_weights.amax()).clamp_min(FIRST_LOG_SHARE)  # who weighs nothing may do so again, or not
    weights = []
    for shares in resamples:
        rows = shares.nonzero()[0]
        resample = _Resample(likelihoods[rows], mask[rows], shares[rows], problem.charge)
        weights.append(_softmax(_minimum(resample, start)[:-1]))
    low, high = np.quantile(weights, (0.025, 0.975), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _drawn(groups: np.ndarray, n_resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield each row's share of each resample, where whole groups are drawn, (n,) float64."""
    inverse = np.unique(groups, return_inverse=True)[1]
    n_groups = int(inverse.max()) + 1
    for _ in range(n_resamples):
        shares = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups))[inverse].astype(np.float64)
        yield shares / shares.sum()


def _minimum(objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: Tensor) -> np.ndarray:
    """Return where an objective, which returns its value and its slopes, is least, (P,) float64."""
    from scipy.optimize import minimize

    options = {"gtol": TOLERANCE, "ftol": 0.0, "maxiter": 500}
    return minimize(objective, start.cpu().numpy(), jac=True, method="L-BFGS-B", options=options).x


def _softmax(logits: np.ndarray) -> np.ndarray:
    voices = np.exp(logits - logits.max())
    return voices / voices.sum()
