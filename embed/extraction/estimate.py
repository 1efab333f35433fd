"""What an extraction will cost, before it runs: bytes and seconds, from a sample of the contents."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cache import Inventory
from cache.arrays.key_column import KeyColumn
from embed.extraction.encoding.encoder_run import EncoderRun
from embed.extraction.source.content_source import ListedPicture

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
    """What an extraction will cost."""

    cache_path: Path
    n_products: int
    encoders: list[EncoderEstimate]
    n_bytes: int  # of all vectors and tokens
    needed_bytes: int  # on the disk while it seals
    free_bytes: int


def estimate_encoder(run: EncoderRun, inventory: Inventory) -> EncoderEstimate:
    """Encode a random sample of what the inventory lacks for some seconds, and return what all of it will cost.

    The first content is encoded before the clock starts, so that loading the model is not counted.
    """
    missing_keys = run.missing_keys(inventory)
    n_missing = len(missing_keys)
    sampled = random.Random(0).sample(range(n_missing), min(n_missing, SAMPLE_CONTENTS))  # noqa: S311 - no secret
    sample = KeyColumn(missing_keys.contents, missing_keys.rows[sampled])
    size = min(run.batch_size, max(1, len(sample) // (4 * run.n_workers)))  # each worker has several
    batches = list(run.encode(sample[:1]))
    started = time.monotonic()
    n_timed = 0
    with closing(run.encode(sample[1:], batch_size=size)) as encoded:
        for batch in encoded:
            batches.append(batch)
            n_timed += batch.n_contents
            if time.monotonic() - started > SAMPLE_S:
                break
    elapsed_s = time.monotonic() - started
    n_sampled = sum(batch.n_contents for batch in batches)
    scale = n_missing / max(1, n_sampled)
    pictures: Mapping[int, list[ListedPicture]] = getattr(run.source, "pictures", {})
    members = {frozenset(picture.key for picture in listed if picture.key) for listed in pictures.values()}
    distinct_keys = set(missing_keys) if members else set()
    n_means = sum(len(keys) > 1 and not distinct_keys.isdisjoint(keys) for keys in members)
    vector_bytes = sum(batch.vector_bytes for batch in batches)
    return EncoderEstimate(
        name=run.name,
        n_unique=len(run.source.places),
        n_missing=n_missing,
        vector_bytes=round(vector_bytes * (scale + n_means / max(1, n_sampled))),
        token_bytes=round(sum(batch.token_bytes for batch in batches) * scale),
        encode_s=elapsed_s * n_missing / max(1, n_timed),
        n_sampled=n_sampled,
    )
