"""Labels that are likely wrong: what heads say that did not learn from the row, and what its nearest say."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding

__all__ = ["find_label_errors", "is_label_issue", "rank_labels"]


def find_label_errors(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return the rows whose label is likely wrong, the likeliest first, `most` of them, and how many there are.

    Those are the rows of which another class is the more probable, or the only one of the two that is as probable as it
    is in its own rows on average.
    """
    rows = rank_labels(evidence)
    return [_finding(evidence, row, place) for place, row in enumerate(rows[:most].tolist())], len(rows)


def is_label_issue(evidence: Evidence) -> np.ndarray:
    """Return the rows that confident learning counts as wrong (arXiv 1911.00068), (N,) bool.

    They are off the diagonal of the confident joint: of the classes that reach their thresholds the most probable is
    another one than the label.
    """
    said = evidence.out_of_fold
    return said.is_known & (said.confident >= 0) & (said.confident != evidence.targets)


def rank_labels(evidence: Evidence) -> np.ndarray:
    """Return the rows whose label may be wrong, the likeliest first, (n,) int64.

    Ranks are averaged: that by the margin between the label's probability and the most probable other class's, and
    that by the share of the label in the votes of the row's nearest, the mean over the modalities that it has.
    """
    said, targets = evidence.out_of_fold, evidence.targets
    rows = np.flatnonzero(said.is_known)
    margins = said.of_given[rows] - said.of_others[rows]
    shares = np.full((len(evidence.nearest), len(rows)), np.nan)
    for place, nearest in enumerate(evidence.nearest.values()):
        has_some = nearest.rows[rows, 0] >= 0
        shares[place, has_some] = nearest.voices(targets, targets)[rows[has_some]]
    n_known = (~np.isnan(shares)).sum(0)
    mean_shares = np.where(n_known > 0, np.nansum(shares, 0) / np.maximum(n_known, 1), np.nan)
    ranks = _ranks(margins)
    by_shares = np.where(np.isnan(mean_shares), ranks, _ranks(np.where(np.isnan(mean_shares), 2, mean_shares)))
    may_be_wrong = (margins < 0) | is_label_issue(evidence)[rows]
    order = np.argsort(ranks + by_shares, kind="stable")
    return rows[order[may_be_wrong[order]]]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return each value's rank, the smallest first, the mean of them where some are equal, (n,) float64."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _finding(evidence: Evidence, row: int, place: int) -> Finding:
    said, target = evidence.out_of_fold, int(evidence.targets[row])
    suggested = int(said.others[row])
    given, other = evidence.label(target), evidence.label(suggested)
    return Finding(
        kind="label",
        score=1 / (1 + place),
        words=(
            f"{given} has the probability {said.of_given[row]:.2f}, {other} {said.of_others[row]:.2f}, by heads that "
            "did not learn from it."
        ),
        row=row,
        given=given,
        suggested=other,
        given_probability=float(said.of_given[row]),
        suggested_probability=float(said.of_others[row]),
        votes=evidence.votes(row, suggested),
    )
