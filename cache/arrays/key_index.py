"""`KeyIndex`: the row of each content key, in arrays: tables of Python's strings take five times the memory."""

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
GUESSED_ROWS = 2**10  # so many that are looked up together are held against the rows that follow the last
# Other hashes in each process. Letters can still be chosen so that many keys have one hash: such are looked up slowly,
# and rightly. Digests cannot be chosen.
START = np.frombuffer(os.urandom(8), dtype=np.uint64)[0]

Keys = Iterable[str] | np.ndarray


class KeyIndex:
    """Content keys in rows, and which row has a key; 40 bytes a key where all are digests, else 72.

    Keys are found by a hash of theirs, in sorted runs of hashes that are merged as they grow, and compared whole. The
    runs are made when a key is looked up for the first time, so that two threads must not ask one index at once. Many
    keys that are looked up in the order of their rows need no hashes. In another process hashes are others: pickled
    are the keys alone.

    Args:
        keys: those of the first rows; of a key that is in several of them the first is found, but for many at once.
    """

    def __init__(self, keys: Keys = ()) -> None:
        self._words = empty((0, DIGEST_WORDS), np.uint64)  # with room for more behind them
        self._n_keys = 0
        self._runs = HashRuns()
        self._next = 0  # the row after the last that was found
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
        """Return the keys in some rows as numbers, (n, 4) or (n, 8) uint64; not to be changed."""
        return self._words[: self._n_keys][rows]

    def word_blocks(self) -> Iterator[np.ndarray]:
        """Yield all keys as numbers, by blocks."""
        for rows in row_blocks(len(self), BLOCK_ROWS):
            yield self.words(rows)

    def has(self, keys: Keys | KeyIndex) -> np.ndarray:
        """Return which of n keys have a row, (n,) bool."""
        return self.rows_of(keys) >= 0

    def rows_of(self, keys: Keys | KeyIndex) -> np.ndarray:
        """Return the row of each key, (n,) int32; -1 where it has none."""
        return _by_blocks(keys, self._rows_of)

    def add(self, keys: Keys | KeyIndex) -> np.ndarray:
        """Return the row of each key, (n,) int32; those that have none get the next ones, in their order."""
        return _by_blocks(keys, self._add)

    def extend(self, keys: Keys | KeyIndex) -> None:
        """Give keys the next rows, whether they have one already or not."""
        n_keys, blocks = _word_blocks(keys)
        if not len(self):  # else there is room for half as many more each time
            self.reserve(n_keys)
        for words in blocks:
            self._append(self._fitting(words))

    def reserve(self, n_keys: int) -> None:
        """Make room for so many keys in all, which takes memory as they come; else all are copied now and then."""
        if n_keys > len(self._words):
            self._copy(n_keys, self._words.shape[1])

    def reorder(self, order: np.ndarray) -> np.ndarray:
        """Put the key in row ``order[n]`` into row n, for each; return where each row has gone, (U,) int32."""
        self._index_all()  # by the rows as they are until now
        places, words = empty(len(order), ROW), empty((len(order), self._words.shape[1]), np.uint64)
        for rows in row_blocks(len(order)):
            places[order[rows]] = np.arange(rows.start, rows.stop)
            words[rows] = self._words[order[rows]]
        self._words = words
        self._runs.move(places)
        return places

    def in_order(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows in the order of their keys, (n,)."""
        if len(rows) <= BLOCK_ROWS or self._words.shape[1] != DIGEST_WORDS:
            return rows[np.argsort(self.letters(rows))]
        # Digests are spread evenly: those that begin alike are few enough to be sorted at once.
        ordered, first, n_ordered = empty(len(rows), rows.dtype), empty(len(rows), np.uint8), 0
        for block in row_blocks(len(rows)):
            first[block] = self._words[rows[block]].view(np.uint8)[:, 0]
        for value in (block.start for block in row_blocks(256, 1)):
            some = rows[first == value]
            ordered[n_ordered : n_ordered + len(some)] = some[np.argsort(self.letters(some))]
            n_ordered += len(some)
        return ordered

    def _append(self, words: np.ndarray) -> None:
        n_keys = self._n_keys + len(words)
        if n_keys > np.iinfo(ROW).max:
            raise CacheError(f"Expected at most {np.iinfo(ROW).max} contents, got more. Split the catalogue.")
        if n_keys > len(self._words):
            self.reserve(max(n_keys, self._n_keys * 3 // 2))
        self._words[self._n_keys : n_keys] = words
        self._n_keys = n_keys

    def _copy(self, n_keys: int, n_words: int) -> None:
        """Have the keys in an array with room for so many, of so many words each."""
        words = empty((n_keys, n_words), np.uint64)
        for rows in row_blocks(self._n_keys):
            some = self._words[rows]
            words[rows] = some if n_words == some.shape[1] else widen(some)
        self._words = words

    def _fitting(self, words: np.ndarray) -> np.ndarray:
        """Return keys that are to be added in as many words as those here; one that is no digest widens all."""
        if words.shape[1] < self._words.shape[1]:
            return widen(words)
        if words.shape[1] > self._words.shape[1]:
            self._copy(len(self._words), words.shape[1])
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
        rows, is_digest = np.full(len(words), -1, dtype=ROW), are_digests(words)  # others cannot be here
        rows[is_digest] = self._find(pack(unpack(words[is_digest])))
        return rows

    def _add(self, words: np.ndarray) -> np.ndarray:
        words = self._fitting(words)
        rows = self._find(words)
        new = np.flatnonzero(rows < 0)
        if len(new):
            first = first_of_equals(words[new], _hashes(words[new]))
            is_first = first == np.arange(len(new))
            rows[new] = len(self) + (np.cumsum(is_first) - 1)[first]
            self._append(words[new[is_first]])
        return rows

    def _find(self, words: np.ndarray) -> np.ndarray:
        start, n_guessed = self._guess(words) if len(words) >= GUESSED_ROWS else (0, 0)
        rows = np.arange(start, start + len(words), dtype=ROW)
        if n_guessed < len(words):
            self._index_all()
            left = words[n_guessed:]

            def are_same(candidates: np.ndarray, numbers: np.ndarray) -> np.ndarray:
                return _are_equal(self._words[candidates], left[numbers])

            rows[n_guessed:] = self._runs.find(_hashes(left).astype(HASH), are_same)
        if len(rows):
            self._next = int(rows[-1]) + 1
        return rows

    def _guess(self, words: np.ndarray) -> tuple[int, int]:
        """Return a row, and how many of the keys are those that stand from it on."""
        for start in (self._next, 0):
            stop = min(start + len(words), self._n_keys)
            if start < stop and (self._words[start] == words[0]).all():
                is_next = _are_equal(self._words[start:stop], words[: stop - start])
                return start, len(is_next) if is_next.all() else int(np.argmin(is_next))
        return 0, 0


def _by_blocks(keys: Any, find: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what is found of each block of keys as numbers, one behind the other, (n,) int32."""
    n_keys, blocks = _word_blocks(keys)
    rows, start = empty(n_keys, ROW), 0
    for words in blocks:
        rows[start : start + len(words)] = find(words)
        start += len(words)
    return rows


def _word_blocks(keys: Any) -> tuple[int, Iterator[np.ndarray]]:
    """Return how many keys there are, and these as numbers, by blocks."""
    if hasattr(keys, "word_blocks"):
        return len(keys), keys.word_blocks()
    array = as_keys(keys)
    return len(array), (pack(array[rows]) for rows in row_blocks(len(array), BLOCK_ROWS))


def _hashes(words: np.ndarray) -> np.ndarray:
    """Return a hash of each key, (n,) uint64."""
    return row_hashes(words.T, len(words), START)


def _are_equal(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (some == others).all(axis=1)
