"""On a CUDA device: heads learn there what they learn on the CPU, within the memory that was counted."""

import pytest
import torch
from small_jobs import CPU, small_job, small_task

from heads.device import to_device, to_host
from heads.training.footprint import footprint
from heads.training.scheduler import fit, fit_jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("name", ["image", "early", "attention", "gated", "lowrank"])
def test_a_stack_learns_what_it_learns_on_the_cpu(name):
    jobs = [small_job(name, seed=seed, max_epochs=2 + seed) for seed in range(2)]
    for place, found in fit_jobs(jobs, device=CUDA, dtype=torch.float32):
        expected = fit(jobs[place])
        assert {tensor.device for tensor in found.module.state_dict().values()} == {CPU}
        for epoch, other in zip(found.history, expected.history, strict=True):
            assert epoch["train_loss"] == pytest.approx(other["train_loss"], abs=1e-3)


@pytest.mark.parametrize("name", ["early", "attention"])
def test_a_stack_takes_no_more_than_was_counted(name):
    """To a quarter, for what the allocator rounds and libraries work in."""
    task = small_task(n_rows=(4096, 512, 10))
    jobs = [small_job(name, task, seed=seed, hidden_dim=256, batch_size=256, max_epochs=2) for seed in range(8)]
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    list(fit_jobs(jobs, device=CUDA, dtype=torch.float32))
    counted = 8 * footprint(jobs[0], torch.float32) + len(task.targets) * task.total_dim * 4
    assert torch.cuda.max_memory_allocated() - before < 1.25 * counted + 64 * 2**20


def test_what_goes_to_the_device_may_be_changed_at_once():
    expected = torch.arange(2.0**22)
    source = expected.clone()
    busy = torch.rand(4096, 4096, device=CUDA)
    for _ in range(20):
        busy = busy @ busy  # so that the copy has to wait
    found = to_device(source, CUDA)
    source.zero_()
    assert torch.equal(found.cpu(), expected)


def test_what_comes_to_the_host_is_what_was_computed():
    tensors = {"a": torch.arange(6.0, device=CUDA).reshape(2, 3).T * 2, "b": torch.tensor(3, device=CUDA)}
    found = to_host(tensors)
    assert all(
        torch.equal(found[name], tensor.cpu()) and not found[name].is_pinned() for name, tensor in tensors.items()
    )
