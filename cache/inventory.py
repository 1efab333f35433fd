"""All that a cache and its journal hold together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache.encoded_keys import EncodedKeys
from cache.errors import SpecConflictError
from cache.journal import Journal
from cache.keys import EncoderSpec
from cache.part import Part
from cache.part_file import PartFile, read_heading
from cache.products import Products
from cache.reading import facts_of
from cache.store import Cache
from cache.writer import BLOCK_ROWS

__all__ = ["Entry", "Inventory", "Waiting"]


@dataclass(frozen=True)
class Waiting:
    """A part that is not sealed yet: whose vectors it holds, and how many tokens each has."""

    file: PartFile
    spec: EncoderSpec
    keys: list[str]
    failures: dict[str, str]  # key -> status
    dims: tuple[int, int]  # of its vectors, and of their tokens: 0 without
    token_counts: np.ndarray | None

    @classmethod
    def of(cls, file: PartFile, part: Part) -> Waiting:
        """Return what is kept of a part while its vectors are on the disk."""
        counts = None if part.tokens is None else part.tokens.counts
        return cls(file, part.spec, part.keys, part.failures, part.dims, counts)


@dataclass
class Entry:
    """One encoder's vectors: which keys have one, and which parts hold those that are not sealed yet."""

    spec: EncoderSpec
    n_dim: int = 0  # while there is no vector
    n_token_dim: int = 0  # where the encoder gives no tokens
    sealed: bool = False
    folder: Path | None = None  # of the journal, where they were first found while nothing is sealed
    keys: EncodedKeys = field(default_factory=lambda: EncodedKeys({}, np.zeros(0, dtype=bool)))
    parts: list[Waiting] = field(default_factory=list)

    def add(self, waiting: Waiting) -> None:
        """Note what a part holds, whose dimensions are known to be the entry's."""
        if waiting.keys:
            self.n_dim, self.n_token_dim = waiting.dims
        if not self.sealed and not self.parts:
            self.spec = waiting.spec  # whoever asked for the entry may have made none of its vectors
        self.parts.append(waiting)
        self.keys.update(waiting.keys)

    def usual_dims(self, parts: Iterable[Waiting]) -> tuple[int, int]:
        """Return the dimensions of the vectors that there are and of their tokens; those of most, if none is sealed."""
        if self.n_dim:
            return self.n_dim, self.n_token_dim
        counts: Counter[tuple[int, int]] = Counter()
        for part in parts:
            counts[part.dims] += len(part.keys)
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
        """Take in the parts that were published since; each is read once.

        Where a part has gone that was known, because it was merged or set aside, all is read anew.

        Raises:
            SpecConflictError, UnreadableError: as at first.
        """
        paths, known = self.journal.paths(), set(self.part_paths)
        if known.issubset(paths):
            self._add_parts(path for path in paths if path not in known)
        else:
            self._load()

    def _load(self) -> None:
        self.keys: dict[str, dict[str, int]] = {}  # modality -> key -> row, the sealed rows first
        self.failures: dict[str, dict[str, str]] = {}  # modality -> key -> status
        self.entries: dict[tuple[str, str], Entry] = {}  # (modality, encoder) -> its vectors
        self.part_paths: list[Path] = []
        self._read_paths: set[Path] = set()
        self._n_sealed: dict[str, int] = {}  # modality -> rows that keep their place
        paths = self.journal.paths()  # before the cache: what is sealed meanwhile stands there
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
        waiting: dict[tuple[str, str], list[Waiting]] = {}
        for encoder, part in self._read(paths):
            self._read_paths.add(part.file.path)
            self.entry(part.spec.modality, encoder, part.spec, folder=part.file.path.parent)
            waiting.setdefault((part.spec.modality, encoder), []).append(part)
        for (modality, encoder), parts in waiting.items():
            self._add_fitting(modality, encoder, parts)
        for (modality, _), entry in self.entries.items():
            for key in entry.keys & self.failures[modality].keys():
                del self.failures[modality][key]  # it failed once and was read later

    def _read(self, paths: Iterable[Path]) -> Iterator[tuple[str, Waiting]]:
        """Yield what is in parts, and whose it is; a shard, which seals none, reads no more than their keys."""
        if not self.journal.is_shard:
            yield from ((part.encoder, Waiting.of(file, part)) for file, part in self.journal.parts(paths))
            return
        for path in paths:
            if heading := read_heading(path):
                yield (
                    heading.encoder,
                    Waiting(
                        heading.file, heading.spec, heading.keys, heading.failures, heading.dims, token_counts=None
                    ),
                )

    def entry(self, modality: str, encoder: str, spec: EncoderSpec, *, folder: Path | None = None) -> Entry:
        """Return the vectors under this name, a new empty entry where there are none; `folder` has some of them.

        Raises:
            SpecConflictError: those there are were made in another way; the message names what differs.
        """
        self.failures.setdefault(modality, {})
        entry = self.entries.setdefault((modality, encoder), Entry(spec, folder=folder))
        if entry.spec.fingerprint != spec.fingerprint:
            where = self.cache_path if entry.sealed else entry.folder or self.journal.folder
            forget = "" if entry.sealed else f", or remove {where} to forget the run that was stopped"
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

    def order(self, products: Products) -> None:
        """Put the rows that are not sealed yet into the catalogue's order, whatever order they were encoded in."""
        for modality in {*self.keys, *products.contents}:
            self.failures.setdefault(modality, {})
            n_sealed = self._n_sealed.get(modality, 0)
            if len(self.keys.setdefault(modality, {})) == n_sealed:
                continue
            keys = list(self.keys[modality])
            unsealed = dict.fromkeys(keys[n_sealed:], True)  # what the catalogue names is taken out of it
            contents = products.contents.get(modality)
            wanted = [] if contents is None else [*contents.keys, *contents.kept]
            ordered = [key for key in wanted if unsealed.pop(key, False)]
            others = sorted(unsealed)
            self.keys[modality].clear()  # the same one, by which entries know their sealed keys
            self.keys[modality].update((key, row) for row, key in enumerate([*keys[:n_sealed], *ordered, *others]))

    def _add_fitting(self, modality: str, encoder: str, parts: Sequence[Waiting]) -> None:
        """Note what the parts of one encoder hold; those of other dimensions are set aside, and their work redone."""
        entry, rows = self.entries[modality, encoder], self.keys.setdefault(modality, {})
        dims = entry.usual_dims(parts)
        for part in parts:
            if part.keys and part.dims != dims:
                self.journal.set_aside(
                    part.file.path,
                    f"Expected {modality}/{encoder} to have vectors of {dims[0]} dimensions and "
                    f"{_tokens_of(dims[1])}, but the journal's part {part.file.path.name} has {part.dims[0]} and "
                    f"{_tokens_of(part.dims[1])}.",
                )
                continue
            entry.add(part)
            self.part_paths.append(part.file.path)
            for key in [*part.keys, *part.failures]:
                rows.setdefault(key, len(rows))
            self.failures[modality] |= part.failures

    def _add_cache(self, cache: Cache) -> None:
        for modality in cache.content_modalities:
            keys = cache.keys(modality)
            statuses = cache.content_statuses(modality)
            failed = np.flatnonzero(statuses != b"ok")
            self.failures[modality] = dict(zip(_strings(keys[failed]), _strings(statuses[failed]), strict=True))
            self.keys[modality] = {key: row for row, key in enumerate(_strings(keys))}
            self._n_sealed[modality] = len(keys)
            for encoder in cache.encoders(modality):
                self.entries[modality, encoder] = Entry(
                    spec=cache.spec(modality, encoder),
                    n_dim=cache.dimension(modality, encoder),
                    n_token_dim=cache.token_dimension(modality, encoder),
                    sealed=True,
                    keys=EncodedKeys(self.keys[modality], cache.encoded(modality, encoder)),
                )


def _strings(array: np.ndarray) -> Iterator[str]:
    """Yield strings of bytes in ASCII; an array of them as strings would take four times the memory."""
    for start in range(0, len(array), BLOCK_ROWS):
        yield from array[start : start + BLOCK_ROWS].astype(str).tolist()


def _tokens_of(dim: int) -> str:
    return f"tokens of {dim} dimensions" if dim else "no tokens"
