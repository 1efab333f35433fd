"""Hints: the key that a picture file had when its path, size, inode and times were these, so that it is not read again.

The file ``<cache>.hints`` is no part of the cache: without it a run takes longer and does the same. It holds 48 bytes a
file, in one block each:

=============  ==================================================================================================
bytes          meaning
=============  ==================================================================================================
32             ``embed-once hints 2``, filled up with NUL
32             SHA-256 of all that follows
n × 16         identities, sorted: BLAKE2b over a file's inode, size, times of modification and of change, path
               (`cache.system.file_identity`); of an object in a bucket, over its tag, size and URL
n × 32         the SHA-256 of each one's bytes, which is its content key
=============  ==================================================================================================

The time of change (``ctime``) is among the facts because nobody can set it back, as `touch` and `rsync` do with the
time of modification. A file that was written a moment ago gets no identity: its next change may bear the same times.
The device is not among them: each machine numbers a network's disk in its own way.

A shard of an extraction (`cache.journal.shards`) keeps a file of its own of what it read, which the run that seals
takes in.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from cache.system.aside import write_aside

__all__ = ["Hints"]

log = logging.getLogger("embed_once")

MAGIC = b"embed-once hints 2".ljust(32, b"\0")
SAVE_EVERY_S = 60.0


class Hints:
    """The hints beside one cache, saved at the end of a ``with`` block.

    Args:
        path: the hints' file; what is damaged or of another kind is ignored and written anew.
        folder: where the file is written aside; on the same file system, and swept by the next writer.
        is_ignored: answer nothing, so that every file is read; what is then remembered replaces the file.
        others: files of others' hints, which are good as well.
        otherwise: what a run does without the file, as messages say it.
    """

    def __init__(
        self,
        path: Path,
        *,
        folder: Path,
        is_ignored: bool = False,
        others: Sequence[Path] = (),
        otherwise: str = "all files are read again",
    ) -> None:
        self.path = path
        self.folder = folder
        self.otherwise = otherwise
        # One attribute, so that threads that look keys up while it is replaced see the old table or the new one whole.
        self._table = (np.zeros(0, dtype="S16"), np.zeros((0, 32), dtype=np.uint8))  # identities, keys
        self._seen_identities = bytearray()  # of this run
        self._seen_keys = bytearray()
        self._is_used = False
        self.is_saved = True  # whether the file has all that is known
        self._saved_at = time.monotonic()
        self._is_refused = False  # the file may be good, so it is kept until all that replaces it is known
        if not is_ignored:
            self._load(path)
            for other_path in others:
                self._load(other_path)

    def __enter__(self) -> Hints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_used:
            self._save(is_finished=kind is None)

    def find(self, identities: Sequence[bytes]) -> list[str]:
        """Return the key of each identity, "" where none is known."""
        known_identities, keys = self._table
        if not len(known_identities):
            return [""] * len(identities)
        queries = np.array(identities, dtype="S16")
        rows = np.searchsorted(known_identities, queries)
        rows[rows == len(known_identities)] = 0
        # A file without an identity is none of those, whatever the table holds.
        is_known = (known_identities[rows] == queries) & (queries != b"")
        return [
            keys[row].tobytes().hex() if has_key else ""
            for row, has_key in zip(rows.tolist(), is_known.tolist(), strict=True)
        ]

    def remember(self, pairs: Sequence[tuple[bytes, str]]) -> None:
        """Keep the key of each identity; of what has no identity or no key, nothing is kept."""
        self._is_used = True
        for identity, key in pairs:
            if identity and key:
                self._seen_identities += identity
                self._seen_keys += bytes.fromhex(key)
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._save(is_finished=False)  # hashing may take hours, and a run that is killed loses a minute at most

    @property
    def is_empty(self) -> bool:
        """Whether there is no hint at all, so that none need be looked for."""
        return not len(self._table[0])

    @property
    def has_news(self) -> bool:
        """Whether this run saw files of which there was no hint."""
        return not np.isin(np.frombuffer(bytes(self._seen_identities), dtype="S16"), self._table[0]).all()

    def save(self) -> None:
        """Add the hints of this run to those that are kept."""
        self._save(is_finished=False)

    def doubt(self, identity: bytes, key: str, *, place: object) -> None:
        """Forget everything if it is a hint that gave this identity's key, which the file turned out not to have."""
        if identity and self.find([identity]) == [key]:
            log.warning(
                "%s has other bytes than when it was hashed, but the same size, inode and times (or tag): "
                "%s cannot be trusted and is removed. The next run reads all files.", place, self.path,
            )  # fmt: skip
            self.path.unlink(missing_ok=True)

    def _load(self, path: Path) -> None:
        try:
            with open(path, "rb", buffering=0) as file:  # 48 MB for a million files, once
                head = file.read(64)
                content = file.read() if head[:32] == MAGIC else b""
        except FileNotFoundError:
            return
        except OSError as error:
            self._is_refused |= path == self.path
            log.warning("%s cannot be read (%s): %s.", path, error.strerror, self.otherwise)
            return
        if head[:32] != MAGIC or head[32:] != hashlib.sha256(content).digest() or len(content) % 48:
            log.warning("%s is damaged or of another version: %s.", path, self.otherwise)
            return
        n_files = len(content) // 48
        identities = np.frombuffer(content, dtype="S16", count=n_files)
        keys = np.frombuffer(content, dtype=np.uint8, offset=16 * n_files).reshape(n_files, 32)
        if len(self._table[0]):
            identities, keys = _unique(np.append(self._table[0], identities), np.append(self._table[1], keys, axis=0))
        self._table = (identities, keys)
        self.is_saved &= path == self.path

    def _save(self, *, is_finished: bool) -> None:
        """Write the hints of this run, and as long as it is not finished those of the last one too."""
        if self._is_refused and not is_finished:
            return
        identities = np.frombuffer(bytes(self._seen_identities), dtype="S16")  # (n,)
        keys = np.frombuffer(bytes(self._seen_keys), dtype=np.uint8).reshape(-1, 32)
        if not is_finished:
            identities, keys = np.append(identities, self._table[0]), np.append(keys, self._table[1], axis=0)
        identities, keys = _unique(identities, keys)
        is_same = np.array_equal(identities, self._table[0]) and np.array_equal(keys, self._table[1])
        self._table = (identities, keys)
        self._saved_at = time.monotonic()
        if is_same and self.is_saved and (self.path.is_file() or not is_finished):
            return
        content = identities.tobytes() + keys.tobytes()
        whole = MAGIC + hashlib.sha256(content).digest() + content
        try:
            write_aside(self.path, lambda aside: aside.write_bytes(whole), folder=self.folder)
            self.is_saved = True
        except OSError as error:
            log.warning("%s could not be written (%s): next time %s.", self.path, error.strerror, self.otherwise)


def _unique(identities: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return identities sorted, each once, and their keys; of equals the first is taken."""
    identities, rows = np.unique(identities, return_index=True)
    return identities, keys[rows]
