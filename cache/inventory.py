"""All that a cache and its journal hold together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache.errors import CacheError, SpecConflictError
from cache.journal import Journal
from cache.keys import EncoderSpec
from cache.part import Part
from cache.part_file import PartFile
from cache.products import Products
from cache.reading import facts_of
from cache.store import Cache

__all__ = ["Entry", "Inventory", "Waiting"]


@dataclass(frozen=True)
class Waiting:
    """A part that is not sealed yet: whose vectors it holds, and how many tokens each has."""

    file: PartFile
    keys: list[str]
    token_counts: np.ndarray | None


@dataclass
class Entry:
    """One encoder's vectors: which keys have one, and which parts hold those that are not sealed yet."""

    spec: EncoderSpec
    n_dim: int = 0  # while there is no vector
    n_token_dim: int = 0  # where the encoder gives no tokens
    sealed: bool = False
    keys: set[str] = field(default_factory=set)
    parts: list[Waiting] = field(default_factory=list)

    def add(self, file: PartFile, part: Part) -> None:
        """Note what a part holds.

        Raises:
            CacheError: its vectors or tokens are of other dimensions than those before.
        """
        path = file.path
        where = f"{part.spec.modality}/{part.encoder}"
        counts = None if part.tokens is None else part.tokens.counts
        if part.keys:
            dim, token_dim = part.vectors.shape[1], 0 if part.tokens is None else part.tokens.n_dim
            if self.n_dim not in (0, dim):
                raise CacheError(
                    f"Expected {where} to have {self.n_dim} dimensions, but the journal's part {path.name} has "
                    f"{dim}. Remove {path}."
                )
            if self.n_dim and self.n_token_dim != token_dim:
                raise CacheError(
                    f"Expected {where} to have {_tokens_of(self.n_token_dim)} for all its contents, but the "
                    f"journal's part {path.name} has {_tokens_of(token_dim)}. An encoder that gives tokens must "
                    f"say so in its spec. Remove {path}."
                )
            self.n_dim, self.n_token_dim = dim, token_dim
        if not self.sealed and not self.parts:
            self.spec = part.spec  # whoever asked for the entry may have made none of its vectors
        self.parts.append(Waiting(file, part.keys, counts))
        self.keys.update(part.keys)


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
        self._n_sealed: dict[str, int] = {}  # modality -> rows that keep their place
        if facts_of(self.cache_path) is not None:
            with Cache(self.cache_path) as cache:
                self._add_cache(cache)
        self._add_parts(self.journal.paths())

    def _add_parts(self, paths: Iterable[Path]) -> None:
        for file, part in self.journal.parts(paths):
            modality = part.spec.modality
            entry = self.entry(modality, part.encoder, part.spec)
            entry.add(file, part)
            self.part_paths.append(file.path)
            rows = self.keys.setdefault(modality, {})
            for key in [*part.keys, *part.failures]:
                rows.setdefault(key, len(rows))
            self.failures[modality] |= part.failures
        for (modality, _), entry in self.entries.items():
            for key in entry.keys & self.failures[modality].keys():
                del self.failures[modality][key]  # it failed once and was read later

    def entry(self, modality: str, encoder: str, spec: EncoderSpec) -> Entry:
        """Return the vectors under this name, a new empty entry where there are none.

        Raises:
            SpecConflictError: those there are were made in another way; the message names what differs.
        """
        self.failures.setdefault(modality, {})
        entry = self.entries.setdefault((modality, encoder), Entry(spec))
        if entry.spec.fingerprint != spec.fingerprint:
            where = self.cache_path if entry.sealed else self.journal.folder
            forget = "" if entry.sealed else f", or remove {where} to forget the run that was stopped"
            raise SpecConflictError(
                f"Expected {modality}/{encoder} to be made in one way, but {where} has it with "
                f"{'; '.join(entry.spec.differences(spec))}. Keep both with --{modality}-name NAME, or write another "
                f"cache with -o{forget}."
            )
        return entry

    def order(self, products: Products) -> None:
        """Put the rows that are not sealed yet into the catalogue's order, whatever order they were encoded in."""
        for modality in {*self.keys, *products.contents}:
            self.failures.setdefault(modality, {})
            keys = list(self.keys.get(modality, {}))
            n_sealed = self._n_sealed.get(modality, 0)
            sealed, unsealed = keys[:n_sealed], set(keys[n_sealed:])
            contents = products.contents.get(modality)
            wanted = [] if contents is None else [*contents.keys, *contents.kept]
            ordered = [key for key in dict.fromkeys(wanted) if key in unsealed]
            others = sorted(unsealed.difference(ordered))
            self.keys[modality] = {key: row for row, key in enumerate([*sealed, *ordered, *others])}

    def _add_cache(self, cache: Cache) -> None:
        for modality in cache.content_modalities:
            keys = cache.keys(modality).astype(str).tolist()
            statuses = cache.content_statuses(modality).astype(str).tolist()
            self.keys[modality] = {key: row for row, key in enumerate(keys)}
            self._n_sealed[modality] = len(keys)
            self.failures[modality] = {
                key: status for key, status in zip(keys, statuses, strict=True) if status != "ok"
            }
            for encoder in cache.encoders(modality):
                encoded = cache.encoded(modality, encoder)
                self.entries[modality, encoder] = Entry(
                    spec=cache.spec(modality, encoder),
                    n_dim=cache.dimension(modality, encoder),
                    n_token_dim=cache.token_dimension(modality, encoder),
                    sealed=True,
                    keys={key for key, is_encoded in zip(keys, encoded.tolist(), strict=True) if is_encoded},
                )


def _tokens_of(dim: int) -> str:
    return f"tokens of {dim} dimensions" if dim else "no tokens"
