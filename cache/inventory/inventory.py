"""All that a cache and its journal hold together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np

from cache.arrays.encoded_keys import EncodedKeys
from cache.arrays.hash_runs import ROW
from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex
from cache.arrays.large_arrays import arange, empty, flatnonzero, full, row_blocks
from cache.arrays.lazy_table import LazyTable
from cache.errors import SpecConflictError
from cache.journal.journal import Journal
from cache.journal.part_file import PartFile, read_heading
from cache.keys import EncoderSpec
from cache.sealed.cache import Cache
from cache.sealed.products import Contents, Products
from cache.system.reading import facts_of

__all__ = ["Entry", "Inventory", "WaitingPart"]


@dataclass
class WaitingPart:
    """A part that is not sealed yet: the contents whose vectors it holds, and how many tokens each has.

    Shape:
        rows: (n,) int32, the row of each of its keys in the inventory's index
        token_counts: (n,) int32
    """

    file: PartFile
    spec: EncoderSpec
    failures: dict[str, str]  # key -> status
    dims: tuple[int, int]  # of its vectors, and of their tokens: 0 without
    n_keys: int
    token_counts: np.ndarray | None = None
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=ROW))


@dataclass
class Entry:
    """One encoder's vectors: which keys have one, and which parts hold those that are not sealed yet."""

    spec: EncoderSpec
    dim: int = 0  # 0 while there is no vector
    token_dim: int = 0  # 0 where the encoder gives no tokens
    is_sealed: bool = False  # whether the sealed cache has the encoder
    folder: Path | None = None  # that of the first of its parts, while nothing is sealed
    keys: EncodedKeys = field(default_factory=lambda: EncodedKeys(KeyIndex()))
    parts: list[WaitingPart] = field(default_factory=list)

    def add(self, waiting: WaitingPart) -> None:
        """Add what a part holds; its dimensions are known to be the entry's."""
        if len(waiting.rows):
            self.dim, self.token_dim = waiting.dims
        if not self.is_sealed and not self.parts:
            self.spec = waiting.spec  # with the side notes of those who made the vectors
        self.parts.append(waiting)
        self.keys.add(waiting.rows)

    def usual_dims(self, parts: Iterable[WaitingPart]) -> tuple[int, int]:
        """Return the dimensions of its vectors and tokens; while it has none, those of most vectors of `parts`."""
        if self.dim:
            return self.dim, self.token_dim
        counts: Counter[tuple[int, int]] = Counter()
        for part in parts:
            counts[part.dims] += part.n_keys
        return max(counts, key=lambda dims: (counts[dims], dims))


