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
from cache.sealed.store import Cache
from cache.sealed.vector_rows import VectorRows
from cache.system.reading import facts_of

__all__ = ["VectorsByKey"]


class VectorsByKey:
    """One encoder's vectors in a cache that others may be writing: what is published is found, sealed or not.

    A cache that is not there holds nothing, and neither does one whose vectors of this name have another spec: writing
    there is what names the difference. The keys of the sealed file, and the parts that wait, stay in memory.
    """

    def __init__(self, cache_path: str | Path, encoder: str, spec: EncoderSpec) -> None:
        self.cache_path = Path(cache_path)
        self.encoder = encoder
        self.spec = spec
        self._lock = threading.Lock()
        self._parts: dict[Path, tuple[Part, KeyIndex]] = {}  # of this encoder, in the journal
        self._part_failures: dict[Path, dict[str, str]] = {}  # of all encoders' that wait: a content fails for all
        self._cache: Cache | None = None  # the sealed file, open
        self._vectors: VectorRows | None = None  # of it, once some are wanted
        self._identity: tuple[int, ...] = ()  # of it; a seal puts another in its place
        self._encoded = EncodedKeys(KeyIndex())  # of it
        self._failures: dict[str, str] = {}  # key -> status, of contents without any

    @classmethod
    def of_spec(cls, cache_path: str | Path, spec: EncoderSpec) -> VectorsByKey | None:
        """Return the vectors that were made in one way, whatever their name in a cache; None where it has none.

        Raises:
            DamagedCacheError, UnreadableError, NotACacheError, UnknownVersionError: the cache cannot be read.
        """
        if facts_of(Path(cache_path)) is None:
            return None
        with Cache(cache_path) as cache:
            names = cache.encoders(spec.modality) if spec.modality in cache.content_modalities else []
            made = [name for name in names if cache.spec(spec.modality, name).fingerprint == spec.fingerprint]
        return cls(cache_path, made[0], spec) if made else None

    def knows(self, key: str) -> bool:
        """Return whether the content of a key has a vector; none is read for it.

        Raises:
            DamagedCacheError, UnreadableError, NotACacheError, UnknownVersionError: the cache or a part cannot be read.
        """
        with self._lock:
            self._load_parts()
            self._opened()
            return key in self._encoded or any(key in index for _, index in self._parts.values())

    def find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Return the vectors of N contents, who has one, and the statuses of those that could not be read.

        Shape:
            keys: N, "" where there is no content
            output: (N, D) float32, NaN where there is none; (N,) bool; {key: status}. D is 0 where nothing is found.

        Raises:
            DamagedCacheError, UnreadableError, NotACacheError, UnknownVersionError: the cache or a part cannot be read.
        """
        with self._lock:
            return self._find(keys)

    def _find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        self._load_parts()  # before the cache: what is sealed meanwhile stands there
        wanted = as_keys(keys)
        pieces = [self._sealed(wanted), *(_of_part(*one, wanted) for one in self._parts.values())]
        pieces = [(numbers, vectors) for numbers, vectors in pieces if len(numbers)]
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
        for numbers, vectors in pieces:
            matrix[numbers] = vectors
            is_found[numbers] = True
        missing = {key.decode() for key in wanted[~is_found].tolist() if key}
        several = (self._failures, *self._part_failures.values())
        return matrix, is_found, {key: some[key] for some in several for key in missing if key in some}

    def _load_parts(self) -> None:
        """Read the parts that came; until two lists of them are alike, for a writer may be merging some meanwhile."""
        journal, start = Journal(self.cache_path), f"{self.spec.modality}."
        paths: list[Path] = []
        before: list[Path] | None = None
        while paths != before:
            before, paths = paths, [path for path in journal.paths() if path.name.startswith(start)]
            self._parts = {path: part for path, part in self._parts.items() if path in paths}
            self._part_failures = {path: some for path, some in self._part_failures.items() if path in paths}
            for path in paths:
                if path not in self._part_failures:
                    self._load_part(path)

    def _load_part(self, path: Path) -> None:
        try:
            part = load_part(path)
        except (FileNotFoundError, DamagedCacheError):
            return  # merged or sealed meanwhile; or set aside by the next writer, who has its work done again
        self._part_failures[path] = part.failures if part.spec.modality == self.spec.modality else {}
        if part.encoder == self.encoder and part.spec.fingerprint == self.spec.fingerprint:
            self._parts[path] = part, KeyColumn.of(part.keys).contents

    def _sealed(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the contents that have a vector in the sealed cache, and these."""
        cache = self._opened()
        rows = self._encoded.rows_of(keys)
        numbers = np.flatnonzero(rows >= 0)
        if cache is None or not len(numbers):
            return np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32)
        if self._vectors is None:
            self._vectors = VectorRows(cache, self.spec.modality, self.encoder)
        return numbers, self._vectors.take(rows[numbers])

    def _opened(self) -> Cache | None:
        """Return the sealed cache, opened anew and its keys read where it is another file than before."""
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


def _of_part(part: Part, index: KeyIndex, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the contents that have a vector in a part, and these."""
    wanted = index.rows_of(keys)
    numbers = np.flatnonzero(wanted >= 0)
    return numbers, part.vectors[wanted[numbers]]
