"""The products that are asked for, each with what is thought of it and why it was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.review.choosing import choose_doubtful, choose_typical, doubts, rarities
from heads.review.known_labels import KnownLabels
from heads.review.quick_head import fit_quickly

__all__ = ["Pick", "choose_picks"]

MOST_LIKELY = 9  # classes that are named: as many as there are digits
BLOCK_ROWS = 16_384  # answered together: of many classes the answers to all are large
RARE = 0.5  # of the rarest class's rarity


@dataclass(frozen=True)
class Pick:
    """A row, its likeliest classes with their probabilities, the likeliest first, and why it is asked for."""

    row: int
    likely: list[tuple[str, float]]
    why: str


def choose_picks(
    vectors: np.ndarray, known: KnownLabels, candidates: np.ndarray, n_wanted: int, generator: np.random.Generator
) -> list[Pick]:
    """Return the products to ask for, the most telling first.

    Until two classes have labels they are the middles of clusters; then those of which the head is unsure.

    Shape:
        vectors: (N, D)
        candidates: (n,) int64
    """
    if np.count_nonzero(known.counts) < 2:
        rows, sizes = choose_typical(vectors, candidates, n_wanted, generator)
        pairs = zip(rows.tolist(), sizes.tolist(), strict=True)
        return [Pick(row, [], f"stands for {size} like it") for row, size in pairs]
    head = fit_quickly(vectors, known.targets, n_classes=len(known.classes))
    seen = np.flatnonzero(known.counts)
    blocks = [candidates[start : start + BLOCK_ROWS] for start in range(0, len(candidates), BLOCK_ROWS)]
    doubt = [doubts(head.probabilities(vectors[rows])[:, seen], known.counts[seen]) for rows in blocks]
    rows = choose_doubtful(vectors, candidates, np.concatenate(doubt), n_wanted, generator)
    probabilities = head.probabilities(vectors[rows])
    rarity = rarities(probabilities[:, seen], known.counts[seen])
    return [_pick(row, probabilities[place], rarity[place], known) for place, row in enumerate(rows.tolist())]


def _pick(row: int, probabilities: np.ndarray, rarity: float, known: KnownLabels) -> Pick:
    order = np.argsort(-probabilities, kind="stable")[:MOST_LIKELY].tolist()
    likely = [(known.classes[place], float(probabilities[place])) for place in order if probabilities[place] > 0]
    why = f"{likely[0][0]} or {likely[1][0]}"
    return Pick(row, likely, f"{why}; few labels of them yet" if rarity > RARE else why)
