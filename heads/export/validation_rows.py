"""The validation rows of a run, read again from the cache that it was trained from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cache import Cache
from cache.columns.label_levels import first_names
from cache.columns.labels import clean_label
from heads.data.corrections import CORRECTIONS, read_corrections
from heads.data.labels import cells_of, read_labels
from heads.data.vectors import Vectors
from heads.errors import ExportError
from heads.export.run_facts import RunFacts
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["ValidationRows", "read_validation_rows"]


@dataclass(frozen=True)
class ValidationRows:
    """Products that chose among heads, and were not trained on.

    Shape:
        rows: (n,) int64, the products' rows in the cache
        targets: (n,) int64
    """

    cache_path: Path
    vectors: Vectors  # of these products
    rows: np.ndarray
    targets: np.ndarray


def read_validation_rows(head: TrainedHead, run: RunFacts, cache_path: Path) -> ValidationRows:
    """Return the validation rows of a run, with the vectors that a head looks at and the labels that the run had.

    Raises:
        ExportError: the cache is gone, or no longer has these products with these labels.
        CacheError, HeadError: the cache cannot be read, or its vectors are from another encoder.
    """
    remedy = "Name the cache with --cache, or leave --int8 out."
    if not cache_path.exists():
        raise ExportError(
            f"Expected the run's cache at {cache_path}, to measure int8 on validation rows, but it is gone. {remedy}"
        )
    ids, level = run.config.split.get("validation", []), run.config.settings.get("label_level")
    with Cache(cache_path) as cache:
        row_by_id = {product_id: row for row, product_id in enumerate(cache.ids())}
        rows = [row_by_id[product_id] for product_id in ids if product_id in row_by_id]
        cells = cells_of(cache, head.label)
        labels = read_labels(cells, level)
        if run.config.settings.get("corrections") is not None:
            corrections = read_corrections(run.path / CORRECTIONS)
            labels, _ = corrections.applied(labels, cache.ids(), level=level, roots=first_names(set(cells)))
        labels = labels[rows].tolist()
        codes = {clean_label(name): code for code, name in enumerate(head.classes)}
        if len(rows) < len(ids) or not rows or not codes.keys() >= set(labels):
            raise ExportError(
                f"Expected {cache_path} to have the run's {len(ids)} validation rows with their labels, but it has "
                f"{sum(label in codes for label in labels)}. {remedy}"
            )
        vectors = head.vectors_of(cache).take(torch.tensor(rows))
    return ValidationRows(cache_path, vectors, np.array(rows), np.array([codes[label] for label in labels]))
