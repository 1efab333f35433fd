"""Products whose modalities say different classes, such as the picture of one product under the title of another."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.out_of_fold import class_thresholds

__all__ = ["find_disagreements"]


def find_disagreements(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], int]:
    """Return the rows of which two modalities' heads say different classes, both confidently, the surer first.

    Confidently means with at least the mean probability that the class has in its own rows.
    """
    confident, targets = {}, evidence.targets
    for name, opinions in evidence.out_of_fold.by_modality.items():
        has_opinion = opinions.classes >= 0
        thresholds = class_thresholds(
            opinions.given_probabilities[has_opinion], targets[has_opinion], len(evidence.problem.labels.classes)
        )
        confident[name] = has_opinion & (opinions.confidences >= thresholds[opinions.classes])
    pairs = []
    for names in combinations(confident, 2):
        first_opinions, second_opinions = (evidence.out_of_fold.by_modality[name] for name in names)
        rows = np.flatnonzero(
            confident[names[0]] & confident[names[1]] & (first_opinions.classes != second_opinions.classes)
        )
        surest = np.minimum(first_opinions.confidences[rows], second_opinions.confidences[rows])
        pairs += [(float(score), row, names) for score, row in zip(surest, rows.tolist(), strict=True)]
    pairs.sort(key=lambda pair: (-pair[0], pair[1]))
    return [_finding(evidence, row, names, score) for score, row, names in pairs[:most_findings]], len(pairs)


def _finding(evidence: Evidence, row: int, names: tuple[str, ...], score: float) -> Finding:
    target, out_of_fold = int(evidence.targets[row]), evidence.out_of_fold
    opinions = {name: out_of_fold.by_modality[name] for name in names}
    shown = ", ".join(
        f"the {name} says {evidence.label(int(opinion.classes[row]))} ({opinion.confidences[row]:.2f})"
        for name, opinion in opinions.items()
    )
    agreeing = [name for name, opinion in opinions.items() if opinion.classes[row] == target]
    doubted = [name for name in names if name not in agreeing]
    if agreeing:
        advice = f"the label agrees with the {agreeing[0]}: look at the {doubted[0]}"
    else:
        advice = "the label agrees with neither"
    alternative = None if agreeing else int(out_of_fold.alternatives[row])
    return Finding(
        kind="disagreement",
        score=score,
        words=f"{shown}; {advice}.",
        row=row,
        given=evidence.label(target),
        suggested="" if alternative is None else evidence.label(alternative),
        given_probability=float(out_of_fold.given_probabilities[row]),
        suggested_probability=None if alternative is None else float(out_of_fold.alternative_probabilities[row]),
        votes=evidence.votes(row, alternative),
    )
