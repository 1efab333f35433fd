"""Late fusion's weights and temperatures, fitted on rows that the members did not train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from heads.errors import HeadError
from heads.modules.late import log_average, row_weights
from heads.modules.lbfgs import minimise
from heads.modules.temperature import fit_temperature

__all__ = ["Mixture", "fit_mixture", "mix"]

PULL = 1.0  # of the temperature that a member has alone: to be e times another costs as much as half a nat
LEAST_GAIN, LEAST_TOTAL_GAIN = 0.02, 10.0  # of a member over the classes' shares: nats a row, and altogether
LEAST_VOICE = 0.2  # of all members together beside the classes' shares
FIRST_LOG_SHARE = -3.0  # of what no member explains, where the search starts
TOLERANCE = 1e-6
BLOCK_CELLS = 4_000_000  # resamples are drawn in blocks of about so many counts


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
    """Return the average of the members' answers, as `Late` takes it, but with temperatures.

    Shape:
        log_probabilities: {modality: (N, K)} logits or log-probabilities
        present: {modality: (N,)} bool
        output: (N, K) log-probabilities, float64
    """
    modalities = sorted(log_probabilities)
    there = torch.stack([present[name] for name in modalities], dim=1).double()  # (N, M)
    weights = row_weights(there.new_tensor([mixture.weights[name] for name in modalities]), there)
    answers = torch.stack([log_probabilities[name].double() for name in modalities], dim=1)  # (N, M, K)
    answers = answers.where(weights[:, :, None] > 0, 0.0)  # whatever stands where nothing is, NaN included
    temperatures = there.new_tensor([mixture.temperatures[name] for name in modalities])
    return log_average(answers, weights, temperatures, there.new_tensor(mixture.temperature))


def fit_mixture(
    log_probabilities: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    codes: Tensor,
    *,
    groups: Tensor,
    generator: np.random.Generator,
    n_resamples: int = 200,
) -> Mixture:
    """Return the weights and temperatures of least negative log-likelihood, with an interval on each weight.

    Weights and one temperature a member are fitted together, then one temperature to the average, which is less sure
    than its members (arXiv 2007.08792). A resample draws whole groups, for duplicates are no evidence of their own;
    the weights are fitted anew to all resamples at once, with the members' temperatures left as they are. Without
    resamples there are no intervals.

    Some rows no member explains: their labels are wrong, or all members are. The best that can be said of them are the
    classes' shares, and a member that says just that, for it knows nothing, would be given a weight for it. So the
    shares stand by as one more member while the weights are fitted, and are left out afterwards; a member has to be
    better than they are. Where none is, these rows say nothing of the weights: all are equal, and may be anything.

    Shape:
        log_probabilities: {modality: (N, K)} finite logits or log-probabilities
        present: {modality: (N,)} bool
        codes, groups: (N,) int64

    Raises:
        HeadError: no row has any modality, or a logit is not finite.
    """
    modalities = sorted(log_probabilities)
    there = torch.stack([present[name] for name in modalities], dim=1)  # (N, M)
    has_any = there.any(1)
    if not has_any.any():
        raise HeadError("Expected some rows to have a vector, but none has. Fit the weights on other rows.")
    there, codes, groups = there[has_any].double(), codes[has_any], groups[has_any]
    logits = torch.stack([log_probabilities[name][has_any].double() for name in modalities], dim=1)
    logits = logits.where(there[:, :, None] > 0, 0.0)  # (n, M, K)
    alone = [fit_temperature(logits[own, m], codes[own]) if own.any() else 1.0 for m, own in enumerate(there.bool().T)]
    problem = _Problem(logits, there, codes, alone=alone)
    found = minimise(problem.jointly, problem.start[None], tolerance=TOLERANCE).points[0]
    log_weights, log_temperatures = found.chunk(2)
    weights, temperatures = log_weights[:-1].softmax(0), log_temperatures[:-1].exp()
    if 1 - log_weights.softmax(0)[-1] < LEAST_VOICE:
        weights = torch.full_like(weights, 1 / len(modalities))
        intervals = [(0.0, 1.0)] * len(modalities)
    else:
        intervals = _intervals(problem, found, _drawn(groups, n_resamples, generator)) if n_resamples else []
    mixture = Mixture(
        weights=dict(zip(modalities, weights.tolist(), strict=True)),
        temperatures=dict(zip(modalities, temperatures.tolist(), strict=True)),
        temperature=1.0,
        intervals=dict(zip(modalities, intervals, strict=False)),
    )
    own_rows = {name: log_probabilities[name][has_any] for name in modalities}
    average = mix(own_rows, {name: present[name][has_any] for name in modalities}, mixture)
    return replace(mixture, temperature=fit_temperature(average, codes))


class _Problem:
    """The negative log-likelihood of weights and temperatures on n rows, as `heads.modules.lbfgs` asks for it.

    A point holds the logarithms of M + 1 weights, up to a constant, and of as many temperatures; the last member are
    the classes' shares.
    """

    def __init__(self, logits: Tensor, there: Tensor, codes: Tensor, *, alone: list[float]) -> None:
        n_rows, n_members, n_classes = logits.shape
        counts = torch.bincount(codes, minlength=n_classes).double() + 1
        log_shares = (counts / counts.sum()).log().expand(n_rows, 1, -1)
        self.logits, self.codes = torch.cat([logits, log_shares], dim=1), codes  # (n, M + 1, K)
        self.there = torch.cat([there, there.new_ones(n_rows, 1)], dim=1)  # (n, M + 1)
        self.charge = LEAST_GAIN + LEAST_TOTAL_GAIN / n_rows
        self.log_alone = there.new_tensor([*alone, 1.0]).log()  # (M + 1,)
        self.start = torch.cat([there.new_zeros(n_members), there.new_tensor([FIRST_LOG_SHARE]), self.log_alone])

    def log_likelihoods(self, log_temperatures: Tensor) -> Tensor:
        """Return each member's log-probability of the row's class, (n, M + 1)."""
        scaled = self.logits / log_temperatures.exp()[:, None]  # (n, M + 1, K)
        own = scaled.gather(2, self.codes[:, None, None].expand(-1, scaled.shape[1], 1))[:, :, 0]
        return own - scaled.logsumexp(2)

    @torch.enable_grad()
    def jointly(self, points: Tensor, _problems: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of weights and temperatures on all rows, (1,), and its slopes, (1, 2M + 2)."""
        points = points.detach().requires_grad_()
        log_weights, log_temperatures = points[0].chunk(2)
        voices = log_weights.expand_as(self.there).masked_fill(self.there == 0, -torch.inf)
        own = self.log_likelihoods(log_temperatures)
        loss = (voices.logsumexp(1) - (voices + own).logsumexp(1)).mean()
        loss = loss - self.charge * log_weights.softmax(0)[-1]
        loss = loss + PULL / 2 / len(own) * (log_temperatures - self.log_alone).square().sum()
        (slopes,) = torch.autograd.grad(loss, points)
        return loss.detach()[None], slopes

    def likelihoods(self, log_temperatures: Tensor) -> Tensor:
        """Return the likelihoods up to a factor a row, 0 where a member is absent, (n, M + 1)."""
        own = self.log_likelihoods(log_temperatures).masked_fill(self.there == 0, -torch.inf)
        return (own - own.amax(1, keepdim=True)).exp()

    def weights_alone(
        self, points: Tensor, problems: Tensor, *, likelihoods: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of weights on resamples, (A,), and its slopes, (A, M + 1); `shares` (r, n) are the rows'."""
        weights, own_shares = points.softmax(1), shares[problems]  # (A, M + 1), (A, n)
        averages, totals = weights @ likelihoods.T, weights @ self.there.T  # (A, n)
        values = (own_shares * (totals.log() - averages.log())).sum(1) - self.charge * weights[:, -1]
        slopes = (own_shares / totals) @ self.there - (own_shares / averages) @ likelihoods  # of the weights
        slopes[:, -1] -= self.charge
        slopes = weights * (slopes - (weights * slopes).sum(1, keepdim=True))  # of their logarithms
        return values, slopes


def _intervals(problem: _Problem, found: Tensor, resamples: Iterator[Tensor]) -> list[tuple[float, float]]:
    """Return what holds each member's weight in 95 % of the resamples, whose rows' shares are (r, n)."""
    log_weights, log_temperatures = found.chunk(2)
    likelihoods = problem.likelihoods(log_temperatures)
    start = (log_weights - log_weights.amax()).clamp_min(FIRST_LOG_SHARE)  # who weighs nothing may do so again, or not
    weights = []
    for shares in resamples:
        again = partial(problem.weights_alone, likelihoods=likelihoods, shares=shares)
        points = minimise(again, start.expand(len(shares), -1), tolerance=TOLERANCE).points  # (r, M + 1)
        weights.append(points[:, :-1].softmax(1))
    low, high = np.quantile(torch.cat(weights).cpu().numpy(), (0.025, 0.975), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _drawn(groups: Tensor, n_resamples: int, generator: np.random.Generator) -> Iterator[Tensor]:
    """Yield each row's share of each resample, where whole groups are drawn, (r, n) float64, some resamples a time."""
    inverse = groups.unique(return_inverse=True)[1]
    n_groups, at_once = int(inverse.max()) + 1, max(1, BLOCK_CELLS // len(groups))
    for first in range(0, n_resamples, at_once):
        n_here = min(at_once, n_resamples - first)
        counts = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_here)  # (r, G)
        drawn = torch.from_numpy(counts).to(groups.device)[:, inverse].double()
        yield drawn / drawn.sum(1, keepdim=True)
