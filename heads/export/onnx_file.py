"""ONNX: one file that ONNX Runtime and others answer by, with the facts about it as its metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from heads.errors import ExportError
from heads.export.formats import Answer
from heads.export.graph import OUTPUTS
from heads.export.graph_input import BATCH, LENGTH
from heads.modules.plugin import shown_error

__all__ = ["load_answer", "write"]

OPSET = 20  # ONNX Runtime does not run the attention of opset 23 with a mask that is broadcast


def write(program: ExportedProgram, path: Path, facts: Mapping[str, str]) -> None:
    """Write the program as one file; ``facts`` become the model's metadata.

    Raises:
        ExportError: an operation of the program has no counterpart in ONNX, or one file of it would pass 2 GB.
    """
    import onnx

    assert program.example_inputs is not None  # noqa: S101 - it was traced with some
    names = list(program.example_inputs[1]["inputs"])
    try:
        with _quiet():
            exported: Any = torch.onnx.export(
                program,
                input_names=names,
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
            model = exported.model_proto
        _name_sizes(model)
        onnx.helper.set_model_props(model, dict(facts))
        onnx.save(model, path)
    except OSError:  # of the disk
        raise
    except Exception as error:  # the exporter raises errors of many kinds
        raise ExportError(
            f"Expected the head to fit into one ONNX file, but: {shown_error(error)}. Export it with --format pt2."
        ) from error


def load_answer(path: Path) -> Answer:
    """Return a function that answers by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [session_input.name for session_input in session.get_inputs()]  # the file lacks those that the head ignores

    def answer(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        probabilities, logs = session.run(list(OUTPUTS), {name: inputs[name].numpy() for name in names})
        return torch.from_numpy(probabilities), torch.from_numpy(logs)

    return answer


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter and its libraries, which warn of each other and of steps that they skip."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_sizes(model: Any) -> None:
    """Name the free sizes of the model: the first of every input is the batch, others are lengths."""
    names: dict[str, str] = {}
    for value in model.graph.input:
        rows, *other_sizes = value.type.tensor_type.shape.dim
        names[rows.dim_param] = BATCH
        names |= {size.dim_param: f"{value.name.partition('_')[0]}_{LENGTH}" for size in other_sizes if size.dim_param}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]
