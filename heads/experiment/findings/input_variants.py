"""Answers to variants of the same rows: with modalities hidden, or shuffled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from heads.data.vectors import Vectors
from heads.modules.saving.head_set import answer_all
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["answer_variants"]

ROWS_AT_ONCE = 16_384  # heads answer in blocks, so that few rows at a time would be mostly padding
CELLS_AT_ONCE = 1 << 22  # rows times classes, that each head's answers are held of; but one variant is never parted


def answer_variants(heads: Sequence[TrainedHead], variants: Iterable[Vectors]) -> Iterator[dict[str, np.ndarray]]:
    """Yield each head's answers to each variant, {head: (N,) int64}; the variants are of N rows each."""
    variants = iter(variants)
    at_once = min(ROWS_AT_ONCE, CELLS_AT_ONCE // len(heads[0].classes)) if heads else ROWS_AT_ONCE
    for first_variant in variants:
        n_rows = len(next(iter(first_variant.present.values())))
        several = [first_variant, *islice(variants, max(0, at_once // n_rows - 1))]
        logs = answer_all(heads, Vectors.concatenate(several))
        answers = {name: answer.argmax(1).numpy().reshape(-1, n_rows) for name, answer in logs.items()}
        yield from ({name: rows[n] for name, rows in answers.items()} for n in range(len(several)))
