"""torch's number of threads, which threads set for themselves and yet leave to all that begin after them."""

from __future__ import annotations

import threading

import torch

__all__ = ["ThreadCount"]


class ThreadCount:
    """Remember torch's number of threads while something changes it, and set it again.

    Trainings may overlap, in threads of the caller's: the number is the one before the first of those under way, for a
    thread that begins meanwhile finds what another one has set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._n_threads = 0

    def enter(self) -> None:
        """Remember the number, unless somebody changes it already."""
        with self._lock:
            if not self._n_users:
                self._n_threads = torch.get_num_threads()
            self._n_users += 1

    def leave(self) -> None:
        """Set the number again, in this thread and for those to come."""
        with self._lock:
            self._n_users -= 1
            torch.set_num_threads(self._n_threads)
