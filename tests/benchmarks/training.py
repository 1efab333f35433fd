"""Measure the training of heads against what a user would otherwise do: `python tests/benchmarks/training.py`.

Everything runs on synthetic vectors of 512 and 768 dimensions around 80 class centres. Sides take turns in each round,
so that a noisy machine is as noisy for all; figures are medians over the rounds, ratios medians of each round's ratio.

fits       15 fits (image, text, early x five folds) against scikit-learn's MLPClassifier on the same standardised rows,
           with the same width, batch size, learning rate and epochs; and their share of the matrix-product peak
grid       200 configurations x five folds of the early head
growth     early on 10,000 to 1,000,000 rows from memory, and the largest from the disk
precision  the ranking of configurations in bf16 against that in fp32 and that of other seeds
shell      heads-train --fusion all on 10,000 rows, against `import torch`
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).resolve().parent)]

from support import synthetic_cache  # noqa: E402 - they are on the path by now
from training_jobs import DIMS, N_CLASSES, N_FOLDS, draw_vectors, job_of, tasks_of, test_accuracy, trained  # noqa: E402

from heads.device import find_device, find_dtype  # noqa: E402
from heads.settings import FitSettings  # noqa: E402
from heads.training.job import Job  # noqa: E402
from heads.training.scheduler import fit_jobs  # noqa: E402


@click.command()
@click.option("--only", help="Parts to measure: fits, grid, growth, precision, shell; default: all.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--rows", "n_rows", default=10_000, show_default=True)
@click.option("--epochs", default=10, show_default=True, help="Of the 15 fits, on both sides.")
@click.option("--most-rows", default=1_000_000, show_default=True, help="Of the growth.")
@click.option("--device", "device_name", default="auto", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(only: str | None, json_path: Path | None, device_name: str, **options: Any) -> None:
    """Measure the training of heads."""
    parts: dict[str, Callable[..., Any]] = {
        "fits": fits, "grid": grid, "growth": growth, "precision": precision, "shell": shell
    }  # fmt: skip
    chosen = only.split(",") if only else list(parts)
    if unknown := set(chosen) - parts.keys():
        raise click.UsageError(f"--only must name some of {', '.join(parts)}, however got {', '.join(unknown)}.")
    device = find_device(device_name)
    figures = {"machine": machine(device)}
    for name in chosen:
        click.echo(f"\n{name}")
        figures[name] = parts[name](device=device, **options)
    if json_path:
        json_path.write_text(json.dumps(figures, indent=1) + "\n")


def machine(device: torch.device) -> dict[str, object]:
    """Return what was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "numpy": np.__version__}


def training_flops(job: Job, n_epochs: int) -> float:
    """Return the floating-point operations of the matrix products of an early head's training, validation included."""
    dim, hidden = sum(job.description.dims.values()), job.description.hidden_dim
    per_row = 2 * dim * hidden + 2 * hidden * N_CLASSES
    backward = 2 * dim * hidden + 4 * hidden * N_CLASSES  # no gradient of the inputs is needed
    split = job.task.split
    return n_epochs * (len(split.train) * (per_row + backward) + len(split.validation) * per_row)


