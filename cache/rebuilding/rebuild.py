"""Writing a cache anew from others, by way of the journal and the seal, and putting it in place by one rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex, as_keys
from cache.errors import CacheError, SpecConflictError, UnreadableError
from cache.inventory.sealing import seal
from cache.journal.journal import Journal
from cache.journal.part import Part
from cache.keys import EncoderSpec
from cache.rebuilding.source import Source
from cache.sealed.cache import Cache
from cache.sealed.products import Products
from cache.system.aside import write_aside
from cache.system.reading import facts_of

__all__ = ["rebuild"]


def rebuild(
    cache_path: Path,
    journal: Journal,
    sources: Sequence[Source],
    products: Products,
    *,
    kept_keys: Mapping[str, KeyIndex] | None = None,
) -> bool:
    """Write a cache of these products with all vectors of the sources; return whether it is another than there was.

    Of a content that several sources have, the first source's vector is taken. `kept_keys` are the keys that are kept,
    by modality; None keeps all. Memory is bounded by a block of vectors, the keys, and the products. `journal` is that
    of `cache_path`, held by the caller; its parts are left alone. The new cache is written in its folder.

    Raises:
        SpecConflictError: two sources have vectors of one name that were made in different ways.
        CacheError: vectors of one spec have different dimensions, or the disk is full; the cache stays as it was.
        UnreadableError: a source cannot be read; likewise.
    """
    specs = _agreed_specs(sources)
    folder = journal.folder / "rebuilt"
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    try:
        folder.mkdir()
        fresh_path = folder / cache_path.name
        with Journal(fresh_path) as fresh_journal:
            _publish(fresh_journal, sources, specs, kept_keys)
            seal(fresh_path, fresh_journal, products)
        if facts_of(cache_path) is not None and _content_of(cache_path) == _content_of(fresh_path):
            return False
        write_aside(cache_path, lambda aside: os.replace(fresh_path, aside), folder=journal.folder)
        if not journal.deliver():
            raise CacheError(f"{cache_path.name} was sealed by another process meanwhile. Type the same line again.")
    except UnreadableError:
        raise
    except OSError as error:
        raise _unwritten(cache_path, error.strerror or str(error)) from error
    except CacheError as error:
        if isinstance(error.__cause__, OSError | RuntimeError):  # of the new file, in which nothing is kept
            raise _unwritten(cache_path, str(error.__cause__)) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _publish(
    journal: Journal,
    sources: Sequence[Source],
    specs: Mapping[tuple[str, str], EncoderSpec],
    kept_keys: Mapping[str, KeyIndex] | None,
) -> None:
    """Publish the vectors and the failures of all sources, those of `kept_keys` where these are given."""
    kept_specs = {
        (modality, encoder): spec
        for (modality, encoder), spec in sorted(specs.items())
        if kept_keys is None or modality in kept_keys
    }
    failures = {
        modality: _failures(sources, modality, None if kept_keys is None else kept_keys[modality])
        for modality in {modality for modality, _ in kept_specs}
    }
    for (modality, encoder), spec in kept_specs.items():
        # A part without vectors keeps the spec of an encoder that has none.
        no_vectors = np.zeros((0, 0), dtype=np.float32)
        journal.publish(Part(encoder, spec, [], no_vectors, failures.pop(modality, {})))
        published = KeyIndex()
        for source in sources:
            for keys, vectors, tokens in source.blocks(modality, encoder):
                is_new = ~published.has(keys)
                if kept_keys is not None:
                    is_new &= kept_keys[modality].has(keys)
                if is_new.any():
                    new_keys, rows = as_keys(keys)[is_new], np.flatnonzero(is_new)
                    new_tokens = None if tokens is None else tokens.take(rows)
                    journal.publish(Part(encoder, spec, KeyColumn(KeyIndex(new_keys)), vectors[rows], {}, new_tokens))
                    published.add(new_keys)


def _failures(sources: Sequence[Source], modality: str, kept_keys: KeyIndex | None) -> dict[str, str]:
    """Return the statuses of unreadable contents by key; of a key with several, the first in alphabetical order."""
    pairs = sorted(pair for source in sources for pair in source.failures(modality).items())
    failures = dict(reversed(pairs))
    return failures if kept_keys is None else dict(compress(failures.items(), kept_keys.has(failures)))


def _agreed_specs(sources: Sequence[Source]) -> dict[tuple[str, str], EncoderSpec]:
    """Return the specs of all sources by modality and encoder.

    Of specs with different side notes the first in alphabetical order is returned, whatever the order of the sources.
    """
    agreed: dict[tuple[str, str], tuple[EncoderSpec, Source]] = {}
    for source in sources:
        for (modality, encoder), spec in source.specs().items():
            agreed_spec, agreed_source = agreed.setdefault((modality, encoder), (spec, source))
            if spec.fingerprint != agreed_spec.fingerprint:
                raise SpecConflictError(
                    f"Expected {modality}/{encoder} to be made in one way in all caches, but it differs between "
                    f"{agreed_source.path} and {source.path}: {'; '.join(agreed_spec.differences(spec))}. Give one "
                    f"another name: embed-extract --{modality}-name NAME --reuse {source.path} -o ANOTHER.h5 encodes "
                    "nothing again."
                )
            dims = agreed_source.dims(modality, encoder) | source.dims(modality, encoder)
            if len(dims) > 1:
                shown = " and ".join(f"{dim} ({token_dim or 'no'} of tokens)" for dim, token_dim in sorted(dims))
                raise CacheError(
                    f"Expected {modality}/{encoder} to have vectors of one size, but those of {agreed_source.path} and "
                    f"{source.path} have {shown} dimensions. One of them does not say in its spec what made it: leave "
                    "it out."
                )
            if spec.to_json() < agreed_spec.to_json():
                agreed[modality, encoder] = (spec, source)
    return {entry: spec for entry, (spec, _) in agreed.items()}


def _content_of(cache_path: Path) -> str:
    with Cache(cache_path) as cache:
        return cache.content_sha256


def _unwritten(cache_path: Path, reason: str) -> CacheError:
    return CacheError(
        f"{cache_path} could not be written ({reason}). Nothing was changed. Fix the cause and type the same "
        "line again."
    )
