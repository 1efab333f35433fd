"""How many batches are encoded at once, where, and how large they may be."""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence
from typing import Any

import numpy as np

from embed.encoders.protocol import Encoded, Encoder, joined
from embed.errors import EncoderError

__all__ = ["Lanes"]

log = logging.getLogger("embed_once")


class Lanes:
    """Encodes batches for many threads at once on the replicas of one encoder, one a device.

    Each replica takes as many batches at once as it says (`n_parallel`), but its first content alone: that one loads
    the model. What does not fit into a device's memory is encoded in halves, and later batches are no larger.
    """

    def __init__(self, replicas: Sequence[Encoder]) -> None:
        self.replicas = replicas
        self.n_lanes = sum(_n_parallel(encoder) for encoder in replicas)
        self._most: dict[int, int] = {}  # a replica's number -> the largest batch that it can hold, where it is known
        self._fresh = set(range(len(replicas)))
        self._failure: Exception | None = None  # of the first content, so that nobody loads the model in vain again
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in self._fresh:
            self._free.put(number)

    def encode(self, batch: Sequence[Any]) -> Encoded:
        """Return the vectors of prepared contents from the first replica that is free.

        Raises:
            EncoderError: not even one content fits into the memory.
        """
        number = self._free.get()
        try:
            if self._failure is not None:
                raise self._failure
            n_more = _n_parallel(self.replicas[number]) - 1
            if number not in self._fresh or n_more == 0:
                return joined(self._encode(number, list(batch)))
            try:
                first = self._encode(number, list(batch[:1]))
            except Exception as error:
                self._failure = error
                raise
            self._fresh.discard(number)
            for _ in range(n_more):
                self._free.put(number)
            return joined(first + self._encode(number, list(batch[1:])))
        finally:
            self._free.put(number)

    def _encode(self, number: int, batch: list[Any]) -> list[Encoded]:
        encoder = self.replicas[number]
        pieces: list[Encoded] = []
        while batch:
            head = batch[: self._most.get(number, len(batch))]
            try:
                pieces.append(_checked(encoder, encoder.encode(head)))
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(head) == 1:
                    raise EncoderError(
                        f"{encoder.spec.modality}/{encoder.name} needs more memory than there is, even for one content "
                        f"at a time ({str(error)[:200]}). Free some, or use --device cpu."
                    ) from error
            else:
                batch = batch[len(head) :]
                continue
            # The error is let go before the memory is given back: its frames hold the tensors.
            self._most[number] = min(len(head) // 2, self._most.get(number, len(head)))
            _give_memory_back()
            log.info(
                "%s/%s: batches of %d do not fit into the memory, so they are halved.",
                encoder.spec.modality, encoder.name, len(head),
            )  # fmt: skip
        return pieces


def _checked(encoder: Encoder, found: object) -> Encoded:
    if isinstance(found, np.ndarray):
        return Encoded(found)
    if isinstance(found, Encoded) and isinstance(found.vectors, np.ndarray):
        return found
    raise EncoderError(
        f"{encoder.spec.modality}/{encoder.name} must give a numpy array, or embed.Encoded, however its encode gave "
        f"{type(found).__name__}."
    )


def _n_parallel(encoder: Encoder) -> int:
    return getattr(encoder, "n_parallel", 1)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    import torch

    # The CPU, Apple's devices, pinned memory and CUDA's libraries raise a plain RuntimeError with these words.
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _give_memory_back() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
