"""The heads of a run, as they are trained one after the other, and their answers to all of its rows."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from heads.experiment.problem import Problem
from heads.metrics.scores import scores
from heads.modules.saved_head import TrainedHead
from heads.modules.standardiser import Standardise
from heads.training.job import Fit

__all__ = ["Roster"]


class Roster:
    """What is trained so far, by name.

    Shape:
        log_probabilities: {head: (N, K)} of all the problem's rows
    """

    def __init__(self, problem: Problem, standardise: Standardise) -> None:
        self.problem = problem
        self.standardise = standardise
        self.heads: dict[str, TrainedHead] = {}
        self.controls: dict[str, TrainedHead] = {}
        self.fits: dict[str, Fit] = {}
        self.log_probabilities: dict[str, Tensor] = {}

    def add(self, fit: Fit, *, is_control: bool = False) -> None:
        """Take a head, and let it answer."""
        vectors, labels, description = self.problem.vectors, self.problem.labels, fit.description
        head = TrainedHead(
            description=description,
            module=fit.module,
            standardise=self.standardise.part(description.dims, description.token_dims),
            label=labels.column,
            classes=labels.classes,
            encoders={modality: vectors.encoders[modality] for modality in description.dims},
            specs={modality: vectors.specs[modality] for modality in description.dims},
        )
        (self.controls if is_control else self.heads)[head.name] = head
        self.fits[head.name] = fit
        self.log_probabilities[head.name] = head.log_probabilities(vectors.inputs, vectors.present, vectors.tokens)

    @property
    def saved(self) -> dict[str, TrainedHead]:
        """The heads that can be written: models of scikit-learn's live in memory only."""
        return {name: head for name, head in self.heads.items() if getattr(head.module, "is_saved", True)}

    @property
    def singles(self) -> list[str]:
        """The modalities, each a head of its own."""
        return [name for name in self.heads if name in self.problem.vectors.dims]

    @property
    def fusions(self) -> list[str]:
        """The other heads."""
        return [name for name in self.heads if name not in self.problem.vectors.dims]

    @property
    def best_single(self) -> str:
        """The modality whose head has the best macro-F1 on the validation rows."""
        return max(self.singles, key=lambda name: self.scores(name, "validation")["macro_f1"])

    def probabilities(self, name: str, side: str) -> np.ndarray:
        """Return a head's probabilities for one side of the split, (n, K) float32."""
        return self.log_probabilities[name][getattr(self.problem.split, side)].exp().numpy()

    def scores(self, name: str, side: str) -> dict[str, float]:
        """Return a head's scores on one side of the split."""
        codes = self.problem.labels.codes[getattr(self.problem.split, side)]
        return scores(codes, self.probabilities(name, side).argmax(1), len(self.problem.labels.classes))
