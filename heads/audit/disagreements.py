"""Products whose modalities say different classes, such as the picture of one product under the title of another."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.out_of_fold import class_thresholds

__all__ = ["find_disagreements"]


def find_disagreements(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return the rows of which two modalities' heads say different classes, both confidently, the surer first.

    Confidently is with the mean probability that the class has in its own rows, or more.
    """
    confident, targets = {}, evidence.targets
    for name, said in evidence.out_of_fold.by_modality.items():
        known = said.classes >= 0
        thresholds = class_thresholds(said.of_given[known], targets[known], len(evidence.problem.labels.classes))
        confident[name] = known & (said.confidences >= thresholds[said.classes])
    pairs = []
    for names in combinations(confident, 2):
        first, second = (evidence.out_of_fold.by_modality[name] for name in names)
        rows = np.flatnonzero(confident[names[0]] & confident[names[1]] & (first.classes != second.classes))
        surest = np.minimum(first.confidences[rows], second.confidences[rows])
        pairs += [(float(score), row, names) for score, row in zip(surest, rows.tolist(), strict=True)]
    pairs.sort(key=lambda pair: (-pair[0], pair[1]))
    return [_finding(evidence, row, names, score) for score, row, names in pairs[:most]], len(pairs)


def _finding(evidence: Evidence, row: int, names: tuple[str, ...], score: float) -> Finding:
    target, said = int(evidence.targets[row]), evidence.out_of_fold
    opinions = {name: said.by_modality[name] for name in names}
    classes = {name: int(one.classes[row]) for name, one in opinions.items()}
    shown = ", ".join(
        f"the {name} says {evidence.label(classes[name])} ({one.confidences[row]:.2f})"
        for name, one in opinions.items()
    )
    odd = [name for name, one in classes.items() if one != target]
    is_one = len(odd) == 1
    agreeing = next((name for name in names if name not in odd), "")
    advice = (
        f"the label agrees with the {agreeing}: look at the {odd[0]}" if is_one else "the label agrees with neither"
    )
    return Finding(
        kind="disagreement",
        score=score,
        words=f"{shown}; {advice}.",
        row=row,
        given=evidence.label(target),
        suggested="" if is_one else evidence.label(int(said.others[row])),
        given_probability=float(said.of_given[row]),
        suggested_probability=None if is_one else float(said.of_others[row]),
        votes=evidence.votes(row, None if is_one else int(said.others[row])),
    )
