"""The products that a person is asked to label, each with its likeliest classes and the reason for asking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.review.choosing import choose_doubtful, choose_typical, doubts, rarities
from heads.review.known_labels import KnownLabels
from heads.review.quick_head import fit_quickly

__all__ = ["Pick", "choose_picks"]

MOST_LIKELY = 9  # classes that are named: as many as there are digits
BLOCK_ROWS = 16_384  # answered at a time, as the probabilities of many classes for all rows are large
RARE = 0.5  # the rarity, of which the rarest class has 1, above which the reason mentions it


@dataclass(frozen=True)
class Pick:
    """A row, its likeliest classes with their probabilities, the likeliest first, and the reason to ask for it."""

    row: int
    likely: list[tuple[str, float]]
    reason: str


def choose_picks(
    vectors: np.ndarray,
    known_labels: KnownLabels,
    candidates: np.ndarray,
    n_wanted: int,
    generator: np.random.Generator,
) -> list[Pick]:
    """Return the products to ask for, those that tell most first.

    Until two classes have labels they are the middles of clusters; then rows that a head is unsure of.

    Shape:
        vectors: (N, D)
        candidates: (n,) int64
    """
    if np.count_nonzero(known_labels.counts) < 2:
        rows, sizes = choose_typical(vectors, candidates, n_wanted, generator)
        pairs = zip(rows.tolist(), sizes.tolist(), strict=True)
        return [Pick(row, [], f"stands for {size} like it") for row, size in pairs]
    head = fit_quickly(vectors, known_labels.targets, n_classes=len(known_labels.classes))
    labelled_classes = np.flatnonzero(known_labels.counts)
    blocks = [candidates[start : start + BLOCK_ROWS] for start in range(0, len(candidates), BLOCK_ROWS)]
    n_labelled = known_labels.counts[labelled_classes]
    doubt = np.concatenate(
        [doubts(head.probabilities(vectors[rows])[:, labelled_classes], n_labelled) for rows in blocks]
    )
    rows = choose_doubtful(vectors, candidates, doubt, n_wanted, generator)
    probabilities = head.probabilities(vectors[rows])
    rarity = rarities(probabilities[:, labelled_classes], n_labelled)
    return [_pick(row, probabilities[index], rarity[index], known_labels) for index, row in enumerate(rows.tolist())]


def _pick(row: int, probabilities: np.ndarray, rarity: float, known_labels: KnownLabels) -> Pick:
    order = np.argsort(-probabilities, kind="stable")[:MOST_LIKELY].tolist()
    likely = [(known_labels.classes[code], float(probabilities[code])) for code in order if probabilities[code] > 0]
    reason = f"{likely[0][0]} or {likely[1][0]}"
    return Pick(row, likely, f"{reason}; few labels of them yet" if rarity > RARE else reason)
