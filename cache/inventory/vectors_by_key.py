"""Vectors by content key, from a cache and from the parts that wait beside it; no writer's lock is needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cache.arrays.encoded_keys import EncodedKeys
from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex, as_keys
from cache.errors import DamagedCacheError
from cache.journal.journal import Journal
from cache.journal.part import Part
from cache.journal.part_file import load_part
from cache.keys import EncoderSpec
from cache.sealed.cache import Cache
from cache.sealed.vector_rows import VectorRows
from cache.system.reading import facts_of

__all__ = ["VectorsByKey"]


class VectorsByKey:
    """One encoder's vectors in a cache that others may be writing: what is published is found, sealed or not.

    A cache that is not there holds nothing, and neither does one whose vectors of this name have another spec: that is
    an error where vectors are written. The keys of the sealed file, and the parts that wait, stay in memory.
    """

    def __init__(self, cache_path: str | Path, encoder: str, spec: EncoderSpec) -> None:
        self.cache_path = Path(cache_path)
        self.encoder = encoder
        self.spec = spec
        self._lock = threading.Lock()
        self._parts: dict[Path, tuple[Part, KeyIndex]] = {}  # of this encoder, in the journal
        self._part_failures: dict[Path, dict[str, str]] = {}  # of all encoders' parts: a content fails for all of them
        # Of the sealed file, which a seal replaces by another:
        self._cache: Cache | None = None  # open
        self._vectors: VectorRows | None = None  # once any were read
        self._identity: tuple[int, ...] = ()
        self._encoded = EncodedKeys(KeyIndex())
        self._failures: dict[str, str] = {}  # key -> status

    @classmethod
    def of_spec(cls, cache_path: str | Path, spec: EncoderSpec) -> VectorsByKey | None:
        """Return the vectors that have this spec, whatever their name in the sealed cache; None where it has none.

        Raises:
            DamagedCacheError, UnreadableError, NotACacheError, UnknownVersionError: the cache cannot be read.
        """
        if facts_of(Path(cache_path)) is None:
            return None
        with Cache(cache_path) as cache:
            names = cache.encoders(spec.modality) if spec.modality in cache.content_modalities else []
            names = [name for name in names if cache.spec(spec.modality, name).fingerprint == spec.fingerprint]
        return cls(cache_path, names[0], spec) if names else None

    def knows(self, key: str) -> bool:
        """Return whether the content of a key has a vector; the vector is not read.

        Raises:
            DamagedCacheError, UnreadableError, NotACacheError, UnknownVersionError: the cache or a part cannot be read.
        """
        with self._lock:
            self._load_parts()
            self._opened()
            return key in self._encoded or any(key in index for _, index in self._parts.values())

    def find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Return the vectors of N contents, which contents have one, and the statuses of those that could not be read.

        Shape:
            keys: N, "" where there is no content
            output: (N, D) float32, NaN where there is none; (N,) bool; {key: status}. D is 0 where nothing is found.

        Raises:
            DamagedCacheError, UnreadableError, NotACacheError, UnknownVersionError: the cache or a part cannot be read.
        """
        with self._lock:
            return self._find(keys)

    def _find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        self._load_parts()  # before the cache, which has what is sealed meanwhile
        key_array = as_keys(keys)
        pieces = [self._sealed(key_array)]
        pieces += [_part_vectors(part, index, key_array) for part, index in self._parts.values()]
        pieces = [(indices, vectors) for indices, vectors in pieces if len(indices)]
        dims = {vectors.shape[1] for _, vectors in pieces}
        if len(dims) > 1:
            raise DamagedCacheError(
                f"Expected the vectors of {self.spec.modality}/{self.encoder} to have one number of dimensions, got "
                f"{' and '.join(map(str, sorted(dims)))} in {self.cache_path} and its journal. Run embed-extract, "
                "which sets aside the parts of the journal that do not fit."
            )
        dim = max(dims, default=0)
        matrix = np.full((len(keys), dim), np.nan, dtype=np.float32)  # (N, D)
        is_found = np.zeros(len(keys), dtype=bool)
        for indices, vectors in pieces:
            matrix[indices] = vectors
            is_found[indices] = True
        missing_keys = {key.decode() for key in key_array[~is_found].tolist() if key}
        statuses: dict[str, str] = {}
        for failures in (self._failures, *self._part_failures.values()):
            statuses |= {key: failures[key] for key in missing_keys if key in failures}
        return matrix, is_found, statuses

    def _load_parts(self) -> None:
        """Read the parts that came, until their list stays the same: a writer may be merging some meanwhile."""
        journal, prefix = Journal(self.cache_path), f"{self.spec.modality}."
        paths: list[Path] = []
        previous_paths: list[Path] | None = None
        while paths != previous_paths:
            previous_paths, paths = paths, [path for path in journal.paths() if path.name.startswith(prefix)]
            self._parts = {path: part for path, part in self._parts.items() if path in paths}
            self._part_failures = {path: failed for path, failed in self._part_failures.items() if path in paths}
            for path in paths:
                if path not in self._part_failures:
                    self._load_part(path)

    def _load_part(self, path: Path) -> None:
        try:
            part = load_part(path)
        except (FileNotFoundError, DamagedCacheError):
            return  # it was merged or sealed meanwhile; or the next writer sets it aside and has its work redone
        self._part_failures[path] = part.failures if part.spec.modality == self.spec.modality else {}
        if part.encoder == self.encoder and part.spec.fingerprint == self.spec.fingerprint:
            self._parts[path] = part, KeyColumn.of(part.keys).contents

    def _sealed(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the keys that have a vector in the sealed cache, and these vectors."""
        cache = self._opened()
        rows = self._encoded.rows_of(keys)
        indices = np.flatnonzero(rows >= 0)
        if cache is None or not len(indices):
            return np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32)
        if self._vectors is None:
            self._vectors = VectorRows(cache, self.spec.modality, self.encoder)
        return indices, self._vectors.take(rows[indices])

    def _opened(self) -> Cache | None:
        """Return the sealed cache; where it is another file than before, that is opened and its keys are read."""
        facts = facts_of(self.cache_path)
        identity = () if facts is None else (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if identity != self._identity:
            if self._cache is not None:
                self._cache.close()
            self._cache, self._vectors, self._identity = None, None, ()
            self._encoded, self._failures = EncodedKeys(KeyIndex()), {}
            if facts is not None:
                cache = Cache(self.cache_path)
                self._load_keys(cache)
                self._cache, self._identity = cache, identity
        return self._cache

    def _load_keys(self, cache: Cache) -> None:
        modality = self.spec.modality
        if modality not in cache.content_modalities:
            return
        self._failures = cache.failures(modality)
        if self.encoder not in cache.encoders(modality):
            return
        if cache.spec(modality, self.encoder).fingerprint == self.spec.fingerprint:
            self._encoded = EncodedKeys(cache.key_index(modality), cache.encoded(modality, self.encoder))


def _part_vectors(part: Part, index: KeyIndex, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the keys that have a vector in a part, and these vectors; `index` has the part's keys."""
    rows = index.rows_of(keys)
    indices = np.flatnonzero(rows >= 0)
    return indices, part.vectors[rows[indices]]
