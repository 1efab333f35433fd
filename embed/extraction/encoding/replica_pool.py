"""How many batches are encoded at once, where, and how large they may be."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cache.system.cores import count_cores
from embed.encoders.device import device_threads, numbered, several_cores
from embed.encoders.fitting_batches import FittingBatches
from embed.encoders.protocol import Encoded, Encoder, joined

__all__ = ["ReplicaPool"]


class ReplicaPool:
    """Encodes batches for many threads at once on the replicas of one encoder, one a device; used in a ``with`` block.

    On the CPU the calling thread encodes its batch. Another device has threads that do nothing but encode, which end
    with the block; the caller waits, and a second batch a thread is ready meanwhile, so that the device need not wait.
    Each replica takes as many batches at once as it says (`n_parallel`). Its first content is encoded alone, which
    loads the model. What does not fit into a device's memory is encoded in halves, and later batches are no larger.

    Args:
        replicas: encoders of one name and spec.
        n_callers: how many threads call `encode` at once; those on the CPU share its cores.
    """

    def __init__(self, replicas: Sequence[Encoder], *, n_callers: int = 1) -> None:
        self.replicas = replicas
        n_parallel = sum(_n_parallel(encoder) for encoder in replicas)
        self._n_cores = max(1, count_cores() // min(n_callers, n_parallel))
        self._threads = [_threads_of(encoder) for encoder in replicas]
        self._batches = [FittingBatches(encoder) for encoder in replicas]
        self._not_loaded = set(range(len(replicas)))
        self._failure: Exception | None = None  # of the first content, so that the model is not loaded again in vain
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in self._not_loaded:
            self._free.put(number)

    def __enter__(self) -> ReplicaPool:
        return self

    def __exit__(self, *_: object) -> None:
        for threads in self._threads:
            if threads is not None:
                threads.shutdown(cancel_futures=True)

    def encode(self, batch: Sequence[Any]) -> Encoded:
        """Return the vectors of prepared contents from the first replica that is free.

        Raises:
            EncoderError: not even one content can be encoded at a time.
        """
        number = self._free.get()
        threads = self._threads[number]
        try:
            if threads is not None:
                return threads.submit(self._encode_first, number, list(batch)).result()
            with several_cores(self._n_cores):
                return self._encode_first(number, list(batch))
        finally:
            self._free.put(number)

    def _encode_first(self, number: int, batch: list[Any]) -> Encoded:
        """Encode a batch; where it is its replica's first, load the model before another batch comes."""
        if self._failure is not None:
            raise self._failure
        n_more = _n_parallel(self.replicas[number]) * (1 if self._threads[number] is None else 2) - 1
        if number not in self._not_loaded or n_more == 0:
            return joined(self._batches[number].pieces(batch))
        try:
            first_encoded = self._batches[number].pieces(batch[:1])
        except Exception as error:
            self._failure = error
            raise
        self._not_loaded.discard(number)
        for _ in range(n_more):
            self._free.put(number)
        return joined(first_encoded + self._batches[number].pieces(batch[1:]))


def _n_parallel(encoder: Encoder) -> int:
    return getattr(encoder, "n_parallel", 1)


def _threads_of(encoder: Encoder) -> ThreadPoolExecutor | None:
    """Return the threads that encode on a device; None for the CPU, and where an encoder names none."""
    import torch

    device = getattr(encoder, "device", None)
    if not isinstance(device, torch.device) or device.type == "cpu":
        return None
    return device_threads(numbered(device), n_threads=_n_parallel(encoder))
