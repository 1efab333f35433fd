"""Contents that are duplicates under different bytes: their vectors are equal within rounding, or nearly so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cache import Cache
from cache.arrays.row_hashes import first_of_equals, row_hashes
from heads.data.encoder_sets import dimension, split_name
from heads.data.splitting.connected_components import first_in_component
from heads.data.splitting.near_points import near_pairs

__all__ = ["first_duplicates", "first_near_duplicates"]

BLOCK_ROWS = 4096
N_PROJECTIONS = 16
N_INDEXED = 6  # of the projections: near points are looked for by them, then held against all
ROUNDING = {"fp32": 1e-3}  # the distance of unit vectors of one content, encoded in batches of other shapes
COARSE_ROUNDING = 1e-2  # of bf16 and fp16


def first_duplicates(cache: Cache, modality: str, encoders: Iterable[str]) -> np.ndarray:
    """Return for each content the first one to which some encoder gives an equal vector, itself where none is before.

    Equal is within rounding; two that equal a third are duplicates, too. The time is that of reading the vectors.

    Shape:
        output: (U,) int64
    """
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for names, rows in _compared(cache, modality, encoders):
        precisions = [str(cache.spec(modality, name).fields.get("precision", "fp32")) for name in names]
        rounding = max(ROUNDING.get(precision, COARSE_ROUNDING) for precision in precisions)
        pairs.append(rows[_equal_pairs(cache, modality, names, rows, rounding)])
    return first_in_component(np.concatenate(pairs), cache.n_contents(modality))


def first_near_duplicates(
    cache: Cache, modality: str, encoders: Iterable[str], *, cosine: float, firsts: np.ndarray
) -> np.ndarray:
    """Return the same as `first_duplicates`, whose result is `firsts`, where vectors of that cosine or more are equal.

    The time is that of a product of every two vectors.

    Shape:
        firsts, output: (U,) int64
    """
    pairs = [np.stack([firsts, np.arange(len(firsts))], axis=1)]
    for names, rows in _compared(cache, modality, encoders):
        pairs.append(rows[_near_pairs(cache, modality, names, rows, cosine)])
    return first_in_component(np.concatenate(pairs), len(firsts))


def _compared(cache: Cache, modality: str, encoders: Iterable[str]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield the encoders whose vectors are compared, several where they are joined, and the contents that have them."""
    for encoder in encoders:
        names = split_name(cache, modality, encoder)
        if len(names) == 1 and "depth" in cache.spec(modality, *names).fields:
            continue  # the first blocks of a network give all texts nearly one vector
        rows = np.flatnonzero(np.logical_and.reduce([cache.encoded(modality, name) for name in names]))
        # Tokens tell apart what vectors do not, but heads over several encoders see none.
        if len(rows) > 1 and not (len(names) == 1 and cache.has_tokens(modality, *names)):
            yield names, rows


def _equal_pairs(cache: Cache, modality: str, names: Sequence[str], rows: np.ndarray, rounding: float) -> np.ndarray:
    """Return pairs of positions in `rows`, (P, 2), that connect all vectors which are equal within the rounding.

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
    distinct, repeated = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    same_cell = np.stack([firsts[repeated], repeated], axis=1)
    pairs = distinct[near_pairs(points[distinct, :N_INDEXED], 1.5 * rounding)]
    distances = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    return np.concatenate([same_cell, pairs[distances <= 1.5 * rounding]])


def _near_pairs(cache: Cache, modality: str, names: Sequence[str], rows: np.ndarray, cosine: float) -> np.ndarray:
    """Return the pairs of positions in `rows`, (P, 2), whose vectors have that cosine or a greater one."""
    blocks = list(_unit_blocks(cache, modality, names, rows))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for n, first_block in enumerate(blocks):
        for m, second_block in enumerate(blocks[n:], start=n):
            first_rows, second_rows = np.nonzero(first_block @ second_block.T >= cosine)
            near = np.stack([first_rows + n * BLOCK_ROWS, second_rows + m * BLOCK_ROWS], axis=1)
            pairs.append(near[near[:, 0] < near[:, 1]])
    return np.concatenate(pairs)


def _unit_blocks(cache: Cache, modality: str, names: Sequence[str], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the vectors of some contents at length 1, (n, D) float32 each; one of zeros stays.

    Those of several encoders stand side by side and count as much: a cosine is the mean of theirs.
    """
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        start_row, end_row = int(block[0]), int(block[-1]) + 1
        units = []
        for name in names:
            vectors = cache.vector_block(modality, name, start_row, end_row)[block - start_row]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            units.append(vectors / np.where(lengths > 0, lengths, 1))
        yield units[0] if len(units) == 1 else np.concatenate(units, axis=1) / np.float32(len(units) ** 0.5)
