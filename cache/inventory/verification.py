"""Whether a cache is intact: every checksum, every shape, every reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cache.cloud.addresses import is_address
from cache.errors import CacheError, EmbedOnceError, UnreadableError
from cache.format.writer import BLOCK_ROWS, content_sha256, dataset_digest
from cache.journal.journal import Journal
from cache.journal.part_file import load_part
from cache.sealed.cache import Cache
from cache.sealed.samples import read_samples
from cache.system.stop_signals import raise_held_signals

__all__ = ["verify"]


def verify(path: str | Path) -> list[str]:
    """Return what is wrong with the cache and its journal, one sentence each; an empty list when all is well.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: the system could not read the cache or a part, so that nothing can be said of it.
    """
    try:
        with Cache(path) as cache, cache.tables.file.reading():
            problems = _digest_problems(cache) or _table_problems(cache)
    except UnreadableError:
        raise
    except EmbedOnceError as error:
        problems = [str(error)]
    for part_path in [] if is_address(path) else Journal(path).paths():  # those in a bucket are checked when fetched
        try:
            load_part(part_path)
        except FileNotFoundError:
            continue  # it was sealed meanwhile
        except UnreadableError:
            raise
        except CacheError as error:
            problems.append(str(error))
    return problems


def _digest_problems(cache: Cache) -> list[str]:
    expected = cache.digests
    if content_sha256(expected) != cache.content_sha256:
        return ["The list of digests does not match content_sha256."]
    problems = []
    for path in cache.tables.paths():
        if path == "digests":
            continue
        try:
            digest = dataset_digest(cache.tables.dataset(path))
        except OSError as error:
            problems.append(f"{path} cannot be read: {error}")
            expected.pop(path, None)
            continue
        if digest != expected.pop(path, None):
            problems.append(f"{path} does not match its digest.")
    return problems + [f"{path} is missing." for path in expected]


def _table_problems(cache: Cache) -> list[str]:
    """Return what is wrong with the values of tables.

    Shapes were checked when the file was opened; strings, rows and offsets are checked as they are read.
    """
    problems = []
    cache.ids()
    for name in cache.columns():
        cache.column(name)
    for modality in cache.modalities:
        cache.rows(modality)
        cache.statuses(modality)
        cache.content_spec(modality)
        read_samples(cache, modality)
    for modality in cache.content_modalities:  # those of earlier catalogues, too
        raise_held_signals()
        keys = cache.keys(modality)
        cache.content_statuses(modality)
        if len(np.unique(keys)) != len(keys):
            problems.append(f"Expected {modality}/key to be unique, but some keys are repeated.")
        for encoder in cache.encoders(modality):
            cache.spec(modality, encoder)
            vectors, encoded = cache.vectors(modality, encoder), cache.encoded(modality, encoder)
            if not np.isfinite(vectors[encoded]).all() or not np.isnan(vectors[~encoded]).all():
                problems.append(
                    f"Expected {modality}/{encoder} to be finite where encoded and NaN elsewhere, but it is not."
                )
            if cache.has_tokens(modality, encoder):
                problems += _token_problems(cache, modality, encoder)
    return problems


def _token_problems(cache: Cache, modality: str, encoder: str) -> list[str]:
    cache.token_counts(modality, encoder)
    tokens = cache.tables.dataset(f"{modality}/{encoder}/token")
    if all(np.isfinite(tokens[start : start + BLOCK_ROWS]).all() for start in range(0, len(tokens), BLOCK_ROWS)):
        return []
    return [f"Expected {modality}/{encoder}/token to be finite, but it is not."]
