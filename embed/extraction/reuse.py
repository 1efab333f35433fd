"""Vectors that another cache has already."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

from cache import CacheError, Inventory, Part, VectorsByKey
from cache.cloud.local_copies import local_copy
from cache.system.reading import facts_of
from embed.extraction.encoding.encoder_run import EncoderRun

__all__ = ["reuse_vectors"]

log = logging.getLogger("embed_once")

BLOCK_ROWS = 8192  # vectors that are taken at once


def reuse_vectors(path: Path, runs: Sequence[EncoderRun], inventory: Inventory) -> None:
    """Take missing vectors from another cache that has them; those of encoders that give tokens, too, stay missing.

    Raises:
        CacheError: there is no such cache.
    """
    try:
        path = local_copy(path)
    except FileNotFoundError:
        path = Path(path)
    if facts_of(path) is None:
        raise CacheError(f"--reuse: expected a cache at {path}, got nothing there. Correct the path, or leave it out.")
    for run in runs:
        reusable = VectorsByKey.of_spec(path, run.encoder.spec)
        if reusable is None or "tokens" in run.encoder.spec.fields:
            reason = "tokens are encoded anew" if reusable is not None else "it has none made in this way"
            log.info("%s: no vectors are taken from %s: %s.", run.name, path, reason)
        elif n_taken := _take_part_by_part(run, inventory, reusable):
            log.info("%s: %d vectors are taken from %s.", run.name, n_taken, path)


def _take_part_by_part(run: EncoderRun, inventory: Inventory, reusable: VectorsByKey) -> int:
    """Publish the reusable vectors of what the inventory lacks, and return how many these are."""
    missing_keys, n_taken = run.missing_keys(inventory), 0
    encoder = run.encoder
    for start in range(0, len(missing_keys), BLOCK_ROWS):
        keys = missing_keys[start : start + BLOCK_ROWS]
        vectors, has_vector, _ = reusable.find(keys)
        if has_vector.any():
            taken_keys = list(compress(keys, has_vector))
            run.journal.publish(Part(encoder.name, encoder.spec, taken_keys, vectors[has_vector], {}))
            run.journal.merge(encoder.spec.modality, encoder.name)
            n_taken += len(taken_keys)
    if n_taken:
        inventory.update()
    return n_taken
