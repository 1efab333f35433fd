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
LOOK_AGAIN_S = 0.2


def encode(runs: Sequence[EncoderRun], inventory: Inventory, settings: ExtractSettings) -> list[EncoderReport]:
    """Have workers encode what the inventory lacks, and return what came of it when all is in the journal.

    Raises:
        SettingError: there is no Ray, or no such cluster.
        WorkerError: workers run other code, make other vectors, die again and again, or cannot be had.
        CacheError: there is no space on the disk, and as publishing does.
    """
    started = time.monotonic()
    wanted = {run.name: run.missing(inventory) for run in runs}
    if any(wanted.values()):
        _RayRun(runs, inventory, settings).encode(wanted)
        _take_parts(runs, inventory, wanted)
    return [_report(run, inventory, wanted[run.name], time.monotonic() - started) for run in runs]


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
            specs={where: run.encoder.spec for where, run in self._runs.items()},
            maker=MAKER,
            code=code_version(),
            lock=lock_text(inventory.cache_path),
        )
        self._progress: Progress | None = None
        self._published: dict[Path, set[tuple[str, str]]] = {}  # encoders and keys in this run's parts, as far as read

    def encode(self, wanted: dict[str, KeyColumn]) -> None:
        """Have all of it encoded; `wanted` are keys by the runs' names."""
        n_wanted = sum(map(len, wanted.values()))
        with (
            RayPool(Worker, (self._plan,), settings=self._cluster) as pool,
            Progress("Encoding with Ray", n_wanted, unit="content") as self._progress,
        ):
            tasks = [task for run in self._runs.values() for task in self._tasks(run, wanted[run.name], pool.n_wanted)]
            for task, receipt in pool.run(tasks, rest_after_result=_rest, rest_after_loss=self._again):
                run = self._runs[task.modality, task.encoder]
                if receipt.n_encoded and not run.n_encoded:
                    share = len(wanted[run.name]) / receipt.n_encoded
                    check_space(run.cache_path, n_bytes=round(receipt.n_bytes * share))
                run.n_encoded += receipt.n_encoded
                run.changed |= receipt.changed
                if isinstance(source := run.source, Source):
                    for number in source.keys.contents.rows_of(receipt.changed).tolist():
                        source.doubt(number)
                self._progress.advance(len(receipt.tried))

    def _tasks(self, run: EncoderRun, keys: KeyColumn, n_workers: int) -> list[Task]:
        modality, encoder = run.encoder.spec.modality, run.encoder.name
        entry = self._inventory.entry(modality, encoder, run.encoder.spec)
        dims = (entry.dim, entry.token_dim)
        size = min(MOST_KEYS, max(FEWEST_KEYS, -(-len(keys) // (TASKS_EACH * n_workers))))
        pieces = [keys[start : start + size] for start in range(0, len(keys), size)]
        places = run.source.places
        return [
            Task(modality, encoder, {key: places[n] for key, n in zip(one, one.rows.tolist(), strict=True)}, dims)
            for one in pieces
        ]

    def _again(self, task: Task) -> Task | None:
        """Return what is left of a task whose worker was lost, which may have published some of it."""
        self._read_parts()
        several = self._published.values()
        left = task.without({key for key in task.places if any((task.encoder, key) in some for some in several)})
        if self._progress is not None:
            self._progress.advance(len(task.places) - (0 if left is None else len(left.places)))
        return left

    def _read_parts(self) -> None:
        """Read which keys are in the workers' parts; nothing is touched, for a worker may be alive."""
        for folder in shard_folders(Journal(self._plan.cache_path).shards_folder):
            for path in parts_in(folder) if folder.name.startswith(self._plan.name) else []:
                if path not in self._published and (heading := read_heading(path)):
                    self._published[path] = {(heading.encoder, key) for key in [*heading.keys, *heading.failures]}


def _rest(task: Task, receipt: Receipt) -> Task | None:
    return task.without(receipt.tried)


def _take_parts(runs: Sequence[EncoderRun], inventory: Inventory, wanted: dict[str, KeyColumn]) -> None:
    """Take what the workers have published, once all of it is seen here.

    Raises:
        WorkerError: some of it never is.
    """
    until = time.monotonic() + LAST_PARTS_S
    while True:
        inventory.journal.take_shards()
        inventory.update()
        n_unseen = sum(len(_unseen(run, inventory, wanted[run.name])) for run in runs)
        if not n_unseen:
            return
        if time.monotonic() > until:
            raise WorkerError(
                f"Expected to find in {inventory.journal.folder} all that workers published, but {n_unseen} contents "
                "are not there. What is there is kept. Wait until no worker is left, and type the same line again."
            )
        time.sleep(LOOK_AGAIN_S)


def _unseen(run: EncoderRun, inventory: Inventory, wanted: KeyColumn) -> KeyColumn:
    modality = run.encoder.spec.modality
    entry = inventory.entry(modality, run.encoder.name, run.encoder.spec)
    return plan(wanted, entry.keys, inventory.failures[modality], run.changed)


def _report(run: EncoderRun, inventory: Inventory, wanted: KeyColumn, elapsed_s: float) -> EncoderReport:
    entry = inventory.entry(run.encoder.spec.modality, run.encoder.name, run.encoder.spec)
    n_encoded = len(wanted) - len(plan(wanted, entry.keys))
    n_unique = len(run.source.places)
    return EncoderReport(
        name=run.name,
        n_unique=n_unique,
        n_cached=n_unique - len(wanted),
        n_encoded=n_encoded,
        n_failed=len(plan(wanted, run.changed)) - n_encoded,
        elapsed_s=elapsed_s,
    )
