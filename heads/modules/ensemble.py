"""Heads that are made of whole heads: each part answers, and one answer is made of theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heads.head_types import head_type

__all__ = ["Ensemble", "as_log_probabilities"]

BLOCK_ROWS = 16_384  # averaged at once, at most
BLOCK_CELLS = 1 << 20  # of the parts' answers, that are averaged at once; six float64 arrays or so are as large


class Ensemble(nn.Module, ABC):
    """Make one answer of those of several heads.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        tokens: as a part that sees all modalities takes them
        output: (B, K) log-probabilities
    """

    @abstractmethod
    def parts(self) -> list[tuple[str | None, nn.Module]]:
        """Return the M heads, each with its name; None is the head that the whole is named after.

        One that is named after a modality sees that alone, the others all.
        """

    @abstractmethod
    def average(self, answers: Tensor, present: Mapping[str, Tensor]) -> Tensor:
        """Return the log-probabilities that the parts' answers come to.

        Shape:
            answers: (B, M, K) log-probabilities, in the order of the parts
            present: {modality: (B,)} bool
            output: (B, K) float32
        """

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor], *tokens: Any) -> Tensor:
        answers = []
        for name, part in self.parts():
            if name is not None and name in inputs:
                answer = part({name: inputs[name]}, {name: present[name]})
            else:
                sees_tokens = name is None or head_type(name).takes_tokens
                answer = part(inputs, present, *(tokens if sees_tokens else ()))
            answers.append(as_log_probabilities(part, answer))
        return self.average(torch.stack(answers, dim=1), present)

    def average_all(self, answers: Sequence[Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return the average of the parts' answers to any number of rows, M times (N, K)."""
        averages = torch.empty_like(answers[0])
        n_rows = max(1, min(BLOCK_ROWS, BLOCK_CELLS // (len(answers) * averages.shape[1])))
        for rows in torch.arange(len(averages)).split(n_rows):
            block = torch.stack([part[rows] for part in answers], dim=1)  # (B, M, K)
            averages[rows] = self.average(block, {name: mask[rows] for name, mask in present.items()})
        return averages


def as_log_probabilities(head: nn.Module, answer: Tensor) -> Tensor:
    """Return a head's answer as log-probabilities, (B, K); those of an ensemble are such already."""
    return answer if isinstance(head, Ensemble) else torch.log_softmax(answer, dim=1)
