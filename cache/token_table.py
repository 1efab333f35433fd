"""One encoder's tokens as the new file will have them: gathered from the old file and from the parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np

from cache.inventory import Inventory
from cache.journal import load_tokens
from cache.store import Cache
from cache.tokens import row_ranges

__all__ = ["TokenTable"]


class TokenTable:
    """The tokens of all contents in the order of the keys, read block by block and never held whole.

    Shape:
        offsets: (U + 1,) int64; a content without vector has an empty range
    """

    def __init__(self, inventory: Inventory, modality: str, encoder: str) -> None:
        self._inventory, self._where = inventory, (modality, encoder)
        self._entry = inventory.entries[modality, encoder]
        rows = inventory.keys[modality]
        counts = np.zeros(len(rows), dtype=np.int64)
        self._n_old = 0
        if self._entry.sealed:
            with Cache(inventory.cache_path) as cache:
                if cache.has_tokens(modality, encoder):
                    old = cache.token_counts(modality, encoder)
                    self._n_old = len(old)
                    counts[: len(old)] = old
        # A content may stand in several parts; of each only one copy is taken, the last, as it is of the vectors.
        taken_from = np.full(len(rows), -1, dtype=np.int64)
        self._parts = []
        n_seen = 0
        for part in self._entry.parts:
            if part.keys and part.token_counts is not None:
                contents = np.array([rows[key] for key in part.keys], dtype=np.int64)  # (n,)
                counts[contents] = part.token_counts
                taken_from[contents] = n_seen + np.arange(len(contents))
                self._parts.append((part.path, contents, n_seen))
                n_seen += len(contents)
        self._taken_from = taken_from
        self.offsets = np.append(0, np.cumsum(counts)).astype(np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, D)."""
        return int(self.offsets[-1]), self._entry.n_token_dim

    @property
    def n_bytes(self) -> int:
        """The bytes of the tokens and of their offsets."""
        return 2 * self.shape[0] * self.shape[1] + self.offsets.nbytes

    def blocks(self, block_rows: int) -> Iterator[np.ndarray]:
        """Yield all tokens in blocks of whole contents: at most `block_rows` tokens, or those of one content.

        Shape:
            output: (B, D) float16 each
        """
        n_contents = len(self.offsets) - 1
        with Cache(self._inventory.cache_path) if self._n_old else nullcontext() as cache:
            start = 0
            while start < n_contents:
                most = self.offsets[start] + block_rows
                stop = max(start + 1, int(np.searchsorted(self.offsets, most, side="right")) - 1)
                yield self._block(cache, start, stop)
                start = stop

    def _block(self, cache: Cache | None, start: int, stop: int) -> np.ndarray:
        begin, end = self.offsets[[start, stop]]
        block = np.empty((end - begin, self.shape[1]), dtype=np.float16)  # (B, D)

        def rows_of(contents: np.ndarray) -> np.ndarray:
            return row_ranges(self.offsets[contents] - begin, self.offsets[contents + 1] - self.offsets[contents])

        if cache is not None and start < self._n_old:
            old_stop = min(stop, self._n_old)
            kept = np.flatnonzero(self._taken_from[start:old_stop] < 0)
            block[rows_of(start + kept)] = cache.token_block(*self._where, start, old_stop).take(kept).values
        for path, contents, n_before in self._parts:
            inside = (contents >= start) & (contents < stop)
            rows = np.flatnonzero(inside & (self._taken_from[contents] == n_before + np.arange(len(contents))))
            if len(rows):
                block[rows_of(contents[rows])] = load_tokens(path, rows).values
        return block
