"""Whether an exported file answers as PyTorch does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from heads.errors import ExportError
from heads.export.formats import Answer
from heads.export.probe_rows import ProbeRows
from heads.modules.plugin import shown_error

__all__ = ["TOLERANCE", "Agreement", "check_answers"]

TOLERANCE = 1e-4  # in probability


@dataclass(frozen=True)
class Agreement:
    """How many answers were compared, and the largest difference of a probability."""

    n_answers: int
    n_batches: int
    largest: float


def check_answers(answer: Answer, several: Iterable[ProbeRows]) -> Agreement:
    """Return how well a file's answers agree with PyTorch's, both the probabilities and their logarithms.

    Raises:
        ExportError: a probability differs by more than the tolerance or is no number, or the file cannot answer.
    """
    n_answers = n_batches = 0
    largest = 0.0
    for rows in several:
        for batch in rows.batches:
            inputs = {name: values[batch] for name, values in rows.inputs.items()}
            try:
                probabilities, logs = answer(inputs)
            except Exception as error:  # a runtime raises of many kinds
                raise ExportError(
                    f"Expected what was exported to answer a batch of {len(batch)}, but: {shown_error(error)}. Nothing "
                    "is kept."
                ) from error
            expected = rows.expected[batch].exp()
            difference = float((torch.stack([probabilities, logs.exp()]) - expected).abs().max())
            if not difference <= TOLERANCE:  # NaN is not
                present = {
                    name.removesuffix("_present"): int(values.sum())
                    for name, values in inputs.items()
                    if name.endswith("_present")
                }
                shown = ", ".join(f"{n_present} with {name}" for name, n_present in present.items())
                raise ExportError(
                    f"Expected what was exported to answer as PyTorch does, within {TOLERANCE:g} in probability, but "
                    f"in a batch of {len(batch)} ({shown}) it differs by {difference:.3g}. Nothing is kept; predict "
                    "with heads-predict instead."
                )
            largest = max(largest, difference)
            n_answers, n_batches = n_answers + len(batch), n_batches + 1
    return Agreement(n_answers, n_batches, largest)
