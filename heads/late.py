"""Late fusion: each modality's own head answers, and the answers are averaged with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from heads.errors import SettingError

__all__ = ["Late", "parse_weights"]


class Late(nn.Module):
    """Average the members' softmax probabilities with fixed weights.

    The weights are renormalised over the modalities that a row has, so that a row without a picture gets the text
    head's answer exactly. Where all that a row has weighs 0, what it has counts alike; where it has nothing, all do.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(self, members: Mapping[str, nn.Module], *, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.modalities = sorted(members)
        self.members = nn.ModuleDict({name: members[name] for name in self.modalities})
        self.register_buffer("weights", torch.tensor([weights[name] for name in self.modalities], dtype=torch.float64))

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        there = torch.stack([present[name] for name in self.modalities], dim=1).double()  # (B, M)
        weights = self.get_buffer("weights") * there  # (B, M)
        for otherwise in (there, torch.ones_like(there)):
            weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, otherwise)
        weights = weights / weights.sum(1, keepdim=True)
        answers = torch.stack([self.members[name](inputs, present) for name in self.modalities], dim=1)  # (B, M, K)
        logs = torch.log_softmax(answers, dim=2).double()
        return torch.logsumexp(logs + weights.log()[:, :, None], dim=1).float()


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
    wish = f"--weights must name one non-negative number per modality ({', '.join(names)}), not all zero"
    parts = [part.strip() for part in text.split(",")]
    try:
        if all("=" in part for part in parts):
            pairs = [(name.strip(), float(number)) for name, number in (part.split("=", 1) for part in parts)]
        else:
            pairs = list(zip(names, map(float, parts), strict=True))
    except ValueError as error:
        raise SettingError(f"{wish}, however got {len(parts)}: {text}.") from error
    numbers = dict(pairs)
    if sorted(name for name, _ in pairs) != names:
        raise SettingError(f"{wish}, however got {text}.")
    total = sum(numbers.values())
    if not math.isfinite(total) or min(numbers.values()) < 0 or total == 0:
        raise SettingError(f"{wish}, however got {text}.")
    return {name: numbers[name] / total for name in names}
