"""Workers for the tests of Ray: what they do is written to a folder, so that a test can count and end them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from cache.errors import SettingError


class Squarer:
    """Squares numbers; it dies, hangs or complains where a file of the folder tells it to."""

    def __init__(self, folder, complaint=None):
        if complaint:
            raise SettingError(complaint)
        self.folder = Path(folder)
        (self.folder / f"worker-{os.getpid()}").touch()

    def do(self, number):
        """Return the square, and write down who made it."""
        (self.folder / f"task-{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        while (self.folder / "wait").exists():
            time.sleep(0.02)
        if self._takes(f"die-{number}"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._takes(f"hang-{number}"):
            time.sleep(3600)
        if number < 0:
            raise SettingError("Expected a number from 0 on.")
        return number**2

    def _takes(self, name):
        """Return whether an order is there, which is carried out once, unless it is for always."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return (self.folder / f"{name}-always").exists()
        return True
