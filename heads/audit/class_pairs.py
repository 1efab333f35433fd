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


def find_class_pairs(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], int]:
    """Return pairs of classes that heads take for each other both ways, and how many; greatest smaller share first."""
    out_of_fold, targets, n_classes = evidence.out_of_fold, evidence.targets, len(evidence.problem.labels.classes)
    n_rows = np.bincount(targets[out_of_fold.is_tested], minlength=n_classes)
    issues = np.flatnonzero(is_label_issue(evidence))
    confident_classes = out_of_fold.confident_classes[issues]
    class_pairs, counts = np.unique(targets[issues] * n_classes + confident_classes, return_counts=True)
    n_confused = {  # (label, the class that it is taken for) -> rows
        divmod(pair, n_classes): count for pair, count in zip(class_pairs.tolist(), counts.tolist(), strict=True)
    }
    findings = []
    for (first_class, second_class), count in n_confused.items():
        n_back = n_confused.get((second_class, first_class), 0)
        shares = count / n_rows[first_class], n_back / n_rows[second_class]
        if first_class < second_class and min(shares) >= LEAST_SHARE and min(count, n_back) >= LEAST_ROWS:
            examples = [
                issues[(targets[issues] == label) & (confident_classes == taken_for)][:N_SHOWN].tolist()
                for label, taken_for in ((first_class, second_class), (second_class, first_class))
            ]
            names = evidence.label(first_class), evidence.label(second_class)
            findings.append(
                Finding(
                    kind="merge",
                    score=float(min(shares)),
                    words=(
                        f"{count} of {n_rows[first_class]} products of {names[0]} are confidently taken for "
                        f"{names[1]}, and {n_back} of {n_rows[second_class]} the other way."
                    ),
                    given=names[0],
                    suggested=names[1],
                    others=[*examples[0], *examples[1]],
                )
            )
    findings.sort(key=lambda finding: -finding.score)
    return findings[:most_findings], len(findings)
