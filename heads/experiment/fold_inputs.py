"""What the jobs of an experiment learn from and answer, prepared once for all jobs of a fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from heads.data.splitting.splits import Split
from heads.data.vectors import Vectors
from heads.experiment.configuration import Encoders
from heads.experiment.problem import Encoder, Problem
from heads.metrics.answers import Answers
from heads.modules.parts.standardiser import Standardise
from heads.modules.saving.saved_head import TrainedHead
from heads.settings import FitSettings
from heads.training.job import Task
from heads.training.training_plan import plain_settings

__all__ = ["FoldInputs"]


class FoldInputs:
    """Vectors, standardisations and tasks, each made at its first use.

    The rows that are answered are those of the `sides` of a fold. They are standardised once for all heads as long as
    they fit into `most_bytes` together, and block by block for each head where they do not.
    """

    def __init__(self, problem: Problem, *, sides: Sequence[str], most_bytes: int = 0) -> None:
        self._problem = problem
        self._sides = sides
        self._most_bytes = most_bytes
        weights = problem.sample_weights
        self._sample_weights = None if weights is None else torch.from_numpy(weights)
        self._rows: dict[int, Tensor] = {}
        self._standardised: dict[tuple[Encoder, int, str], Tensor] = {}
        self._vectors: dict[tuple[Encoders, int], Vectors] = {}
        self._standardise: dict[tuple[Encoder, int, str], Standardise] = {}
        self._tasks: dict[tuple[Encoders, int, str], Task] = {}
        self._plain_settings: dict[tuple[FitSettings, int], FitSettings] = {}
        self._sizes: dict[int, tuple[Tensor, Tensor]] = {}

    def vectors(self, encoders: Encoders, fold: int) -> Vectors:
        """Return the vectors of some encoders, one a modality."""
        if (encoders, fold) not in self._vectors:
            self._vectors[encoders, fold] = self._problem.joint_vectors(dict(encoders), fold)
        return self._vectors[encoders, fold]

    def task(self, encoders: Encoders, fold: int, scaling: str = FitSettings.scaling) -> Task:
        """Return what heads learn from; where there is one choice of encoders, all heads share its task."""
        if len(combinations := self._problem.combinations) == 1:
            encoders = tuple(sorted(combinations[0].items()))
        if (encoders, fold, scaling) not in self._tasks:
            vectors = self.vectors(encoders, fold)
            split, targets = self._learned(fold)
            self._tasks[encoders, fold, scaling] = Task(
                inputs=vectors.inputs,
                present=vectors.present,
                targets=torch.from_numpy(targets),
                split=split,
                tokens=vectors.tokens,
                standardise=self.standardise(encoders, fold, scaling),
                sample_weights=self._sample_weights,
                groups=torch.from_numpy(self._problem.groups),
                class_names={
                    modality: self._problem.class_names[modality, name]
                    for modality, name in encoders
                    if (modality, name) in self._problem.class_names
                },
                augmented={
                    modality: self._problem.views[modality, name]
                    for modality, name in encoders
                    if self._problem.views.get((modality, name))
                },
            )
        return self._tasks[encoders, fold, scaling]

    def plain_settings(self, settings: FitSettings, fold: int) -> FitSettings:
        """Return the plainest settings that train the fold's heads alike (`heads.training.training_plan`)."""
        if (settings, fold) not in self._plain_settings:
            counts, weighted = self._class_sizes(fold)
            self._plain_settings[settings, fold] = plain_settings(settings, counts=counts, weighted=weighted)
        return self._plain_settings[settings, fold]

    def _class_sizes(self, fold: int) -> tuple[Tensor, Tensor]:
        """Return how many training rows each class has, and what their weights come to, (K,) each."""
        if fold not in self._sizes:
            split, targets = self._learned(fold)
            train, n_classes = torch.from_numpy(split.train), len(self._problem.labels.classes)
            train_targets = torch.from_numpy(targets)[train]
            weights = None if self._sample_weights is None else self._sample_weights[train]
            counts = torch.bincount(train_targets, minlength=n_classes)
            self._sizes[fold] = counts, torch.bincount(train_targets, weights, minlength=n_classes)
        return self._sizes[fold]

    def standardise(self, encoders: Encoders, fold: int, scaling: str) -> Standardise:
        """Return the scaling of all these encoders' vectors, with the statistics of the training rows."""
        vectors = self.vectors(encoders, fold)
        joined = Standardise(vectors.dims, vectors.token_dims, scaling=scaling)
        states = [self._fitted(encoder, fold, scaling).state_dict() for encoder in encoders]
        joined.load_state_dict({name: tensor for state in states for name, tensor in state.items()})
        return joined

    def log_probabilities(self, head: TrainedHead, encoders: Encoders, fold: int, *, rows: np.ndarray) -> Tensor:
        """Return what a head answers to some rows, (n, K) float32."""
        vectors = self.vectors(encoders, fold)
        return head.log_probabilities(vectors.inputs, vectors.present, vectors.tokens, rows=torch.from_numpy(rows))

    def answers(self, head: TrainedHead, encoders: Encoders, fold: int) -> dict[str, Answers]:
        """Return what a head answers to the rows of each side; a block of probabilities is held at a time."""
        rows, split = self.rows(fold).numpy(), self._problem.folds[fold]
        targets = self._problem.labels.targets[rows]

        def answer_blocks() -> Iterator[tuple[np.ndarray, Answers]]:
            for positions, log_probabilities in self._answer_blocks(head, encoders, fold):
                block = positions.numpy()
                yield block, Answers.of(log_probabilities.exp().numpy(), targets[block])

        all_answers = Answers.gathered(len(rows), answer_blocks())
        return {side: all_answers.take(np.searchsorted(rows, getattr(split, side))) for side in self._sides}

    def _answer_blocks(self, head: TrainedHead, encoders: Encoders, fold: int) -> Iterator[tuple[Tensor, Tensor]]:
        vectors, rows = self.vectors(encoders, fold), self.rows(fold)
        names = head.description.dims
        scaling = head.description.scaling
        standardised = {
            name: self._standardised_rows((name, encoder), fold, scaling) for name, encoder in encoders if name in names
        }
        at_hand = {name: matrix for name, matrix in standardised.items() if matrix is not None}
        if len(at_hand) == len(names):
            present = {name: vectors.present[name][rows] for name in names}
            tokens = {name: vectors.tokens[name].take(rows) for name in head.description.token_dims}
            return head.answer_blocks(at_hand, present, tokens, rows=torch.arange(len(rows)), are_standardised=True)
        return head.answer_blocks(vectors.inputs, vectors.present, vectors.tokens, rows=rows)

    def rows(self, fold: int) -> Tensor:
        """Return the rows that are answered, sorted, (n,) int64."""
        if fold not in self._rows:
            sides = [getattr(self._problem.folds[fold], side) for side in self._sides]
            self._rows[fold] = torch.from_numpy(np.unique(np.concatenate([*sides, np.empty(0, dtype=np.int64)])))
        return self._rows[fold]

    def forget(self) -> None:
        """Let go of the rows that were standardised."""
        self._standardised.clear()

    def _standardised_rows(self, encoder: Encoder, fold: int, scaling: str) -> Tensor | None:
        """Return an encoder's vectors of the rows that are answered, standardised, (n, D); None where too large."""
        key = encoder, fold, scaling
        if key not in self._standardised:
            (name, _), vectors, rows = encoder, self._problem.encoder_vectors(encoder, fold), self.rows(fold)
            n_bytes = 4 * len(rows) * vectors.dims[name]
            if n_bytes + sum(matrix.nbytes for matrix in self._standardised.values()) > self._most_bytes:
                return None
            raw, present = {name: vectors.inputs[name][rows]}, {name: vectors.present[name][rows]}
            self._standardised[key] = self._fitted(encoder, fold, scaling)(raw, present)[name]
        return self._standardised[key]

    def _fitted(self, encoder: Encoder, fold: int, scaling: str) -> Standardise:
        if (encoder, fold, scaling) not in self._standardise:
            vectors, (split, _) = self._problem.encoder_vectors(encoder, fold), self._learned(fold)
            standardise = Standardise(vectors.dims, vectors.token_dims, scaling=scaling)
            train = torch.from_numpy(split.train)
            self._standardise[encoder, fold, scaling] = standardise.fit(
                vectors.inputs,
                vectors.present,
                train,
                tokens=vectors.tokens,
                weights=self._sample_weights,
                widths=vectors.widths,
            )
        return self._standardise[encoder, fold, scaling]

    def _learned(self, fold: int) -> tuple[Split, np.ndarray]:
        """Return the split and the classes, (N,), that are learned from: with pseudo-labels, where there are any."""
        split, targets = self._problem.folds[fold], self._problem.labels.targets
        return (split, targets) if (more := self._problem.pseudo_labels) is None else more.added_to(split, targets)
