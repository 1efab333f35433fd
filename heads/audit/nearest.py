"""The nearest rows of each row in one modality, by exact cosines, a block at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from cache.console.progress import Progress
from heads.data.vectors import Vectors

__all__ = ["Nearest", "cosine", "find_nearest"]

# Rows: cosines are computed in blocks of so many. The memory of larger ones goes back to the system after each block,
# which costs a tenth of the time.
ASKED_AT_ONCE, STORED_AT_ONCE = 1_024, 2_048
READ_AT_ONCE = 16_384
NONE = -2.0  # less than any cosine
TEMPERATURE = 0.07  # that of DINO's vote (arXiv 2104.14294)


@dataclass(frozen=True)
class Nearest:
    """Each row's nearest rows that are no copies of it, the nearest first, and the nearest of another label.

    Directions are centred on the mean of all rows, as cosines of raw vectors are all near 1.

    Shape:
        is_compared: (N,) bool, the rows that took part
        rows: (N, k) int64, -1 where there are not so many
        cosines: (N, k) float32
        other_label_rows: (N,) int64, the nearest row of another label, copies too; -1 where there is none
        other_label_cosines: (N,) float32
    """

    is_compared: np.ndarray
    rows: np.ndarray
    cosines: np.ndarray
    other_label_rows: np.ndarray
    other_label_cosines: np.ndarray

    def votes(self, targets: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return how many of each row's nearest have a class, (N,) int64.

        Shape:
            targets: (N,) int64, each row's class
            classes: (N,) int64, the class that is counted among its nearest
        """
        return ((self.rows >= 0) & (targets[self.rows] == classes[:, None])).sum(1)

    def vote_shares(self, targets: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the share of a class in the vote of each row's nearest, (N,) float64; nearer rows weigh more.

        Shape:
            targets: (N,) int64, each row's class
            classes: (N,) int64, the class whose share it is
        """
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
    n_nearest = min(k, max(len(rows) - 1, 0))
    nearest = Nearest(
        is_compared=np.zeros(n_rows, dtype=bool),
        rows=np.full((n_rows, k), -1),
        cosines=np.full((n_rows, k), NONE, np.float32),
        other_label_rows=np.full(n_rows, -1),
        other_label_cosines=np.full(n_rows, NONE, np.float32),
    )
    nearest.is_compared[rows] = True
    if not n_nearest:
        return nearest
    directions = _directions(vectors, modality, rows)
    row_codes = torch.from_numpy(groups[rows]), torch.from_numpy(targets[rows])
    with Progress(f"Comparing products by {modality}", len(rows), unit="product") as progress:
        for positions in torch.arange(len(rows)).split(ASKED_AT_ONCE):
            cosines, nearest_positions, other_cosines, other_positions = (
                part.numpy() for part in _search(directions, *row_codes, positions, n_nearest)
            )
            query_rows = rows[positions.numpy()]
            nearest.rows[query_rows, :n_nearest] = np.where(cosines > NONE, rows[nearest_positions], -1)
            nearest.cosines[query_rows, :n_nearest] = cosines
            nearest.other_label_rows[query_rows] = np.where(other_cosines > NONE, rows[other_positions], -1)
            nearest.other_label_cosines[query_rows] = other_cosines
            progress.advance(len(query_rows))
    return nearest


def cosine(vectors: Vectors, modality: str, first_rows: np.ndarray, second_rows: np.ndarray) -> np.ndarray:
    """Return the cosines of the raw vectors of pairs of rows, (n,) float32; NaN where a row lacks the modality.

    Shape:
        first_rows, second_rows: (n,) int64
    """
    matrix, present = vectors.inputs[modality], vectors.present[modality]
    cosines = torch.full((len(first_rows),), np.nan)
    for positions in torch.arange(len(first_rows)).split(STORED_AT_ONCE):
        first, second = (torch.from_numpy(rows)[positions] for rows in (first_rows, second_rows))
        block = F.cosine_similarity(matrix[first], matrix[second], dim=1)
        cosines[positions] = torch.where(present[first] & present[second], block, torch.nan)
    return cosines.numpy()


def _directions(vectors: Vectors, modality: str, rows: np.ndarray) -> torch.Tensor:
    """Return the rows' vectors, centred on their mean and scaled to length 1, (n, D) float32."""
    matrix = vectors.inputs[modality]
    directions = torch.empty(len(rows), matrix.shape[1])
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for positions in torch.arange(len(rows)).split(READ_AT_ONCE):
        directions[positions] = matrix[torch.from_numpy(rows[positions.numpy()])]
        total += directions[positions].double().sum(0)  # by blocks: in float64 all rows would be another copy
    directions -= (total / len(rows)).float()
    for block in directions.split(READ_AT_ONCE):
        block.div_(block.norm(dim=1, keepdim=True).clamp_min(1e-12))
    return directions


def _search(
    directions: torch.Tensor, groups: torch.Tensor, targets: torch.Tensor, query_positions: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return cosines and positions of the k nearest, (b, k) each, and of the nearest of another label, (b,) each.

    A cosine is NONE, and its position 0, where there are fewer.

    Shape:
        directions: (n, D) float32, of length 1
        groups, targets: (n,) int64
        query_positions: (b,) int64, of the rows whose nearest are searched
    """
    queries = directions[query_positions]
    group, target = groups[query_positions][:, None], targets[query_positions][:, None]  # (b, 1) each
    best_cosines = torch.full((len(query_positions), k), NONE)
    best_positions = torch.zeros_like(best_cosines, dtype=torch.int64)
    other_label_cosines = torch.full((len(query_positions),), NONE)
    other_label_positions = torch.zeros_like(other_label_cosines, dtype=torch.int64)
    for start in range(0, len(directions), STORED_AT_ONCE):
        block = slice(start, start + STORED_AT_ONCE)
        cosines = queries @ directions[block].T  # (b, s)
        other_label = cosines.masked_fill(targets[block] == target, NONE).max(1)
        is_nearer = other_label.values > other_label_cosines
        other_label_cosines = torch.where(is_nearer, other_label.values, other_label_cosines)
        other_label_positions = torch.where(is_nearer, other_label.indices + start, other_label_positions)
        cosines.masked_fill_(groups[block] == group, NONE)  # a row is in its own group
        nearer = cosines.topk(min(k, cosines.shape[1]), dim=1)
        merged = torch.cat([best_cosines, nearer.values], 1).topk(k, dim=1)
        best_cosines = merged.values
        best_positions = torch.cat([best_positions, nearer.indices + start], 1).gather(1, merged.indices)
    return best_cosines, best_positions, other_label_cosines, other_label_positions
