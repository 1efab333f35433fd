"""Contents under many rows of many classes: a "no image" picture, a title that says ``nan``."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding

__all__ = ["find_placeholder_contents"]

N_SHOWN = 6


def find_placeholder_contents(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], int]:
    """Return the placeholders, which make no rows copies of each other, the commonest first, and how many."""
    findings = []
    for placeholder in evidence.problem.placeholders:
        rows = placeholder.rows
        row_targets = evidence.targets[rows]
        n_classes = len(np.unique(row_targets[row_targets >= 0]))
        findings.append(
            Finding(
                kind="placeholder",
                score=float(len(rows)),
                words=f"One {placeholder.modality} stands under {len(rows):,} products of {n_classes} classes.",
                row=int(rows[0]),
                given=evidence.label(int(row_targets[0])),
                others=rows[1:N_SHOWN].tolist(),
                modality=placeholder.modality,
            )
        )
    findings.sort(key=lambda finding: -finding.score)
    return findings[:most_findings], len(findings)
