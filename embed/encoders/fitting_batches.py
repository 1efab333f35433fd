"""Batches in the pieces that fit into a device's memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from cache.system.out_of_memory import is_out_of_memory
from embed.encoders.protocol import Encoded, Encoder
from embed.errors import EncoderError

__all__ = ["FittingBatches"]

log = logging.getLogger("embed_once")


class FittingBatches:
    """Encodes one encoder's batches: what does not fit into the memory in halves, and later batches are no larger."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._most: int | None = None  # contents that fit, where that is known

    def pieces(self, batch: Sequence[Any]) -> list[Encoded]:
        """Return the vectors of prepared contents, in the pieces in which they were encoded.

        Raises:
            EncoderError: not even one content fits, or what the encoder gives is no vectors.
        """
        encoder = self._encoder
        pieces: list[Encoded] = []
        while batch:
            head = batch[: self._most or len(batch)]
            try:
                pieces.append(_checked(encoder, encoder.encode(head)))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(head) == 1:
                    raise EncoderError(
                        f"{encoder.spec.modality}/{encoder.name}: expected to encode at least one content at a time, "
                        f"got an error that mostly means too little memory: {str(error)[:200] or 'MemoryError'}. Free "
                        "some, or use --device cpu."
                    ) from error
            else:
                batch = batch[len(head) :]
                continue
            # The error is let go before the memory is given back: its frames hold the tensors.
            self._most = min(len(head) // 2, self._most or len(head))
            _give_memory_back()
            log.info(
                "%s/%s: batches of %d do not fit into the memory, so they are halved.",
                encoder.spec.modality, encoder.name, len(head),
            )  # fmt: skip
        return pieces


def _checked(encoder: Encoder, output: object) -> Encoded:
    """Return what an encoder gave as `Encoded`.

    Raises:
        EncoderError: it is neither that nor an array.
    """
    if isinstance(output, np.ndarray):
        return Encoded(output)
    if isinstance(output, Encoded) and isinstance(output.vectors, np.ndarray):
        return output
    raise EncoderError(
        f"Expected encode of {encoder.spec.modality}/{encoder.name} to give a numpy array or embed.Encoded, got "
        f"{type(output).__name__}."
    )


def _give_memory_back() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
