"""A small cache with labels, and what is trained on it: for campaigns of heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support import class_vectors, synthetic_cache

from torture.campaign import Tools

TRAIN = ["e.h5", "--fusion", "text", "--controls", "none", "--max-epochs", "1", "--no-report", "--name", "first"]
ABLATE = ["--fusion", "early", "--folds", "2", "--max-epochs", "1", "--resamples", "100", "--no-report"]
MEMO = "results.sqlite"


def trained_start(tools: Tools) -> Path:
    """Return a folder with the cache alone, made once."""
    folder = tools.folder / "training"
    if not folder.exists():
        codes = np.random.default_rng(0).integers(2, size=60)
        vectors = {"image": class_vectors(codes, 3, seed=1), "text": class_vectors(codes, 4)}
        folder.mkdir()
        synthetic_cache(folder / "e.h5", vectors, {"label": [f"class {code}" for code in codes]})
    return folder
