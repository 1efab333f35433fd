"""The scores there are. A new one is a function in a file of this folder, and a line in `METRICS`.

From the line follow ``metrics.json`` and ``jobs.csv``, the tables of ``--details`` and of both reports, and what
trackers are told. Accuracy and macro-F1 (`JUDGED`) are more than a line: they alone have intervals, choose heads and
make verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cache.shares import percent
from heads.metrics.answers import Answers
from heads.metrics.calibration import Reliability, measure_reliability
from heads.metrics.scores import mean_log_loss, scores

__all__ = ["JUDGED", "METRICS", "Metric", "measure"]

JUDGED = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Metric:
    """A score of a head's predictions.

    `function` takes the head's answers to n rows, (n,) int64 each row's class, and how many classes there are.
    """

    label: str  # above its column
    function: Callable[[Answers, np.ndarray, int], float]
    is_share: bool = True  # from 0 to 1, shown in percent
    is_loss: bool = False  # the lower the better

    def show(self, value: float) -> str:
        """Return a value as it stands in a table.

        >>> METRICS["accuracy"].show(0.1234), METRICS["log_loss"].show(0.1234)
        ('12.3', '0.123')
        """
        return percent(value) if self.is_share else f"{value:.3f}"


def _of_counts(name: str) -> Callable[[Answers, np.ndarray, int], float]:
    return lambda answers, targets, n_classes: scores(targets, answers.predictions, n_classes)[name]


def _reliability(answers: Answers, targets: np.ndarray) -> Reliability:
    return measure_reliability(answers.confidences, answers.predictions == targets)


METRICS = {
    "accuracy": Metric("accuracy", _of_counts("accuracy")),
    "macro_f1": Metric("macro-F1", _of_counts("macro_f1")),
    "balanced_accuracy": Metric("balanced", _of_counts("balanced_accuracy")),
    "log_loss": Metric("log loss", lambda answers, *_: mean_log_loss(answers.of_targets), False, True),
    "calibration_error": Metric("ECE", lambda answers, targets, _: _reliability(answers, targets).error, False, True),
    "calibration_floor": Metric("ECE floor", lambda answers, targets, _: _reliability(answers, targets).floor, False),
}


def measure(answers: Answers, targets: np.ndarray, n_classes: int) -> dict[str, float]:
    """Return every score of some rows, {name: value}.

    Shape:
        targets: (n,) int64
    """
    return {name: float(metric.function(answers, targets, n_classes)) for name, metric in METRICS.items()}
