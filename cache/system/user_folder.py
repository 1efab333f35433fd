"""The user's own folder, ``$XDG_CACHE_HOME/embed-once`` (``~/.cache/embed-once``), and the user's secret in it.

Files that are signed with the secret were written by this user and by no stranger. It is 32 random bytes, made once and
readable by nobody else. If it is lost, what was signed with it is no longer trusted, and nothing else is lost.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cache.system.aside import write_aside

__all__ = ["user_folder", "user_secret"]

SECRET, SECRET_BYTES = "secret", 32
OTHERS_MODE = 0o077  # the permissions of group and others


def user_folder() -> Path:
    """Return the folder, which may not be there yet.

    Raises:
        RuntimeError: the user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "embed-once")


def user_secret() -> bytes | None:
    """Return the user's secret, made where there is none; None where it cannot be read, or others may read it."""
    try:
        path = user_folder() / SECRET
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, _make, folder=path.parent)
        return _read(path)
    except (OSError, RuntimeError):
        return None


def _make(path: Path) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(secrets.token_bytes(SECRET_BYTES))


def _read(path: Path) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        is_private = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & OTHERS_MODE
        secret = os.read(descriptor, SECRET_BYTES + 1) if is_private else b""
    finally:
        os.close(descriptor)
    return secret if len(secret) == SECRET_BYTES else None
