"""One encoder's tokens for the new file, gathered from the old file and from the parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np

from cache.arrays.large_arrays import release_pages
from cache.inventory.inventory import Inventory
from cache.inventory.last_copies import LastCopies
from cache.journal.part_file import OpenParts, PartTokens
from cache.sealed.cache import Cache
from cache.tokens import offsets_of, row_ranges

__all__ = ["TokenTable"]


class TokenTable:
    """The tokens of all contents in the order of the keys, read block by block and never held whole.

    Shape:
        offsets: (U + 1,) int64; a content without vector has an empty range
    """

    def __init__(self, inventory: Inventory, modality: str, encoder: str) -> None:
        self._inventory, self._where = inventory, (modality, encoder)
        self._entry = inventory.entries[modality, encoder]
        n_contents = len(inventory.keys[modality])
        counts = np.zeros(n_contents, dtype=np.int64)
        self._old_offsets = np.zeros(1, dtype=np.int64)
        if self._entry.is_sealed:
            with Cache(inventory.cache_path) as cache:
                if cache.has_tokens(modality, encoder):
                    old_counts = cache.token_counts(modality, encoder)
                    self._old_offsets = offsets_of(old_counts)
                    counts[: len(old_counts)] = old_counts
        self._parts = [part for part in self._entry.parts if part.token_counts is not None and len(part.rows)]
        self._copies = LastCopies(self._parts, n_contents)
        part_counts = [part.token_counts for part in self._parts if part.token_counts is not None]
        for number, contents in self._copies.by_part(0, n_contents):
            counts[contents] = part_counts[number][self._copies.row_of[contents]]
        self.offsets = offsets_of(counts)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, D)."""
        return int(self.offsets[-1]), self._entry.token_dim

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
        parts = [PartTokens(part.file) for part in self._parts]
        sealed = Cache(self._inventory.cache_path) if len(self._old_offsets) > 1 else nullcontext()
        with sealed as cache, OpenParts() as opened:
            start = 0
            while start < n_contents:
                last_offset = self.offsets[start] + block_rows
                stop = max(start + 1, int(np.searchsorted(self.offsets, last_offset, side="right")) - 1)
                yield self._block(cache, parts, start, stop, opened)
                start = stop
                release_pages()

    def _block(
        self, cache: Cache | None, parts: list[PartTokens], start: int, stop: int, opened: OpenParts
    ) -> np.ndarray:
        """Return the tokens of the contents from `start` to `stop`, (B, D) float16."""
        begin, end = self.offsets[[start, stop]]
        block = np.empty((end - begin, self.shape[1]), dtype=np.float16)  # (B, D)

        def rows_of(contents: np.ndarray) -> np.ndarray:  # in the block
            return row_ranges(self.offsets[contents] - begin, self.offsets[contents + 1] - self.offsets[contents])

        if cache is not None and start < len(self._old_offsets) - 1:
            offsets = self._old_offsets[start : stop + 1]
            sealed = np.flatnonzero(self._copies.part_of[start : start + len(offsets) - 1] < 0)
            rows = row_ranges(offsets[sealed] - offsets[0], offsets[sealed + 1] - offsets[sealed])
            tokens = cache.token_values(*self._where, int(offsets[0]), int(offsets[-1]))
            block[rows_of(start + sealed)] = tokens[rows]
        for number, contents in self._copies.by_part(start, stop):
            block[rows_of(contents)] = parts[number].take(self._copies.row_of[contents], opened)
        return block
