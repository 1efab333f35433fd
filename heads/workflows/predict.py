"""Answering the products of a cache with the heads of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cache import Cache
from heads.modules.saved_head import TrainedHead
from heads.runs.folder import load_heads, write_answers

__all__ = ["predict"]


def predict(
    run_path: str | Path,
    cache_path: str | Path,
    file: IO[str],
    *,
    names: Sequence[str] | None = None,
    plugins: bool = False,
) -> tuple[int, int]:
    """Write each product's answers as CSV; return how many products there are, and how many have no answer.

    Heads of a user's own class are loaded only where `plugins` allows their code to run.

    Raises:
        RunError, HeadError: the run or a head cannot be loaded, or the cache's vectors are from another encoder.
        CacheError: the cache cannot be read.
    """
    heads = load_heads(run_path, names, plugins=plugins)
    together: dict[frozenset, list[TrainedHead]] = defaultdict(
        list
    )  # heads that look at the same vectors, which are read once
    for head in heads.values():
        together[_seen_by(head)].append(head)
    with Cache(cache_path) as cache:
        ids = cache.ids()
        answered: dict[str, np.ndarray] = {}
        probabilities: dict[str, np.ndarray] = {}
        for several in together.values():
            vectors = several[0].vectors_of(cache)
            answered |= dict.fromkeys([head.name for head in several], vectors.some_present())
            probabilities |= {head.name: head.probabilities(vectors) for head in several}
    classes = next(iter(heads.values())).classes
    write_answers(file, ids, {name: probabilities[name] for name in heads}, classes, answered=answered)
    return len(ids), int((~np.stack(list(answered.values())).any(0)).sum())


def _seen_by(head: TrainedHead) -> frozenset[tuple[str, str, bool]]:
    """Return what a head looks at: each modality, how it was encoded, and whether its tokens too."""
    about = head.description
    return frozenset((name, head.specs[name].fingerprint, name in about.token_dims) for name in about.dims)
