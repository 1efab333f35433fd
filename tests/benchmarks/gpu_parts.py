"""What `gpu.py` measures, part by part; it starts each as a process of its own: `gpu_parts.py PART DEVICE SCALE`.

A part yields names and what measures each; every figure is a line of JSON on stdout as soon as it is there, and of one
that fails it is the error.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import inputs  # noqa: E402 - it stands beside this file, whose folder is on the path by now
import numpy as np  # noqa: E402
import torch  # noqa: E402
from sides import SIDES  # noqa: E402

__all__ = ["PARTS", "main"]

Measures = Iterator[tuple[str, Callable[[], object]]]

DRY = 0.003  # the share of all sizes that a dry run on the CPU takes
BATCHES = {"cuda": (64, 256, 1024), "cpu": (8,)}
N_PASSES = 4  # of the bare network, timed together


class Bench:
    """A device, how much is measured on it, and how."""

    def __init__(self, device: str, scale: float) -> None:
        self.device = device
        self.is_cuda = device.startswith("cuda")
        self._scale = scale if self.is_cuda else scale * DRY
        if ":" in device:  # what is waited for, captured and counted below is the current device's
            torch.cuda.set_device(device)

    def n(self, full: int, *, least: int) -> int:
        """Return how many are measured, of so many at a scale of 1."""
        return max(least, round(full * self._scale))

    def rate(self, run: Callable[[], object], n_items: int) -> float:
        """Return items a second, the median of the rounds after one that warms up."""
        seconds = []
        for _ in range(4 if self.is_cuda else 2):
            started = time.perf_counter()
            run()
            self.wait()
            seconds.append(time.perf_counter() - started)
        return round(n_items / statistics.median(seconds[1:]), 1)

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.is_cuda:
            torch.cuda.synchronize()

    def peak(self) -> Measures:
        """Yield how much of the device's memory this process held at most."""
        if self.is_cuda:
            yield "peak GiB", lambda: round(torch.cuda.max_memory_reserved() / 2**30, 2)


def machine(bench: Bench) -> Measures:
    """Say what it is that is measured on."""
    import torchvision
    import transformers

    for library in (torch, torchvision, transformers, np):
        yield library.__name__, lambda library=library: library.__version__
    yield "python", lambda: sys.version.split()[0]
    yield "cores", lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "device", lambda: torch.cuda.get_device_name(bench.device) if bench.is_cuda else bench.device
    if bench.is_cuda:
        yield "capability", lambda: list(torch.cuda.get_device_capability(bench.device))
        yield "memory GiB", lambda: round(torch.cuda.get_device_properties(bench.device).total_memory / 2**30, 1)
        yield "cudnn", torch.backends.cudnn.version


