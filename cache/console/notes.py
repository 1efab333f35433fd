"""Notes and progress of a command, on stderr: all notes, and progress where a person watches it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.console.echo import echo

__all__ = ["PROGRESS", "NoteHandler", "log_to_stderr", "once_for_all", "without_notes"]

PROGRESS = 15  # a level between DEBUG and INFO: for how far something is, which is of no use afterwards
LINE_EVERY_S = 10.0


class NoteHandler(logging.Handler):
    """Writes notes to the current `sys.stderr`; a StreamHandler would keep the one of the first command.

    Progress is written to a terminal, and elsewhere as a plain line now and then.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last_line_s = clock()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.INFO and not sys.stderr.isatty():
            if self._clock() - self._last_line_s < LINE_EVERY_S:
                return
            self._last_line_s = self._clock()
        echo(self.format(record), err=True)


def log_to_stderr() -> None:
    """Write notes and progress to stderr from now on, unless the calling program has handlers for them."""
    log = logging.getLogger("embed_once")
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, NoteHandler)]
    if not log.handlers:
        log.addHandler(NoteHandler())  # a new one for each command: its clock begins with it
        log.setLevel(PROGRESS)


@contextmanager
def without_notes() -> Iterator[None]:
    """Leave out the notes of the block, in this thread: for a first look at what is read right after, with notes."""
    thread, log = threading.get_ident(), logging.getLogger("embed_once")

    def is_of_other_thread(record: logging.LogRecord) -> bool:
        return record.thread != thread

    log.addFilter(is_of_other_thread)
    try:
        yield
    finally:
        log.removeFilter(is_of_other_thread)


@contextmanager
def once_for_all(paths: Collection[Path]) -> Iterator[None]:
    """Leave out the block's notes, in this thread, that repeat one on another of the paths; say how many there were."""
    thread, log = threading.get_ident(), logging.getLogger("embed_once")
    names = {str(path) for path in paths}
    earlier_notes: set[str] = set()
    n_left_out = 0

    def is_new(record: logging.LogRecord) -> bool:
        nonlocal n_left_out
        if record.thread != thread:
            return True
        values = record.args if isinstance(record.args, tuple) else (record.args,)
        note = record.msg + repr([value for value in map(str, values) if value not in names])
        is_repeated = note in earlier_notes
        earlier_notes.add(note)
        n_left_out += is_repeated
        return not is_repeated

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)
    if n_left_out:
        log.info("The same is so of other tables: %d notes more.", n_left_out)
