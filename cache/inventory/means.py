"""Means of several contents' vectors, which are published as vectors like any others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, compress

import numpy as np

from cache.arrays.encoded_keys import EncodedKeys
from cache.inventory.inventory import Entry, Inventory
from cache.inventory.last_copies import LastCopies
from cache.journal.part import Part
from cache.journal.part_file import PartVectors
from cache.sealed.cache import Cache
from cache.sealed.vector_rows import VectorRows

__all__ = ["publish_means"]

PART_BYTES = 2**26  # of the vectors that one part's means are made of


def publish_means(inventory: Inventory, modality: str, members: Mapping[str, Sequence[str]]) -> None:
    """Publish the mean vectors that the inventory lacks, of each encoder without tokens that has all members' vectors.

    `members` gives each mean's key (`cache.keys.mean_key`) the keys of its contents. Memory is bounded by
    `PART_BYTES`. Sums are in float64 and in the members' order, so that a mean is the same in every run.

    Raises:
        CacheError, UnreadableError: as publishing and reading do.
    """
    for (entry_modality, encoder), entry in inventory.entries.items():
        if entry_modality != modality or entry.token_dim:
            continue
        lacking = _lacking(entry.keys, members)
        reader = _VectorReader(inventory, modality, encoder)
        for keys in _portions(lacking, members, most_vectors=PART_BYTES // max(1, 4 * entry.dim)):
            vectors = reader.read([member for key in keys for member in members[key]])  # (M, D)
            counts = np.array([len(members[key]) for key in keys])
            sums = np.add.reduceat(vectors, np.cumsum(counts) - counts, axis=0, dtype=np.float64)  # (n, D)
            means = (sums / counts[:, None]).astype(np.float32)
            inventory.journal.publish(Part(encoder, entry.spec, keys, means, {}))


class _VectorReader:
    """Vectors of one encoder by their keys, from the old file and from the parts."""

    def __init__(self, inventory: Inventory, modality: str, encoder: str) -> None:
        self._inventory, self._where = inventory, (modality, encoder)
        self._entry: Entry = inventory.entries[modality, encoder]
        self._index = inventory.keys[modality]
        self._copies = LastCopies(self._entry.parts, len(self._index))
        self._parts: dict[int, PartVectors] = {}  # those that were read, by their number

    def read(self, keys: Sequence[str]) -> np.ndarray:
        """Return the vectors of keys that all have one, (n, D) float32."""
        vectors = np.empty((len(keys), self._entry.dim), dtype=np.float32)
        contents = self._index.rows_of(keys)  # (n,)
        part_numbers = self._copies.part_of[contents]  # (n,)
        for number in np.unique(part_numbers).tolist():
            indices = np.flatnonzero(part_numbers == number)
            if number < 0:
                with Cache(self._inventory.cache_path) as cache:
                    vectors[indices] = VectorRows(cache, *self._where).take(contents[indices])
                continue
            if number not in self._parts:
                self._parts[number] = PartVectors(self._entry.parts[number].file)
            rows, inverse = np.unique(self._copies.row_of[contents[indices]], return_inverse=True)
            vectors[indices] = self._parts[number].take(rows)[inverse]
        return vectors


def _lacking(encoded: EncodedKeys, members: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the keys of the means that have no vector, while all of their members have one."""
    counts = np.array(list(map(len, members.values())), dtype=np.int64)
    has_vector = encoded.has(chain.from_iterable(members.values()))
    n_encoded = np.diff(np.append(0, np.cumsum(has_vector)[np.cumsum(counts) - 1]))
    return list(compress(members, (n_encoded == counts) & ~encoded.has(members)))


def _portions(keys: Sequence[str], members: Mapping[str, Sequence[str]], *, most_vectors: int) -> Iterator[list[str]]:
    """Yield the keys in portions that have at most `most_vectors` members together, or one key."""
    portion: list[str] = []
    n_vectors = 0
    for key in keys:
        if portion and n_vectors + len(members[key]) > most_vectors:
            yield portion
            portion, n_vectors = [], 0
        portion.append(key)
        n_vectors += len(members[key])
    if portion:
        yield portion
