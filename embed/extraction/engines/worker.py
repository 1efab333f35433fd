"""A worker: the encoders of a plan in a process of its own, tasks in, parts in a journal of its own out."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import uuid
import warnings
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from cache import EncoderSpec, Journal
from cache.arrays.key_column import KeyColumn
from cache.inventory.inventory import Entry
from cache.system.reading import facts_of
from cache.version import version_here
from embed.encoders.factory import replicas
from embed.encoders.precision import keep_precision
from embed.encoders.specs.kept_names import keep_names
from embed.errors import WorkerError
from embed.extraction.encoding.encoder_run import EncoderRun
from embed.extraction.source.content_source import read_content
from embed.settings import ExtractSettings

__all__ = ["Receipt", "Task", "Worker", "WorkerPlan", "code_version", "lock_text"]

WORK_S = 15.0  # after which a worker says what it has done, so that its silence means something


@dataclass(frozen=True)
class WorkerPlan:
    """What all workers of a run must agree on with whoever planned it."""

    name: str  # of the run; each worker's journal has it before a name of its own
    cache_path: Path
    folder: Path  # what paths in the settings are relative to
    settings: ExtractSettings
    specs: Mapping[tuple[str, str], EncoderSpec]  # (modality, encoder's name) -> what its vectors are made by
    maker: str  # ``module:function``, which makes the encoders of the settings
    code: str
    lock: str  # what the lock of the cache's journal says


@dataclass(frozen=True)
class Task:
    """Some contents for one encoder, and where each is."""

    modality: str
    encoder: str
    places: Mapping[str, Any]  # key -> path, place or text, in the order to encode them in
    dims: tuple[int, int]  # of the vectors and tokens that there are, 0 where there are none

    def __str__(self) -> str:
        first_place = str(next(iter(self.places.values())))[:200]
        return f"{len(self.places)} contents for {self.modality}/{self.encoder}, of which the first is {first_place!r}"

    def without(self, keys: Container[str]) -> Task | None:
        """Return the task without some of its contents, None where it has no others."""
        places = {key: place for key, place in self.places.items() if key not in keys}
        return replace(self, places=places) if places else None


@dataclass(frozen=True)
class Receipt:
    """What became of some of a task's contents; their vectors are in parts of the worker's journal."""

    tried: frozenset[str]  # their keys
    n_encoded: int
    changed: frozenset[str]  # keys of contents that are others by now
    n_bytes: int  # of vectors and tokens


class Worker:
    """Whoever encodes tasks; a process has one, and one task at a time.

    Raises:
        WorkerError: this process would not make the vectors that were planned, or does not see the cache's folder.
        WeightsError, DeviceError: an encoder cannot be had here.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        process = f"process {os.getpid()} on {socket.gethostname()}"
        if (code := code_version()) != plan.code:
            raise WorkerError(
                f"Expected all workers to run {plan.code}, but {process} runs {code}. Install the same version of "
                "embed-once on all machines."
            )
        if lock_text(plan.cache_path) != plan.lock or not plan.folder.is_dir():
            raise WorkerError(
                f"Expected all workers to see {plan.cache_path.parent} and {plan.folder} as this machine does, but "
                f"{process} does not. Use folders on a disk that all share, under the same path."
            )
        os.chdir(plan.folder)
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
        module, _, function = plan.maker.partition(":")
        encoders = getattr(import_module(module), function)(plan.settings)
        keep_names(encoders, plan.specs, but_for=("precision",) if plan.settings.precision == "auto" else ())
        keep_precision(encoders, plan.specs)
        self._teams = {(team[0].spec.modality, team[0].name): team for team in replicas(encoders)}
        for encoder_key, spec in plan.specs.items():
            actual_spec = self._teams[encoder_key][0].spec if encoder_key in self._teams else None
            if actual_spec is None or actual_spec.fingerprint != spec.fingerprint:
                differences = "; ".join(actual_spec.differences(spec)) if actual_spec else "nothing of this name"
                raise WorkerError(
                    f"Expected all workers to make {'/'.join(encoder_key)} in one way, but {process} makes it with "
                    f"{differences}. Give all machines the same weights and libraries, and name one --precision."
                )
        self._plan = plan
        self._journal = Journal(plan.cache_path, shard=f"{plan.name}-{uuid.uuid4().hex[:12]}").__enter__()

    def do(self, task: Task) -> Receipt:
        """Encode and publish as much of a task as some seconds allow."""
        started = time.monotonic()
        team = self._teams[task.modality, task.encoder]
        run = EncoderRun(team, TaskContents(task.places), self._plan.cache_path, self._journal, self._plan.settings)
        entry = Entry(team[0].spec, *task.dims, is_sealed=task.dims[0] > 0)
        n_tried = 0

        def advance(n: int) -> None:
            nonlocal n_tried
            n_tried += n

        keys = run.source.keys
        run.encode_keys(keys, entry, {}, advance=advance, is_over=lambda: time.monotonic() - started > WORK_S)
        return Receipt(frozenset(keys[:n_tried]), run.n_encoded, frozenset(run.changed), run.n_bytes)


class TaskContents:
    """The contents of a task, as a `ContentSource`."""

    def __init__(self, places: Mapping[str, Any]) -> None:
        self.keys = KeyColumn.of(places)
        self.places = list(places.values())
        self.statuses = ["ok"] * len(places)  # each has a content, as far as was known

    def read(self, number: int) -> Any:
        """Return a content.

        Raises:
            ContentError: it is no longer the content that was hashed.
        """
        return read_content(self.places[number], self.keys[number])


def code_version() -> str:
    """Return the version of embed-once, and a digest of the code that makes vectors."""
    root = Path(__file__).parents[3]
    digest = hashlib.sha256()
    for path in sorted([*root.glob("cache/**/*.py"), *root.glob("embed/**/*.py")]):
        digest.update(f"{path.relative_to(root)} ".encode() + path.read_bytes())
    return f"embed-once {version_here()} ({digest.hexdigest()[:12]})"


def lock_text(cache_path: Path) -> str:
    """Return what the lock of a cache's journal says of whoever holds it, "" where there is none."""
    path = Journal(cache_path).folder / "lock"
    return path.read_text(errors="replace") if facts_of(path) is not None else ""
