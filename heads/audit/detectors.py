"""All kinds of findings, each with the function that looks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from heads.audit.class_halves import find_class_halves
from heads.audit.class_pairs import find_class_pairs
from heads.audit.disagreements import find_disagreements
from heads.audit.evidence import Evidence
from heads.audit.finding import KINDS, Finding
from heads.audit.label_errors import find_label_errors
from heads.audit.near_copies import find_near_copies
from heads.audit.outliers import find_outliers
from heads.audit.placeholders import find_placeholder_contents

__all__ = ["DETECTORS", "detect"]

DETECTORS: Mapping[str, Callable[..., tuple[list[Finding], int]]] = {
    "label": find_label_errors,
    "copy": find_near_copies,
    "disagreement": find_disagreements,
    "outlier": find_outliers,
    "placeholder": find_placeholder_contents,
    "merge": find_class_pairs,
    "split": find_class_halves,
}


def detect(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], dict[str, int]]:
    """Return findings, at most `most_findings` of each kind, and how many there are of each kind."""
    findings, counts = [], {}
    for kind in KINDS:
        listed, counts[kind] = DETECTORS[kind](evidence, most_findings=most_findings)
        findings += listed
    return findings, counts
