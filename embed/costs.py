"""What an extraction will cost, before it runs: bytes and seconds, from a sample of the contents."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cache import Inventory
from embed.encoder_run import EncoderRun

__all__ = ["EncoderEstimate", "Estimate", "estimate_encoder"]

SAMPLE_S = 3.0
SAMPLE_CONTENTS = 2048


@dataclass(frozen=True)
class EncoderEstimate:
    """What one encoder has to do, and what that will cost."""

    name: str  # <modality>/<encoder>
    n_unique: int
    n_missing: int
    vector_bytes: int
    token_bytes: int
    encode_s: float
    n_sampled: int  # contents that the figures are drawn from


@dataclass(frozen=True)
class Estimate:
    """What an extraction will cost: nothing was written."""

    cache_path: Path
    n_products: int
    encoders: list[EncoderEstimate]
    n_bytes: int  # of all vectors and tokens
    needed_bytes: int  # on the disk while it seals
    free_bytes: int


def estimate_encoder(run: EncoderRun, inventory: Inventory) -> EncoderEstimate:
    """Encode a sample of what the inventory lacks for some seconds, and return what all of it will cost.

    The sample is spread evenly over the contents. Loading the model is not counted.
    """
    missing = run.missing(inventory)
    step = max(1, len(missing) // SAMPLE_CONTENTS)
    n_sampled = vector_bytes = token_bytes = n_timed = 0
    started = first_done = time.monotonic()
    for batch in run.encode(missing[step // 2 :: step]):
        now = time.monotonic()
        if not n_sampled:
            first_done = now  # the model was loaded before it
        else:
            n_timed += len(batch.keys)
        n_sampled += len(batch.keys)
        if batch.encoded is not None:
            vector_bytes += batch.encoded.vectors.nbytes
            token_bytes += batch.n_bytes - batch.encoded.vectors.nbytes
        if n_timed and now - first_done > SAMPLE_S:
            break
    elapsed_s, n_timed = (time.monotonic() - first_done, n_timed) if n_timed else (first_done - started, n_sampled)
    scale = len(missing) / max(1, n_sampled)
    return EncoderEstimate(
        name=run.name,
        n_unique=len(run.source.places),
        n_missing=len(missing),
        vector_bytes=round(vector_bytes * scale),
        token_bytes=round(token_bytes * scale),
        encode_s=elapsed_s * len(missing) / max(1, n_timed),
        n_sampled=n_sampled,
    )