def pictures(bench: Bench) -> Measures:
    """Measure pictures a second; the plain loop first, for what is ours forbids TF32 in the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        paths = inputs.draw_pictures(Path(folder), n_pictures=bench.n(6000, least=12), size=(60, 80))
        few = paths[: bench.n(600, least=6)]
        yield from _of_sides("pictures", "aedc", few, paths, bench)
    yield from bare_network(bench)
    yield from bench.peak()


def texts(bench: Bench) -> Measures:
    """Measure titles a second."""
    with tempfile.TemporaryDirectory() as folder:
        titles = inputs.draw_titles(bench.n(16000, least=32))
        bert = inputs.write_bert(Path(folder) / "bert", titles)
        yield from _of_sides("texts", "adc", titles[: bench.n(1500, least=8)], titles, bench, folder=bert)
    yield from bench.peak()


def others(bench: Bench) -> Measures:
    """Measure what other libraries make of the same pictures and titles, where they are installed."""
    with tempfile.TemporaryDirectory() as folder:
        paths = inputs.draw_pictures(Path(folder) / "small", n_pictures=bench.n(600, least=6), size=(60, 80))
        yield from _of_sides("pictures", "b", paths, paths, bench)
        titles = inputs.draw_titles(bench.n(1500, least=8))
        bert = inputs.write_bert(Path(folder) / "bert", titles)
        yield from _of_sides("texts", "b", titles, titles, bench, folder=bert)


def _of_sides(kind: str, letters: str, few: list[Any], many: list[Any], bench: Bench, **more: Any) -> Measures:
    """Yield items a second of the sides in the order of the letters; of a and b, which are slow, with few items."""
    for letter in letters:
        for label in (label for label in SIDES if label.startswith(f"{kind} {letter} ")):
            items = few if letter in "ab" else many

            def measure(label: str = label, items: list[Any] = items) -> float:
                return bench.rate(SIDES[label](items, device=bench.device, **more), len(items))

            yield f"{label}, 1/s", measure


def bare_network(bench: Bench) -> Measures:
    """Measure the network alone on a batch that is on the device, and on CUDA as one graph."""
    from embed import ImageEncoder
    from embed.encoders.precision import dtype_of

    encoder = ImageEncoder(weights="random", precision="auto", device=bench.device)
    dtype = dtype_of(encoder.precision)
    for n_pictures in BATCHES["cuda" if bench.is_cuda else "cpu"]:
        batch = torch.randn(n_pictures, 3, 224, 224, device=bench.device, dtype=dtype)
        batch = batch.to(memory_format=torch.channels_last)
        name = f"bare network in {encoder.precision}, batches of {n_pictures}, 1/s"
        yield name, lambda batch=batch: _bare_rate(encoder.model, batch, bench)
        if bench.is_cuda:
            yield f"{name}, as a graph", lambda batch=batch: _graph_rate(encoder.model, batch, bench)


@torch.inference_mode()
def _bare_rate(model: torch.nn.Module, batch: torch.Tensor, bench: Bench) -> float:
    return bench.rate(lambda: [model(batch) for _ in range(N_PASSES)], N_PASSES * len(batch))


@torch.inference_mode()
def _graph_rate(model: torch.nn.Module, batch: torch.Tensor, bench: Bench) -> float:
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())  # which made the batch
    with torch.cuda.stream(stream):  # cuDNN chooses its algorithms before anything is recorded
        for _ in range(3):
            model(batch)
    stream.synchronize()
    with torch.cuda.graph(graph):
        model(batch)
    return bench.rate(lambda: [graph.replay() for _ in range(N_PASSES)], N_PASSES * len(batch))


def heads(bench: Bench) -> Measures:
    """Compare heads on the CPU and on the device: two folds in a stack, and the first of them alone."""
    import training_jobs

    from heads.head_types import control_names, fusion_names
    from heads.settings import FitSettings

    n_rows = bench.n(10_000, least=400)
    tasks = training_jobs.tasks_of(*training_jobs.draw_vectors(n_rows), n_folds=2)
    settings = FitSettings(max_epochs=bench.n(6, least=2), patience=6, hidden_dim=64)
    for name in ("image", *fusion_names(), *control_names()):
        if name in ("late", "majority"):  # an average of others, and no vectors
            continue
        jobs = [training_jobs.job_of(name, task, replace(settings, seed=n)) for n, task in enumerate(tasks)]
        yield name, lambda jobs=jobs: _parity(jobs, bench)
    yield from bench.peak()


def _parity(jobs: list[Any], bench: Bench) -> dict[str, object]:
    """Return how the fits of two jobs differ between the CPU and the device, in fp32."""
    import training_jobs

    from heads.device import find_device

    cpu, device = find_device("cpu"), find_device(bench.device)
    (cpu_fits, cpu_s), (device_fits, device_s) = (training_jobs.trained(jobs, side, "fp32") for side in (cpu, device))
    (alone,), _ = training_jobs.trained(jobs[:1], device, "fp32")
    differences = [
        [
            abs(epoch["train_loss"] - cpu_epoch["train_loss"])
            for epoch, cpu_epoch in zip(fit.history, cpu_fit.history, strict=False)
        ]
        for fit, cpu_fit in zip(device_fits, cpu_fits, strict=True)
    ]
    stacked_state, alone_state = device_fits[0].module.state_dict(), alone.module.state_dict()
    accuracies = [statistics.mean(map(training_jobs.test_accuracy, jobs, fits)) for fits in (cpu_fits, device_fits)]
    return {
        "accuracy on the CPU, here": [round(accuracy, 4) for accuracy in accuracies],
        "largest difference of the first losses": max(of_fit[0] for of_fit in differences),
        "largest difference of losses": max(map(max, differences)),
        "a stack's head is the one alone": all(
            torch.equal(stacked_state[name], alone_state[name]) for name in stacked_state
        ),
        "seconds on the CPU, here": [round(cpu_s, 2), round(device_s, 2)],
    }


def grid(bench: Bench) -> Measures:
    """Time a grid of early heads over five folds."""
    import training_jobs

    from heads.settings import FitSettings

    tasks = training_jobs.tasks_of(*training_jobs.draw_vectors(bench.n(10_000, least=400)))
    n_epochs = bench.n(12, least=2)
    configurations = [
        FitSettings(
            learning_rate=rate, dropout=dropout, weight_decay=decay, hidden_dim=width, max_epochs=n_epochs, patience=12
        )
        for rate, dropout, decay, width in product((5e-4, 1e-3, 2e-3, 4e-3), (0.0, 0.35, 0.5), (0.0, 0.03), (128, 256))
    ]
    chosen = configurations[: bench.n(len(configurations), least=2)]
    jobs = [training_jobs.job_of("early", task, settings) for settings in chosen for task in tasks]
    for precision in ("bf16", "fp32"):
        yield f"{len(chosen)} settings, 5 folds, {precision}", lambda precision=precision: _grid(jobs, bench, precision)
    yield from bench.peak()


def _grid(jobs: list[Any], bench: Bench, precision: str) -> dict[str, object]:
    import training_jobs

    from heads.device import find_device

    fits, seconds = training_jobs.trained(jobs, find_device(bench.device), precision)
    n_epochs = sum(len(fit.history) for fit in fits)
    return {"epochs": n_epochs, "s": round(seconds, 2), "ms an epoch": round(1e3 * seconds / n_epochs, 3)}


PARTS = {part.__name__: part for part in (machine, pictures, texts, heads, grid, others)}


def main(part: str, device: str, scale: str) -> None:
    """Measure a part, and print each figure as a line of JSON."""
    for name, measure in PARTS[part](Bench(device, float(scale))):
        try:
            figure = measure()
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            figure = f"{type(error).__name__}: {str(error)[:300]}"
        print(json.dumps({"figure": name, "found": figure}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
