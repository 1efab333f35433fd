"""The memo of an ablation: what came of each job, by all that it follows from, in one SQLite file.

The table ``outcome`` has a row a job: ``key``, the SHA-256 of all that the outcome follows from; ``about``, a JSON
object of its scores, its history and its error; ``answers``, the class answered for each test row, int32,
little-endian; and ``digest``, the SHA-256 over the rest of the row. The table ``validation`` has key, answers and
digest for the validation rows; files from before it was kept lack it, and whoever knows nothing of it reads the rest.
What a job came to is written in one transaction when it is done, so that a process that is killed loses nothing that
is in it, and several may use the file at once. Deleting it loses nothing but the time to train again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cache import UnreadableError
from cache.keys import fields_sha256
from cache.system.reading import reading
from heads.errors import MemoError
from heads.experiment.results import Outcome
from heads.metrics.registry import JUDGED

__all__ = ["ENGINE_VERSION", "ResultCache", "job_key"]

ENGINE_VERSION = 3  # raised when the same job would come to another outcome

APPLICATION_ID = 0x656D6F31  # "emo1": says in SQLite's own header that the file is a memo
FORMAT_VERSION = 2
CORRUPT = 11  # SQLite's code of a damaged file
WAIT_S = 60.0  # for another process that writes
ABOUT = {
    "test": dict, "validation": dict, "best_epoch": int, "history": list, "elapsed_s": int | float, "error": str | None
}  # fmt: skip
TABLE = """CREATE TABLE IF NOT EXISTS outcome (
    key TEXT PRIMARY KEY, about TEXT NOT NULL, answers BLOB NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID"""
VALIDATION_TABLE = """CREATE TABLE IF NOT EXISTS validation (
    key TEXT PRIMARY KEY, answers BLOB NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID"""
HAS_VALIDATION = "SELECT count(*) FROM sqlite_master WHERE name = 'validation'"


def job_key(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a job's outcome follows from, and of the version of what trains it."""
    return fields_sha256({**fields, "engine_version": ENGINE_VERSION})


class ResultCache:
    """The outcomes that are remembered, in a file that is made when it is not there.

    Raises:
        MemoError: the file is none of this project's, is damaged, or cannot be written.
        UnreadableError: SQLite took a failed read for damage; the file is sound.
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

    def __enter__(self) -> ResultCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def __len__(self) -> int:
        with self._named():
            return int(self._connection.execute("SELECT count(*) FROM outcome").fetchone()[0])

    def get(self, key: str, *, n_rows: int, n_classes: int, n_validation: int | None = None) -> Outcome | None:
        """Return what came of the job, or None where it is not remembered.

        With `n_validation` the outcome has the answers to so many validation rows, too; None where these are missing.

        Raises:
            MemoError: the file is damaged, or holds something else than an outcome of so many test rows and classes.
        """
        row = self._row(key)
        if row is None:
            return None
        about, answers, _ = row
        try:
            outcome = _outcome(about, answers, n_rows=n_rows, n_classes=n_classes)
        except (ValueError, RecursionError) as error:
            raise self._damaged(error) from error
        if n_validation is None or outcome.error is not None:
            return outcome
        of_validation = self._validation_answers(key, n_rows=n_validation, n_classes=n_classes)
        return None if of_validation is None else replace(outcome, validation_predictions=of_validation)

    def digest(self, key: str) -> str | None:
        """Return the digest of what came of the job; None where it is not remembered.

        Raises:
            MemoError: the file is damaged.
        """
        row = self._row(key)
        return None if row is None else row[2].decode()

    def _row(self, key: str) -> tuple[bytes, bytes, bytes] | None:
        """Return what is stored of a job, its answers and the digest of both, checked to be what was written."""
        with self._named():
            row = self._connection.execute(
                "SELECT about, answers, digest FROM outcome WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        if not all(isinstance(cell, bytes) for cell in row):
            raise self._damaged("an outcome has cells of another type")
        about, answers, digest = row
        if digest.decode(errors="replace") != _digest(key, about, answers):
            raise self._damaged("an outcome is not what was written")
        return about, answers, digest

    def _validation_answers(self, key: str, *, n_rows: int, n_classes: int) -> np.ndarray | None:
        with self._named():
            if not self._connection.execute(HAS_VALIDATION).fetchone()[0]:
                return None
            row = self._connection.execute("SELECT answers, digest FROM validation WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if not all(isinstance(cell, bytes) for cell in row) or row[1].decode(errors="replace") != _digest(key, row[0]):
            raise self._damaged("answers to validation rows are not what was written")
        try:
            return _answers(row[0], n_rows=n_rows, n_classes=n_classes)
        except ValueError as error:
            raise self._damaged(error) from error

    def put(self, key: str, outcome: Outcome) -> None:
        """Remember what came of a job; where it is remembered already, nothing changes.

        Raises:
            MemoError: the file cannot be written.
        """
        about = json.dumps({name: getattr(outcome, name) for name in ABOUT}).encode()
        sides = (outcome.predictions, outcome.validation_predictions)
        answers, of_validation = (np.ascontiguousarray(predictions, "<i4").tobytes() for predictions in sides)
        execute = self._connection.execute
        with self._named(), self._transaction():
            execute(
                "INSERT OR IGNORE INTO outcome VALUES (?, ?, ?, ?)",
                (key, about.decode(), answers, _digest(key, about, answers)),
            )
            if of_validation:
                execute(VALIDATION_TABLE)
                digest = _digest(key, of_validation)
                execute("INSERT OR IGNORE INTO validation VALUES (?, ?, ?)", (key, of_validation, digest))

    def _begin(self) -> None:
        """Make the table in an empty file; two processes may do so at once."""
        execute = self._connection.execute
        if self._number("application_id") == APPLICATION_ID and self._number("user_version") == FORMAT_VERSION:
            return
        with self._transaction():
            application_id, version = self._number("application_id"), self._number("user_version")
            n_tables = execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if application_id == APPLICATION_ID and version != FORMAT_VERSION:
                raise MemoError(
                    f"Expected the memo {self.path} to be of version {FORMAT_VERSION}, but it is of version {version}. "
                    "Update embed-once or delete the file, which loses nothing but the time to train again; or name "
                    "another one with --memo."
                )
            if application_id != APPLICATION_ID and (application_id or n_tables):
                raise MemoError(
                    f"Expected --memo to be a file that heads-ablate wrote, but {self.path} is another program's "
                    "database. Name another file."
                )
            execute(TABLE)
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all statements of the block in one transaction, or none of them."""
        execute = self._connection.execute
        try:
            if self._connection.in_transaction:  # begun when a Ctrl-C came, before anybody could end it
                execute("ROLLBACK")
            execute("BEGIN IMMEDIATE")
            yield
            execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                execute("ROLLBACK")

    def _number(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    def _damaged(self, reason: object) -> MemoError:
        return MemoError(
            f"Expected --memo to be a file that heads-ablate wrote, but {self.path} is damaged or none ({reason}). "
            "Delete it, which loses nothing but the time to train again, or name another file."
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # the file may be good: locked, read-only, a full disk
            raise MemoError(
                f"Expected the memo {self.path} to be a file that can be read and written, but: {error}. Mend that, or "
                "name another with --memo."
            ) from error
        except UnicodeDecodeError as error:  # what SQLite says quotes what is in the file
            raise self._damaged(error) from error
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", CORRUPT) & 0xFF == CORRUPT:
                self._check_is_damaged()
            raise self._damaged(error) from error

    def _check_is_damaged(self) -> None:
        """Look again, for SQLite takes an EIO for damage.

        Raises:
            UnreadableError: the file cannot be read, or it is sound, so that it could not be read then.
        """
        with reading(self.path), self.path.open("rb") as file:
            while file.read(2**20):
                pass
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_S)) as connection:
                is_sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.OperationalError as error:  # it fails still, or is locked: nothing is known of what is in it
            raise UnreadableError(errno.EIO, str(error), str(self.path)) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return
        if is_sound:
            raise UnreadableError(errno.EIO, os.strerror(errno.EIO), str(self.path))


def _digest(key: str, *parts: bytes) -> str:
    return fields_sha256({"key": key, "rest": [hashlib.sha256(part).hexdigest() for part in parts]})


def _outcome(about: bytes, blob: bytes, *, n_rows: int, n_classes: int) -> Outcome:
    """Return the outcome that a row says, known to be one."""
    fields = json.loads(about)
    if not isinstance(fields, dict) or fields.keys() != ABOUT.keys():
        raise ValueError("an outcome has other fields")
    if not all(isinstance(fields[name], kind) for name, kind in ABOUT.items()):
        raise ValueError("an outcome has fields of another type")
    if fields["error"] is None:
        sides = (fields["test"], fields["validation"])
        if not all(isinstance(side.get(score), int | float) for side in sides for score in JUDGED):
            raise ValueError("an outcome lacks scores")
        return Outcome(predictions=_answers(blob, n_rows=n_rows, n_classes=n_classes), **fields)
    if blob:
        raise ValueError("an error has answers")
    return Outcome(**fields)


def _answers(blob: bytes, *, n_rows: int, n_classes: int) -> np.ndarray:
    answers = np.frombuffer(blob, "<i4")
    if len(answers) != n_rows or not ((answers >= 0) & (answers < n_classes)).all():
        raise ValueError("an outcome is of other rows or classes")
    return answers
