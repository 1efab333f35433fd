"""What heads draw from torch's own generator, which all threads share, they draw one after the other."""

from dataclasses import replace

import pytest
import torch
from small_jobs import DIMS, small_job
from support import DIRECT, FUSIONS

from heads.head_types import head_type
from heads.modules.one_by_one import SEEDING
from heads.training.job import Fit
from heads.training.scheduler import fit_jobs

pytestmark = pytest.mark.slow


class Watch:
    """The lock of those who draw, that notes whether anybody drew without it."""

    def __init__(self):
        self.drawn = None
        self.state = torch.get_rng_state()

    def look(self):
        self.drawn = self.drawn or not torch.equal(self.state, torch.get_rng_state())

    def __enter__(self):
        SEEDING.acquire()
        self.look()

    def __exit__(self, *_):
        self.state = torch.get_rng_state()
        SEEDING.release()


def job_of(name):
    job = small_job("early", max_epochs=1)
    changes = {"name": "Usual", "plugin": "user_heads:Usual"} if name == "own" else {"name": name}
    dims = {"image": DIMS["image"]} if name == "image" else DIMS
    return replace(job, description=replace(job.description, dims=dims, **changes))


BY_STEPS = [name for name in FUSIONS if name not in DIRECT and not head_type(name).is_average]


@pytest.mark.parametrize("name", [*BY_STEPS, *DIRECT, "image", "own"])
def test_no_head_draws_while_another_may_be_seeded(name, monkeypatch):
    """Else another thread's head begins elsewhere, now and then. The caller's random numbers stay as they were, too."""
    watch, before = Watch(), torch.get_rng_state()
    monkeypatch.setattr("heads.modules.one_by_one.SEEDING", watch)
    ((_, fitted),) = fit_jobs([job_of(name)], device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(fitted, Fit), fitted
    watch.look()
    assert not watch.drawn
    assert torch.equal(torch.get_rng_state(), before)
