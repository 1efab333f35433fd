"""torch.export: a program that PyTorch loads without the code that made it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from heads.export.formats import Answer

__all__ = ["load_answer", "write"]


def write(program: ExportedProgram, path: Path, facts: Mapping[str, str]) -> None:
    """Write the program; ``facts`` are kept as its extra files."""
    with path.open("wb") as file, warnings.catch_warnings():  # a file, as torch would demand a suffix of a path
        warnings.simplefilter("ignore")  # of weights that share memory, which is harmless on the CPU
        torch.export.save(program, file, extra_files=dict(facts))


def load_answer(path: Path) -> Answer:
    """Return a function that answers by PyTorch."""
    with path.open("rb") as file:
        program = torch.export.load(file).module()

    def answer(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            probabilities, logs = program(inputs=dict(inputs))
        return probabilities, logs

    return answer
