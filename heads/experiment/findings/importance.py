"""How much a head relies on each modality: what it loses when that modality's vectors are shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch

from heads.data.vectors import Vectors
from heads.experiment.findings.input_variants import answer_variants
from heads.metrics.registry import JUDGED
from heads.metrics.score_drop import Drop
from heads.metrics.scores import scores
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["measure_importance", "shuffle_modality"]

N_REPEATS = 5


def measure_importance(
    heads: Sequence[TrainedHead],
    vectors: Vectors,
    targets: np.ndarray,
    *,
    generator: np.random.Generator,
    n_repeats: int = N_REPEATS,
) -> dict[str, dict[str, dict[str, Drop]]]:
    """Return what each modality is worth to each head, {head: {modality: {score: drop}}}, in accuracy and macro-F1.

    A modality's vectors are shuffled among the rows, together with whether they are there (Breiman, Machine Learning
    45, 2001; arXiv 1801.01489), alike for all heads.

    Shape:
        targets: (N,) int64, of the rows of `vectors`
    """
    modalities = list(vectors.dims)
    shuffled = (shuffle_modality(vectors, name, generator) for name in modalities for _ in range(n_repeats))
    judged_scores: dict[str, list[list[float]]] = {head.name: [] for head in heads}
    for answers in answer_variants(heads, chain([vectors], shuffled)):
        for head in heads:
            head_scores = scores(targets, answers[head.name], len(head.classes))
            judged_scores[head.name].append([head_scores[name] for name in JUDGED])
    drops = {}
    for head in heads:
        usual, *shuffled_scores = np.array(judged_scores[head.name])
        by_modality = (usual - np.stack(shuffled_scores)).reshape(len(modalities), n_repeats, len(JUDGED))
        drops[head.name] = {
            modality: {name: Drop.of(by_modality[m, :, n]) for n, name in enumerate(JUDGED)}
            for m, modality in enumerate(modalities)
        }
    return drops


def shuffle_modality(vectors: Vectors, modality: str, generator: np.random.Generator) -> Vectors:
    """Return the vectors with one modality's in another order, presence and tokens with them."""
    order = torch.from_numpy(generator.permutation(len(vectors.present[modality])))
    return vectors.take(order, only=modality)
