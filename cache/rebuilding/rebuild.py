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
from cache.sealed.products import Products
from cache.sealed.store import Cache
from cache.system.aside import write_aside
from cache.system.reading import facts_of

__all__ = ["rebuild"]


def rebuild(
    cache_path: Path,
    journal: Journal,
    sources: Sequence[Source],
    products: Products,
    *,
    wanted: Mapping[str, KeyIndex] | None = None,
) -> bool:
    """Write a cache of these products with all vectors of the sources; return whether it is another than there was.

    Of a content that several sources have, the first source's vector is taken. `wanted` names, by modality, the keys
    that are kept, where not all are. Memory is bounded by a block of vectors, the keys, and the products. `journal` is
    that of `cache_path`, held by the caller; its parts are left alone. What is written lies in it until it is whole.

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
        with Journal(fresh_path) as fresh:
            _publish(fresh, sources, specs, wanted)
            seal(fresh_path, fresh, products)
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
    wanted: Mapping[str, KeyIndex] | None,
) -> None:
    kept = {where: spec for where, spec in sorted(specs.items()) if wanted is None or where[0] in wanted}
    failures: dict[str, dict[str, str]] = {}
    for modality in {modality for modality, _ in kept}:
        of_all = sorted(pair for source in sources for pair in source.failures(modality).items())  # the first stays
        failures[modality] = dict(reversed(of_all))
        if wanted is not None:
            is_wanted = wanted[modality].has(failures[modality])
            failures[modality] = dict(compress(failures[modality].items(), is_wanted))
    for (modality, encoder), spec in kept.items():
        # An encoder stays with its spec, if it has no vector.
        nothing = np.zeros((0, 0), dtype=np.float32)
        journal.publish(Part(encoder, spec, [], nothing, failures.pop(modality, {})))
        published = KeyIndex()
        for source in sources:
            for keys, vectors, tokens in source.blocks(modality, encoder):
                is_chosen = ~published.has(keys)
                if wanted is not None:
                    is_chosen &= wanted[modality].has(keys)
                if is_chosen.any():
                    chosen, rows = as_keys(keys)[is_chosen], np.flatnonzero(is_chosen)
                    some_tokens = None if tokens is None else tokens.take(rows)
                    journal.publish(Part(encoder, spec, KeyColumn(KeyIndex(chosen)), vectors[rows], {}, some_tokens))
                    published.add(chosen)


def _agreed_specs(sources: Sequence[Source]) -> dict[tuple[str, str], EncoderSpec]:
    """Return the specs of all sources by modality and name; of those with different side notes always the same one."""
    agreed: dict[tuple[str, str], tuple[EncoderSpec, Source]] = {}
    for source in sources:
        for where, spec in source.specs().items():
            other, other_source = agreed.setdefault(where, (spec, source))
            name = "/".join(where)
            if spec.fingerprint != other.fingerprint:
                raise SpecConflictError(
                    f"Expected {name} to be made in one way in all caches, but it differs between {other_source.path} "
                    f"and {source.path}: {'; '.join(other.differences(spec))}. Give one another name: embed-extract "
                    f"--{where[0]}-name NAME --reuse {source.path} -o ANOTHER.h5 encodes nothing again."
                )
            dims = {pair for one in {other_source, source} for pair in one.dims(*where)}
            if len(dims) > 1:
                shown = " and ".join(f"{dim} ({tokens or 'no'} of tokens)" for dim, tokens in sorted(dims))
                raise CacheError(
                    f"Expected {name} to have vectors of one size, but those of {other_source.path} and {source.path} "
                    f"have {shown} dimensions. One of them does not say in its spec what made it: leave it out."
                )
            if spec.to_json() < other.to_json():
                agreed[where] = (spec, source)
    return {where: spec for where, (spec, _) in agreed.items()}


def _content_of(cache_path: Path) -> str:
    with Cache(cache_path) as cache:
        return cache.content_sha256


def _unwritten(cache_path: Path, reason: str) -> CacheError:
    return CacheError(
        f"{cache_path} could not be written ({reason}). Nothing was changed. Fix the cause and type the same "
        "line again."
    )
