"""Classes that want merging: rows of each are confidently taken for the other."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.label_errors import is_label_issue

__all__ = ["LEAST_ROWS", "LEAST_SHARE", "find_class_pairs"]

LEAST_SHARE = 0.1  # of each class's rows
LEAST_ROWS = 3
N_SHOWN = 3  # rows of each class


def find_class_pairs(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return pairs of classes that heads take for each other both ways, those with the greatest smaller share first."""
    said, targets, n_classes = evidence.out_of_fold, evidence.targets, len(evidence.problem.labels.classes)
    n_rows = np.bincount(targets[said.is_known], minlength=n_classes)
    issues = np.flatnonzero(is_label_issue(evidence))
    codes, counts = np.unique(targets[issues] * n_classes + said.confident[issues], return_counts=True)
    taken = {divmod(code, n_classes): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)}
    findings = []
    for (left, right), count in taken.items():
        back = taken.get((right, left), 0)
        shares = count / n_rows[left], back / n_rows[right]
        if left < right and min(shares) >= LEAST_SHARE and min(count, back) >= LEAST_ROWS:
            examples = [
                issues[(targets[issues] == one) & (said.confident[issues] == other)][:N_SHOWN].tolist()
                for one, other in ((left, right), (right, left))
            ]
            names = evidence.label(left), evidence.label(right)
            findings.append(
                Finding(
                    kind="merge",
                    score=float(min(shares)),
                    words=(
                        f"{count} of {n_rows[left]} products of {names[0]} are confidently taken for {names[1]}, and "
                        f"{back} of {n_rows[right]} the other way."
                    ),
                    given=names[0],
                    suggested=names[1],
                    others=[*examples[0], *examples[1]],
                )
            )
    findings.sort(key=lambda one: -one.score)
    return findings[:most], len(findings)
