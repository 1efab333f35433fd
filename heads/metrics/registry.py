"""The scores there are. A new one is a function in a file of this folder, and a line in `METRICS`.

From the line follow ``metrics.json`` and ``jobs.csv``, the tables of ``--details`` and of both reports, and what
trackers are told. Accuracy and macro-F1 (`JUDGED`) are more than a line: they alone have intervals, choose heads and
make verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from heads.metrics.scores import calibration_error, calibration_floor, log_loss, scores

__all__ = ["JUDGED", "METRICS", "Metric", "measure"]

JUDGED = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Metric:
    """A score of a head's predictions.

    Shape of what `function` takes:
        targets: (n,) int64, each row's class
        predictions: (n,) int64, the most probable class
        probabilities: (n, K) float32
    """

    label: str  # above its column
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    is_share: bool = True  # from 0 to 1, shown in percent
    is_loss: bool = False  # the lower the better

    def show(self, value: float) -> str:
        """Return a value as it stands in a table.

        >>> METRICS["accuracy"].show(0.1234), METRICS["log_loss"].show(0.1234)
        ('12.3', '0.123')
        """
        return f"{100 * value:.1f}" if self.is_share else f"{value:.3f}"


def _of_counts(name: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    return lambda targets, predictions, probabilities: scores(targets, predictions, probabilities.shape[1])[name]


METRICS = {
    "accuracy": Metric("accuracy", _of_counts("accuracy")),
    "macro_f1": Metric("macro-F1", _of_counts("macro_f1")),
    "balanced_accuracy": Metric("balanced", _of_counts("balanced_accuracy")),
    "log_loss": Metric("log loss", lambda targets, _, probabilities: log_loss(probabilities, targets), False, True),
    "calibration_error": Metric("ECE", lambda targets, _, given: calibration_error(given, targets), False, True),
    "calibration_floor": Metric("ECE floor", lambda targets, _, given: calibration_floor(given, targets), False),
}


def measure(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return every score of some rows, {name: value}.

    Shape:
        targets: (n,) int64
        probabilities: (n, K) float32
    """
    predictions = probabilities.argmax(1)
    return {name: float(metric.function(targets, predictions, probabilities)) for name, metric in METRICS.items()}
