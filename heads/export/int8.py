"""Eight bits instead of thirty-two: a smaller ONNX file, and what it costs on the run's validation rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cache.shares import percent
from heads.errors import ExportError
from heads.export.formats import FORMATS, Answer
from heads.export.graph import HeadGraph

__all__ = ["Int8Report", "check_loss", "compare", "quantise"]

OPERATIONS = ["MatMul", "Gemm", "Gather"]  # dynamic int8 of convolutions rarely pays
ANSWERED_ROWS, TIMED_ROWS = 256, 64  # at once
TIMED_S, LEAST_TIMES = 0.5, 5


@dataclass(frozen=True)
class Int8Report:
    """What int8 gains and loses; speeds are rows a second in batches of 64, {runtime and precision: speed}."""

    n_rows: int  # validation rows
    accuracy: float  # of PyTorch in fp32
    accuracy_int8: float
    n_bytes: int
    n_bytes_int8: int
    speeds: Mapping[str, float]

    @property
    def loss(self) -> float:
        """How many points of accuracy int8 loses."""
        return 100 * (self.accuracy - self.accuracy_int8)


def quantise(path: Path, int8_path: Path) -> None:
    """Write an ONNX file with its matrices in int8; activations are quantised as they come (dynamic quantisation)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # no advice is needed
    quantize_dynamic(model, int8_path, op_types_to_quantize=OPERATIONS, per_channel=True, weight_type=QuantType.QInt8)


@torch.inference_mode()
def compare(
    graph: HeadGraph,
    bf16_graph: HeadGraph,
    inputs: Mapping[str, Tensor],
    targets: np.ndarray,
    *,
    path: Path,
    int8_path: Path,
) -> Int8Report:
    """Return what int8 gains and loses on validation rows, against PyTorch in fp32 and bf16 and the fp32 file.

    ``bf16_graph`` is the same graph, which is turned into bf16: its encoders, as they extract, or without any the head.

    Shape:
        inputs: {graph's input: tensor of n rows}
        targets: (n,) int64
    """
    answer_fp32, answer_int8 = (FORMATS["onnx"].code().load_answer(file) for file in (path, int8_path))
    (bf16_graph.networks if bf16_graph.networks else bf16_graph).bfloat16()
    answers: dict[str, tuple[Answer, Mapping[str, Tensor]]] = {
        "PyTorch fp32": (graph, inputs),
        "PyTorch bf16": (bf16_graph, inputs if bf16_graph.networks else _as_bf16(inputs)),
        "ONNX fp32": (answer_fp32, inputs),
        "ONNX int8": (answer_int8, inputs),
    }
    return Int8Report(
        n_rows=len(targets),
        accuracy=_accuracy(graph, inputs, targets),
        accuracy_int8=_accuracy(answer_int8, inputs, targets),
        n_bytes=path.stat().st_size,
        n_bytes_int8=int8_path.stat().st_size,
        speeds={name: _speed(answer, answer_inputs, len(targets)) for name, (answer, answer_inputs) in answers.items()},
    )


def check_loss(report: Int8Report, max_loss: float) -> None:
    """Check that int8 loses no more than so many points of accuracy.

    Raises:
        ExportError: it loses more.
    """
    if not report.loss <= max_loss:
        raise ExportError(
            f"--max-loss: expected int8 to lose at most {max_loss:g} points of accuracy on the {report.n_rows} "
            f"validation rows, but it is {percent(report.accuracy_int8)} % right instead of "
            f"{percent(report.accuracy)} %. Nothing is kept; leave --int8 out, or allow more."
        )


def _as_bf16(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.bfloat16() if values.is_floating_point() else values for name, values in inputs.items()}


def _accuracy(answer: Callable, inputs: Mapping[str, Tensor], targets: np.ndarray) -> float:
    predictions = [
        answer({name: values[block] for name, values in inputs.items()})[0].argmax(1)
        for block in torch.arange(len(targets)).split(ANSWERED_ROWS)
    ]
    return float((torch.cat(predictions).numpy() == targets).mean())


@torch.inference_mode()
def _speed(answer: Callable, inputs: Mapping[str, Tensor], n_rows: int) -> float:
    """Return how many rows a second are answered, by the fastest of several batches."""
    rows = torch.arange(TIMED_ROWS) % n_rows
    batch = {name: values[rows] for name, values in inputs.items()}
    started, batch_times = time.perf_counter(), [float("inf")]
    while len(batch_times) <= LEAST_TIMES or time.perf_counter() - started < TIMED_S:
        batch_started = time.perf_counter()
        answer(batch)
        batch_times.append(time.perf_counter() - batch_started)
    return TIMED_ROWS / min(batch_times)
