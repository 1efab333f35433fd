"""An ensemble of heads that are selected one after the other, the same one several times if it helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.ensemble import Ensemble
from heads.modules.late import pool, row_weights
from heads.modules.log_linear_pool import fit_pool

__all__ = ["Selected", "build", "pick_members", "select"]

N_PICKS = 20


class Selected(Ensemble):
    """Average the probabilities of single heads and fusions with weights that may be 0, and temper the average.

    A single head counts where the row has its modality, a fusion always; the weights are renormalised over those. Where
    all of them weigh 0, those that count do so alike.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(self, members: Mapping[str, nn.Module], *, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.names = sorted(members)
        self.members = nn.ModuleDict({name: members[name] for name in self.names})
        shares = torch.tensor([weights[name] for name in self.names], dtype=torch.float64)
        self.register_buffer("weights", shares)
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))

    def parts(self) -> list[tuple[str | None, nn.Module]]:
        return [(name, self.members[name]) for name in self.names]

    def average(self, answers: Tensor, present: Mapping[str, Tensor]) -> Tensor:
        weights = self.get_buffer("weights")
        mask = member_mask(self.names, present)
        return pool(answers, mask, weights, torch.ones_like(weights), self.get_buffer("temperature")).float()

    @property
    def remark(self) -> str:
        """Whose answers are averaged, in a few words."""
        weighed = sorted(zip(self.get_buffer("weights").tolist(), self.names, strict=True), reverse=True)
        shown = ", ".join(f"{name} {weight:.2f}" for weight, name in weighed if weight)
        return f"averages {shown}, selected by the log loss of the validation rows"


def member_mask(names: Sequence[str], present: Mapping[str, Tensor]) -> Tensor:
    """Return which members count for each row, (B, M) bool: single heads where the modality is, fusions always."""
    always = torch.ones_like(next(iter(present.values())))
    return torch.stack([present.get(name, always) for name in names], dim=1)


def select(
    log_probabilities: Mapping[str, Tensor], present: Mapping[str, Tensor], targets: Tensor
) -> tuple[dict[str, float], float]:
    """Return the weights of the members, of sum 1, and the temperature of their average.

    The best one is picked first, then over and over the one with which the average has the least log loss, picked
    before or not; the first picks at which that is least are kept (Caruana and others, ICML 2004). The temperature is
    smoothed as in `fit_pool`.

    Shape:
        log_probabilities: {member: (n, K)}
        present: {modality: (n,)} bool
        targets: (n,) int64
    """
    names = sorted(log_probabilities)
    mask = member_mask(names, present)
    hits = torch.stack([log_probabilities[name].gather(1, targets[:, None])[:, 0] for name in names], dim=1)
    picks = pick_members(hits.double().exp(), mask.double())
    weights = torch.bincount(picks, minlength=len(names)).double() / len(picks)
    chosen = [place for place, weight in enumerate(weights.tolist()) if weight]
    answers = torch.stack([log_probabilities[names[place]] for place in chosen], dim=1)
    ones = torch.ones(len(chosen), dtype=torch.float64)
    averages = pool(answers, mask[:, chosen], weights[chosen], ones, torch.ones((), dtype=torch.float64))
    rows = torch.ones(len(targets))
    (weight,), _ = fit_pool(
        averages[:, None], targets, seen=torch.ones_like(averages, dtype=torch.bool), row_weights=rows
    )
    return dict(zip(names, weights.tolist(), strict=True)), float(1 / weight)


def pick_members(chances: Tensor, mask: Tensor) -> Tensor:
    """Return the members that are picked, in their order, (n_picks,) int64.

    Shape:
        chances: (n, M) float64, each member's probability of the row's class
        mask: (n, M) float64, 1 where it counts
    """
    n_members = chances.shape[1]
    counts = torch.zeros(n_members, dtype=torch.float64)
    picks: list[int] = []
    losses: list[float] = []
    for _ in range(N_PICKS):
        with_each = counts + torch.eye(n_members, dtype=torch.float64)  # (M, M)
        shares = row_weights(with_each[:, None], mask)  # (M, n, M)
        averages = (shares * chances).sum(2) / shares.sum(2)
        of_each = -averages.clamp_min(torch.finfo(torch.float64).tiny).log().mean(1)
        losses.append(float(of_each.min()))
        picks.append(int(of_each.argmin()))
        counts[picks[-1]] += 1
    return torch.tensor(picks[: losses.index(min(losses)) + 1])


def build(description: HeadDescription, *, members: Mapping[str, nn.Module]) -> nn.Module:
    """Return the head of its members, {name: head}, with the weights of its description (`heads.head_types`)."""
    return Selected(members, weights=description.weights)
