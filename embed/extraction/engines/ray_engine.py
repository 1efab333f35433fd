"""The engine that has workers of a Ray cluster encode: they come and go, and what they published stays."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cache import Inventory, Journal, plan
from cache.arrays.key_column import KeyColumn
from cache.console.progress import Progress
from cache.journal.part_file import read_heading
from cache.journal.shards import parts_in, shard_folders
from cache.workers.ray_pool import RayPool
from embed.errors import WorkerError
from embed.extraction.disk_space import check_space
from embed.extraction.encoding.encoder_run import EncoderReport, EncoderRun
from embed.extraction.engines.worker import Receipt, Task, Worker, WorkerPlan, code_version, lock_text
from embed.extraction.source.content_source import Source
from embed.settings import ExtractSettings

__all__ = ["encode"]

MAKER = "embed.encoders.factory:make_encoders"
MOST_KEYS = 4096  # of a task
FEWEST_KEYS = 32
TASKS_EACH = 4  # a worker, so that all end at about the same time
LAST_PARTS_S = 60.0  # until the parts of workers that ended are seen on a shared disk
LAST_LOCKS_S = 10.0  # until workers that were ended have let go of their journals
LOOK_AGAIN_S = 0.2


def encode(runs: Sequence[EncoderRun], inventory: Inventory, settings: ExtractSettings) -> list[EncoderReport]:
    """Have workers encode what the inventory lacks, and return what came of it when all is in the journal.

    Raises:
        SettingError: there is no Ray, or no such cluster.
        WorkerError: workers run other code, make other vectors, die again and again, or cannot be had.
        CacheError: there is no space on the disk, and as publishing does.
    """
    started = time.monotonic()
    missing_keys = {run.name: run.missing_keys(inventory) for run in runs}
    if any(missing_keys.values()):
        ray_run = _RayRun(runs, inventory, settings)
        ray_run.encode(missing_keys)
        ray_run.take_parts(missing_keys)
    return [_report(run, inventory, missing_keys[run.name], time.monotonic() - started) for run in runs]


class _RayRun:
    """One run of workers: what they are told, and what is known of what they did."""

    def __init__(self, runs: Sequence[EncoderRun], inventory: Inventory, settings: ExtractSettings) -> None:
        self._runs = {(run.encoder.spec.modality, run.encoder.name): run for run in runs}
        self._inventory = inventory
        self._cluster = replace(settings.ray, n_workers=settings.n_workers)
        self._plan = WorkerPlan(
            name=f"ray-{uuid.uuid4().hex[:12]}",
            cache_path=inventory.cache_path.absolute(),
            folder=Path.cwd(),
            settings=replace(settings, n_workers=None, engine="local", reuse=()),
            specs={encoder_key: run.encoder.spec for encoder_key, run in self._runs.items()},
            maker=MAKER,
            code=code_version(),
            lock=lock_text(inventory.cache_path),
        )
        self._progress: Progress | None = None
        self._published: dict[Path, set[tuple[str, str]]] = {}  # encoders and keys in this run's parts, as far as read

    def encode(self, missing_keys: dict[str, KeyColumn]) -> None:
        """Have the missing keys, which are by the runs' names, encoded."""
        n_missing = sum(map(len, missing_keys.values()))
        with (
            RayPool(Worker, (self._plan,), settings=self._cluster) as pool,
            Progress("Encoding with Ray", n_missing, unit="content") as self._progress,
        ):
            tasks = [
                task for run in self._runs.values() for task in self._tasks(run, missing_keys[run.name], pool.n_wanted)
            ]
            for task, receipt in pool.run(tasks, rest_after_result=_rest, rest_after_loss=self._again):
                run = self._runs[task.modality, task.encoder]
                if receipt.n_encoded and not run.n_encoded:
                    scale = len(missing_keys[run.name]) / receipt.n_encoded
                    check_space(run.cache_path, n_bytes=round(receipt.n_bytes * scale))
                run.n_encoded += receipt.n_encoded
                run.changed |= receipt.changed
                if isinstance(source := run.source, Source):
                    for number in source.keys.contents.rows_of(receipt.changed).tolist():
                        source.doubt(number)
                self._progress.advance(len(receipt.tried))

    def take_parts(self, missing_keys: dict[str, KeyColumn]) -> None:
        """Take what the workers have published, once all of it is seen here and none of them is at work any more.

        One that was ended may take a moment to end; if it does not, what it holds is left to the next run.

        Raises:
            WorkerError: some of what was published is never seen.
        """
        started_s = time.monotonic()
        journal = self._inventory.journal
        while True:
            journal.take_shards()
            self._inventory.update()
            waited_s = time.monotonic() - started_s
            n_unseen = sum(len(_unseen(run, self._inventory, missing_keys[run.name])) for run in self._runs.values())
            is_working = any(name.startswith(self._plan.name) for name in journal.working_shards)
            if not n_unseen and (not is_working or waited_s > LAST_LOCKS_S):
                return
            if n_unseen and waited_s > LAST_PARTS_S:
                raise WorkerError(
                    f"Expected to find in {journal.folder} all that workers published, but {n_unseen} contents are "
                    "not there. What is there is kept. Wait until no worker is left, and type the same line again."
                )
            time.sleep(LOOK_AGAIN_S)

    def _tasks(self, run: EncoderRun, keys: KeyColumn, n_workers: int) -> list[Task]:
        """Return tasks of about the same size, several for each worker."""
        modality, encoder = run.encoder.spec.modality, run.encoder.name
        entry = self._inventory.entry(modality, encoder, run.encoder.spec)
        dims = (entry.dim, entry.token_dim)
        size = min(MOST_KEYS, max(FEWEST_KEYS, -(-len(keys) // (TASKS_EACH * n_workers))))
        tasks = []
        for start in range(0, len(keys), size):
            piece = keys[start : start + size]
            numbers = piece.rows.tolist()
            places = {key: run.source.places[number] for key, number in zip(piece, numbers, strict=True)}
            tasks.append(Task(modality, encoder, places, dims))
        return tasks

    def _again(self, task: Task) -> Task | None:
        """Return what is left of a task whose worker was lost, which may have published some of it."""
        self._read_parts()
        all_published = self._published.values()
        published = {key for key in task.places if any((task.encoder, key) in keys for keys in all_published)}
        remaining = task.without(published)
        if self._progress is not None:
            self._progress.advance(len(task.places) - (0 if remaining is None else len(remaining.places)))
        return remaining

    def _read_parts(self) -> None:
        """Read which keys are in the workers' parts; nothing is touched, for a worker may be alive."""
        for folder in shard_folders(Journal(self._plan.cache_path).shards_folder):
            for path in parts_in(folder) if folder.name.startswith(self._plan.name) else []:
                if path not in self._published and (heading := read_heading(path)):
                    self._published[path] = {(heading.encoder, key) for key in [*heading.keys, *heading.failures]}


def _rest(task: Task, receipt: Receipt) -> Task | None:
    return task.without(receipt.tried)


def _unseen(run: EncoderRun, inventory: Inventory, keys: KeyColumn) -> KeyColumn:
    """Return those keys of which the inventory has neither a vector nor a failure, and that did not change."""
    modality = run.encoder.spec.modality
    entry = inventory.entry(modality, run.encoder.name, run.encoder.spec)
    return plan(keys, entry.keys, inventory.failures[modality], run.changed)


def _report(run: EncoderRun, inventory: Inventory, keys: KeyColumn, elapsed_s: float) -> EncoderReport:
    """Return what became of the keys that were missing."""
    entry = inventory.entry(run.encoder.spec.modality, run.encoder.name, run.encoder.spec)
    n_encoded = len(keys) - len(plan(keys, entry.keys))
    n_unique = len(run.source.places)
    return EncoderReport(
        name=run.name,
        n_unique=n_unique,
        n_cached=n_unique - len(keys),
        n_encoded=n_encoded,
        n_failed=len(plan(keys, run.changed)) - n_encoded,
        elapsed_s=elapsed_s,
    )
