"""The memory that pictures take while they are decoded: one budget for all threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from cache.system.memory_budget import memory_bytes

__all__ = ["DECODE_BUDGET", "DecodeBudget", "budget_bytes", "decoding_bytes"]

MOST_BYTES = 4 * 2**30  # of which 16 threads decode pictures of 20 megapixels side by side
SMALL_BYTES = 2**24  # what takes less is not worth counting
PIXEL_BYTES = 12  # as they are stored, as RGB, and upright: 4 each
LIBRARY_PIXEL_BYTES = {"AVIF": 16, "TIFF": 16, "WEBP": 16}  # whose libraries hold whole pictures of their own


def decoding_bytes(size: tuple[int, int], kind: str | None) -> int:
    """Return about how many bytes decoding takes at most, of a picture of so many pixels in one of Pillow's formats."""
    return size[0] * size[1] * LIBRARY_PIXEL_BYTES.get(kind or "", PIXEL_BYTES)


class DecodeBudget:
    """Lets threads decode at once as long as all their pictures together take no more than `n_bytes`.

    One that takes more by itself goes alone. While one waits, none that comes later begins.
    """

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self._n_taken_bytes = 0
        self._turn = threading.Lock()  # held by the thread that waits
        self._change = threading.Condition()

    def take(self, n_bytes: int) -> AbstractContextManager[None]:
        """Wait until so many bytes are free, and take them for the block."""
        return nullcontext() if n_bytes <= SMALL_BYTES else self._take(n_bytes)

    @contextmanager
    def _take(self, n_bytes: int) -> Iterator[None]:
        n_taken_bytes = 0  # by this block
        try:
            with self._turn, self._change:
                self._change.wait_for(lambda: not self._n_taken_bytes or self._n_taken_bytes + n_bytes <= self.n_bytes)
                self._n_taken_bytes += n_bytes
                n_taken_bytes = n_bytes
            yield
        finally:
            with self._change:
                self._n_taken_bytes -= n_taken_bytes
                self._change.notify_all()


def budget_bytes() -> int:
    """Return what pictures may take: 4 GiB, or a quarter of what the machine or the container has."""
    return min(MOST_BYTES, memory_bytes(None) // 2)


DECODE_BUDGET = DecodeBudget(budget_bytes())
