"""What heads are worth when modalities are missing: each subset of them, and some entries missing at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from heads.data.vectors import Vectors
from heads.experiment.findings.input_variants import answer_variants
from heads.metrics.scores import scores
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["SHARES", "drop_entries", "score_missing", "subsets"]

SHARES = (0.1, 0.3, 0.5)  # of the entries, missing at random


def score_missing(
    heads: Sequence[TrainedHead], vectors: Vectors, targets: np.ndarray, *, generator: np.random.Generator
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of each head when only some modalities are present, {condition: {head: scores}}.

    The conditions are ``image``, ``image+text`` and so on, every non-empty subset, and ``10% missing`` and so on: that
    share of the present entries is hidden at random, the same for all heads, and each row keeps one at least. No head
    is trained again.

    Shape:
        targets: (N,) int64, of the rows of `vectors`
    """
    names = list(vectors.dims)
    chosen = subsets(names)
    masks = ({name: mask & torch.tensor(name in subset) for name, mask in vectors.present.items()} for subset in chosen)
    answers_by_subset = list(answer_variants(heads, map(vectors.with_present, masks)))
    by_condition = dict(zip(map("+".join, chosen), answers_by_subset, strict=True))
    # An answer depends on its own row alone: without some entries it is the one of the subset that the row has left.
    by_head = {head.name: np.stack([answers[head.name] for answers in answers_by_subset]) for head in heads}  # (S, N)
    powers = 2 ** np.arange(len(names))  # a subset's code is the sum of its modalities' powers
    subset_of_code = np.zeros(2 ** len(names), dtype=np.int64)  # a row that has nothing may take any
    for number, subset in enumerate(chosen):
        subset_of_code[powers @ [name in subset for name in names]] = number
    for share in SHARES:
        remaining = drop_entries(vectors.present, share, generator)
        codes = sum(power * remaining[name].numpy() for power, name in zip(powers, names, strict=True))
        by_condition[f"{100 * share:.0f}% missing"] = {
            name: answers[subset_of_code[codes], np.arange(len(targets))] for name, answers in by_head.items()
        }
    n_classes = len(heads[0].classes)
    return {
        condition: {name: scores(targets, head_answers, n_classes) for name, head_answers in answers.items()}
        for condition, answers in by_condition.items()
    }


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Return every non-empty subset, the small ones first.

    >>> subsets(["image", "text"])
    [('image',), ('text',), ('image', 'text')]
    """
    names = sorted(modalities)
    return [chosen for n in range(1, len(names) + 1) for chosen in combinations(names, n)]


def drop_entries(present: Mapping[str, Tensor], share: float, generator: np.random.Generator) -> dict[str, Tensor]:
    """Return the masks with about this share of the entries hidden; a row that has something keeps something.

    Entries are hidden in random order until the share is reached; those that are a row's last are passed over. So the
    share falls short where rows have too little to lose.

    Shape:
        present, output: {modality: (N,) bool}
    """
    names = list(present)
    mask = torch.stack([present[name] for name in names], dim=1).numpy()  # (N, M)
    rank = np.where(mask, generator.random(mask.shape), np.inf)
    may_go = mask & (rank > rank.min(axis=1, keepdims=True))  # all of a row but one, drawn at random
    n_hidden = min(round(share * int(mask.sum())), int(may_go.sum()))
    mask.flat[generator.permutation(np.flatnonzero(may_go))[:n_hidden]] = False
    return {name: torch.from_numpy(mask[:, n].copy()) for n, name in enumerate(names)}
