"""Several encoders at work on the same contents: each content is read and decoded once for all of them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Hashable, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from cache import Inventory
from cache.arrays.key_column import KeyColumn
from cache.console.progress import Progress
from embed.contents.objects import fetch_together
from embed.encoders.device import one_core_each
from embed.encoders.protocol import Encoded, joined
from embed.errors import ContentError
from embed.extraction.disk_space import check_space
from embed.extraction.encoding.batch import Batch
from embed.extraction.encoding.encoder_run import EncoderReport, EncoderRun
from embed.extraction.encoding.replica_pool import ReplicaPool
from embed.extraction.thread_map import completed

__all__ = ["encode_all"]

log = logging.getLogger("embed_once")

MOST_AT_ONCE = 1024  # contents that a worker has prepared at once, for every encoder


def encode_all(runs: Sequence[EncoderRun], inventory: Inventory) -> list[EncoderReport]:
    """Encode what the inventory lacks of each run, and return a report of each.

    Runs of one modality that decode pictures in one way do so together (`decoding` of `embed.encoders.protocol`), and
    so do depths of one network (`embed.encoders.depths`), with one forward pass; others one after the other. Each
    encoder has the batches that it would have alone.

    Raises:
        CacheError: there is no space for it on the disk; what is done is kept.
    """
    groups: dict[Hashable, list[EncoderRun]] = {}
    for run in runs:
        decoding = getattr(run.encoder, "decoding", None)
        group_key = id(_whole(run.encoder)) if decoding is None else (run.encoder.spec.modality, decoding)
        groups.setdefault(group_key, []).append(run)
    reports: dict[str, EncoderReport] = {}
    for group in groups.values():
        group_reports = [group[0].encode_missing(inventory)] if len(group) == 1 else _encode_group(group, inventory)
        reports |= {report.name: report for report in group_reports}
    return [reports[run.name] for run in runs]


def _encode_group(runs: Sequence[EncoderRun], inventory: Inventory) -> list[EncoderReport]:
    """Encode what several runs lack: what the same runs lack together, and what one alone lacks by itself."""
    started = time.monotonic()
    missing_keys = [run.missing_keys(inventory) for run in runs]
    shared = _shared(missing_keys)
    if any(len(_networks([runs[number] for number in numbers])) > 1 for numbers in shared):
        log.info("%s decode each picture once for all of them.", " and ".join(run.name for run in runs))
    names = ", ".join(run.name for run in runs)
    n_contents = sum(map(len, shared.values()))
    for run in runs:
        modality = run.encoder.spec.modality
        run.begin(inventory.entry(modality, run.encoder.name, run.encoder.spec), inventory.failures[modality])
    try:
        with Progress(f"Encoding {names}", n_contents, unit=runs[0].encoder.spec.modality) as progress:
            for numbers, keys in shared.items():
                sharing_runs = [runs[number] for number in numbers]
                with closing(_encoded(sharing_runs, keys)) as encoded:
                    for batches in encoded:
                        _take(sharing_runs, batches, [missing_keys[number] for number in numbers])
                        progress.advance(batches[0].n_contents)
    finally:
        for run in runs:
            run.end()
    elapsed_s = time.monotonic() - started
    return [run.report(n_missing=len(keys), elapsed_s=elapsed_s) for run, keys in zip(runs, missing_keys, strict=True)]


def _shared(missing_keys: Sequence[KeyColumn]) -> dict[tuple[int, ...], KeyColumn]:
    """Return the keys that the same runs lack, by these runs' numbers; all runs have one source."""
    index = missing_keys[0].contents
    lacks = np.zeros((len(index), len(missing_keys)), dtype=bool)  # (U, runs)
    for number, keys in enumerate(missing_keys):
        lacks[keys.rows, number] = True
    rows = KeyColumn(index, np.concatenate([keys.rows for keys in missing_keys])).distinct_rows
    kinds = np.zeros(len(rows), dtype=np.int64)  # of rows that the same runs lack, whatever the number of runs
    for number in range(len(missing_keys)):
        kinds = np.unique(2 * kinds + lacks[rows, number], return_inverse=True)[1]
    first_of_kind = np.unique(kinds, return_index=True)[1]
    shared = {}
    for first in np.sort(first_of_kind).tolist():
        numbers = tuple(np.flatnonzero(lacks[rows[first]]).tolist())
        shared[numbers] = KeyColumn(index, rows[kinds == kinds[first]])
    return shared