class Inventory:
    """All that a cache and its journal hold together: what has been encoded already.

    Raises:
        SpecConflictError: the journal holds vectors under a name that the cache uses for another spec.
        UnreadableError: it cannot be told whether there is a cache, or what is in it or in the journal.
    """

    def __init__(self, cache_path: str | Path, journal: Journal) -> None:
        self.cache_path = Path(cache_path)
        self.journal = journal
        self._load()

    def update(self) -> None:
        """Add the parts that were published since; each is read once.

        Where one of its parts is gone, because it was merged or set aside, all is read anew.

        Raises:
            SpecConflictError, UnreadableError: as at first.
        """
        paths, added_paths = self.journal.paths(), set(self.part_paths)
        if added_paths.issubset(paths):
            self._add_parts(path for path in paths if path not in added_paths)
        else:
            self._load()

    def _load(self) -> None:
        self.keys: dict[str, KeyIndex] = {}  # by modality, the sealed rows first
        self.failures: dict[str, dict[str, str]] = {}  # modality -> key -> status
        self.entries: dict[tuple[str, str], Entry] = {}  # (modality, encoder) -> its vectors
        self.part_paths: list[Path] = []
        self._read_paths: set[Path] = set()
        self._n_sealed: dict[str, int] = {}  # modality -> the number of sealed rows, which keep their order
        paths = self.journal.paths()  # before the cache, which has what is sealed meanwhile
        facts = facts_of(self.cache_path)
        if facts is not None:
            with Cache(self.cache_path) as cache:
                self._add_cache(cache)
        self._add_parts(paths)
        while any(path not in self._read_paths and facts_of(path) is None for path in paths):  # merged or sealed
            paths = [path for path in self.journal.paths() if path not in self._read_paths]
            now = facts_of(self.cache_path)
            if now is not None and (facts is None or not os.path.samestat(facts, now)):
                self._load()
                return
            self._add_parts(paths)

    def _add_parts(self, paths: Iterable[Path]) -> None:
        waiting: dict[tuple[str, str], tuple[list[WaitingPart], KeyIndex]] = {}
        for encoder, part, keys in self._read(paths):
            self._read_paths.add(part.file.path)
            self.entry(part.spec.modality, encoder, part.spec, folder=part.file.path.parent)
            parts, keys_of_all = waiting.setdefault((part.spec.modality, encoder), ([], KeyIndex()))
            parts.append(part)
            keys_of_all.extend(keys)
        for modality, encoder in list(waiting):
            self._add_fitting(modality, encoder, *waiting.pop((modality, encoder)))
        for (modality, _), entry in self.entries.items():
            failed = list(self.failures[modality])
            for key in compress(failed, entry.keys.has(failed)):
                del self.failures[modality][key]  # it failed once and was read later

    def _read(self, paths: Iterable[Path]) -> Iterator[tuple[str, WaitingPart, KeyIndex]]:
        """Yield the encoder of each part, what it holds, and its keys; a shard, which seals nothing, reads headings."""
        if self.journal.is_shard:
            for path in paths:
                if heading := read_heading(path):
                    keys = heading.keys.contents
                    waiting = WaitingPart(heading.file, heading.spec, heading.failures, heading.dims, len(keys))
                    yield heading.encoder, waiting, keys
            return
        for file, part in self.journal.parts(paths):
            counts = None if part.tokens is None else part.tokens.counts.astype(np.int32)
            keys = KeyColumn.of(part.keys).contents
            yield part.encoder, WaitingPart(file, part.spec, part.failures, part.dims, len(keys), counts), keys

    def entry(self, modality: str, encoder: str, spec: EncoderSpec, *, folder: Path | None = None) -> Entry:
        """Return the entry of an encoder, a new and empty one where there is none; `folder` has some of its parts.

        Raises:
            SpecConflictError: its vectors were made in another way; the message names what differs.
        """
        self.failures.setdefault(modality, {})
        keys = EncodedKeys(self.keys.setdefault(modality, KeyIndex()))
        entry = self.entries.setdefault((modality, encoder), Entry(spec, folder=folder, keys=keys))
        if entry.spec.fingerprint != spec.fingerprint:
            where = self.cache_path if entry.is_sealed else entry.folder or self.journal.folder
            forget = "" if entry.is_sealed else f", or remove {where} to forget the run that was stopped"
            raise SpecConflictError(
                f"Expected {modality}/{encoder} to be made in one way, but {where} has it with "
                f"{'; '.join(entry.spec.differences(spec))}. Keep both with --{modality}-name NAME, or write another "
                f"cache with -o{forget}."
            )
        return entry

    @property
    def specs(self) -> dict[tuple[str, str], EncoderSpec]:
        """How the vectors are made: (modality, encoder) -> spec."""
        return {where: entry.spec for where, entry in self.entries.items()}

    def drop_unused(self) -> None:
        """Drop the entries that were asked for, and have neither a place in the sealed cache nor a part."""
        self.entries = {where: entry for where, entry in self.entries.items() if entry.is_sealed or entry.parts}
        used = {modality for modality, _ in self.entries} | self._n_sealed.keys()
        self.keys = {modality: index for modality, index in self.keys.items() if modality in used}

    def order(self, products: Products) -> None:
        """Put the rows that are not sealed yet into the catalogue's order, whatever order they were encoded in."""
        for modality in {*self.keys, *products.contents}:
            self.failures.setdefault(modality, {})
            index, n_sealed = self.keys.setdefault(modality, KeyIndex()), self._n_sealed.get(modality, 0)
            if len(index) == n_sealed:
                continue
            new_rows = index.reorder(self._order_of(index, n_sealed, products.contents.get(modality)))
            for (entry_modality, _), entry in self.entries.items():
                if entry_modality == modality:
                    entry.keys.move(new_rows)
                    for part in entry.parts:
                        part.rows[:] = new_rows[part.rows]

    def _order_of(self, index: KeyIndex, n_sealed: int, contents: Contents | None) -> np.ndarray:
        """Return the rows in their new order, (U,) int32: sealed, of the catalogue, and all others by their keys."""
        order, n_ordered = arange(len(index), ROW), n_sealed
        is_unordered = full(len(index), True, bool)
        is_unordered[:n_sealed] = False
        for keys in () if contents is None else (contents.keys, contents.kept):
            column = KeyColumn.of(keys)
            index_rows, mentioned = index.rows_of(column.contents), column.distinct_rows
            for block in row_blocks(len(mentioned)):
                rows = index_rows[mentioned[block]]
                rows = rows[rows >= 0]
                rows = rows[is_unordered[rows]]
                is_unordered[rows] = False
                order[n_ordered : n_ordered + len(rows)] = rows
                n_ordered += len(rows)
        order[n_ordered:] = index.sorted_by_key(flatnonzero(is_unordered, ROW))
        return order

    def statuses(self, modality: str) -> LazyTable:
        """Return each content's status, (U,) S16."""
        index, failures = self.keys[modality], self.failures[modality]
        failed_rows, failed_statuses = index.rows_of(failures), np.array(list(failures.values()), dtype="S16")

        def make(block: slice) -> np.ndarray:
            statuses = np.full(block.stop - block.start, b"ok", dtype="S16")
            is_in_block = (failed_rows >= block.start) & (failed_rows < block.stop)
            statuses[failed_rows[is_in_block] - block.start] = failed_statuses[is_in_block]
            return statuses

        return LazyTable(len(index), "S16", make)

    def _add_fitting(self, modality: str, encoder: str, parts: list[WaitingPart], keys: KeyIndex) -> None:
        """Add what the parts of one encoder hold; parts of other dimensions are set aside, for their work to be redone.

        `keys` are those of all parts, one part after the other. Their rows are in one large array, too: arrays of
        single parts would be too small to be counted as memory.
        """
        entry, index = self.entries[modality, encoder], self.keys[modality]
        dims = entry.usual_dims(parts)
        index.reserve(len(index) + len(keys))
        rows, stop = empty(len(keys), ROW), 0
        for part in parts:
            start, stop = stop, stop + part.n_keys
            if part.n_keys and part.dims != dims:
                self.journal.set_aside(
                    part.file.path,
                    f"Expected {modality}/{encoder} to have vectors of {dims[0]} dimensions and "
                    f"{_tokens_of(dims[1])}, but the journal's part {part.file.path.name} has {part.dims[0]} and "
                    f"{_tokens_of(part.dims[1])}.",
                )
                continue
            part.rows = rows[start:stop]
            part.rows[:] = index.add(KeyColumn(keys, np.arange(start, stop)))
            entry.add(part)
            self.part_paths.append(part.file.path)
            index.add(part.failures)
            self.failures[modality] |= part.failures

    def _add_cache(self, cache: Cache) -> None:
        for modality in cache.content_modalities:
            self.failures[modality] = cache.failures(modality)
            self.keys[modality] = cache.key_index(modality)
            self._n_sealed[modality] = len(self.keys[modality])
            for encoder in cache.encoders(modality):
                self.entries[modality, encoder] = Entry(
                    spec=cache.spec(modality, encoder),
                    dim=cache.dimension(modality, encoder),
                    token_dim=cache.token_dimension(modality, encoder),
                    is_sealed=True,
                    keys=EncodedKeys(self.keys[modality], cache.encoded(modality, encoder)),
                )


def _tokens_of(dim: int) -> str:
    return f"tokens of {dim} dimensions" if dim else "no tokens"
