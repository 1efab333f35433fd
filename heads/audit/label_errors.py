"""Labels that are likely wrong, by heads that did not learn from the row, and by its nearest rows."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding

__all__ = ["find_label_errors", "is_label_issue", "rank_labels"]


def find_label_errors(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], int]:
    """Return the rows whose label is likely wrong, the likeliest first, `most_findings` of them, and how many.

    Those are the rows where another class is more probable than the label, or where it alone reaches its threshold, the
    probability that it has in its own rows on average.
    """
    rows = rank_labels(evidence)
    return [_finding(evidence, row, index) for index, row in enumerate(rows[:most_findings].tolist())], len(rows)


def is_label_issue(evidence: Evidence) -> np.ndarray:
    """Return the rows that confident learning counts as wrong (arXiv 1911.00068), (N,) bool.

    They are off the diagonal of the confident joint: of the classes that reach their thresholds the most probable is
    another one than the label.
    """
    out_of_fold = evidence.out_of_fold
    return (
        out_of_fold.is_tested
        & (out_of_fold.confident_classes >= 0)
        & (out_of_fold.confident_classes != evidence.targets)
    )


def rank_labels(evidence: Evidence) -> np.ndarray:
    """Return the rows whose label may be wrong, the likeliest first, (n,) int64.

    Two ranks are averaged: by the margin between the label's probability and that of the most probable other class, and
    by the label's share in the votes of the row's nearest, averaged over the modalities that it has.
    """
    out_of_fold, targets = evidence.out_of_fold, evidence.targets
    rows = np.flatnonzero(out_of_fold.is_tested)
    margins = out_of_fold.given_probabilities[rows] - out_of_fold.alternative_probabilities[rows]
    shares = np.full((len(evidence.nearest), len(rows)), np.nan)
    for index, nearest in enumerate(evidence.nearest.values()):
        has_neighbours = nearest.rows[rows, 0] >= 0
        shares[index, has_neighbours] = nearest.vote_shares(targets, targets)[rows[has_neighbours]]
    n_modalities = (~np.isnan(shares)).sum(0)
    mean_shares = np.where(n_modalities > 0, np.nansum(shares, 0) / np.maximum(n_modalities, 1), np.nan)
    margin_ranks = _ranks(margins)
    share_ranks = np.where(np.isnan(mean_shares), margin_ranks, _ranks(np.where(np.isnan(mean_shares), 2, mean_shares)))
    may_be_wrong = (margins < 0) | is_label_issue(evidence)[rows]
    order = np.argsort(margin_ranks + share_ranks, kind="stable")
    return rows[order[may_be_wrong[order]]]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return each value's rank, the smallest first, the mean of them where some are equal, (n,) float64."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _finding(evidence: Evidence, row: int, rank: int) -> Finding:
    out_of_fold, target = evidence.out_of_fold, int(evidence.targets[row])
    alternative = int(out_of_fold.alternatives[row])
    given_label, suggested_label = evidence.label(target), evidence.label(alternative)
    given_probability = float(out_of_fold.given_probabilities[row])
    alternative_probability = float(out_of_fold.alternative_probabilities[row])
    return Finding(
        kind="label",
        score=1 / (1 + rank),
        words=(
            f"{given_label} has the probability {given_probability:.2f}, {suggested_label} "
            f"{alternative_probability:.2f}, by heads that did not learn from it."
        ),
        row=row,
        given=given_label,
        suggested=suggested_label,
        given_probability=given_probability,
        suggested_probability=alternative_probability,
        votes=evidence.votes(row, alternative),
    )
