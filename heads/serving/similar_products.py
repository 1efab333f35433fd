"""The products of a cache that are most like another, by the cosines of their vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from heads.serving.cached_products import VectorTable

__all__ = ["most_similar"]


def most_similar(
    tables: Mapping[str, VectorTable], query: Mapping[str, np.ndarray], *, n: int, excluded_row: int | None = None
) -> list[tuple[int, float]]:
    """Return the rows and similarities of the n products that are most like a query, the most similar first.

    A product's similarity is the mean of its cosines with the query in the modalities that both have. Every product
    is compared; of equals the first in the catalogue comes first.

    Args:
        tables: {modality: the products' vectors}.
        query: {modality: (D,)}, of some of these modalities.
        n: how many products to return.
        excluded_row: a product that is left out.
    """
    n_products = len(next(iter(tables.values())).rows)
    total, n_shared = np.zeros(n_products), np.zeros(n_products, dtype=np.int64)
    for modality, vector in query.items():
        table = tables[modality]
        total += np.where(table.present, table.cosines(vector), 0.0)
        n_shared += table.present
    similarities = np.where(n_shared > 0, total / np.maximum(n_shared, 1), -np.inf)
    if excluded_row is not None:
        similarities[excluded_row] = -np.inf
    threshold = np.partition(similarities, -n)[-n] if n < n_products else -np.inf
    rows = np.flatnonzero((similarities >= threshold) & (similarities > -np.inf))
    rows = rows[np.argsort(-similarities[rows], kind="stable")][:n]
    return [(row, float(similarities[row])) for row in rows.tolist()]
