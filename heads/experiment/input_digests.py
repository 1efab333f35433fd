"""Digests of what a job learns from, so that its result is known again."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from cache.keys import fields_sha256
from heads.data.splitting.splits import Split
from heads.data.vectors import Vectors

__all__ = ["array_sha256", "rows_sha256", "split_sha256", "tokens_sha256", "vectors_sha256"]

HASHED_ROWS = 65_536  # vectors that are hashed at once


def vectors_sha256(vectors: Vectors) -> str:
    """Return the SHA-256 of the vectors, of who has them and of the specs: a cache that grows keeps its past."""
    digests = {f"spec {name}": spec.fingerprint for name, spec in vectors.specs.items()}
    digests |= {f"present {name}": array_sha256(mask.numpy()) for name, mask in vectors.present.items()}
    for name, matrix in vectors.inputs.items():
        blocks = torch.arange(matrix.shape[0]).split(HASHED_ROWS)  # it may stand on the disk
        digests[f"input {name}"] = fields_sha256(
            {str(number): array_sha256(matrix[block].numpy()) for number, block in enumerate(blocks)}
        )
    return fields_sha256(digests)


def tokens_sha256(vectors: Vectors) -> str:
    """Return the SHA-256 of the token states, for the heads that look at such."""
    return fields_sha256(
        {
            f"{part} {name}": array_sha256(tensor.numpy())
            for name, tokens in vectors.tokens.items()
            for part, tensor in vars(tokens).items()
        }
    )


def rows_sha256(numbers: np.ndarray) -> str:
    """Return the SHA-256 of a whole number a row, (N,)."""
    return array_sha256(numbers.astype("<i8"))


def split_sha256(split: Split, targets: np.ndarray) -> str:
    """Return the SHA-256 of the rows of each side, and of their classes."""
    rows = {side: rows_sha256(numbers) for side, numbers in vars(split).items()}
    return fields_sha256(rows | {"codes": rows_sha256(targets)})


def array_sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of an array, its type and its shape."""
    content = np.ascontiguousarray(array)
    about = f"{content.dtype.str} {content.shape} ".encode()
    return hashlib.sha256(about + hashlib.sha256(content.data).digest()).hexdigest()
