"""One writer at a time: a lock that dies with its process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from cache.errors import CacheLockedError
from cache.system.stop_signals import signals_held

__all__ = ["WriterLock"]

log = logging.getLogger("embed_once")

ATTEMPTS = 1000  # each may fail because another writer removes its lock meanwhile
LOOK_AGAIN_S = 0.05  # while another process holds it
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
BY_NAME = ", by the name of this file alone"  # the end of its text where the holder could not lock it


class WriterLock:
    """An flock on a file that says who holds it; the kernel frees it when the process ends in any way.

    On a file system without locks, the process that made the file has the lock. The file outlives a holder that is
    killed: the error then names the file to remove, since only a person knows whether the holder is still at work.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, *, is_patient: bool = False) -> None:
        """Take the lock; `is_patient` waits for as long as another process holds it, and says so.

        Raises:
            CacheLockedError: another process holds it; the message names that process.
        """
        is_announced = False
        while True:
            try:
                return self._acquire()
            except CacheLockedError as error:
                if not is_patient or not isinstance(error.__cause__, BlockingIOError):
                    raise
                if not is_announced:
                    log.info("Waiting until %s is free.", self.path)
                is_announced = True
            time.sleep(LOOK_AGAIN_S)

    def _acquire(self) -> None:
        if not any(self._try_once() for _ in range(ATTEMPTS)):
            raise CacheLockedError(f"Expected the lock {self.path} to be a file in a folder, but it cannot be made.")

    def _try_once(self) -> bool:
        """Try to take the lock; False if the last holder removed the folder or the file meanwhile."""
        with signals_held(), ExitStack() as undo, suppress(FileExistsError, FileNotFoundError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, is_new = self._open()
            undo.callback(os.close, descriptor)
            suffix = ""
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CacheLockedError(
                    f"One writer at a time may write a cache, but {_holder(descriptor)} is writing this one (lock: "
                    f"{self.path}). Wait for it to end, or write another cache with -o."
                ) from error
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                if not is_new:
                    raise self._held_by_name(descriptor) from error
                suffix = BY_NAME
            if not os.path.samestat(os.fstat(descriptor), self.path.stat()):
                return False
            if not is_new and _holder(descriptor).endswith(BY_NAME):
                raise self._held_by_name(descriptor)
            with suppress(OSError):  # on a full disk the lock holds all the same, without a name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}{suffix}".encode(), 0)
            undo.pop_all()
            self._descriptor = descriptor
            return True
        return False

    def _open(self) -> tuple[int, bool]:
        """Return the file's descriptor, and whether this call made the file."""
        with suppress(FileExistsError):
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), True
        return os.open(self.path, os.O_RDWR | os.O_CLOEXEC), False

    def _held_by_name(self, descriptor: int) -> CacheLockedError:
        """Return the error for a lock file that no kernel's lock is on."""
        holder = _holder(descriptor).removesuffix(BY_NAME)
        error = CacheLockedError(
            f"One writer at a time may write a cache, and {holder} is writing this one or was killed: the file system "
            f"has no locks that would tell. Wait for it to end. If it has ended, remove {self.path} and type the same "
            "line again."
        )
        error.left_lock = self.path
        return error

    def release(self) -> None:
        """Remove the lock's file and free the lock."""
        with signals_held():
            if self._descriptor is not None:
                with suppress(OSError):  # the disk may be read-only by now; the lock is freed all the same
                    self.path.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = None


def _holder(descriptor: int) -> str:
    """Return what the lock's file says of its holder."""
    return os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
