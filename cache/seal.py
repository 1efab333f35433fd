"""Sealing: the old cache and the journal's parts become one new file, put in place by one rename."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from cache.aside import PatientFile, write_aside
from cache.errors import CacheError, SpecConflictError
from cache.journal import Journal, load_vectors
from cache.keys import EncoderSpec
from cache.layout import CACHE_FORMAT, open_checked
from cache.products import Products
from cache.store import Cache
from cache.writer import BLOCK_ROWS, Writer, array_digest

__all__ = ["Inventory", "seal"]


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


def seal(cache_path: str | Path, journal: Journal, products: Products) -> bool:
    """Put the journal's parts and the catalogue into the cache; return whether there was anything to write.

    The old file is read and never written. Memory is bounded by the blocks of `BLOCK_ROWS` vectors and the keys.

    Raises:
        CacheError: the new file could not be written, for want of space say; the old cache and all parts are kept.
    """
    cache_path = Path(cache_path)
    inventory = Inventory(cache_path, journal)
    inventory.order(products)
    catalogue = products.arrays(inventory.keys, inventory.failures)
    if not inventory.part_paths and cache_path.exists() and _is_the_same(cache_path, catalogue):
        return False
    _check_space(inventory, catalogue)
    try:
        write_aside(cache_path, lambda aside: _write(aside, inventory, catalogue), folder=journal.folder)
    except (OSError, RuntimeError) as error:  # h5py reports a failed write as either
        raise CacheError(
            f"The cache {cache_path} could not be written ({error}). Nothing is lost: all vectors are kept in "
            f"{journal.folder}. Mend the cause and type the same line again."
        ) from error
    for path in inventory.part_paths:
        path.unlink()
    return True


def _write(aside: Path, inventory: Inventory, catalogue: dict[str, np.ndarray]) -> None:
    with PatientFile(aside) as raw:
        with h5py.File(raw, "w", libver=("v110", "v110")) as file:
            _fill(Writer(file, file_format=CACHE_FORMAT, check=raw.check), inventory, catalogue)
        raw.check()
    open_checked(aside).close()  # what cannot be opened must not take the place of what can


def _fill(writer: Writer, inventory: Inventory, catalogue: dict[str, np.ndarray]) -> None:
    for path, array in catalogue.items():
        writer.array(path, array)
    for modality, rows in inventory.keys.items():
        failures = inventory.failures[modality]
        writer.array(f"{modality}/key", np.array(list(rows), dtype="S64"))
        writer.array(f"{modality}/status", np.array([failures.get(key, "ok") for key in rows], dtype="S16"))
    for (modality, encoder), entry in inventory.entries.items():
        rows = inventory.keys[modality]
        where = f"{modality}/{encoder}"
        writer.text(f"{where}/spec", entry.spec.to_json())
        writer.array(f"{where}/encoded", np.array([key in entry.keys for key in rows], dtype=bool))
        blocks = _vector_blocks(inventory, modality, encoder)
        writer.blocks(f"{where}/vector", (len(rows), entry.n_dim), np.dtype("f4"), blocks)
    writer.finish()


def _vector_blocks(inventory: Inventory, modality: str, encoder: str) -> Iterator[np.ndarray]:
    """Yield the vectors of one encoder in the order of the keys, from the old file and from the parts."""
    entry = inventory.entries[modality, encoder]
    rows = inventory.keys[modality]
    part_rows = [(path, np.array([rows[key] for key in keys], dtype=np.int64)) for path, keys in entry.parts]
    vectors_of = lru_cache(maxsize=4)(load_vectors)
    with Cache(inventory.cache_path) if entry.sealed else nullcontext() as cache:
        for start in range(0, len(rows), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(rows))
            block = np.full((stop - start, entry.n_dim), np.nan, dtype=np.float32)  # (B, D)
            if cache is not None:
                old = cache.vector_block(modality, encoder, start, stop)
                if old.size:  # it has no dimensions while nothing could be read
                    block[: len(old)] = old
            for path, wanted in part_rows:
                inside = (wanted >= start) & (wanted < stop)
                if inside.any():
                    block[wanted[inside] - start] = vectors_of(path)[inside]
            yield block


def _is_the_same(cache_path: Path, catalogue: dict[str, np.ndarray]) -> bool:
    with Cache(cache_path) as cache:
        kept = {path: digest for path, digest in cache.digests.items() if path.startswith("catalogue/")}
    return kept == {path: array_digest(array) for path, array in catalogue.items()}


def _check_space(inventory: Inventory, catalogue: dict[str, np.ndarray]) -> None:
    n_bytes = sum(array.nbytes for array in catalogue.values())
    n_bytes += sum(80 * len(rows) for rows in inventory.keys.values())  # 64 of the key, 16 of the status
    n_bytes += sum(
        4 * entry.n_dim * len(inventory.keys[modality]) for (modality, _), entry in inventory.entries.items()
    )
    free = shutil.disk_usage(inventory.journal.folder).free
    if free < n_bytes:
        raise CacheError(
            f"Sealing the cache needs {n_bytes / 1e6:.1f} MB beside it, however {free / 1e6:.1f} MB are free. "
            f"All vectors are kept in {inventory.journal.folder}: free some space and type the same line again."
        )
