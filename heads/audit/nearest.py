"""The nearest rows of each row in one modality, by exact cosines, a block at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from cache.console.progress import Progress
from heads.data.vectors import Vectors

__all__ = ["Nearest", "cosine", "find_nearest"]

# Rows: cosines are computed in blocks of so many. Larger ones are given back to the system each time: a tenth is lost.
ASKED_AT_ONCE, STORED_AT_ONCE = 1_024, 2_048
READ_AT_ONCE = 16_384
NONE = -2.0  # less than any cosine
TEMPERATURE = 0.07  # that of DINO's vote (arXiv 2104.14294)


@dataclass(frozen=True)
class Nearest:
    """Each row's nearest rows that are no copies of it, the nearest first, and the nearest of another label.

    Directions are centred on the mean of all rows, as cosines of raw vectors are all near 1.

    Shape:
        is_known: (N,) bool, the rows that took part
        rows: (N, k) int64, -1 where there are not so many
        cosines: (N, k) float32
        unlike: (N,) int64, the nearest row of another label, copies too; -1 where there is none
        unlike_cosines: (N,) float32
    """

    is_known: np.ndarray
    rows: np.ndarray
    cosines: np.ndarray
    unlike: np.ndarray
    unlike_cosines: np.ndarray

    def votes(self, targets: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return how many of each row's nearest have a class, (N,) int64.

        Shape:
            targets, classes: (N,) int64, the rows' own, and that asked for of each row
        """
        return ((self.rows >= 0) & (targets[self.rows] == classes[:, None])).sum(1)

    def voices(self, targets: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the share of a class in the vote of each row's nearest, where the nearer have more to say, (N,)."""
        weights = np.where(self.rows >= 0, np.exp((self.cosines - 1) / TEMPERATURE), 0)
        agreeing = (weights * (targets[self.rows] == classes[:, None])).sum(1)
        return agreeing / np.maximum(weights.sum(1), np.finfo(np.float32).tiny)


def find_nearest(
    vectors: Vectors, modality: str, *, usable: np.ndarray, targets: np.ndarray, groups: np.ndarray, k: int
) -> Nearest:
    """Return the nearest rows of all that are usable and have the modality.

    The time is that of a product of every two vectors, the memory that of the vectors and of one block.

    Shape:
        usable: (N,) bool
        targets, groups: (N,) int64; rows of one group are copies
    """
    n_rows = len(usable)
    rows = np.flatnonzero(usable & vectors.present[modality].numpy())
    kept = min(k, max(len(rows) - 1, 0))
    nearest = Nearest(
        is_known=np.zeros(n_rows, dtype=bool),
        rows=np.full((n_rows, k), -1),
        cosines=np.full((n_rows, k), NONE, np.float32),
        unlike=np.full(n_rows, -1),
        unlike_cosines=np.full(n_rows, NONE, np.float32),
    )
    nearest.is_known[rows] = True
    if not kept:
        return nearest
    directions = _directions(vectors, modality, rows)
    of_rows = torch.from_numpy(groups[rows]), torch.from_numpy(targets[rows])
    with Progress(f"Comparing products by {modality}", len(rows), unit="product") as progress:
        for places in torch.arange(len(rows)).split(ASKED_AT_ONCE):
            cosines, best, unlike_cosines, unlike = _search(directions, *of_rows, places, kept)
            asked = rows[places.numpy()]
            is_there = cosines.numpy() > NONE
            nearest.rows[asked, :kept] = np.where(is_there, rows[best.numpy()], -1)
            nearest.cosines[asked, :kept] = cosines.numpy()
            nearest.unlike[asked] = np.where(unlike_cosines.numpy() > NONE, rows[unlike.numpy()], -1)
            nearest.unlike_cosines[asked] = unlike_cosines.numpy()
            progress.advance(len(asked))
    return nearest


def cosine(vectors: Vectors, modality: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the cosines of raw vectors of pairs of rows, (n,) float32; NaN where one has nothing.

    Shape:
        left, right: (n,) int64
    """
    matrix, present = vectors.inputs[modality], vectors.present[modality]
    cosines = torch.full((len(left),), np.nan)
    for places in torch.arange(len(left)).split(STORED_AT_ONCE):
        first, second = (torch.from_numpy(rows)[places] for rows in (left, right))
        block = F.cosine_similarity(matrix[first], matrix[second], dim=1)
        cosines[places] = torch.where(present[first] & present[second], block, torch.nan)
    return cosines.numpy()


def _directions(vectors: Vectors, modality: str, rows: np.ndarray) -> torch.Tensor:
    """Return the rows' vectors, centred on their mean and scaled to length 1, (n, D) float32."""
    matrix = vectors.inputs[modality]
    directions = torch.empty(len(rows), matrix.shape[1])
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for places in torch.arange(len(rows)).split(READ_AT_ONCE):
        directions[places] = matrix[torch.from_numpy(rows[places.numpy()])]
        total += directions[places].double().sum(0)  # of all at once there would be a copy in float64
    directions -= (total / len(rows)).float()
    for block in directions.split(READ_AT_ONCE):
        block.div_(block.norm(dim=1, keepdim=True).clamp_min(1e-12))
    return directions


def _search(
    directions: torch.Tensor, groups: torch.Tensor, targets: torch.Tensor, places: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cosines and places of the nearest, (b, k) each, and of the nearest of another label, (b,) each."""
    asked, group, target = directions[places], groups[places][:, None], targets[places][:, None]
    best = torch.full((len(places), k), NONE)
    best_places = torch.zeros_like(best, dtype=torch.int64)
    unlike = torch.full((len(places),), NONE)
    unlike_places = torch.zeros_like(unlike, dtype=torch.int64)
    for start in range(0, len(directions), STORED_AT_ONCE):
        block = slice(start, start + STORED_AT_ONCE)
        cosines = asked @ directions[block].T  # (b, s)
        others = cosines.masked_fill(targets[block] == target, NONE).max(1)
        is_nearer = others.values > unlike
        unlike = torch.where(is_nearer, others.values, unlike)
        unlike_places = torch.where(is_nearer, others.indices + start, unlike_places)
        cosines.masked_fill_(groups[block] == group, NONE)  # a row is in its own group
        nearer = cosines.topk(min(k, cosines.shape[1]), dim=1)
        either = torch.cat([best, nearer.values], 1).topk(k, dim=1)
        best = either.values
        best_places = torch.cat([best_places, nearer.indices + start], 1).gather(1, either.indices)
    return best, best_places, unlike, unlike_places