def peak_flops(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Return the floating-point operations a second of a square matrix product, all cores."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds)


def fits(*, device: torch.device, n_rows: int, epochs: int, rounds: int, **_: Any) -> list[dict[str, Any]]:
    """Compare 15 fits with scikit-learn's, at several widths and batch sizes."""
    vectors, targets = draw_vectors(n_rows)
    tasks = tasks_of(vectors, targets)
    figures = []
    click.echo("width  batch  sklearn s  bf16 s  fp32 s  sklearn/bf16  bf16/peak  fp32/peak  acc sklearn  acc bf16")
    for hidden, batch in ((100, 200), (256, 256), (512, 512), (1024, 1024)):
        settings = FitSettings(hidden_dim=hidden, batch_size=batch, max_epochs=epochs, patience=epochs, schedule="none")
        jobs = [
            job_of(name, task, replace(settings, seed=n)) for n, task in enumerate(tasks) for name in (*DIMS, "early")
        ]
        work = sum(training_flops(job, epochs) for job in jobs)
        turns = []
        for _ in range(rounds):
            sklearn_s, sklearn_accuracy = sklearn_fits(jobs, settings)
            turn: dict[str, Any] = {"sklearn_s": sklearn_s, "sklearn_accuracy": sklearn_accuracy}
            for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
                trained_fits, seconds = trained(jobs, device, name)
                turn[f"{name}_s"] = seconds
                turn[f"{name}_share_of_peak"] = work / seconds / peak_flops(device, dtype)
                turn[f"{name}_accuracy"] = statistics.mean(map(test_accuracy, jobs, trained_fits))
            turn["speedup"] = turn["sklearn_s"] / turn["bf16_s"]
            turns.append(turn)
        median = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        figures.append({"hidden_dim": hidden, "batch_size": batch, "epochs": epochs, "turns": turns, "median": median})
        click.echo(
            f"{hidden:5}  {batch:5}  {median['sklearn_s']:9.1f}  {median['bf16_s']:6.2f}  {median['fp32_s']:6.2f}  "
            f"{median['speedup']:12.2f}  {median['bf16_share_of_peak']:9.2f}  {median['fp32_share_of_peak']:9.2f}  "
            f"{median['sklearn_accuracy']:11.4f}  {median['bf16_accuracy']:8.4f}"
        )
    return figures


def sklearn_fits(jobs: Sequence[Job], settings: FitSettings) -> tuple[float, float]:
    """Return the seconds of scikit-learn's fits of the same jobs, and their mean test accuracy; preparing is free."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    seconds, accuracies = 0.0, []
    for job in jobs:
        task = job.task
        ready = task.standardise(task.inputs, task.present)
        matrix = torch.cat([ready[name] for name in sorted(job.description.dims)], dim=1).numpy()
        targets = task.targets.numpy()
        model = MLPClassifier(
            (settings.hidden_dim,), batch_size=settings.batch_size, max_iter=settings.max_epochs,
            n_iter_no_change=settings.max_epochs, tol=0.0, learning_rate_init=settings.learning_rate,
            random_state=job.settings.seed,
        )  # fmt: skip
        rows, labels = matrix[task.split.train], targets[task.split.train]
        started = time.perf_counter()
        model.fit(rows, labels)
        seconds += time.perf_counter() - started
        accuracies.append(model.score(matrix[task.split.test], targets[task.split.test]))
    return seconds, statistics.mean(accuracies)


def grid(*, device: torch.device, n_rows: int, **_: Any) -> dict[str, Any]:
    """Time 200 configurations x five folds of the early head, each stopped early as it likes."""
    tasks = tasks_of(*draw_vectors(n_rows))
    configurations = [
        FitSettings(learning_rate=rate, dropout=dropout, weight_decay=decay, hidden_dim=hidden)
        for rate, dropout, decay, hidden in product(
            (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), (0.0, 0.2, 0.35, 0.5, 0.65), (0.0, 0.01, 0.03, 0.1), (128, 256)
        )
    ]
    jobs = [job_of("early", task, settings) for settings in configurations for task in tasks]
    trained_fits, seconds = trained(jobs, device)
    n_epochs = sum(len(fit.history) for fit in trained_fits)
    click.echo(f"{len(configurations)} configurations x {N_FOLDS} folds, {n_epochs} epochs: {seconds:.1f} s")
    return {"configurations": len(configurations), "folds": N_FOLDS, "epochs": n_epochs, "seconds": seconds}


def growth(*, device: torch.device, most_rows: int, **_: Any) -> list[dict[str, Any]]:
    """Time two epochs of the early head on more and more rows; the largest from the disk too, within 2 GiB."""
    figures = []
    sizes = [n_rows for n_rows in (10_000, 30_000, 100_000, 300_000, 1_000_000) if n_rows <= most_rows]
    settings = FitSettings(max_epochs=2)
    for n_rows in sizes:
        (task,) = tasks_of(*draw_vectors(n_rows), n_folds=1)
        _, seconds = trained([job_of("early", task, settings)], device)
        figures.append(
            {"rows": n_rows, "from": "memory", "seconds": seconds, "microseconds_a_row": 1e6 * seconds / n_rows}
        )
        click.echo(f"{n_rows:9} rows from memory: {seconds:7.2f} s, {figures[-1]['microseconds_a_row']:.1f} us a row")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.h5"
        vectors, targets = draw_vectors(sizes[-1])
        synthetic_cache(path, vectors, {"label": [f"class {code:02}" for code in targets]})
        del vectors
        line = [sys.executable, __file__, "--child", str(path)]
        started = time.perf_counter()
        completed = subprocess.run(line, check=True, capture_output=True, text=True)
        child = json.loads(completed.stdout.splitlines()[-1])
        figures.append({"rows": sizes[-1], "from": "disk", **child, "process_s": time.perf_counter() - started})
        click.echo(
            f"{sizes[-1]:9} rows from disk:   {child['seconds']:7.2f} s, peak {child['peak_bytes'] / 2**30:.2f} GiB"
        )
    return figures


def from_disk(path: str) -> None:
    """Train two epochs of the early head from the disk, within 2 GiB for vectors, and print what it took."""
    from cache import Cache
    from heads.experiment.configuration import Configuration
    from heads.experiment.fold_inputs import FoldInputs
    from heads.experiment.problem import pose
    from heads.settings import TrainSettings

    settings = TrainSettings(memory="2G", max_epochs=2, fusions=("early",))
    device = find_device("cpu")
    with Cache(path) as cache:
        problem = pose(cache, settings)
    encoders = Configuration.of("early", problem.combinations[0], settings).encoders
    task = FoldInputs(problem, sides=()).task(encoders, 0)
    jobs = [job_of("early", task, settings)]
    started = time.perf_counter()
    list(fit_jobs(jobs, device=device, dtype=find_dtype("auto", device), memory=2 * 2**30))
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()  # a child's ru_maxrss begins with that of its parent
    peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "on_disk": task.on_disk}))


def precision(*, device: torch.device, n_rows: int, **_: Any) -> dict[str, Any]:
    """Compare the ranking of 24 configurations in bf16 with that in fp32, and with that of other seeds."""
    from scipy.stats import kendalltau

    tasks = tasks_of(*draw_vectors(n_rows), n_folds=2)
    configurations = [
        (name, FitSettings(learning_rate=rate, dropout=dropout, hidden_dim=hidden))
        for name, rate, dropout, hidden in product((*DIMS, "early"), (5e-4, 2e-3), (0.2, 0.5), (64, 256))
    ]
    means = {}
    for name, seeds in (("fp32", range(3)), ("bf16", range(3)), ("other seeds", range(3, 6))):
        jobs = [
            job_of(head, task, replace(settings, seed=seed))
            for head, settings in configurations for seed in seeds for task in tasks
        ]  # fmt: skip
        trained_fits, _ = trained(jobs, device, "bf16" if name == "bf16" else "fp32")
        accuracies = np.array(list(map(test_accuracy, jobs, trained_fits))).reshape(len(configurations), -1)
        means[name] = accuracies.mean(1)
    comparisons = {
        name: {
            "kendall_tau_to_fp32": float(kendalltau(means["fp32"], means[name]).statistic),
            "largest_difference": float(np.abs(means["fp32"] - means[name]).max()),
            "mean_difference": float((means[name] - means["fp32"]).mean()),
        }
        for name in ("bf16", "other seeds")
    }
    for name, figures in comparisons.items():
        click.echo(
            f"{name:11} against fp32: Kendall's tau {figures['kendall_tau_to_fp32']:.3f}, accuracies differ by up to "
            f"{100 * figures['largest_difference']:.2f} points, by {100 * figures['mean_difference']:+.2f} on average"
        )
    return comparisons


def shell(*, n_rows: int, rounds: int, **_: Any) -> dict[str, Any]:
    """Time `heads-train --fusion all` from the shell against `python -c "import torch"`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.h5"
        vectors, targets = draw_vectors(n_rows)
        synthetic_cache(path, vectors, {"label": [f"class {code:02}" for code in targets]})
        lines = {
            "import torch": [sys.executable, "-c", "import torch"],
            "heads-train": [sys.executable, str(ROOT / "bin" / "heads-train"), str(path), "--fusion", "all"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(rounds + 1):
            for name, line in lines.items():
                started = time.perf_counter()
                subprocess.run(line, check=True, capture_output=True, cwd=folder)
                seconds[name].append(time.perf_counter() - started)
    # The first round warms the disk.
    median = {name: statistics.median(rounds_s[1:]) for name, rounds_s in seconds.items()}
    ratio = median["heads-train"] / median["import torch"]
    click.echo(
        f"heads-train {median['heads-train']:.2f} s, import torch {median['import torch']:.2f} s: {ratio:.1f} times"
    )
    return {"seconds": seconds, "median": median, "ratio": ratio}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        from_disk(sys.argv[2])
    else:
        command()
