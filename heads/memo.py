"""The memo of an ablation: what came of each job, by all that it follows from, in one SQLite file.

The table ``outcome`` has a row a job: ``key``, the SHA-256 of all that the outcome follows from; ``about``, a JSON
object of its scores, its history and its error; the arrays of the test rows, little-endian: ``answers`` int32,
``probabilities`` and ``confidences`` float32; and ``digest``, the SHA-256 over the rest of the row. A row is written in
one transaction when its job is done, so that a process that is killed loses nothing that it finished, and several may
use the file at once. Deleting it loses nothing but the time to train again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cache.keys import fields_sha256
from heads.errors import MemoError
from heads.outcome import Outcome

__all__ = ["ENGINE_VERSION", "Memo", "job_key"]

ENGINE_VERSION = 1  # raised when the same job would come to another outcome

APPLICATION_ID = 0x656D6F31  # "emo1": says in SQLite's own header that the file is a memo
FORMAT_VERSION = 1
WAIT_S = 60.0  # for another process that writes
ARRAYS = {"answers": "<i4", "probabilities": "<f4", "confidences": "<f4"}
ABOUT = ("test", "validation", "best_epoch", "history", "elapsed_s", "error")
TABLE = """CREATE TABLE IF NOT EXISTS outcome (
    key TEXT PRIMARY KEY, about TEXT NOT NULL,
    answers BLOB NOT NULL, probabilities BLOB NOT NULL, confidences BLOB NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID"""


def job_key(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a job's outcome follows from, and of the version of what trains it."""
    return fields_sha256({**fields, "engine_version": ENGINE_VERSION})


class Memo:
    """The outcomes that are remembered, in a file that is made when it is not there.

    Raises:
        MemoError: the file is none of this project's, is damaged, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._named():
            self._connection = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        self._connection.text_factory = bytes  # what is damaged may be no text
        try:
            with self._named():
                self._begin()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Memo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def __len__(self) -> int:
        with self._named():
            return int(self._connection.execute("SELECT count(*) FROM outcome").fetchone()[0])

    def get(self, key: str) -> Outcome | None:
        """Return what came of the job, or None where it is not remembered.

        Raises:
            MemoError: the file is damaged.
        """
        with self._named():
            row = self._connection.execute(
                "SELECT about, answers, probabilities, confidences, digest FROM outcome WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        if not all(isinstance(cell, bytes) for cell in row):
            raise self._damaged("an outcome has cells of another type")
        about, *blobs, digest = row
        if digest.decode(errors="replace") != _digest(key, about, blobs):
            raise self._damaged("an outcome is not what was written")
        arrays: dict[str, Any] = {
            name: np.frombuffer(blob, dtype) for (name, dtype), blob in zip(ARRAYS.items(), blobs, strict=True)
        }
        return Outcome(**arrays, **json.loads(about))

    def put(self, key: str, outcome: Outcome) -> None:
        """Remember what came of a job; where it is remembered already, nothing changes.

        Raises:
            MemoError: the file cannot be written.
        """
        about = json.dumps({name: getattr(outcome, name) for name in ABOUT}).encode()
        arrays = [np.ascontiguousarray(getattr(outcome, name), dtype).tobytes() for name, dtype in ARRAYS.items()]
        with self._named():
            self._connection.execute(
                "INSERT OR IGNORE INTO outcome VALUES (?, ?, ?, ?, ?, ?)",
                (key, about.decode(), *arrays, _digest(key, about, arrays)),
            )

    def _begin(self) -> None:
        """Make the table in an empty file; two processes may do so at once."""
        execute = self._connection.execute
        if self._number("application_id") == APPLICATION_ID and self._number("user_version") == FORMAT_VERSION:
            return
        execute("BEGIN IMMEDIATE")
        try:
            found, version = self._number("application_id"), self._number("user_version")
            n_tables = execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found == APPLICATION_ID and version != FORMAT_VERSION:
                raise MemoError(
                    f"The memo {self.path} must be of version {FORMAT_VERSION}, however it is of version {version}. "
                    "Update embed-once, or name another file with --memo."
                )
            if found != APPLICATION_ID and (found or n_tables):
                raise MemoError(
                    f"--memo must be a file that heads-ablate wrote, however {self.path} is another program's "
                    "database. Name another file."
                )
            execute(TABLE)
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                execute("ROLLBACK")

    def _number(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    def _damaged(self, reason: object) -> MemoError:
        return MemoError(
            f"--memo must be a file that heads-ablate wrote, however {self.path} is damaged or none ({reason}). Delete "
            "it, which loses nothing but the time to train again, or name another file."
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # the file may be good: locked, read-only, a full disk
            raise MemoError(
                f"The memo {self.path} must be a file that can be read and written, however: {error}. Mend that, or "
                "name another with --memo."
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error


def _digest(key: str, about: bytes, arrays: list[bytes]) -> str:
    return fields_sha256({"key": key, "rest": [hashlib.sha256(part).hexdigest() for part in (about, *arrays)]})
