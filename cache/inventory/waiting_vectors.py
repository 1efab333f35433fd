"""How many vectors wait in the journal."""

from __future__ import annotations

import numpy as np

from cache.journal.journal import Journal
from cache.journal.part_file import read_heading
from cache.sealed.cache import Cache

__all__ = ["count_waiting"]


def count_waiting(cache: Cache) -> dict[str, int]:
    """Return the number of contents whose vectors wait to be sealed, by ``<modality>/<encoder>``, sorted.

    Only keys are read. A part that goes meanwhile, or is damaged, is not counted: `cache.inventory.verification` names
    it.

    Raises:
        UnreadableError: the system could not read a part.
    """
    keys: dict[tuple[str, str], list[np.ndarray]] = {}
    for path in Journal(cache.path).paths():
        if heading := read_heading(path):
            part_keys = np.array(heading.keys, dtype="S64")
            keys.setdefault((heading.spec.modality, heading.encoder), []).append(part_keys)
    return {
        f"{modality}/{encoder}": len(np.setdiff1d(np.concatenate(part_keys), _sealed_keys(cache, modality, encoder)))
        for (modality, encoder), part_keys in sorted(keys.items())
    }


def _sealed_keys(cache: Cache, modality: str, encoder: str) -> np.ndarray:
    """Return the keys that have a vector in the sealed cache; a killed process may have left parts with them, too."""
    if modality not in cache.content_modalities or encoder not in cache.encoders(modality):
        return np.array([], dtype="S64")
    return cache.keys(modality)[cache.encoded(modality, encoder)]
