"""Late fusion: each modality's own head answers, and the answers are averaged with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from heads.errors import SettingError
from heads.modules.description import HeadDescription
from heads.modules.ensemble import Ensemble

__all__ = ["Late", "build", "log_average", "parse_weights", "pool", "row_weights"]


class Late(Ensemble):
    """Average the members' softmax probabilities with fixed weights.

    The weights are renormalised over the modalities that a row has, so that a row without a picture gets the text
    head's answer exactly. Where all that a row has weighs 0, what it has counts alike; where it has nothing, all do.
    Where temperatures were fitted, each member's logits are divided by its own and the average's by the final one
    (arXiv 2007.08792); a row without a picture then gets the text head's answer at these two.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(
        self,
        members: Mapping[str, nn.Module],
        *,
        weights: Mapping[str, float],
        temperatures: Mapping[str, float] | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.modalities = sorted(members)
        self.members = nn.ModuleDict({name: members[name] for name in self.modalities})
        temperatures = temperatures or dict.fromkeys(self.modalities, 1.0)
        for buffer, values in (
            ("weights", [weights[name] for name in self.modalities]),
            ("temperatures", [temperatures[name] for name in self.modalities]),
            ("temperature", temperature),
        ):
            self.register_buffer(buffer, torch.tensor(values, dtype=torch.float64))

    def parts(self) -> list[tuple[str | None, nn.Module]]:
        return [(name, self.members[name]) for name in self.modalities]

    def average(self, answers: Tensor, present: Mapping[str, Tensor]) -> Tensor:
        mask = torch.stack([present[name] for name in self.modalities], dim=1)  # (B, M)
        buffers = (self.get_buffer(name) for name in ("weights", "temperatures", "temperature"))
        return pool(answers, mask, *buffers).float()


def pool(answers: Tensor, mask: Tensor, weights: Tensor, temperatures: Tensor, temperature: Tensor) -> Tensor:
    """Return the logarithm of each row's average over the modalities that it has; answers of others are ignored.

    Shape:
        answers: (B, M, K) log-probabilities
        mask: (B, M) bool
        weights, temperatures: (M,) float64
        temperature: () float64, of the average
        output: (B, K) float64
    """
    shares = row_weights(weights, mask.double())
    finite_answers = answers.double().where(shares[:, :, None] > 0, 0.0)  # NaN may stand where a modality is absent
    return log_average(finite_answers, shares, temperatures, temperature)


def row_weights(weights: Tensor, mask: Tensor) -> Tensor:
    """Return each row's weights, up to a factor: where all that it has weighs 0, 1 for what it has, or 1 for all.

    Shape:
        weights: (..., M), non-negative
        mask: (..., M), 1 where the row has the modality, else 0
        output: (..., M), not all 0
    """
    masked = weights * mask
    for otherwise in (mask, torch.ones_like(mask)):
        masked = torch.where(masked.sum(-1, keepdim=True) > 0, masked, otherwise)
    return masked


def log_average(answers: Tensor, weights: Tensor, temperatures: Tensor, temperature: Tensor) -> Tensor:
    """Return the logarithm of the weighted average of each row's probabilities; one that weighs all stays to the bit.

    Shape:
        answers: (B, M, K) log-probabilities
        weights: (B, M) float64, non-negative and not all 0
        temperatures: (M,) float64
        temperature: () float64, of the average
        output: (B, K) float64
    """
    scaled = torch.log_softmax(answers / temperatures.to(answers.dtype)[:, None], dim=2)
    logs = torch.where(temperatures[:, None] == 1, answers, scaled).double()
    shares = weights / weights.sum(1, keepdim=True)
    mixed = torch.logsumexp(logs + shares.log()[:, :, None], dim=1)  # (B, K)
    tempered = torch.log_softmax(mixed / temperature, dim=1)
    return torch.where(temperature == 1, mixed, tempered)


def parse_weights(text: str | None, modalities: Sequence[str]) -> dict[str, float]:
    """Return the weight of each modality, non-negative and of sum 1; equal weights where `text` is None.

    >>> parse_weights("1,3", ["image", "text"])
    {'image': 0.25, 'text': 0.75}
    >>> parse_weights("text=3,image=1", ["image", "text"])
    {'image': 0.25, 'text': 0.75}

    Raises:
        SettingError: there is not one finite, non-negative number per modality, or all are zero.
    """
    names = sorted(modalities)
    if text is None:
        return {name: 1 / len(names) for name in names}
    expected = f"--weights: expected one non-negative number per modality ({', '.join(names)}), not all zero"
    parts = [part.strip() for part in text.split(",")]
    try:
        if all("=" in part for part in parts):
            pairs = [(name.strip(), float(number)) for name, number in (part.split("=", 1) for part in parts)]
        else:
            pairs = list(zip(names, map(float, parts), strict=True))
    except ValueError as error:
        raise SettingError(f"{expected}, got {len(parts)}: {text}.") from error
    numbers = dict(pairs)
    if sorted(name for name, _ in pairs) != names:
        raise SettingError(f"{expected}, got {text}.")
    total = sum(numbers.values())
    if not math.isfinite(total) or min(numbers.values()) < 0 or total == 0:
        raise SettingError(f"{expected}, got {text}.")
    return {name: numbers[name] / total for name in names}


def build(description: HeadDescription, *, members: Mapping[str, nn.Module]) -> nn.Module:
    """Return the head of its members, {modality: head}, with the weights of its description (`heads.head_types`)."""
    return Late(members, weights=description.weights)
