"""One encoder's vectors for the new file, gathered from the old file and from the parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np

from cache.arrays.large_arrays import row_blocks
from cache.inventory.inventory import Inventory
from cache.inventory.last_copies import LastCopies
from cache.journal.part_file import OpenParts, PartVectors
from cache.sealed.cache import Cache

__all__ = ["VectorTable"]


class VectorTable:
    """The vectors of all contents in the order of the keys, read block by block; no vector is read twice.

    Shape:
        encoded: (U,) bool, whether a content has a vector
    """

    def __init__(self, inventory: Inventory, modality: str, encoder: str) -> None:
        self._inventory, self._where = inventory, (modality, encoder)
        self._entry = inventory.entries[modality, encoder]
        self._parts = [part for part in self._entry.parts if len(part.rows)]
        self._copies = LastCopies(self._parts, len(inventory.keys[modality]))
        self.encoded = self._entry.keys.encoded

    @property
    def shape(self) -> tuple[int, int]:
        """(U, D)."""
        return len(self.encoded), self._entry.dim

    def blocks(self, block_rows: int) -> Iterator[np.ndarray]:
        """Yield all vectors in blocks of that many rows, NaN where there is none.

        Shape:
            output: (B, D) float32 each
        """
        parts = [PartVectors(part.file) for part in self._parts]
        sealed = Cache(self._inventory.cache_path) if self._entry.is_sealed else nullcontext()
        with sealed as cache, OpenParts() as opened:
            for rows in row_blocks(len(self.encoded), block_rows):
                block = np.full((rows.stop - rows.start, self._entry.dim), np.nan, dtype=np.float32)  # (B, D)
                if cache is not None:
                    sealed_vectors = cache.vector_block(*self._where, rows.start, rows.stop)
                    if sealed_vectors.size:  # they have no dimensions if no content could be read
                        block[: len(sealed_vectors)] = sealed_vectors
                for number, contents in self._copies.by_part(rows.start, rows.stop):
                    block[contents - rows.start] = parts[number].take(self._copies.row_of[contents], opened)
                yield block
