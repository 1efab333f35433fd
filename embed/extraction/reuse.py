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

__all__ = ["take_known"]

log = logging.getLogger("embed_once")

TAKEN_ROWS = 8192  # at once


def take_known(path: Path, runs: Sequence[EncoderRun], inventory: Inventory) -> None:
    """Take from another cache the vectors that it has of what is missing; of encoders that give tokens too, none.

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
        known = VectorsByKey.of_spec(path, run.encoder.spec)
        if known is None or "tokens" in run.encoder.spec.fields:
            what = "tokens are encoded anew" if known is not None else "it has none made in this way"
            log.info("%s: no vectors are taken from %s: %s.", run.name, path, what)
        elif n_taken := _take_part_by_part(run, inventory, known):
            log.info("%s: %d vectors are taken from %s.", run.name, n_taken, path)


def _take_part_by_part(run: EncoderRun, inventory: Inventory, known: VectorsByKey) -> int:
    """Take vectors of what the inventory lacks, and return how many."""
    missing, n_taken = run.missing(inventory), 0
    encoder = run.encoder
    for start in range(0, len(missing), TAKEN_ROWS):
        keys = missing[start : start + TAKEN_ROWS]
        vectors, is_known, _ = known.find(keys)
        if is_known.any():
            taken = list(compress(keys, is_known))
            run.journal.publish(Part(encoder.name, encoder.spec, taken, vectors[is_known], {}))
            run.journal.merge(encoder.spec.modality, encoder.name)
            n_taken += len(taken)
    if n_taken:
        inventory.update()
    return n_taken
