"""Late fusion's scores over all weights, without training anything again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.errors import SettingError
from heads.metrics.scores import LEAST_PROBABILITY, scores
from heads.modules.late import row_weights

__all__ = ["SweepPoint", "sweep_simplex"]

BLOCK_CELLS = 8_000_000  # weights are tried in blocks of about so many probabilities


@dataclass(frozen=True)
class SweepPoint:
    """The scores of one choice of weights, which are of sum 1."""

    weights: dict[str, float]
    accuracy: float
    macro_f1: float
    log_loss: float


def sweep_simplex(
    log_probabilities: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    step: float = 0.05,
) -> list[SweepPoint]:
    """Return the scores of late fusion at every grid point of the weights; those of the first modality rise last.

    Two modalities have 21 points at a step of 0.05, three have 231. The average is that of `Late`: weights are
    renormalised over what a row has; where that weighs 0 it counts alike, and where a row has nothing all do.

    Shape:
        log_probabilities: {modality: (N, K)} logits or log-probabilities
        present: {modality: (N,)} bool
        targets: (N,) int64

    Raises:
        SettingError: the step does not divide 1.
    """
    n_steps = round(1 / step) if step > 0 else 0
    if not n_steps or abs(n_steps * step - 1) > 1e-9:
        raise SettingError(f"Expected a step to be 1 divided by a whole number, got {step}. Take 0.05, say.")
    modalities = sorted(log_probabilities)
    grid = torch.tensor(list(_compositions(n_steps, len(modalities))), dtype=torch.float64) / n_steps  # (G, M)
    probabilities = torch.stack([log_probabilities[name].double().softmax(1) for name in modalities], dim=1)
    mask = torch.stack([present[name] for name in modalities], dim=1).double()  # (N, M)
    labels, n_classes = targets.cpu().numpy(), probabilities.shape[2]
    points = []
    for weights in grid.to(mask.device).split(max(1, BLOCK_CELLS // max(1, len(targets) * n_classes))):
        shares = row_weights(weights, mask[:, None])  # (N, g, M)
        averages = (shares / shares.sum(2, keepdim=True)) @ probabilities  # (N, g, K)
        losses = -averages[torch.arange(len(targets)), :, targets].clamp_min(LEAST_PROBABILITY).log().mean(0)  # (g,)
        answers = averages.argmax(2).T.cpu().numpy()  # (g, N)
        for numbers, answer, loss in zip(weights.tolist(), answers, losses.tolist(), strict=True):
            point_scores = scores(labels, answer, n_classes)
            named = dict(zip(modalities, numbers, strict=True))
            points.append(SweepPoint(named, point_scores["accuracy"], point_scores["macro_f1"], loss))
    return points


def _compositions(total: int, n_parts: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to write `total` as an ordered sum of `n_parts` whole numbers, 0 included."""
    if n_parts == 1:
        yield (total,)
        return
    for part in range(total + 1):
        for other_parts in _compositions(total - part, n_parts - 1):
            yield (part, *other_parts)
