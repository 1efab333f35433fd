"""Packing a batch into groups of about one size, so that next to nothing is padding, and unpacking their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["pack", "unpacked"]


def pack(lengths: Sequence[int], *, least_tokens: int, most_tokens: int) -> list[list[int]]:
    """Return groups of texts, each to be encoded as one matrix padded to its longest.

    Texts of one length need no padding and stand together. A group takes longer ones too while it has fewer than
    `least_tokens`, since small matrix products waste more than padding does, and never has more than `most_tokens`
    (but for a single text).

    >>> pack([4, 9, 4, 5], least_tokens=6, most_tokens=100)
    [[0, 2], [3, 1]]
    """
    groups: list[list[int]] = []
    n_texts = 0  # of the last group
    longest = 0  # likewise
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[number]
        would_be_too_large = (n_texts + 1) * length > most_tokens
        is_large_enough = length > longest and n_texts * longest >= least_tokens
        if not groups or would_be_too_large or is_large_enough:
            groups.append([])
            n_texts = 0
        groups[-1].append(number)
        n_texts, longest = n_texts + 1, length
    return groups


def unpacked(vectors: np.ndarray, groups: Iterable[Sequence[int]]) -> np.ndarray:
    """Return the vectors that were encoded group by group in the order that the groups' numbers give.

    >>> unpacked(np.array([[1.0], [2.0], [3.0]]), [[2, 0], [1]]).tolist()
    [[2.0], [3.0], [1.0]]

    Shape:
        vectors, output: (B, D)
    """
    ordered = np.empty_like(vectors)
    ordered[[number for group in groups for number in group]] = vectors
    return ordered
