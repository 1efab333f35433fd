"""The numbered steps by which a process changes what is on the disk: something happens at one of them, on order.

What can happen (`do`): ``kill``, SIGKILL, of a write after its first half; ``fail`` with an errno, from then on if it
`is_lasting`; ``short``, a write that takes half of its bytes and says so; the name of a signal. A ``record`` notes
what each step changed, with the bytes that a file had when it was synced or got its name, so that `power_loss` can
tell what a disk may hold; `without` names a `sync_site` whose fsync is left out.
"""

from __future__ import annotations

import base64
import builtins
import errno as errnos
import fcntl
import io
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("fsync", "ftruncate", "mkdir", "pwrite", "rename", "replace", "rmdir", "unlink")
_real_open, _real_file = io.open, io.FileIO
_watching: Writes | None = None


class WatchedFile(_real_file):  # type: ignore[misc, valid-type]
    """A file each of whose writes is a step, once a `Writes` watches."""

    def write(self, data: Any) -> int:
        """Write once."""
        view = memoryview(data).cast("B")
        if _watching is None or not _watching.is_ours(self.name):
            return super().write(view)
        return _watching.step("write", self.name, lambda n: super(WatchedFile, self).write(view[:n]), size=len(view))

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        if _watching is None or not _watching.is_ours(self.name):
            return super().truncate(size)
        return _watching.step("truncate", self.name, lambda _: super(WatchedFile, self).truncate(size))


class Writes:
    """All that changes files and folders below a folder."""

    def __init__(
        self,
        folder: Path,
        note: Callable[..., None],
        *,
        at: int | None = None,
        do: str = "kill",
        errno: int = 0,
        only: str | None = None,
        is_lasting: bool = False,
        record: bool = False,
        without: str | None = None,
    ) -> None:
        self.folder, self.note, self.at, self.do, self.errno = f"{folder}{os.sep}", note, at, do, errno
        self.only, self.is_lasting, self.is_recording, self.without = only, is_lasting, record, without
        self.n_steps = 0
        self.lock = threading.RLock()
        self.real = {name: getattr(os, name) for name in NAMES}

    def watch(self) -> None:
        """Put counting functions in the place of Python's ways to write."""
        global _watching  # noqa: PLW0603 - one a process
        _watching = self
        for name in ("mkdir", "rmdir", "unlink"):
            setattr(os, name, self._step_on_path(name))
        for name in ("rename", "replace"):
            setattr(os, name, self._step_on_two_paths(name))
        for name in ("fsync", "ftruncate", "pwrite"):
            setattr(os, name, self._step_on_descriptor(name))
        os.remove = os.unlink
        flock = fcntl.flock
        fcntl.flock = lambda descriptor, how: self.step("flock", ".", lambda _: flock(descriptor, how))
        builtins.open = io.open = self._open  # type: ignore[assignment]

    def is_ours(self, path: Any) -> bool:
        """Return whether a path stands below the folder, and is none of the test's own files."""
        if not isinstance(path, str | os.PathLike):
            return False
        full_path = os.path.join(os.getcwd(), os.fspath(path))
        is_output = os.path.basename(full_path) in ("stdout", "stderr")
        return f"{full_path}{os.sep}".startswith(self.folder) and not is_output

    def step(self, name: str, path: Any, perform: Callable[[int], Any], *, size: int = 0) -> Any:
        """Note a step, and perform it, or what was ordered in its place."""
        with self.lock:
            if self.only in (None, name):
                self.n_steps += 1
            is_turn = self.only in (None, name) and self.at is not None
            is_turn &= self.n_steps >= (self.at or 0) if self.is_lasting else self.n_steps == self.at
            if not self.is_recording:
                self.note(step=name, path=os.fspath(path))
            if not is_turn:
                return perform(size)
            if self.do == "kill":
                if size:
                    perform(size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            if self.do == "fail":
                raise OSError(self.errno, os.strerror(self.errno), os.fspath(path))
            if self.do == "short":
                return perform(max(1, size // 2) if size else 0)
        os.kill(os.getpid(), getattr(signal, self.do))
        return perform(size)

    def _step_on_path(self, name: str) -> Callable[..., Any]:
        function = self.real[name]

        def change(path: Any, *arguments: Any, dir_fd: int | None = None, **options: Any) -> Any:
            full_path = path
            if dir_fd is not None:
                full_path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), os.fspath(path))
                options["dir_fd"] = dir_fd
            if not self.is_ours(full_path):
                return function(path, *arguments, **options)
            result = self.step(name, full_path, lambda _: function(path, *arguments, **options))
            self._record(name, path=self._name(full_path))
            return result

        return change

    def _step_on_two_paths(self, name: str) -> Callable[..., Any]:
        function = self.real[name]

        def change(source: Any, target: Any, **options: Any) -> Any:
            if not self.is_ours(target):
                return function(source, target, **options)
            result = self.step(name, target, lambda _: function(source, target, **options))
            self._record("rename", source=self._name(source), path=self._name(target), **self._content(target))
            return result

        return change

    def _step_on_descriptor(self, name: str) -> Callable[..., Any]:
        function = self.real[name]

        def change(descriptor: int, *arguments: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if not self.is_ours(path):
                return function(descriptor, *arguments)
            if name == "fsync" and self.without == sync_site():
                return None

            def perform(n_bytes: int) -> Any:
                if name == "pwrite":
                    return function(descriptor, arguments[0][:n_bytes], *arguments[1:])
                return function(descriptor, *arguments)

            result = self.step(name, path, perform, size=len(arguments[0]) if name == "pwrite" else 0)
            if name == "fsync":
                self._record("fsync", path=self._name(path), site=sync_site(), **self._content(path))
            return result

        return change

    def _open(
        self, path: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or not self.is_ours(path):
            return _real_open(path, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = self.step(
            "open", path, lambda _: WatchedFile(path, mode.replace("b", "").replace("t", ""), opener=opener)
        )
        if buffering == 0:
            return raw
        file = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)

    def _name(self, path: Any) -> str:
        return os.path.relpath(os.path.join(os.getcwd(), os.fspath(path)), self.folder)

    def _content(self, path: Any) -> dict[str, Any]:
        """Return which file or folder it is, and a file's bytes, where these are recorded."""
        if not self.is_recording:
            return {}
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return {"folder": True}
        with _real_open(path, "rb") as file:
            return {"file": status.st_ino, "content": base64.b64encode(file.read()).decode()}

    def _record(self, change: str, **facts: Any) -> None:
        if self.is_recording:
            self.note(change=change, **facts)


def sync_site() -> str:
    """Return which function of the project calls fsync, and whether for a file or a folder, such as "publish, file"."""
    frame, kind = sys._getframe(2), "file"
    while frame is not None:
        name = frame.f_code.co_name
        if name == "fsync_folder":
            kind = "folder"
        elif Path(frame.f_code.co_filename).parent.name not in ("tests", "pathlib") and name != "<lambda>":
            return f"{name}, {kind}"
        frame = frame.f_back  # type: ignore[assignment]
    return kind


ERRNOS = (errnos.ENOSPC, errnos.EIO, errnos.EDQUOT, errnos.EROFS)
