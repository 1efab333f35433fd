"""Signals that come before a chosen operation of a function: a call to the system, or of Python by HDF5."""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from types import FrameType
from typing import Any

CALLS = {
    "flock", "fsync", "ftruncate", "listdir", "lstat", "mkdir", "open", "preadv", "pwrite", "read", "readall",
    "readinto", "rename", "replace", "rmdir", "scandir", "seek", "stat", "truncate", "unlink", "write",
}  # fmt: skip
FILES = ("aside.py", "source_file.py")  # in which HDF5 calls Python
Operation = tuple[str, str]  # its name, and the file that calls it


def operations(function: Callable[[], object]) -> list[Operation]:
    """Return the operations of a function in the main thread, in their order."""
    performed: list[Operation] = []
    _watched(function, performed.append)
    return performed


def first_and_last(performed: list[Operation], *, every: int | None = None) -> list[int]:
    """Return the numbers of the first and the last operation of each kind, from 0, and of some between."""
    numbers = defaultdict(list)
    for number, operation in enumerate(performed):
        numbers[operation].append(number)
    ends = {number for positions in numbers.values() for number in (positions[0], positions[-1])}
    return sorted(ends.union(range(0, len(performed), every or len(performed))))


def stopped_at(nth: int, function: Callable[[], object], *, number: int = signal.SIGINT) -> None:
    """Call a function, to whose process a signal comes before its operation `nth`, from 0."""
    n_done = 0

    def count(_: Operation) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == nth + 1:
            os.kill(os.getpid(), number)

    _watched(function, count)


def _watched(function: Callable[[], object], tell: Callable[[Operation], object]) -> None:
    def profile(frame: FrameType, event: str, argument: Any) -> None:
        name = argument.__name__ if event == "c_call" else frame.f_code.co_name
        file = os.path.basename(frame.f_code.co_filename)
        if name in CALLS and (event == "c_call" or (event == "call" and file in FILES)):
            tell((name, file))

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
