"""Whether an exported file answers as PyTorch does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

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


def check_answers(answer: Answer, probes: Iterable[ProbeRows]) -> Agreement:
    """Compare a file's answers with PyTorch's, probabilities and their logarithms, and return how well they agree.

    Raises:
        ExportError: a probability differs by more than the tolerance or is no number, or the file cannot answer.
    """
    n_answers = n_batches = 0
    largest = 0.0
    for rows in probes:
        for batch in rows.batches:
            inputs = {name: values[batch] for name, values in rows.inputs.items()}
            difference = _difference(answer, inputs, rows.expected[batch])
            largest = max(largest, difference)
            n_answers, n_batches = n_answers + len(batch), n_batches + 1
    return Agreement(n_answers, n_batches, largest)


def _difference(answer: Answer, inputs: Mapping[str, Tensor], expected: Tensor) -> float:
    """Return the largest difference in probability between a file's answers to a batch and PyTorch's.

    Shape:
        expected: (B, K) log-probabilities
    """
    try:
        probabilities, logs = answer(inputs)
    except Exception as error:  # runtimes raise errors of many kinds
        raise ExportError(
            f"Expected what was exported to answer a batch of {len(expected)}, but: {shown_error(error)}. Nothing is "
            "kept."
        ) from error
    difference = float((torch.stack([probabilities, logs.exp()]) - expected.exp()).abs().max())
    if not difference <= TOLERANCE:  # also where it is NaN
        present = {
            name.removesuffix("_present"): int(values.sum())
            for name, values in inputs.items()
            if name.endswith("_present")
        }
        shown = ", ".join(f"{n_present} with {name}" for name, n_present in present.items())
        raise ExportError(
            f"Expected what was exported to answer as PyTorch does, within {TOLERANCE:g} in probability, but in a "
            f"batch of {len(expected)} ({shown}) it differs by {difference:.3g}. Nothing is kept; predict with "
            "heads-predict instead."
        )
    return difference
