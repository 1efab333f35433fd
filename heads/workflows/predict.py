"""Answering the products of a cache with the heads of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cache import Cache
from heads.modules.head_set import answer_all, vectors_for
from heads.runs.folder import load_heads, write_answers

__all__ = ["predict"]


def predict(
    run_path: str | Path,
    cache_path: str | Path,
    file: IO[str],
    *,
    names: Sequence[str] | None = None,
    plugins: bool = False,
    is_renamed: bool = False,
) -> tuple[int, int]:
    """Write each product's answers as CSV; return how many products there are, and how many have no answer.

    Heads of a user's own class are loaded only where `plugins` allows their code to run. With `is_renamed` the columns
    that contents are made of may have other names than in training.

    Raises:
        RunError, HeadError: the run or a head cannot be loaded, or the cache's vectors are from another encoder.
        CacheError: the cache cannot be read.
    """
    heads = load_heads(run_path, names, plugins=plugins)
    with Cache(cache_path) as cache:
        ids = cache.ids()
        vectors = vectors_for(list(heads.values()), cache, is_renamed=is_renamed)
    answers = answer_all(heads.values(), vectors)
    answered = {name: vectors.some_present(head.description.dims) for name, head in heads.items()}
    classes = next(iter(heads.values())).classes
    probabilities = {name: logs.exp().numpy() for name, logs in answers.items()}
    write_answers(file, ids, probabilities, classes, answered=answered)
    return len(ids), int((~np.stack(list(answered.values())).any(0)).sum())
