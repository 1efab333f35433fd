"""What there is already: all that a cache and its journal hold together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cache.errors import CacheError, SpecConflictError
from cache.journal import Journal
from cache.keys import EncoderSpec
from cache.products import Products
from cache.store import Cache

__all__ = ["Entry", "Inventory"]


@dataclass
class Entry:
    """One encoder's vectors: which keys have one, and which parts hold those that are not sealed yet."""

    spec: EncoderSpec
    n_dim: int = 0
    sealed: bool = False
    keys: set[str] = field(default_factory=set)
    parts: list[tuple[Path, list[str]]] = field(default_factory=list)


class Inventory:
    """All that a cache and its journal hold together: the one answer to "what is there already?".

    Raises:
        SpecConflictError: the journal holds vectors under a name that the cache uses for another spec.
    """

    def __init__(self, cache_path: str | Path, journal: Journal) -> None:
        self.cache_path = Path(cache_path)
        self.journal = journal
        self.keys: dict[str, dict[str, int]] = {}  # modality -> key -> row, the sealed rows first
        self.failures: dict[str, dict[str, str]] = {}  # modality -> key -> status
        self.entries: dict[tuple[str, str], Entry] = {}  # (modality, encoder) -> its vectors
        self.part_paths: list[Path] = []
        self._n_sealed: dict[str, int] = {}  # modality -> rows that keep their place
        if self.cache_path.exists():
            with Cache(self.cache_path) as cache:
                self._add_cache(cache)
        for path, part in journal.parts():
            modality = part.spec.modality
            entry = self.entry(modality, part.encoder, part.spec)
            if len(part.keys):
                if entry.n_dim not in (0, part.vectors.shape[1]):
                    raise CacheError(
                        f"{modality}/{part.encoder} must have {entry.n_dim} dimensions, however the journal's part "
                        f"{path.name} has {part.vectors.shape[1]}. Remove {path}."
                    )
                entry.n_dim = part.vectors.shape[1]
            entry.parts.append((path, part.keys))
            entry.keys.update(part.keys)
            self.part_paths.append(path)
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
                f"{modality}/{encoder} must be made in one way, however {where} has it with "
                f"{'; '.join(entry.spec.differences(spec))}. "
                f"Keep both with --{modality}-name NAME, or write another cache with -o{forget}."
            )
        return entry

    def order(self, products: Products) -> None:
        """Put the rows that are not sealed yet into the catalogue's order, whatever order they were encoded in."""
        for modality in {*self.keys, *products.contents}:
            self.failures.setdefault(modality, {})
            keys = list(self.keys.get(modality, {}))
            n_sealed = self._n_sealed.get(modality, 0)
            sealed, unsealed = keys[:n_sealed], set(keys[n_sealed:])
            wanted = products.contents[modality].keys if modality in products.contents else []
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
                    sealed=True,
                    keys={key for key, there in zip(keys, encoded.tolist(), strict=True) if there},
                )
