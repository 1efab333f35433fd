"""Copies and near copies of different labels."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.nearest import cosine

__all__ = ["NEAR", "find_near_copies"]

NEAR = 0.98  # the cosine of centred vectors from which contents are near copies
N_SHOWN = 6


def find_near_copies(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return rows that are near copies of some of another label, those alike in all modalities first, and how many.

    Each row is held against its nearest one of another label. Of a pair the row is named whose label its heads find
    the less probable, with all the others that it is near to in this way.
    """
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for nearest in evidence.nearest.values():
        rows = np.flatnonzero((nearest.unlike >= 0) & (nearest.unlike_cosines >= NEAR))
        pairs.append(np.sort(np.stack([rows, nearest.unlike[rows]], axis=1), axis=1))
    left, right = np.unique(np.concatenate(pairs), axis=0).T  # (P,) each
    said = evidence.out_of_fold.of_given
    left, right = np.where(said[left] <= said[right], (left, right), (right, left))
    cosines = np.stack([cosine(evidence.vectors, name, left, right) for name in evidence.nearest])  # (M, P)
    scores = np.nansum(cosines, 0) / np.maximum((~np.isnan(cosines)).sum(0), 1)
    near: dict[int, list[int]] = {}  # row -> its pairs, the most alike first
    for pair in np.argsort(-scores, kind="stable").tolist():
        near.setdefault(int(left[pair]), []).append(pair)
    findings = []
    for row, own in list(near.items())[:most]:
        first = own[0]
        shown = {name: values[first] for name, values in zip(evidence.nearest, cosines, strict=True)}
        others = right[own[:N_SHOWN]].tolist()
        findings.append(_finding(evidence, row, others, shown, n_near=len(own), score=float(scores[first])))
    return findings, len(near)


def _finding(
    evidence: Evidence, row: int, others: list[int], cosines: dict[str, float], *, n_near: int, score: float
) -> Finding:
    given, suggested = (evidence.label(int(evidence.targets[one])) for one in (row, others[0]))
    shown = ", ".join(f"{name} {value:.3f}" for name, value in cosines.items() if not np.isnan(value))
    more = f" {n_near - 1} more {'is' if n_near == 2 else 'are'} near it." if n_near > 1 else ""
    return Finding(
        kind="copy",
        score=score,
        words=f"{given} beside {suggested}, though nearly the same (cosines: {shown}).{more}",
        row=row,
        given=given,
        suggested=suggested,
        given_probability=float(evidence.out_of_fold.of_given[row]),
        others=others,
    )
