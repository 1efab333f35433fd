"""`KeyIndex`: the row of each content key, in arrays: tables of Python's strings take three times the memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from cache.errors import CacheError

__all__ = ["KEY_LETTERS", "KeyIndex", "as_keys"]

KEY_LETTERS = 64
KEY = np.dtype(f"S{KEY_LETTERS}")
BLOCK_ROWS = 2**18  # looked up at once
MIXER = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplier for hashing, The Art of Computer Programming, 6.4
START = np.frombuffer(os.urandom(8), dtype=np.uint64)[0]  # so that nobody can choose keys that all have one hash


def as_keys(keys: Iterable[str] | np.ndarray) -> np.ndarray:
    """Return keys as an array, (n,) S64.

    Raises:
        CacheError: a key is longer than 64 letters, or has others than those of ASCII.
    """
    try:
        array = np.asarray(keys if hasattr(keys, "__array__") else list(keys), dtype="S")
    except UnicodeEncodeError as error:
        text = f"Expected content keys of ASCII letters, got {error.object!r}. Use cache.content_key."
        raise CacheError(text) from error
    if array.dtype.itemsize > KEY.itemsize:
        longest = max(array.tolist(), key=len).decode()
        raise CacheError(f"Expected content keys of at most 64 letters, got {longest!r}. Use cache.content_key.")
    return np.ascontiguousarray(array, dtype=KEY)


class KeyIndex:
    """Content keys in rows, and which row has a key; 80 bytes a key.

    Keys are found by a hash of theirs, in sorted runs of hashes that are merged as they grow, and compared whole. The
    runs are made when a key is looked up for the first time, so that two threads must not ask one index at once. In
    another process hashes are others: pickled are the keys alone.

    Args:
        keys: those of the first rows; of a key that is in several of them the first is found.
    """

    def __init__(self, keys: Iterable[str] | np.ndarray = ()) -> None:
        self._keys = as_keys(keys)  # with room for more behind them
        self._n_keys = len(self._keys)
        self._n_indexed = 0
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []  # hashes, sorted, and the row of each: (n,) and (n,)

    def __reduce__(self) -> tuple[type[KeyIndex], tuple[np.ndarray]]:
        return KeyIndex, (self.keys,)

    def __len__(self) -> int:
        return self._n_keys

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.has([key])[0])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK_ROWS):
            yield from self.keys[start : start + BLOCK_ROWS].astype(str).tolist()

    @property
    def keys(self) -> np.ndarray:
        """The keys in the order of their rows, (U,) S64; not to be changed."""
        return self._keys[: self._n_keys]

    def has(self, keys: Iterable[str] | np.ndarray) -> np.ndarray:
        """Return which of n keys have a row, (n,) bool."""
        return self.rows_of(keys) >= 0

    def rows_of(self, keys: Iterable[str] | np.ndarray) -> np.ndarray:
        """Return the row of each key, (n,) int64; -1 where it has none."""
        wanted = as_keys(keys)
        if len(wanted):
            self._index_all()
        pieces = [wanted[start : start + BLOCK_ROWS] for start in range(0, len(wanted), BLOCK_ROWS)]
        return np.concatenate([np.empty(0, dtype=np.int64), *(self._find(piece, _hashes(piece)) for piece in pieces)])

    def add(self, keys: Iterable[str] | np.ndarray) -> np.ndarray:
        """Return the row of each key, (n,) int64; those that have none get the next ones, in their order."""
        wanted = as_keys(keys)
        self._index_all()
        hashes = _hashes(wanted)
        rows = self._find(wanted, hashes)
        new = np.flatnonzero(rows < 0)
        if len(new):
            first = _first_of_equals(wanted[new], hashes[new])
            is_first = first == np.arange(len(new))
            rows[new] = len(self) + (np.cumsum(is_first) - 1)[first]
            self._append(wanted[new[is_first]])
        return rows

    def reserve(self, n_keys: int) -> None:
        """Make room for so many keys in all, which takes memory as they come; else all are copied now and then."""
        if n_keys > len(self._keys):
            room = np.empty(n_keys, dtype=KEY)
            room[: self._n_keys] = self.keys
            self._keys = room

    def reorder(self, order: np.ndarray) -> np.ndarray:
        """Put the key in row ``order[n]`` into row n, for each; return where each row has gone, (U,) int64."""
        self._index_all()  # by the rows as they are until now
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        self._keys = self._keys[order]
        self._runs = [(hashes, places[rows]) for hashes, rows in self._runs]
        return places

    def _append(self, keys: np.ndarray) -> None:
        n_keys = self._n_keys + len(keys)
        if n_keys > len(self._keys):
            self.reserve(max(n_keys, self._n_keys * 3 // 2))
        self._keys[self._n_keys : n_keys] = keys
        self._n_keys = n_keys

    def _index_all(self) -> None:
        """Index the rows that came since the last time; of two runs the older is at least twice as long."""
        if self._n_indexed == self._n_keys:
            return
        hashes = _hashes(self._keys[self._n_indexed : self._n_keys])
        self._runs.append(_sorted(hashes, np.arange(self._n_indexed, self._n_keys)))
        self._n_indexed = self._n_keys
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(_sorted(np.append(before[0], last[0]), np.append(before[1], last[1])))

    def _find(self, wanted: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        rows = np.full(len(wanted), -1, dtype=np.int64)
        order = np.argsort(hashes)  # what is looked at one after the other lies side by side
        for run_hashes, run_rows in self._runs:
            left = order[rows[order] < 0]
            places = np.searchsorted(run_hashes, hashes[left])
            while len(left):
                is_alike = run_hashes.take(places, mode="clip") == hashes[left]
                is_alike &= places < len(run_hashes)
                left, places = left[is_alike], places[is_alike]
                candidates = run_rows[places]
                is_same = _are_equal(self._keys[candidates], wanted[left])
                rows[left[is_same]] = candidates[is_same]
                left, places = left[~is_same], places[~is_same] + 1
        return rows


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(hashes, kind="stable")  # which merges two sorted runs in one pass, and has the first row first
    return hashes[order], rows[order]


def _words(keys: np.ndarray) -> np.ndarray:
    return keys.view(np.uint64).reshape(-1, KEY.itemsize // 8)  # (n, 8)


def _hashes(keys: np.ndarray) -> np.ndarray:
    """Return a hash of each key, (n,) uint64."""
    hashes = np.full(len(keys), START)
    for word in _words(keys).T:
        hashes ^= word
        hashes *= MIXER
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _are_equal(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (_words(some) == _words(others)).all(axis=1)


def _first_of_equals(keys: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return for each key the place of the first that is equal, (n,) int64."""
    first = np.arange(len(keys))
    left = np.argsort(hashes, kind="stable")  # the first of equals is before the others
    while len(left):
        starts = np.append(True, hashes[left][1:] != hashes[left][:-1])
        leaders = left[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
        is_same = _are_equal(keys[leaders], keys[left])
        first[left[is_same]] = leaders[is_same]
        left = left[~is_same]
    return first
