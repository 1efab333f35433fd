"""The products that a person may be asked to label: without a label, with a vector, no copies, no placeholders."""

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
    known_labels: KnownLabels,
    *,
    encoders: Mapping[str, str],
    has_vector: np.ndarray,
    column: str | None = None,
    cosine: float | None = None,
) -> Candidates:
    """Return the candidates: of each group of copies the first of the products that lack the fewest modalities.

    While few products have labels, these cannot show every placeholder. So a content of 25 rows or more, and of one row
    in a hundred at least, is a placeholder unless most of its rows have one and the same label. A row is left out where
    all its contents are placeholders.

    Shape:
        has_vector: (N,) bool

    Raises:
        LabelError: there is no such column.
    """
    n_rows = len(cache)
    # For placeholders, each row without a label counts as a class of its own.
    targets = np.where(known_labels.targets >= 0, known_labels.targets, len(known_labels.classes) + np.arange(n_rows))
    labels = Labels(known_labels.column, known_labels.classes, targets, [])
    groups = find_groups(
        cache,
        labels,
        encoders={modality: [name] for modality, name in encoders.items()},
        column=column,
        cosine=cosine,
    )
    is_labelled = known_labels.targets >= 0
    n_modalities = np.sum([cache.present(modality, name) for modality, name in encoders.items()], axis=0)
    n_placeholders = np.zeros(n_rows, dtype=np.int64)
    for placeholder in groups.placeholders:
        n_placeholders[placeholder.rows] += 1
    is_placeholder = (n_placeholders > 0) & (n_placeholders >= n_modalities)
    may_be_asked = ~is_labelled & has_vector & ~is_placeholder
    is_copy = may_be_asked & np.isin(groups.of_rows, groups.of_rows[is_labelled])
    rows = np.flatnonzero(may_be_asked & ~is_copy)
    rows = rows[np.argsort(-n_modalities[rows], kind="stable")]
    candidate_rows = np.sort(rows[np.unique(groups.of_rows[rows], return_index=True)[1]])
    return Candidates(
        rows=candidate_rows,
        n_without_vector=int((~is_labelled & ~has_vector).sum()),
        n_placeholders=int((~is_labelled & has_vector & is_placeholder).sum()),
        n_copies=int(may_be_asked.sum()) - len(candidate_rows),
    )
