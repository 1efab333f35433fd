"""Which products may be asked for: without a label, with a vector, one of each group of copies, no placeholder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cache import Cache
from heads.data.labels import Labels
from heads.data.splitting.groups import find_groups
from heads.review.known_labels import KnownLabels

__all__ = ["Candidates", "find_candidates"]


@dataclass(frozen=True)
class Candidates:
    """The rows that may be asked for, and how many without a label may not.

    Shape:
        rows: (n,) int64, sorted
    """

    rows: np.ndarray
    n_without_vector: int
    n_placeholders: int
    n_copies: int  # of another candidate, or of a product that has a label


def find_candidates(
    cache: Cache,
    known: KnownLabels,
    *,
    encoders: Mapping[str, str],
    has_vector: np.ndarray,
    column: str | None = None,
    cosine: float | None = None,
) -> Candidates:
    """Return the candidates: of each group the first of the products that lack the fewest modalities.

    Labels, of which there may be few, cannot show every placeholder. So a content under 25 rows or more, one in a
    hundred at least, is one unless most of these rows have a label, the same one. A row is left out where all that it
    has are placeholders.

    Shape:
        has_vector: (N,) bool

    Raises:
        LabelError: there is no such column.
    """
    n_rows = len(cache)
    each = np.where(known.targets >= 0, known.targets, len(known.classes) + np.arange(n_rows))
    labels = Labels(known.column, known.classes, each, [])
    groups = find_groups(
        cache,
        labels,
        encoders={modality: [name] for modality, name in encoders.items()},
        column=column,
        cosine=cosine,
    )
    is_labelled = known.targets >= 0
    n_modalities = np.sum([cache.present(modality, name) for modality, name in encoders.items()], axis=0)
    n_placeholders = np.zeros(n_rows, dtype=np.int64)
    for placeholder in groups.placeholders:
        n_placeholders[placeholder.rows] += 1
    says_nothing = (n_placeholders > 0) & (n_placeholders >= n_modalities)
    is_open = ~is_labelled & has_vector & ~says_nothing
    is_copy = is_open & np.isin(groups.of_rows, groups.of_rows[is_labelled])
    rows = np.flatnonzero(is_open & ~is_copy)
    rows = rows[np.argsort(-n_modalities[rows], kind="stable")]
    firsts = np.sort(rows[np.unique(groups.of_rows[rows], return_index=True)[1]])
    return Candidates(
        rows=firsts,
        n_without_vector=int((~is_labelled & ~has_vector).sum()),
        n_placeholders=int((~is_labelled & has_vector & says_nothing).sum()),
        n_copies=int(is_open.sum()) - len(firsts),
    )
