"""What the jobs of an ablation learn from, prepared once for all of a fold; and what their heads answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from heads.ablation.ablation_problem import AblationProblem
from heads.data.tokens import TokenBatch
from heads.data.vectors import Vectors
from heads.experiment.problem import fitted_standardise, task_of
from heads.modules.mixture import Mixture, fit_mixture, mix
from heads.modules.saved_head import TrainedHead
from heads.modules.standardiser import Standardise
from heads.training.job import Fit, Task

__all__ = ["Encoders", "Prepared"]

Encoders = tuple[tuple[str, str], ...]  # (modality, encoder), sorted


class Prepared:
    """The tasks of an ablation, made when asked for.

    The rows that are answered are the fold's validation rows, and its test rows behind them.
    """

    def __init__(self, problem: AblationProblem, *, most_bytes: int = 0) -> None:
        self._problem = problem
        self._most_bytes = most_bytes  # of standardised rows that are kept for the next head
        self._kept: dict[tuple[tuple[str, str], int], Tensor] = {}
        self._combined: dict[tuple[Encoders, int], Vectors] = {}
        self._standardise: dict[tuple[tuple[str, str], int], Standardise] = {}
        self._tasks: dict[tuple[Encoders, int], Task] = {}

    def vectors(self, encoders: Encoders, fold: int) -> Vectors:
        """Return the vectors of some encoders, one a modality."""
        if (encoders, fold) not in self._combined:
            self._combined[encoders, fold] = self._problem.of(dict(encoders), fold)
        return self._combined[encoders, fold]

    def task(self, encoders: Encoders, fold: int) -> Task:
        """Return what heads learn from."""
        if (encoders, fold) not in self._tasks:
            vectors, split = self.vectors(encoders, fold), self._problem.folds[fold]
            standardise = self._joined(encoders, fold)
            self._tasks[encoders, fold] = task_of(vectors, standardise, self._problem.labels.codes, split)
        return self._tasks[encoders, fold]

    def forget(self) -> None:
        """Let go of the rows that were kept."""
        self._kept.clear()

    def answers(self, fit: Fit, encoders: Encoders, fold: int) -> Tensor:
        """Return a trained head's log-probabilities as they are when it is saved and loaded.

        Shape:
            output: (n_validation + n_test, K) float32
        """
        vectors, rows, description = self.vectors(encoders, fold), self._rows(fold), fit.description
        standardise = self._joined(encoders, fold).part(description.dims, description.token_dims)
        head = TrainedHead(
            description=description,
            module=fit.module,
            standardise=_Done(standardise),
            label=self._problem.labels.column,
            classes=self._problem.labels.classes,
            encoders=vectors.encoders,
            specs=vectors.specs,
        )
        return head.log_probabilities(
            {name: self._rows_to_answer((name, vectors.encoders[name]), fold) for name in description.dims},
            {name: mask[rows] for name, mask in vectors.present.items()},
            {name: vectors.tokens[name].take(rows) for name in description.token_dims},
        )

    def late_answers(
        self, members: Mapping[str, Tensor], weights: Mapping[str, float] | None, encoders: Encoders, fold: int
    ) -> Tensor:
        """Return late fusion's log-probabilities, from those of its members.

        Without weights these and temperatures are fitted on the fold's validation rows.
        """
        rows = self._rows(fold)
        present = {name: mask[rows] for name, mask in self.vectors(encoders, fold).present.items()}
        mixture = self._fitted(members, present, fold) if weights is None else Mixture.of(weights)
        return mix(members, present, mixture).float()

    def _fitted(self, members: Mapping[str, Tensor], present: Mapping[str, Tensor], fold: int) -> Mixture:
        validation = torch.from_numpy(self._problem.folds[fold].validation)
        first = slice(len(validation))
        return fit_mixture(
            {name: answers[first] for name, answers in members.items()},
            {name: mask[first] for name, mask in present.items()},
            torch.from_numpy(self._problem.labels.codes)[validation],
            groups=torch.from_numpy(self._problem.groups)[validation],
            generator=np.random.default_rng(0),  # draws nothing: a ranking has no room for the weights' intervals
            n_resamples=0,
        )

    def _rows_to_answer(self, encoder: tuple[str, str], fold: int) -> Tensor:
        """Return an encoder's vectors of the rows that are answered, standardised, (n_validation + n_test, D)."""
        if (encoder, fold) in self._kept:
            return self._kept[encoder, fold]
        (name, _), own, rows = encoder, self._problem.own(encoder, fold), self._rows(fold)
        read = {name: own.inputs[name][rows]}
        found = self._own_standardise(encoder, fold)(read, {name: own.present[name][rows]})[name]
        if found.nbytes + sum(tensor.nbytes for tensor in self._kept.values()) <= self._most_bytes:
            self._kept[encoder, fold] = found
        return found

    def _rows(self, fold: int) -> Tensor:
        split = self._problem.folds[fold]
        return torch.cat([torch.from_numpy(split.validation), torch.from_numpy(split.test)])

    def _own_standardise(self, encoder: tuple[str, str], fold: int) -> Standardise:
        if (encoder, fold) not in self._standardise:
            fitted = fitted_standardise(self._problem.own(encoder, fold), self._problem.folds[fold])
            self._standardise[encoder, fold] = fitted
        return self._standardise[encoder, fold]

    def _joined(self, encoders: Encoders, fold: int) -> Standardise:
        vectors = self.vectors(encoders, fold)
        joined = Standardise(vectors.dims, vectors.token_dims)
        states = [self._own_standardise(encoder, fold).state_dict() for encoder in encoders]
        joined.load_state_dict({name: tensor for state in states for name, tensor in state.items()})
        return joined


class _Done(Standardise):
    """The standardisation of vectors that are standardised already, and of tokens that are not."""

    def __init__(self, standardise: Standardise) -> None:
        super().__init__({})
        self._tokens = standardise.tokens

    def forward(self, inputs: Mapping[str, Tensor], _present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(inputs)

    def tokens(self, batches: Mapping[str, TokenBatch]) -> dict[str, TokenBatch]:
        return self._tokens(batches)
