"""The files beside a cache in a bucket: hints of pictures' keys, and the list of failures.

They are put there so that another machine need not read all pictures anew. The hints of a shard are of its share of the
pictures alone. They wait among the parts, as ``<cache>.journal/<shard>.hints``, until the cache's writer takes them:
they are fetched to where `cache.journal.shards.take_shard` puts those of shards on this disk.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cache.cloud.buckets import ConflictError, ObjectFacts
from cache.cloud.local_copies import LocalCopy
from cache.system.aside import write_aside
from cache.system.reading import facts_of

__all__ = ["FilesBeside"]

HINTS, FAILURES = ".hints", ".failures.csv"  # behind the cache's name


class FilesBeside:
    """The files beside a mirror's cache, or those of a `shard`; `folder` is that of the mirror's journal."""

    def __init__(self, copy: LocalCopy, cache_path: Path, folder: Path, *, shard: str | None) -> None:
        key = copy.address.key
        self._copy = copy
        self._folder = folder
        self._journal_key = f"{key}.journal"
        self._hints_path = cache_path.with_name(f"{cache_path.name}{HINTS}")
        self._is_of_shard = shard is not None
        if shard is not None:
            self._paths = {f"{self._journal_key}/{shard}{HINTS}": self._hints_path}  # by the keys of their objects
        else:
            failures_path = cache_path.with_name(f"{cache_path.name}{FAILURES}")
            self._paths = {f"{key}{HINTS}": self._hints_path, f"{key}{FAILURES}": failures_path}
        self._fetched_contents: dict[str, bytes | None] = {}  # by key; empty until `fetch`
        self._shard_hints: dict[str, Path] = {}  # the hints that shards have left, by key

    def fetch(self) -> None:
        """Take over the hints of another machine where this one has none, and those that shards have left."""
        if facts_of(self._hints_path) is None:
            self._fetch(f"{self._copy.address.key}{HINTS}", self._hints_path)
        self._fetched_contents = {key: _content(path) for key, path in self._paths.items()}
        if not self._is_of_shard:
            keys = [key for key, _ in self._copy.bucket.list(self._journal_key) if key.endswith(HINTS)]
            self._shard_hints = {key: self._folder / key.rpartition("/")[2] for key in keys}
            for key, path in self._shard_hints.items():
                self._fetch(key, path)

    def _fetch(self, key: str, path: Path) -> None:
        with suppress(FileNotFoundError):
            _, content = self._copy.bucket.get(key)
            write_aside(path, lambda aside: aside.write_bytes(content), folder=self._folder)

    def send(self) -> None:
        """Put the files that have changed into the bucket, unless another machine changes them at the same time."""
        for key, fetched_content in self._fetched_contents.items():
            content = _content(self._paths[key])
            if content != fetched_content:
                with suppress(ConflictError):  # the other machine's are as good
                    self._send(key, content)
        self._copy.bucket.delete([key for key, path in self._shard_hints.items() if facts_of(path) is None])

    def _send(self, key: str, content: bytes | None) -> None:
        stored_facts: ObjectFacts | None = None
        with suppress(FileNotFoundError):
            stored_facts = self._copy.bucket.head(key)
        if content is not None:
            self._copy.bucket.put(key, content, replaces=stored_facts)
        elif stored_facts is not None:
            self._copy.bucket.delete([key])


def _content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None
