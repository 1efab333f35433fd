"""An ensemble of heads that are selected one after the other, the same one several times if it helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.ensemble import Ensemble
from heads.modules.fitting.log_linear_pool import fit_pool
from heads.modules.late import pool

__all__ = ["Selected", "build", "pick_members", "select"]

N_PICKS = 20


class Selected(Ensemble):
    """Average the probabilities of single heads and fusions with weights that may be 0, and temper the average.

    A single head counts where the row has its modality, a fusion always; the weights are renormalised over those. Where
    all of them weigh 0, those that count do so alike: no fusion is kept that weighs 0, so these are the single heads.

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
    log_probabilities: Mapping[str, Tensor], present: Mapping[str, Tensor], targets: Tensor, row_weights: Tensor
) -> tuple[dict[str, float], float]:
    """Return the weights of the members to keep, of sum 1, and the temperature of their average.

    The best one is picked first, then over and over the one with which the average has the least log loss, picked
    before or not; the first picks at which that is least are kept (Caruana and others, ICML 2004), and all single
    heads, which may weigh 0. The temperature is smoothed as in `fit_pool`. Where no row counts all members weigh alike,
    at temperature 1.

    Shape:
        log_probabilities: {member: (n, K)}
        present: {modality: (n,)} bool
        targets: (n,) int64
        row_weights: (n,) float64, how often each row counts, 0 where the members have learned from it
    """
    names = sorted(log_probabilities)
    rows = torch.nonzero(row_weights > 0)[:, 0]
    if not len(rows):
        return dict.fromkeys(names, 1 / len(names)), 1.0
    targets, row_weights = targets[rows], row_weights[rows].double()
    mask = member_mask(names, present)[rows]
    is_single = torch.tensor([name in present for name in names])
    hits = torch.stack([log_probabilities[name][rows].gather(1, targets[:, None])[:, 0] for name in names], dim=1)
    picks = pick_members(hits.double().exp(), mask.double(), is_single=is_single, row_weights=row_weights)
    weights = torch.bincount(picks, minlength=len(names)).double() / len(picks)
    kept_members = torch.nonzero(is_single | (weights > 0))[:, 0]
    ones = torch.ones(len(kept_members), dtype=torch.float64)
    answers = torch.stack([log_probabilities[names[member]][rows] for member in kept_members.tolist()], dim=1)
    averages = pool(answers, mask[:, kept_members], weights[kept_members], ones, torch.ones((), dtype=torch.float64))
    all_seen = torch.ones_like(averages, dtype=torch.bool)
    (weight,), _ = fit_pool(averages[:, None], targets, seen_classes=all_seen, row_weights=row_weights)
    return {names[member]: float(weights[member]) for member in kept_members.tolist()}, float(1 / weight)


def pick_members(chances: Tensor, mask: Tensor, *, is_single: Tensor, row_weights: Tensor) -> Tensor:
    """Return the members that are picked, in their order, (n_picks,) int64.

    As `Selected` does, a row that has none of those picked gets the mean of the single heads that it has.

    Shape:
        chances: (n, M) float64, each member's probability of the row's class
        mask: (n, M) float64, 1 where it counts
        is_single: (M,) bool, whether it is a modality's own head
        row_weights: (n,) float64, how often each row counts
    """
    n_members = chances.shape[1]
    has_single = mask * is_single  # (n, M)
    otherwise = torch.where(has_single.sum(1, keepdim=True) > 0, has_single, is_single.double())
    counts = torch.zeros(n_members, dtype=torch.float64)
    picks: list[int] = []
    losses: list[float] = []
    for _ in range(N_PICKS):
        counts_with_each = counts + torch.eye(n_members, dtype=torch.float64)  # (M, M)
        shares = counts_with_each[:, None] * mask
        shares = torch.where(shares.sum(2, keepdim=True) > 0, shares, otherwise)
        averages = (shares * chances).sum(2) / shares.sum(2)
        losses_with_each = -averages.clamp_min(torch.finfo(torch.float64).tiny).log() @ row_weights / row_weights.sum()
        losses.append(float(losses_with_each.min()))
        picks.append(int(losses_with_each.argmin()))
        counts[picks[-1]] += 1
    return torch.tensor(picks[: losses.index(min(losses)) + 1])


def build(description: HeadDescription, *, members: Mapping[str, nn.Module]) -> nn.Module:
    """Return the head of its members, {name: head}, with the weights of its description (`heads.head_types`)."""
    return Selected(members, weights=description.weights)
