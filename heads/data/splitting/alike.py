"""Which contents are the same thing under different bytes: their vectors are equal within rounding, or nearly so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cache import Cache
from cache.arrays.row_hashes import first_of_equals, row_hashes
from heads.data.encoder_sets import dimension, split_name
from heads.data.splitting.connected import firsts_connected
from heads.data.splitting.near_points import near_pairs

__all__ = ["alike_contents", "near_contents"]

BLOCK_ROWS = 4096
N_PROJECTIONS = 16
N_INDEXED = 6  # of them, to look for near ones by
ROUNDING = {"fp32": 1e-3}  # the distance of unit vectors of one content, encoded in batches of other shapes
COARSE_ROUNDING = 1e-2  # of bf16 and fp16


def alike_contents(cache: Cache, modality: str, encoders: Iterable[str]) -> np.ndarray:
    """Return for each content the first one to which some encoder gives an equal vector, itself where none is before.

    Equal is within rounding; what is alike to the same is alike. The time is that of reading the vectors.

    Shape:
        output: (U,) int64
    """
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for names, rows in _compared(cache, modality, encoders):
        precisions = [str(cache.spec(modality, name).fields.get("precision", "fp32")) for name in names]
        rounding = max(ROUNDING.get(precision, COARSE_ROUNDING) for precision in precisions)
        pairs.append(rows[_equal_pairs(cache, modality, names, rows, rounding)])
    left, right = np.concatenate(pairs).T
    return firsts_connected(left, right, cache.n_contents(modality))


def near_contents(
    cache: Cache, modality: str, encoders: Iterable[str], *, cosine: float, alike: np.ndarray
) -> np.ndarray:
    """Return what `alike_contents` did, with those that have vectors of that cosine or a greater one taken together.

    The time is that of a product of every two vectors.

    Shape:
        alike, output: (U,) int64
    """
    pairs = [np.stack([alike, np.arange(len(alike))], axis=1)]
    for names, rows in _compared(cache, modality, encoders):
        pairs.append(rows[_near_pairs(cache, modality, names, rows, cosine)])
    left, right = np.concatenate(pairs).T
    return firsts_connected(left, right, len(alike))


def _compared(cache: Cache, modality: str, encoders: Iterable[str]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield the encoders whose vectors are compared, several where they are one, and the contents that have such."""
    for encoder in encoders:
        names = split_name(cache, modality, encoder)
        if len(names) == 1 and "depth" in cache.spec(modality, *names).fields:
            continue  # the first blocks of a network give all texts nearly one vector
        rows = np.flatnonzero(np.logical_and.reduce([cache.encoded(modality, name) for name in names]))
        # Tokens tell apart what vectors do not, but heads over several encoders see none.
        if len(rows) > 1 and not (len(names) == 1 and cache.has_tokens(modality, *names)):
            yield names, rows


def _equal_pairs(cache: Cache, modality: str, names: Sequence[str], rows: np.ndarray, rounding: float) -> np.ndarray:
    """Return pairs of places among the rows, (P, 2), that connect all vectors which are that near each other.

    Distances are estimated from random projections (Johnson and Lindenstrauss, 1984): what is equal within rounding
    stays so, and what is not is further apart by orders of magnitude.
    """
    projection = np.random.default_rng(0).standard_normal((dimension(cache, modality, names), N_PROJECTIONS))
    projection = (projection / np.sqrt(N_PROJECTIONS)).astype(np.float32)
    points = np.empty((len(rows), N_PROJECTIONS), dtype=np.float32)
    # Equal ones first fall into one cell each, so that the pairs are few however many are equal.
    cells, hashes = np.empty(points.shape, dtype=np.int32), np.empty(len(rows), dtype=np.uint64)
    for number, vectors in enumerate(_unit_blocks(cache, modality, names, rows)):
        block = slice(number * BLOCK_ROWS, number * BLOCK_ROWS + len(vectors))
        points[block] = vectors @ projection
        cells[block] = np.round(points[block] / (rounding / 4))
        hashes[block] = row_hashes(cells[block].T, len(vectors))
    firsts = first_of_equals(cells, hashes)
    is_first = firsts == np.arange(len(points))
    first, others = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    same_cell = np.stack([firsts[others], others], axis=1)
    left, right = near_pairs(points[first, :N_INDEXED], 1.5 * rounding).T
    is_near = np.linalg.norm(points[first[left]] - points[first[right]], axis=1) <= 1.5 * rounding
    near = np.stack([left, right], axis=1)[is_near]
    return np.concatenate([same_cell, first[near]])


def _near_pairs(cache: Cache, modality: str, names: Sequence[str], rows: np.ndarray, cosine: float) -> np.ndarray:
    """Return the pairs of places among the rows, (P, 2), whose vectors have that cosine or a greater one."""
    blocks = list(_unit_blocks(cache, modality, names, rows))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for n, left in enumerate(blocks):
        for m, right in enumerate(blocks[n:], start=n):
            first, second = np.nonzero(left @ right.T >= cosine)
            near = np.stack([first + n * BLOCK_ROWS, second + m * BLOCK_ROWS], axis=1)
            pairs.append(near[near[:, 0] < near[:, 1]])
    return np.concatenate(pairs)


def _unit_blocks(cache: Cache, modality: str, names: Sequence[str], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the vectors of some contents at length 1, (n, D) float32 each; one of zeros stays.

    Those of several encoders stand side by side and count as much: a cosine is the mean of theirs.
    """
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        first, end = int(block[0]), int(block[-1]) + 1
        units = []
        for name in names:
            vectors = cache.vector_block(modality, name, first, end)[block - first]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            units.append(vectors / np.where(lengths > 0, lengths, 1))
        yield units[0] if len(units) == 1 else np.concatenate(units, axis=1) / np.float32(len(units) ** 0.5)
