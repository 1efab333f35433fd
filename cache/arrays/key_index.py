"""`KeyIndex`: the row of each content key, in arrays: a dict of Python's strings takes five times the memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cache.arrays.hash_runs import HASH, ROW, HashRuns
from cache.arrays.large_arrays import empty, row_blocks
from cache.arrays.packed_keys import DIGEST_WORDS, KEY_LETTERS, are_digests, as_keys, pack, unpack, widen
from cache.arrays.row_hashes import first_of_equals, row_hashes
from cache.errors import CacheError

__all__ = ["KEY_LETTERS", "KeyIndex", "as_keys"]

BLOCK_ROWS = 2**18  # looked up at once
GUESSED_ROWS = 2**10  # keys looked up together, from which on they are first compared to the rows after the last found
# Hashes differ between processes. Keys that are no digests can still be chosen so that many have one hash: they are
# looked up slowly, and correctly.
START = np.frombuffer(os.urandom(8), dtype=np.uint64)[0]

Keys = Iterable[str] | np.ndarray


class KeyIndex:
    """Content keys in rows, and which row has a key; 40 bytes a key where all are digests, else 72.

    Keys are found by their hash, in sorted runs of hashes that are merged as they grow, and then compared whole. The
    runs are made when a key is first looked up, so two threads must not look up keys in one index at once. Many keys
    that are looked up in the order of their rows need no hashes. Hashes differ between processes, so only the keys are
    pickled.

    Args:
        keys: those of the first rows; a key that is in several is found in the first of them, except where many keys
            are looked up in the order of their rows.
    """

    def __init__(self, keys: Keys = ()) -> None:
        self._words = empty((0, DIGEST_WORDS), np.uint64)  # the first `_n_keys` of them are used
        self._n_keys = 0
        self._runs = HashRuns()
        self._next_row = 0  # after the last that was found
        self.extend(keys)

    def __reduce__(self) -> tuple[type[KeyIndex], tuple[np.ndarray]]:
        return KeyIndex, (self.keys,)

    def __len__(self) -> int:
        return self._n_keys

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.has([key])[0])

    def __iter__(self) -> Iterator[str]:
        for rows in row_blocks(len(self), BLOCK_ROWS):
            yield from self.letters(rows).astype(str).tolist()

    @property
    def keys(self) -> np.ndarray:
        """The keys in the order of their rows, (U,) S64, made anew."""
        return self.letters(slice(0, len(self)))

    def key(self, row: int) -> str:
        """Return the key in one row."""
        return str(self.letters(slice(row, row + 1))[0].decode())

    def letters(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the keys in some rows, (n,) S64, made anew."""
        return unpack(self._words[: self._n_keys][rows])

    def words(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the words of the keys in some rows, (n, 4) or (n, 8) uint64, which are not to be changed."""
        return self._words[: self._n_keys][rows]

    def word_blocks(self) -> Iterator[np.ndarray]:
        """Yield the words of all keys by blocks."""
        for rows in row_blocks(len(self), BLOCK_ROWS):
            yield self.words(rows)

    def has(self, keys: Keys | KeyIndex) -> np.ndarray:
        """Return which of n keys have a row, (n,) bool."""
        return self.rows_of(keys) >= 0

    def rows_of(self, keys: Keys | KeyIndex) -> np.ndarray:
        """Return the row of each key, (n,) int32; -1 where it has none."""
        return _by_blocks(keys, self._rows_of)

    def add(self, keys: Keys | KeyIndex) -> np.ndarray:
        """Return the row of each key, (n,) int32; keys without a row get the next ones, in their order."""
        return _by_blocks(keys, self._add)

    def extend(self, keys: Keys | KeyIndex) -> None:
        """Give keys the next rows, whether they have one already or not."""
        n_keys, blocks = _word_blocks(keys)
        if not len(self):  # else there is room for half as many more each time
            self.reserve(n_keys)
        for words in blocks:
            self._append(self._in_common_width(words))

    def reserve(self, n_keys: int) -> None:
        """Make room for `n_keys` in all, so that they need not be copied as the index grows.

        The system gives the memory only as keys are written to it.
        """
        if n_keys > len(self._words):
            self._reallocate(n_keys, self._words.shape[1])

    def reorder(self, order: np.ndarray) -> np.ndarray:
        """Put the key in row ``order[n]`` into row n, for each n; return the new row of each old one, (U,) int32."""
        self._index_all()  # by the old rows
        new_rows, words = empty(len(order), ROW), empty((len(order), self._words.shape[1]), np.uint64)
        for rows in row_blocks(len(order)):
            new_rows[order[rows]] = np.arange(rows.start, rows.stop)
            words[rows] = self._words[order[rows]]
        self._words = words
        self._runs.move(new_rows)
        return new_rows

    def sorted_by_key(self, rows: np.ndarray) -> np.ndarray:
        """Return rows, sorted by their keys, (n,)."""
        if len(rows) <= BLOCK_ROWS or self._words.shape[1] != DIGEST_WORDS:
            return rows[np.argsort(self.letters(rows))]
        # Digests are spread evenly: those with the same first byte are few enough to be sorted at once.
        ordered, first_bytes, n_ordered = empty(len(rows), rows.dtype), empty(len(rows), np.uint8), 0
        for block in row_blocks(len(rows)):
            first_bytes[block] = self._words[rows[block]].view(np.uint8)[:, 0]
        for byte in row_blocks(256, 1):  # which drops the pages that were read for each
            byte_rows = rows[first_bytes == byte.start]
            ordered[n_ordered : n_ordered + len(byte_rows)] = byte_rows[np.argsort(self.letters(byte_rows))]
            n_ordered += len(byte_rows)
        return ordered

    def _append(self, words: np.ndarray) -> None:
        n_keys = self._n_keys + len(words)
        if n_keys > np.iinfo(ROW).max:
            raise CacheError(f"Expected at most {np.iinfo(ROW).max} contents, got more. Split the catalogue.")
        if n_keys > len(self._words):
            self.reserve(max(n_keys, self._n_keys * 3 // 2))
        self._words[self._n_keys : n_keys] = words
        self._n_keys = n_keys

    def _reallocate(self, n_keys: int, n_words: int) -> None:
        """Copy the keys to an array with room for `n_keys`, of `n_words` each."""
        words = empty((n_keys, n_words), np.uint64)
        for rows in row_blocks(self._n_keys):
            block = self._words[rows]
            words[rows] = block if n_words == block.shape[1] else widen(block)
        self._words = words

    def _in_common_width(self, words: np.ndarray) -> np.ndarray:
        """Return new keys in as many words as the index has; a key that is no digest widens the index."""
        if words.shape[1] < self._words.shape[1]:
            return widen(words)
        if words.shape[1] > self._words.shape[1]:
            self._reallocate(len(self._words), words.shape[1])
            self._runs = HashRuns()
        return words

    def _index_all(self) -> None:
        """Index the rows that came since the last time."""
        n_indexed = self._runs.n_rows
        for block in row_blocks(self._n_keys - n_indexed, BLOCK_ROWS):
            rows = slice(n_indexed + block.start, n_indexed + block.stop)
            self._runs.extend(_hashes(self._words[rows]).astype(HASH))

    def _rows_of(self, words: np.ndarray) -> np.ndarray:
        if words.shape[1] <= self._words.shape[1]:
            return self._find(words if words.shape[1] == self._words.shape[1] else widen(words))
        rows, is_digest = np.full(len(words), -1, dtype=ROW), are_digests(words)  # this index has nothing but digests
        rows[is_digest] = self._find(pack(unpack(words[is_digest])))
        return rows

    def _add(self, words: np.ndarray) -> np.ndarray:
        words = self._in_common_width(words)
        rows = self._find(words)
        new = np.flatnonzero(rows < 0)
        if len(new):
            first_equal = first_of_equals(words[new], _hashes(words[new]))
            is_first = first_equal == np.arange(len(new))
            rows[new] = len(self) + (np.cumsum(is_first) - 1)[first_equal]
            self._append(words[new[is_first]])
        return rows

    def _find(self, words: np.ndarray) -> np.ndarray:
        start, n_guessed = self._guess(words) if len(words) >= GUESSED_ROWS else (0, 0)
        rows = np.arange(start, start + len(words), dtype=ROW)
        if n_guessed < len(words):
            self._index_all()
            remaining = words[n_guessed:]

            def are_same(candidates: np.ndarray, indices: np.ndarray) -> np.ndarray:
                return _are_equal(self._words[candidates], remaining[indices])

            rows[n_guessed:] = self._runs.find(_hashes(remaining).astype(HASH), are_same)
        if len(rows):
            self._next_row = int(rows[-1]) + 1
        return rows

    def _guess(self, words: np.ndarray) -> tuple[int, int]:
        """Return a row, and how many keys, from the first on, are those of the consecutive rows that begin with it."""
        for start in (self._next_row, 0):
            stop = min(start + len(words), self._n_keys)
            if start < stop and (self._words[start] == words[0]).all():
                is_next = _are_equal(self._words[start:stop], words[: stop - start])
                return start, len(is_next) if is_next.all() else int(np.argmin(is_next))
        return 0, 0


def _by_blocks(keys: Any, rows_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the rows that a function returns for the words of each block of keys, concatenated, (n,) int32."""
    n_keys, blocks = _word_blocks(keys)
    rows, start = empty(n_keys, ROW), 0
    for words in blocks:
        rows[start : start + len(words)] = rows_of(words)
        start += len(words)
    return rows


def _word_blocks(keys: Any) -> tuple[int, Iterator[np.ndarray]]:
    """Return the number of keys, and their words by blocks."""
    if hasattr(keys, "word_blocks"):
        return len(keys), keys.word_blocks()
    array = as_keys(keys)
    return len(array), (pack(array[rows]) for rows in row_blocks(len(array), BLOCK_ROWS))


def _hashes(words: np.ndarray) -> np.ndarray:
    """Return a hash of each key, (n,) uint64."""
    return row_hashes(words.T, len(words), START)


def _are_equal(words: np.ndarray, other_words: np.ndarray) -> np.ndarray:
    return (words == other_words).all(axis=1)
