"""`Source`: a cache and the parts that wait beside it, as what a new cache is made of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex
from cache.errors import CacheError, DamagedCacheError
from cache.format.writer import BLOCK_ROWS
from cache.journal.journal import Journal
from cache.journal.part import Part
from cache.journal.part_file import PartFile, load_part_file
from cache.keys import EncoderSpec
from cache.sealed.cache import Cache
from cache.system.reading import facts_of
from cache.tokens import Tokens, offsets_of

__all__ = ["Source"]

log = logging.getLogger("embed_once")

BLOCK_BYTES = 2**26  # of the vectors and tokens that are read at once


@dataclass(frozen=True)
class _WaitingPart:
    """What is kept in memory of a part: all but its keys, vectors and tokens."""

    file: PartFile
    encoder: str
    spec: EncoderSpec
    dims: tuple[int, int]  # of vectors and tokens, 0 and 0 without a vector
    failures: dict[str, str]


class Source:
    """A cache and its waiting parts, read and never written, though others may write them; either may be missing.

    Raises:
        FileNotFoundError: there is neither.
        CacheError: as opening a cache, or a part, does.
    """

    def __init__(self, path: str | Path, *, has_parts: bool = True) -> None:
        self.path = Path(path)
        self.parts: list[_WaitingPart] = []
        self.kept_names: Mapping[tuple[str, str], str] = {}  # (modality, encoder): the name that its vectors go by
        for part_path in Journal(path).paths() if has_parts else []:  # before the cache, which has what is sealed
            self._add_part(part_path)
        # The file stays open: one that is put in its place meanwhile may have its rows in another order.
        self.cache = Cache(path) if not self.parts or facts_of(path) is not None else None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self.cache is not None:
            self.cache.close()

    @property
    def identity(self) -> tuple[str, ...]:
        """Digests that are others where another source holds something else, wherever the two are."""
        digest = "" if self.cache is None else self.cache.content_sha256
        return (digest, *sorted(part.file.path.name for part in self.parts))

    def specs(self) -> dict[tuple[str, str], EncoderSpec]:
        """Return the specs of all encoders, by modality and name.

        Raises:
            CacheError: a part was made in another way than the cache has under its name.
        """
        specs: dict[tuple[str, str], EncoderSpec] = {}
        if self.cache is not None:
            for modality in self.cache.content_modalities:
                for encoder in self.cache.encoders(modality):
                    specs.setdefault(self._kept(modality, encoder), self.cache.spec(modality, encoder))
        for part in self.parts:
            specs.setdefault(self._kept(part.spec.modality, part.encoder), part.spec)
        return specs

    def dims(self, modality: str, encoder: str) -> set[tuple[int, int]]:
        """Return the dimensions of an encoder's vectors and tokens: one pair, unless something is wrong."""
        dims = {part.dims for part in self._parts_of(modality, encoder)}
        for cache, name in self._sealed(modality, encoder):
            dims.add((cache.dimension(modality, name), cache.token_dimension(modality, name)))
        return {pair for pair in dims if pair[0]}

    def failures(self, modality: str) -> dict[str, str]:
        """Return the statuses of contents that could not be read, by key."""
        failures = {}
        if self.cache is not None and modality in self.cache.content_modalities:
            failures = self.cache.failures(modality)
        for part in self.parts:
            if part.spec.modality == modality:
                failures |= part.failures
        return failures

    def blocks(self, modality: str, encoder: str) -> Iterator[tuple[Sequence[str], np.ndarray, Tokens | None]]:
        """Yield keys, their vectors and their tokens, if any, in blocks of about `BLOCK_BYTES`, or of one part.

        Raises:
            UnreadableError, DamagedCacheError: the cache cannot be read.
            CacheError: a part is gone.
        """
        for cache, name in self._sealed(modality, encoder):
            yield from _sealed_blocks(cache, modality, name)
        for waiting in self._parts_of(modality, encoder):
            part = self._load(waiting.file.path)[1]
            yield part.keys, part.vectors, part.tokens

    def _parts_of(self, modality: str, encoder: str) -> list[_WaitingPart]:
        where = (modality, encoder)
        return [part for part in self.parts if self._kept(part.spec.modality, part.encoder) == where]

    def _kept(self, modality: str, encoder: str) -> tuple[str, str]:
        return modality, self.kept_names.get((modality, encoder), encoder)

    def _sealed(self, modality: str, encoder: str) -> list[tuple[Cache, str]]:
        """Return the cache with each name under which it has what goes by a name, which may be none."""
        if self.cache is None or modality not in self.cache.content_modalities:
            return []
        names = self.cache.encoders(modality)
        return [(self.cache, name) for name in names if self._kept(modality, name) == (modality, encoder)]

    def _add_part(self, path: Path) -> None:
        try:
            file, part = self._load(path)
        except DamagedCacheError as error:
            log.warning("%s It is left out.", error)
            return
        dims = part.dims if part.keys else (0, 0)
        self.parts.append(_WaitingPart(file, part.encoder, part.spec, dims, part.failures))

    def _load(self, path: Path) -> tuple[PartFile, Part]:
        try:
            return load_part_file(path)
        except FileNotFoundError as error:
            raise CacheError(
                f"Expected {self.path} to stay as it is while it is read, but its part {path.name} is gone: another "
                "process is writing it. Wait for that to end and type the same line again."
            ) from error


def _sealed_blocks(
    cache: Cache, modality: str, encoder: str
) -> Iterator[tuple[Sequence[str], np.ndarray, Tokens | None]]:
    keys, encoded = cache.keys(modality), cache.encoded(modality, encoder)
    has_tokens = cache.has_tokens(modality, encoder)
    counts = cache.token_counts(modality, encoder) if has_tokens else np.zeros(len(keys), dtype=np.int64)
    token_offsets = offsets_of(counts)
    n_bytes = 4 * cache.dimension(modality, encoder) + 2 * cache.token_dimension(modality, encoder) * counts
    byte_offsets = offsets_of(n_bytes)  # (U + 1,)
    start = 0
    while start < len(keys):
        stop = int(np.searchsorted(byte_offsets, byte_offsets[start] + BLOCK_BYTES, side="right")) - 1
        stop = min(max(start + 1, stop), start + BLOCK_ROWS, len(keys))
        rows = np.flatnonzero(encoded[start:stop])
        if len(rows):
            tokens = None
            if has_tokens:
                begin, end = token_offsets[[start, stop]].tolist()
                values = cache.token_values(modality, encoder, begin, end)
                tokens = Tokens(values, token_offsets[start : stop + 1] - begin).take(rows)
            vectors = cache.vector_block(modality, encoder, start, stop)[rows]
            yield KeyColumn(KeyIndex(keys[start:stop][rows])), vectors, tokens
        start = stop
