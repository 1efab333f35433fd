"""The numbered steps by which a process reads: one of them fails, on order."""

from __future__ import annotations

import builtins
import functools
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUERIES = {"listdir": os.listdir, "scandir": os.scandir, "stat": os.stat, "lstat": os.lstat, "readlink": os.readlink}


class Reads:
    """All that opens a file below a folder, reads from it, lists a folder, or asks about a name; one of them fails."""

    def __init__(self, folder: Path, note: Callable[..., None], fail_at: int | None = None, errno: int = 0) -> None:
        self.folder, self.note, self.fail_at, self.errno = str(folder), note, fail_at, errno
        self.n_steps = 0
        self.paths: dict[int, str] = {}  # of descriptors
        self.lock = threading.Lock()

    def step(self, name: str, path: Any) -> None:
        """Note a step on a path below the folder, and fail if it is the one to fail."""
        if not isinstance(path, str | os.PathLike):
            return
        full_path = os.path.join(self.folder, os.fspath(path))
        if not full_path.startswith(self.folder) or os.path.basename(full_path) in ("stdout", "stderr"):
            return
        with self.lock:
            self.n_steps += 1
            is_failing = self.n_steps == self.fail_at
        self.note(step=name, path=full_path[len(self.folder) + 1 :], **({"fails": True} if is_failing else {}))
        if is_failing:
            raise OSError(self.errno, os.strerror(self.errno), full_path)

    def watch(self) -> None:
        """Put counting functions in the place of Python's ways to read."""
        for name, function in QUERIES.items():
            setattr(os, name, self._before(name, function))
        real_open, real_preadv = os.open, os.preadv

        def counting_open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            self.step("open", path)
            descriptor = real_open(path, flags, *arguments, **options)
            self.paths[descriptor] = os.fspath(path)
            return descriptor

        def counting_preadv(descriptor: int, *arguments: Any) -> int:
            self.step("read", self.paths.get(descriptor))
            return real_preadv(descriptor, *arguments)

        os.open, os.preadv = counting_open, counting_preadv  # type: ignore[assignment]
        builtins.open = io.open = self._open  # type: ignore[assignment]

    def _before(self, name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def counting(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            if not sys._getframe(1).f_globals["__name__"].startswith("click."):  # whose answer is not used
                self.step(name, path)
            return function(path, *arguments, **options)

        return counting

    def _open(
        self, path: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if set(mode) & set("wax+") or not isinstance(path, str | os.PathLike):
            return _real_open(path, mode, buffering, encoding, errors, newline, closefd, opener)
        self.step("open", path)
        raw = FailingFile(path, self, opener)
        if buffering == 0:
            return raw
        file = io.BufferedReader(raw)
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)


_real_open = io.open


class FailingFile(io.FileIO):
    """A file each of whose reads is a step."""

    def __init__(self, path: Any, steps: Reads, opener: Any) -> None:
        super().__init__(path, "r", opener=opener)
        self.path, self.steps = path, steps

    def readinto(self, buffer: Any) -> int:
        """Read once."""
        self.steps.step("read", self.path)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        """Read all, as one step."""
        self.steps.step("read", self.path)
        return super().readall()

    def read(self, size: int | None = -1) -> bytes:
        """Read some."""
        self.steps.step("read", self.path)
        return super().read(-1 if size is None else size)