def _take(runs: Sequence[EncoderRun], batches: Sequence[Batch], missing_keys: Sequence[KeyColumn]) -> None:
    """Take over a batch of each run, once it is known that all that is missing of them has space."""
    if n_bytes := sum(run.take(batch, keys) for run, batch, keys in zip(runs, batches, missing_keys, strict=True)):
        check_space(runs[0].cache_path, n_bytes=n_bytes)
    for run in runs:
        run.publish_if_due()


def _encoded(runs: Sequence[EncoderRun], keys: KeyColumn) -> Generator[list[Batch]]:
    """Yield batches of the keys, each time one of each run, as the workers have encoded them, in any order."""
    networks = _networks(runs)
    sizes = [run.batch_size for run, *_ in networks]
    size = math.lcm(*sizes) if math.lcm(*sizes) <= MOST_AT_ONCE else max(sizes)
    n_workers = runs[0].n_workers
    with one_core_each() as start_worker, ExitStack() as stack:
        pools = [
            stack.enter_context(ReplicaPool([_whole(replica) for replica in run.replicas], n_callers=n_workers))
            for run, *_ in networks
        ]

        def encode(block: KeyColumn) -> list[Batch]:
            batches = _encode(networks, pools, block)
            return [batches[run.name] for run in runs]

        yield from completed(
            encode,
            (keys[start : start + size] for start in range(0, len(keys), size)),
            n_workers=n_workers,
            n_ahead=2 * n_workers,
            start_worker=start_worker,
        )


def _encode(
    networks: Sequence[Sequence[EncoderRun]], pools: Sequence[ReplicaPool], keys: KeyColumn
) -> dict[str, Batch]:
    """Read and decode some contents once, and have each run's batch of them encoded; called by the workers."""
    batches = {}
    items, failures = _prepared([runs[0] for runs in networks], keys)
    names = list(keys)
    for runs, pool, prepared, network_failures in zip(networks, pools, items, failures, strict=True):
        size = runs[0].batch_size
        blocks = (names[start : start + size] for start in range(0, len(names), size))
        network_batches = ([prepared[key] for key in block if key in prepared] for block in blocks)
        encoded = joined([pool.encode(batch) for batch in network_batches if batch])
        for run in runs:
            run_encoded = _part(encoded, run.encoder) if prepared else encoded
            batches[run.name] = Batch(list(prepared), run_encoded, network_failures)
    return batches


def _prepared(runs: Sequence[EncoderRun], keys: KeyColumn) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the prepared contents of each network, by key, and the statuses of others; of one run a network."""
    source = runs[0].source
    numbers = keys.rows.tolist()
    fetch_together(source.places[number] for number in numbers)
    items: list[dict[str, Any]] = [{} for _ in runs]
    failures: list[dict[str, str]] = [{} for _ in runs]
    encoders: list[Any] = [run.encoder for run in runs]
    for key, number in zip(keys, numbers, strict=True):
        try:
            content = source.read(number)
            if len(encoders) > 1:  # those that share a decoding have `decode` and `prepare_decoded`
                content = encoders[0].decode(content)
        except ContentError as error:
            for network_failures in failures:
                network_failures[key] = str(error)
            continue
        for encoder, prepared, network_failures in zip(encoders, items, failures, strict=True):
            try:
                prepared[key] = encoder.prepare_decoded(content) if len(encoders) > 1 else encoder.prepare(content)
            except ContentError as error:
                network_failures[key] = str(error)
    return items, failures


def _part(encoded: Encoded, encoder: Any) -> Encoded:
    """Return what of a network's batch is an encoder's: all but the depths, or one of these."""
    if _whole(encoder) is encoder:
        return Encoded(encoded.vectors, encoded.tokens)
    return Encoded(encoded.beside[encoder.depth])


def _networks(runs: Sequence[EncoderRun]) -> list[list[EncoderRun]]:
    """Return the runs in groups of one network."""
    groups: dict[int, list[EncoderRun]] = {}
    for run in runs:
        groups.setdefault(id(_whole(run.encoder)), []).append(run)
    return list(groups.values())


def _whole(encoder: Any) -> Any:
    """Return the encoder that an encoder is a depth of; itself where it is none. A view needs a pass of its own."""
    return encoder.whole if hasattr(encoder, "depth") else encoder
