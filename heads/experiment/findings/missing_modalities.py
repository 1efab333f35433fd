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
    """Return the scores of each head when only some modalities are there, {what is there: {head: scores}}.

    What is there is named ``image``, ``image+text`` and so on, every non-empty subset, or ``10% missing``: that share
    of the entries that there are is hidden at random, the same for all heads, and each row keeps one at least. The
    heads are trained on what there was; none is trained again.

    Shape:
        targets: (N,) int64, of the rows of `vectors`
    """
    names = list(vectors.dims)
    kept = subsets(names)
    shown = ({name: mask & torch.tensor(name in some) for name, mask in vectors.present.items()} for some in kept)
    answered = list(answer_variants(heads, map(vectors.with_present, shown)))
    found = dict(zip(map("+".join, kept), answered, strict=True))
    # An answer depends on its own row alone: without some entries it is the one of the subset that the row has left.
    every = {head.name: np.stack([answers[head.name] for answers in answered]) for head in heads}  # (subsets, N) each
    weights = 2 ** np.arange(len(names))
    place_of = np.zeros(2 ** len(names), dtype=np.int64)  # of a row that has nothing it is any
    for place, some in enumerate(kept):
        place_of[weights @ [name in some for name in names]] = place
    for share in SHARES:
        left = drop_entries(vectors.present, share, generator)
        places = place_of[sum(weight * left[name].numpy() for weight, name in zip(weights, names, strict=True))]
        found[f"{100 * share:.0f}% missing"] = {
            name: answers[places, np.arange(len(targets))] for name, answers in every.items()
        }
    n_classes = len(heads[0].classes)
    return {
        what: {name: scores(targets, own, n_classes) for name, own in answers.items()}
        for what, answers in found.items()
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
    there = torch.stack([present[name] for name in names], dim=1).numpy()  # (N, M)
    rank = np.where(there, generator.random(there.shape), np.inf)
    may_go = there & (rank > rank.min(axis=1, keepdims=True))  # all of a row but one, drawn at random
    n_hidden = min(round(share * int(there.sum())), int(may_go.sum()))
    places = np.flatnonzero(may_go)
    there.flat[generator.permutation(places)[:n_hidden]] = False
    return {name: torch.from_numpy(there[:, n].copy()) for n, name in enumerate(names)}
