"""Pseudo-labels: which unlabelled products get a label, and which, by how often such answers are right out of fold.

The one round of self-training of Yarowsky (ACL 1995), with a threshold a class as in FlexMatch (arXiv 2110.08263), but
taken from precision on rows held out, and among answers on which the heads of all modalities agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from heads.data.splitting.splits import Split
from heads.metrics.score_interval import wilson_interval

__all__ = ["LEAST_HELD", "Consensus", "PseudoLabels", "choose_pseudo_labels", "precision_thresholds"]

PRECISION = 0.9  # of the answers from a threshold on, surely; 0.95 needs more labels than those have who need this
LEAST_HELD = 35  # answers, all of them right, of which that is sure: fewer give nobody a label
POOLED = 10  # answers that those of all classes count for beside a class's


@dataclass(frozen=True)
class Consensus:
    """What a fusion answers to n rows, and whether each modality's head says the same.

    Shape:
        rows: (n,) int64
        classes: (n,) int64
        confidences: (n,) float32, the probability of the class, calibrated
        agrees: (n,) bool
    """

    rows: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    agrees: np.ndarray


@dataclass(frozen=True)
class PseudoLabels:
    """The labels that some rows get, by row.

    Shape:
        rows: (n,) int64
        classes: (n,) int64
        confidences: (n,) float32
    """

    rows: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray

    def added_to(self, split: Split, targets: np.ndarray) -> tuple[Split, np.ndarray]:
        """Return a split and all rows' classes, (N,), with these among the training rows."""
        more = targets.copy()
        more[self.rows] = self.classes
        return replace(split, train=np.union1d(split.train, self.rows)), more


def precision_thresholds(held: Consensus, targets: np.ndarray, *, n_classes: int) -> np.ndarray:
    """Return for each class the least confidence from which on agreed answers are precise enough, (K,); else infinity.

    The lower end of Wilson's interval of the precision of all classes together is `PRECISION` or more from there on;
    so is the class's own, to which `POOLED` answers of that precision are added: the few rows of a class say nothing
    sure by themselves, and yet one that is often answered wrongly gets a higher threshold than others, or none, and
    one that was never answered none.

    Shape:
        targets: (n,) int64, the classes of the rows held out

    >>> held = Consensus(np.arange(110), np.arange(110) // 100, np.full(110, 0.9), np.ones(110, dtype=bool))
    >>> wrong = np.where(np.arange(110) < 108, held.classes, 0)
    >>> precision_thresholds(held, held.classes, n_classes=3), precision_thresholds(held, wrong, n_classes=3)
    (array([0.9, 0.9, inf]), array([0.9, inf, inf]))
    """
    order = np.flatnonzero(held.agrees)[np.argsort(-held.confidences[held.agrees], kind="stable")]
    answered, confidences = held.classes[order], held.confidences[order]
    is_right = answered == targets[order]
    last_of_equals = np.flatnonzero(np.diff(confidences, append=-1) != 0)
    bounds = np.array(
        [wilson_interval(int(hits), index + 1)[1] for index, hits in enumerate(np.cumsum(is_right))], dtype=float
    )[last_of_equals]
    thresholds = np.full(n_classes, np.inf)
    for number in range(n_classes):
        is_answer = answered == number
        n_answers = np.cumsum(is_answer)[last_of_equals]
        n_right = np.cumsum(is_answer & is_right)[last_of_equals]
        is_enough = (
            (n_answers > 0) & (bounds >= PRECISION) & ((n_right + POOLED * bounds) / (n_answers + POOLED) >= PRECISION)
        )
        thresholds[number] = min(confidences[last_of_equals][is_enough], default=np.inf)
    return thresholds


def choose_pseudo_labels(
    consensus: Consensus,
    *,
    groups: np.ndarray,
    thresholds: np.ndarray,
    caps: np.ndarray,
    generator: np.random.Generator,
) -> PseudoLabels:
    """Return the labels of rows whose agreed answer reaches its class's threshold, drawn at random.

    The precision is that of all of these; the surest are those that heads know already, and make a class narrower than
    it is. Of rows that are copies of each other one gets a label, and of a class no more than its cap.

    Shape:
        groups: (N,) int64, of all rows
        thresholds, caps: (K,)
    """
    reaches = consensus.agrees & (consensus.confidences >= thresholds[consensus.classes])
    positions = generator.permutation(np.flatnonzero(reaches))
    positions = positions[np.sort(np.unique(groups[consensus.rows[positions]], return_index=True)[1])]
    by_class = [positions[consensus.classes[positions] == number][: int(cap)] for number, cap in enumerate(caps)]
    chosen = np.concatenate([positions[:0], *by_class])
    chosen = chosen[np.argsort(consensus.rows[chosen])]
    return PseudoLabels(consensus.rows[chosen], consensus.classes[chosen], consensus.confidences[chosen])
