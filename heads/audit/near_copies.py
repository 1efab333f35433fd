"""Copies and near copies of different labels."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.nearest import cosine

__all__ = ["NEAR", "find_near_copies"]

NEAR = 0.98  # the cosine of centred vectors from which contents are near copies
N_SHOWN = 6


def find_near_copies(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], int]:
    """Return rows that are near copies of rows of another label, those alike in all modalities first, and how many.

    Each row is compared with its nearest row of another label. Of a pair the finding names the row whose label the
    heads find less probable, and lists all rows with which it makes a pair.
    """
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for nearest in evidence.nearest.values():
        rows = np.flatnonzero((nearest.other_label_rows >= 0) & (nearest.other_label_cosines >= NEAR))
        pairs.append(np.sort(np.stack([rows, nearest.other_label_rows[rows]], axis=1), axis=1))
    rows_named, rows_beside = np.unique(np.concatenate(pairs), axis=0).T  # (P,) each
    given_probabilities = evidence.out_of_fold.given_probabilities
    rows_named, rows_beside = np.where(
        given_probabilities[rows_named] <= given_probabilities[rows_beside],
        (rows_named, rows_beside),
        (rows_beside, rows_named),
    )
    cosines = np.stack([cosine(evidence.vectors, name, rows_named, rows_beside) for name in evidence.nearest])  # (M, P)
    scores = np.nansum(cosines, 0) / np.maximum((~np.isnan(cosines)).sum(0), 1)
    pairs_of_row: dict[int, list[int]] = {}  # row -> its pairs, the most alike first
    for pair in np.argsort(-scores, kind="stable").tolist():
        pairs_of_row.setdefault(int(rows_named[pair]), []).append(pair)
    findings = []
    for row, row_pairs in list(pairs_of_row.items())[:most_findings]:
        nearest_pair = row_pairs[0]
        shown = {name: values[nearest_pair] for name, values in zip(evidence.nearest, cosines, strict=True)}
        other_rows = rows_beside[row_pairs[:N_SHOWN]].tolist()
        findings.append(
            _finding(evidence, row, other_rows, shown, n_near=len(row_pairs), score=float(scores[nearest_pair]))
        )
    return findings, len(pairs_of_row)


def _finding(
    evidence: Evidence, row: int, other_rows: list[int], cosines: dict[str, float], *, n_near: int, score: float
) -> Finding:
    given, suggested = (evidence.label(int(evidence.targets[shown_row])) for shown_row in (row, other_rows[0]))
    shown = ", ".join(f"{name} {value:.3f}" for name, value in cosines.items() if not np.isnan(value))
    others_note = f" {n_near - 1} more {'is' if n_near == 2 else 'are'} near it." if n_near > 1 else ""
    return Finding(
        kind="copy",
        score=score,
        words=f"{given} beside {suggested}, though nearly the same (cosines: {shown}).{others_note}",
        row=row,
        given=given,
        suggested=suggested,
        given_probability=float(evidence.out_of_fold.given_probabilities[row]),
        others=other_rows,
    )
