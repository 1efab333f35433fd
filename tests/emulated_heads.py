"""Heads on both sides, the CPU and the emulated device, compared; run in the process of `emulated_device`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from emulated_device import DEVICE, NAME
from small_jobs import CPU, DIMS, small_job, small_task
from support import BY_STEPS, DIRECT
from torch import Tensor, nn

import heads.training.stack_planner
from heads.data.tokens import ProductTokens
from heads.errors import HeadError
from heads.modules.parts.standardiser import Standardise
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.training.job import Fit, Job, Task
from heads.training.scheduler import fit_jobs
from heads.workflows.train import train

TOKEN_DIMS = {"image": 7, "text": 6}
STACK_BYTES = 24 * 2**20
N_EPOCHS = (2, 1)  # so that a head leaves the stack before the other


class OnDisk:
    """A matrix whose rows come when they are asked for, as those of a cache that memory does not hold."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.shape = matrix, tuple(matrix.shape)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.matrix[rows]


class Lost(nn.Module):
    """A user's head that makes a tensor on the CPU, wherever its weights are."""

    def __init__(self, dims: dict[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dims["image"], n_classes)

    def forward(self, inputs: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        return self.layer(inputs["image"] * present["image"][:, None]) + torch.ones(self.layer.out_features)


def difference_of_fits(name: str, *, dtype: str = "float32", on_disk: bool = False, **changes: Any) -> float:
    """Return the largest difference between two fits of a head on the device, in one stack, and those on the CPU.

    Differences are those of losses, scores, weights and logits, each relative to the largest number of its kind. A name
    with a colon is that of a user's class; `tokens` among the changes gives attention tokens.
    """
    jobs = _jobs_of(name, on_disk=on_disk, **changes)
    cpu_fits, fits = (_fits_of(jobs, torch.device(device), dtype) for device in (CPU, DEVICE))
    return max(
        _difference(_numbers_of(fit, job, device=DEVICE), _numbers_of(cpu_fit, job, device="cpu"))
        for job, fit, cpu_fit in zip(jobs, fits, cpu_fits, strict=True)
    )


def error_of_a_lost_head() -> str:
    """Return the error of a head that makes a tensor on the CPU."""
    job = small_job("early")
    job = replace(job, description=replace(job.description, name="Lost", plugin="emulated_heads:Lost"))
    ((_, error),) = _fit(job_list=[job], device=torch.device(DEVICE), dtype="float32")
    assert isinstance(error, HeadError), error
    return str(error)


def errors_of_what_cuda_lacks() -> list[str]:
    """Return the errors of operations that the CPU computes and CUDA refuses."""
    square, counts = torch.rand(2, 3, device=DEVICE), torch.ones(3, 3, dtype=torch.int64, device=DEVICE)
    step = torch.ones((), device=DEVICE)

    def moved(gradient: Tensor) -> None:
        sides = ([square.clone()], [gradient], [square.clone()], [square.clone()])
        torch._fused_adamw_(
            *sides, [], [step], amsgrad=False, maximize=False, beta1=0.9, beta2=0.999, eps=1e-8, lr=1e-3,
            weight_decay=0.0,
        )  # fmt: skip

    moved(square.clone())
    errors = []
    for call in (lambda: moved(square.T.contiguous().T), lambda: counts @ counts, lambda: counts @ counts[0]):
        with pytest.raises(RuntimeError) as caught:
            call()
        errors.append(str(caught.value))
    return errors


def difference_of_runs(cache_path: Path, folder: Path, **changes: Any) -> float:
    """Return by how much the predictions of two whole trainings differ at most, one of them on the device.

    The heads that were saved are loaded, so that each has answered its golden rows again, and there must be as many.
    """
    settings = TrainSettings(hidden_dim=16, max_epochs=2, n_resamples=100, precision="fp32", device="cpu", **changes)
    reports = []
    for device in ("cpu", DEVICE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("heads.experiment.experiment.find_device", lambda _, device=device: torch.device(device))
            patch.setitem(heads.training.stack_planner.STACK_BYTES, NAME, STACK_BYTES)
            reports.append(train(cache_path, settings=settings, runs_path=folder / device.replace(":", "-")))
    names, others = (list(load_heads(report.run_path, None)) for report in reports)
    assert names == others
    return _difference(*(_probabilities(report.run_path / "predictions.csv") for report in reports))


def _probabilities(path: Path) -> dict[str, Tensor]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name.endswith("_probability")]
    assert columns, rows[0]
    return {name: torch.tensor([float(row[name]) for row in rows]) for name in columns}


def _jobs_of(name: str, *, on_disk: bool, tokens: bool = False, **changes: Any) -> list[Job]:
    task = _task(on_disk=on_disk, tokens=tokens)
    if name in DIRECT:
        job = small_job("early", task, **changes)
        return [replace(job, description=replace(job.description, name=name))]
    jobs = [
        small_job(name if name in (*BY_STEPS, *DIMS) else "early", task, seed=seed, max_epochs=n_epochs, **changes)
        for seed, n_epochs in enumerate(N_EPOCHS[:1] if tokens else N_EPOCHS)
    ]
    described: dict[str, Any] = {"token_dims": TOKEN_DIMS, "n_positions": {"image": 9}} if tokens else {}
    if ":" in name:
        described |= {"name": name.rpartition(":")[2], "plugin": name}
    return [replace(job, description=replace(job.description, **described)) for job in jobs]


def _task(*, on_disk: bool, tokens: bool) -> Task:
    task = small_task()
    states = {}
    if tokens:
        generator = torch.Generator().manual_seed(1)
        for modality, dim in TOKEN_DIMS.items():
            counts = (
                torch.full((len(task.targets),), 9) if modality == "image" else torch.arange(len(task.targets)) % 5 + 1
            )
            counts = counts * task.present[modality]
            values = torch.randn(int(counts.sum()), dim, generator=generator).half()
            states[modality] = ProductTokens(values, torch.cumsum(counts, 0) - counts, counts)
    standardise = Standardise(DIMS, TOKEN_DIMS if tokens else None)
    standardise.fit(task.inputs, task.present, torch.from_numpy(task.split.train), tokens=states)
    inputs = {modality: OnDisk(matrix) for modality, matrix in task.inputs.items()} if on_disk else task.inputs
    return replace(task, inputs=inputs, tokens=states, standardise=standardise)


def _fits_of(jobs: Sequence[Job], device: torch.device, dtype: str) -> list[Fit]:
    fits = []
    for _, fit in sorted(_fit(jobs, device, dtype), key=lambda pair: pair[0]):
        if not isinstance(fit, Fit):
            raise fit
        fits.append(fit)
    return fits


def _fit(job_list: Sequence[Job], device: torch.device, dtype: str) -> list[tuple[int, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(heads.training.stack_planner.STACK_BYTES, NAME, STACK_BYTES)
        return list(fit_jobs(job_list, device=device, dtype=getattr(torch, dtype)))


def _numbers_of(fit: Fit, job: Job, *, device: str) -> dict[str, Tensor]:
    """Return a fit's weights and losses, and its head's logits of the test rows on a device."""
    tensors = dict([*fit.module.named_parameters(), *fit.module.named_buffers()])  # scikit-learn's models have no state
    assert all(tensor.device == CPU for tensor in tensors.values()), "a fit is the CPU's"
    losses = torch.tensor([list(epoch.values()) for epoch in fit.history])
    state = {name: tensor.detach().double() for name, tensor in tensors.items()}
    module, task = fit.module.to(device), job.task
    rows = torch.from_numpy(task.split.test)
    present = {name: task.present[name][rows].to(device) for name in job.description.dims}
    inputs = {name: task.inputs[name][rows].to(device) for name in job.description.dims}
    standardise = task.standardise.part(job.description.dims, job.description.token_dims).to(device)
    arguments: list[Any] = [standardise(inputs, present), present]
    if job.description.token_dims:
        batches = {name: states.take(rows).batch() for name, states in task.tokens.items()}
        batches = {name: type(batch)(*(tensor.to(device) for tensor in batch)) for name, batch in batches.items()}
        arguments.append(standardise.tokens(batches))
    with torch.inference_mode():
        answers = module(*arguments)
    assert answers.device == torch.device(device)
    return {**state, "losses": losses, "answers": answers.cpu()}


def _difference(computed: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert computed.keys() == expected.keys()
    return max(
        float((computed[name] - values).abs().max() / values.abs().max().clamp_min(1))
        for name, values in expected.items()
        if values.numel()
    )
