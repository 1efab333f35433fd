"""A run folder's JSON files, checked before they are used: the digests of its files, and the types of their values.

``manifest.json``, written last, has the SHA-256 of every other file that a training writes. ``report.html`` and exports
come later and are not in it; nothing reads them. Older runs have none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache import Cache, CacheError
from cache.cloud.addresses import StoragePath, is_address
from cache.cloud.local_copies import local_copy
from cache.errors import CloudError
from cache.system.reading import facts_of, raise_if_refused, reading
from heads.errors import RunError
from heads.typed_json import check_plain_name, read_object, read_plain_file, typed

__all__ = ["Config", "check_manifest", "find_cache", "read_config", "write_manifest"]

log = logging.getLogger("embed_once")

MANIFEST = "manifest.json"
MOST_HEADS = 1000


@dataclass(frozen=True)
class Config:
    """The parts of a run's ``config.json`` that are read again; the oldest runs have `heads` alone."""

    heads: list[str]
    cache: str | None = None
    label: str | None = None
    classes: list[str] = field(default_factory=list)
    encoders: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    split: dict[str, list[str]] = field(default_factory=dict)
    untrained_encoders: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    cache_content_sha256: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.heads) <= MOST_HEADS or len(set(self.heads)) < len(self.heads):
            raise ValueError(f"it names {len(self.heads)} heads, where 1 to {MOST_HEADS} distinct ones are expected")
        for name in self.heads:
            check_plain_name(name)


def find_cache(run_path: Path, config: Config) -> Path:
    """Return the path of a run's cache: as it was named, from here or from the folder that holds the runs' folder.

    Where both have one, it is the one whose content the run was trained on, else the one beside the runs: the other may
    be another catalogue's. Of a cache in a bucket it is the copy on this disk; if that cannot be had, a path at which
    there is nothing.

    Raises:
        UnreadableError: the system cannot say whether there is a file.
    """
    named_path = StoragePath(config.cache or "")
    if is_address(named_path):
        try:
            return local_copy(named_path)
        except (CloudError, FileNotFoundError) as error:
            log.warning("The cache of the run cannot be had. %s", error)
            return named_path
    with reading(run_path):
        path_beside_runs = run_path.resolve(strict=True).parent.parent / named_path
    facts, facts_beside_runs = facts_of(named_path), facts_of(path_beside_runs)
    if facts_beside_runs is None:
        return named_path
    if facts is None:
        return path_beside_runs
    is_one_file = os.path.samestat(facts, facts_beside_runs)
    return named_path if is_one_file or _has_content(named_path, config.cache_content_sha256) else path_beside_runs


def _has_content(path: Path, content_sha256: str) -> bool:
    try:
        with Cache(path) as cache:
            return cache.content_sha256 == content_sha256
    except (CacheError, FileNotFoundError):  # who opens it is told
        return False


def read_config(run_path: Path) -> Config:
    """Return what a run's ``config.json`` says.

    Raises:
        RunError: the folder is no run.
        UnreadableError: the system could not read it.
    """
    try:
        return typed(Config, read_object(run_path / "config.json"), where="config.json", more=True)
    except (OSError, ValueError) as error:
        raise_if_refused(error, run_path / "config.json")
        raise RunError(
            f"Expected a run to be a folder that heads-train wrote, but {run_path} is none ({error}). See the folders "
            "in runs/."
        ) from error


def write_manifest(folder: Path) -> None:
    """Write the digests of all files of a run's folder."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_bytes(_encoded(digests))


def check_manifest(run_path: Path, *, without: Iterable[str] = ()) -> None:
    """Check that the files of a run are as they were written, except those of the heads `without`.

    Raises:
        RunError: one is gone or was altered, or the manifest itself.
        UnreadableError: the system could not read one.
    """
    not_read = {f"{name}.{kind}" for name in without for kind in ("json", "safetensors")}
    try:
        content = read_plain_file(run_path / MANIFEST, most_bytes=2**20)
    except FileNotFoundError:
        return  # a run of an older version
    except ValueError as error:
        raise _altered(run_path / MANIFEST, error) from error
    try:
        digests = json.loads(content)
        if not isinstance(digests, dict) or _encoded(digests) != content:
            raise ValueError("it is not as it was written")
        for name in digests:
            check_plain_name(name)
    except (ValueError, RecursionError) as error:
        raise _altered(run_path / MANIFEST, error) from error
    for name, digest in digests.items():
        if name in not_read:
            continue
        try:
            if hashlib.sha256(read_plain_file(run_path / name)).hexdigest() != digest:
                raise ValueError("its digest is another")
        except (FileNotFoundError, ValueError) as error:
            reason = f"{name} is not there" if isinstance(error, FileNotFoundError) else error
            raise _altered(run_path / name, reason) from error


def _encoded(digests: dict[str, Any]) -> bytes:
    return json.dumps(digests, indent=1, ensure_ascii=True).encode()


def _altered(path: Path, reason: object) -> RunError:
    return RunError(
        f"Expected {path} to be as heads-train wrote it, but: {reason}. Restore it, or train again; if you changed it "
        f"yourself, remove {MANIFEST} beside it."
    )
