"""Contents under many rows of many classes: a "no image" picture, a title that says ``nan``."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding

__all__ = ["find_placeholder_contents"]

N_SHOWN = 6


def find_placeholder_contents(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return the placeholders that the groups of copies were made without, the commonest first."""
    findings = []
    for placeholder in evidence.problem.placeholders:
        rows = placeholder.rows
        of_rows = evidence.targets[rows]
        n_classes = len(np.unique(of_rows[of_rows >= 0]))
        findings.append(
            Finding(
                kind="placeholder",
                score=float(len(rows)),
                words=f"One {placeholder.modality} stands under {len(rows):,} products of {n_classes} classes.",
                row=int(rows[0]),
                given=evidence.label(int(of_rows[0])),
                others=rows[1:N_SHOWN].tolist(),
                modality=placeholder.modality,
            )
        )
    findings.sort(key=lambda one: -one.score)
    return findings[:most], len(findings)
