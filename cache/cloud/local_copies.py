"""Copies on the local disk of objects that are read again and again: caches, and catalogues.

Each object has a folder below ``$XDG_CACHE_HOME/embed-once`` (``~/.cache/embed-once``). Beside a copy, ``<name>.json``
has the tag of the object that it is of, and the identity of the copy's file. A copy is used if both are still the same;
otherwise the object is fetched aside, checked for its size, and put in place by a rename. So a process that is killed
in between leaves a copy that is fetched again. No copy is ever written to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from cache.cloud.addresses import Address, address_of, is_address
from cache.cloud.buckets import Bucket, ConflictError, ObjectFacts, open_bucket
from cache.errors import CloudError
from cache.system.aside import write_aside
from cache.system.lock import WriterLock
from cache.system.reading import facts_of, names_in
from cache.system.user_folder import user_folder

__all__ = ["LocalCopy", "local_copy"]

log = logging.getLogger("embed_once")

PIECE_BYTES = 2**24  # fetched by one request
N_TOGETHER = 8  # requests, so that a fetch has at most 128 MB in memory
ATTEMPTS = 5  # to fetch an object that is replaced meanwhile
LOGGED_BYTES = 2**26  # a fetch of more is logged, as it takes long
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ACCOUNT_NAME")


def local_copy(path: str | os.PathLike[str]) -> Path:
    """Return where a file can be opened: the path itself, or of an object in a bucket its copy, brought up to date.

    Raises:
        FileNotFoundError: there is no such object.
        CloudError: it cannot be had.
    """
    return LocalCopy(address_of(path)).fetch() if is_address(path) else Path(path)


class LocalCopy:
    """The copy of one object."""

    def __init__(self, address: Address) -> None:
        if not address.name:
            raise CloudError(
                f"Expected the URL of a file, got {address}. Name one in the bucket, such as {address}e.h5."
            )
        self.address = address
        server = [os.environ.get(name, "") for name in ENDPOINTS]
        digest = hashlib.sha256(json.dumps([*server, str(address)]).encode()).hexdigest()[:32]
        self.folder = user_folder() / digest
        self.path = self.folder / address.name
        self._facts_path = self.folder / f"{address.name}.json"
        self.facts = ObjectFacts("", 0)  # of the object that the copy is of, as last checked

    @property
    def bucket(self) -> Bucket:
        """The bucket that the object is in."""
        return open_bucket(self.address)

    def fetch(self, link_path: Path | None = None) -> Path:
        """Bring the copy up to date and return its path; `link_path` becomes a second name of the same file.

        Raises:
            FileNotFoundError: there is no such object.
            CloudError: it cannot be had.
        """
        for _ in range(ATTEMPTS):
            try:
                facts = self.bucket.head(self.address.key)
            except FileNotFoundError:
                self.bucket.get(self.address.key, most_bytes=0)  # which tells whether the bucket itself is not there
                raise
            if link_path is None and self._is_of(facts):
                return self.path
            with suppress(ConflictError), self._locked():
                if not self._is_of(facts):
                    self._fetch(facts)
                if link_path is not None:
                    _link(self.path, link_path, folder=self.folder)
                return self.path
        raise CloudError(f"{self.address} was replaced again and again while it was fetched. Type the same line again.")

    def _is_of(self, facts: ObjectFacts) -> bool:
        """Return whether the copy is of the object with these facts, and its file is the one that was fetched."""
        with suppress(OSError, ValueError):
            noted = json.loads(self._facts_path.read_text(encoding="utf-8"))
            if facts.etag and noted == self._about(facts):
                self.facts = facts
                return True
        return False

    def adopt(self, path: Path, facts: ObjectFacts) -> None:
        """Make a file that nobody writes to the copy of the object with these facts."""
        with self._locked():
            _link(path, self.path, folder=self.folder)
            self._note(facts)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process replace the copy in the block; what a killed one left aside is removed."""
        lock = WriterLock(self.folder / "fetching" / "lock")
        lock.acquire(is_patient=True)
        try:
            for name in names_in(self.folder):
                if name.endswith(".tmp"):
                    (self.folder / name).unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def _note(self, facts: ObjectFacts) -> None:
        """Write down which object the copy is of."""
        about = json.dumps(self._about(facts))
        write_aside(self._facts_path, lambda aside: aside.write_text(about, encoding="utf-8"), folder=self.folder)
        self.facts = facts

    def _about(self, facts: ObjectFacts) -> dict[str, object]:
        file = os.stat(self.path)
        identity = [file.st_ino, file.st_size, file.st_mtime_ns]
        return {"url": str(self.address), "etag": facts.etag, "n_bytes": facts.n_bytes, "file": identity}

    def _fetch(self, facts: ObjectFacts) -> None:
        if facts.n_bytes > LOGGED_BYTES:
            log.info("%s is fetched (%.0f MB).", self.address, facts.n_bytes / 1e6)
        write_aside(self.path, lambda aside: self._write_pieces(aside, facts), folder=self.folder)
        self._note(facts)

    def _write_pieces(self, aside: Path, facts: ObjectFacts) -> None:
        disk = os.statvfs(self.folder)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < facts.n_bytes:
            raise CloudError(
                f"Expected {facts.n_bytes / 1e6:.1f} MB of free space in {self.folder} for a copy of {self.address}, "
                f"got {free_bytes / 1e6:.1f} MB. Free some, or set XDG_CACHE_HOME to another disk."
            )
        bucket, key = self.bucket, self.address.key
        with aside.open("wb") as file:
            descriptor = file.fileno()

            def fetch(start: int) -> None:
                end = min(start + PIECE_BYTES, facts.n_bytes)
                content = bucket.get_range(key, start, end, etag=facts.etag)
                if os.pwrite(descriptor, content, start) < len(content):
                    raise CloudError(
                        f"{aside} could not be written whole. Free some space, then type the same line again."
                    )

            with ThreadPoolExecutor(N_TOGETHER, thread_name_prefix="fetch") as pool:
                for _ in pool.map(fetch, range(0, facts.n_bytes, PIECE_BYTES)):
                    pass
        if (written := facts_of(aside)) is None or written.st_size != facts.n_bytes:
            raise CloudError(f"{self.address} was not fetched whole. Type the same line again.")


def _link(path: Path, link_path: Path, *, folder: Path) -> None:
    """Give a file that nobody writes to a second name, first aside in `folder`; a copy where the disk has no links.

    A file that has the second name already is left alone: a rename between two names of one file would leave both.
    """

    def link_aside(aside: Path) -> None:
        aside.unlink(missing_ok=True)
        try:
            os.link(path, aside)
        except OSError:
            shutil.copyfile(path, aside)

    if facts_of(link_path) is None or not os.path.samefile(path, link_path):
        write_aside(link_path, link_aside, folder=folder)
