"""Means of several contents' vectors, which are published as vectors like any others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cache.inventory import Entry, Inventory
from cache.part import Part
from cache.part_file import PartVectors
from cache.store import Cache
from cache.vector_rows import VectorRows

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
        if entry_modality != modality or entry.n_token_dim:
            continue
        lacking = [key for key, some in members.items() if key not in entry.keys and entry.keys.issuperset(some)]
        reader = _VectorReader(inventory, modality, encoder)
        for keys in _portions(lacking, members, most_vectors=PART_BYTES // max(1, 4 * entry.n_dim)):
            vectors = reader.read([one for key in keys for one in members[key]])  # (M, D)
            counts = np.array([len(members[key]) for key in keys])
            sums = np.add.reduceat(vectors, np.cumsum(counts) - counts, axis=0, dtype=np.float64)  # (n, D)
            means = (sums / counts[:, None]).astype(np.float32)
            inventory.journal.publish(Part(encoder, entry.spec, keys, means, {}))


class _VectorReader:
    """Vectors of one encoder by their keys, from the old file and from the parts."""

    def __init__(self, inventory: Inventory, modality: str, encoder: str) -> None:
        self._inventory, self._where = inventory, (modality, encoder)
        self._entry: Entry = inventory.entries[modality, encoder]
        self._places = {key: (n, row) for n, part in enumerate(self._entry.parts) for row, key in enumerate(part.keys)}
        self._parts: dict[int, PartVectors] = {}  # those that were asked for, by their number

    def read(self, keys: Sequence[str]) -> np.ndarray:
        """Return the vectors of keys that all have one, (n, D) float32."""
        vectors = np.empty((len(keys), self._entry.n_dim), dtype=np.float32)
        places = np.array([self._places.get(key, (-1, -1)) for key in keys])  # (n, 2): part, row in it
        for n in np.unique(places[:, 0]).tolist():
            chosen = np.flatnonzero(places[:, 0] == n)
            if n >= 0:
                if n not in self._parts:
                    self._parts[n] = PartVectors(self._entry.parts[n].file)
                rows, which = np.unique(places[chosen, 1], return_inverse=True)
                vectors[chosen] = self._parts[n].take(rows)[which]
            else:
                self._read_sealed(vectors, chosen, keys)
        return vectors

    def _read_sealed(self, vectors: np.ndarray, chosen: np.ndarray, keys: Sequence[str]) -> None:
        rows = np.array([self._inventory.keys[self._where[0]][keys[n]] for n in chosen.tolist()])
        with Cache(self._inventory.cache_path) as cache:
            vectors[chosen] = VectorRows(cache, *self._where).take(rows)


def _portions(keys: Sequence[str], members: Mapping[str, Sequence[str]], *, most_vectors: int) -> Iterator[list[str]]:
    """Yield the keys in portions whose members are no more than that, a key at least."""
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
