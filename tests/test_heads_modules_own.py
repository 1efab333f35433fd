"""Heads of a user's own class are trained as built-in ones are, and a faulty one is an error of its own jobs alone."""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import user_heads
from small_jobs import CPU, DIMS, small_job, small_task

import heads.modules.seeded
from cache import EncoderSpec
from heads.data.vectors import Vectors
from heads.errors import HeadError
from heads.modules.one_by_one import SEEDING
from heads.modules.parts.standardiser import Standardise
from heads.modules.saving.saved_head import TrainedHead, load_head
from heads.modules.seeded import build_empty, build_seeded
from heads.training.scheduler import fit, fit_jobs
from heads.training.stack import Stack
from heads.training.stack_planner import plan_stacks


def own_job(class_name, task=None, **changes):
    job = small_job("early", task, **changes)
    return replace(job, description=replace(job.description, name=class_name, plugin=f"user_heads:{class_name}"))


def fits_of(jobs):
    return [fitted for _, fitted in sorted(fit_jobs(jobs, device=CPU, dtype=torch.float32), key=lambda pair: pair[0])]


def assert_same_fit(fitted, expected, *, atol=1e-6):
    assert fitted.best_epoch == expected.best_epoch
    assert len(fitted.history) == len(expected.history)
    for epoch, other in zip(fitted.history, expected.history, strict=True):
        assert epoch == pytest.approx(other, abs=atol)
    for name, tensor in fitted.module.state_dict().items():
        torch.testing.assert_close(tensor, expected.module.state_dict()[name], atol=atol, rtol=0)


@pytest.fixture
def random_state():
    """Hold that the caller's random numbers go on as if nothing had been."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


# Training.


def test_a_job_in_a_stack_gets_the_fit_it_gets_alone(random_state):
    jobs = [own_job("Usual", small_task(seed % 2), seed=seed, max_epochs=n) for seed, n in enumerate([4, 1, 3, 4])]
    assert len(plan_stacks(jobs, like=torch.empty(0)).stacks) == 1
    together = fits_of(jobs)
    assert [len(fitted.history) for fitted in together] == [4, 1, 3, 4]
    for job, fitted in zip(jobs, together, strict=True):
        assert_same_fit(fitted, fit(job))
    with pytest.raises(AssertionError):
        assert_same_fit(together[0], together[3])


def test_dropout_and_batch_statistics_are_those_of_training():
    """Without units dropped another head comes out, and the statistics are no longer those at the start."""
    job = own_job("Usual")
    module = fit(job).module
    assert module.norm.num_batches_tracked > 0
    assert not torch.equal(module.norm.running_mean, torch.zeros(user_heads.HIDDEN_DIM))
    assert not module.training


def test_without_dropout_another_head_comes_out(monkeypatch):
    with_dropout = fit(own_job("Usual"))
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda _, inputs: inputs)
    with pytest.raises(AssertionError):
        assert_same_fit(fit(own_job("Usual")), with_dropout)


def test_a_job_stops_when_its_patience_ends():
    jobs = [own_job("Usual", patience=patience, max_epochs=30, learning_rate=0.05) for patience in (1, 2)]
    for fitted, patience in zip(fits_of(jobs), (1, 2), strict=True):
        assert len(fitted.history) < 30
        assert len(fitted.history) - fitted.best_epoch == patience


def test_a_buffer_that_is_replaced_is_kept():
    """As many batches as there were: of 120 rows, 16 at a time."""
    fitted = fit(own_job("Counting", max_epochs=3, keep="last"))
    assert fitted.module.n_batches == 3 * (120 // 16)


def test_a_parameter_that_is_not_used_harms_nothing():
    """Some are used where something is absent alone, and so not in every batch."""
    fits = fits_of([own_job("Unused", seed=seed, weight_decay=0.0) for seed in range(2)])
    assert all(one.module.idle.tolist() == [1, 1, 1] for one in fits)
    assert all(one.best_epoch for one in fits)


def test_modality_dropout_takes_a_modality_from_a_class_that_does_not_look(monkeypatch):
    seen = []
    monkeypatch.setattr(user_heads.Blind, "calls", seen)
    fit(own_job("Blind", small_task(absent=0.0), modality_dropout=0.5, max_epochs=1))
    absent = [vectors[~mask] for vectors, mask in seen]
    assert sum(map(len, absent)) > 20
    assert all((vectors == 0).all() for vectors in absent)
    assert all((vectors[mask] != 0).any() for vectors, mask in seen)


# Faulty classes.


@functools.cache  # a fit does not change
def fit_alone(name):
    return fit(own_job(name) if name == "Usual" else small_job(name))


@pytest.mark.parametrize(
    ("class_name", "words"),
    [
        ("Bare", "to have parameters that are trained, but it has none"),
        ("Tied", "to have each parameter under one name, but other.weight is another name of one"),
        ("Raising", "to answer, but it raised KeyError: 'sound'"),
        ("Wide", "to answer with a tensor (16, 3), but it is (16, 4)"),
        ("Pair", "to answer with a tensor (16, 3), but it answers with a tuple"),
        ("Detached", "to have gradients, but it raised RuntimeError"),
        ("Stateful", "to have a state of tensors, but it raised TypeError"),
    ],
)
def test_a_faulty_class_is_an_error_of_its_jobs_and_the_others_go_on(random_state, class_name, words):
    jobs = [own_job(class_name), small_job("early"), own_job(class_name, seed=1), own_job("Usual")]
    first, built_in, second, usual = fits_of(jobs)
    for error in (first, second):
        assert isinstance(error, HeadError)
        assert f"user_heads:{class_name} {words}" in str(error)
        assert str(error).endswith(f" Look at it with heads-check user_heads:{class_name}.")
    assert_same_fit(built_in, fit_alone("early"))
    assert_same_fit(usual, fit_alone("Usual"))
    with pytest.raises(HeadError, match=f"user_heads:{class_name}"):
        fit(jobs[0])


def test_a_class_that_cannot_be_built_is_an_error_of_its_jobs():
    error, fitted = fits_of([own_job("Failing"), small_job("early")])
    assert "but its constructor raised KeyError: 'sound'" in str(error)
    assert_same_fit(fitted, fit(small_job("early")))


# Random numbers.


def test_an_empty_head_leaves_the_random_numbers_as_they_were(random_state):
    build_empty(own_job("Usual").description)


@pytest.mark.parametrize("build", [build_empty, lambda description: build_seeded(description, 0)])
def test_a_head_is_built_while_nobody_else_draws(monkeypatch, build):
    locked = []
    monkeypatch.setattr(heads.modules.seeded, "build", lambda *_, **__: locked.append(SEEDING.locked()))
    build(own_job("Usual").description)
    assert locked == [True]


def test_heads_that_are_built_beside_each_other_begin_as_they_do_alone():
    description = own_job("Usual").description
    expected = [build_seeded(description, seed).state_dict() for seed in range(4)]
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            build_empty(description)

    with ThreadPoolExecutor(3) as pool:
        disturbing = pool.submit(disturb)
        states = list(pool.map(lambda seed: build_seeded(description, seed % 4).state_dict(), range(40)))
        stop.set()
        disturbing.result()
    for place, state in enumerate(states):
        assert all(torch.equal(tensor, expected[place % 4][name]) for name, tensor in state.items())


def test_heads_in_use_do_not_wait_for_each_other():
    """What draws nothing needs no turn."""
    job = own_job("Usual")
    stack = Stack([job.description], [0], device=CPU)
    stack.module.eval()
    inputs = {name: torch.zeros(1, 4, dim) for name, dim in DIMS.items()}
    present = {name: torch.ones(1, 4, dtype=torch.bool) for name in DIMS}
    with SEEDING, ThreadPoolExecutor(1) as pool:
        assert pool.submit(stack.module, inputs, present).result(timeout=60).shape == (1, 4, 3)


def test_other_devices_are_not_seeded(monkeypatch):
    """torch.manual_seed is for all devices, and the caller's may be on another one."""
    monkeypatch.setattr(torch, "manual_seed", lambda _: pytest.fail("all devices were seeded"))
    fit(own_job("Usual", max_epochs=1))


# Saving.


@pytest.fixture
def saved(tmp_path):
    """Return a fit and where its head was saved."""
    job = own_job("Usual")
    task, fitted = job.task, fit(job)
    specs = {modality: EncoderSpec(modality, {"weights": "toy"}) for modality in DIMS}
    head = TrainedHead(
        description=fitted.description, module=fitted.module, standardise=Standardise(DIMS), label="kind",
        classes=["a", "b", "c"], encoders=dict.fromkeys(DIMS, "toy"), specs=specs,
    )  # fmt: skip
    vectors = Vectors(encoders=dict.fromkeys(DIMS, "toy"), specs=specs, inputs=task.inputs, present=task.present)
    head.save(tmp_path, golden=vectors, golden_rows=np.arange(8))
    return head, vectors, tmp_path / "Usual.json"


def test_a_head_that_was_saved_answers_as_before(saved):
    head, vectors, path = saved
    loaded = load_head(path, plugins=True)
    assert isinstance(loaded.module, torch.nn.Module)
    np.testing.assert_array_equal(loaded.probabilities(vectors), head.probabilities(vectors))


def test_a_head_of_ones_own_is_not_loaded_without_leave(saved, monkeypatch):
    monkeypatch.setattr("heads.modules.registry.load_plugin", lambda _: pytest.fail("the class was loaded"))
    with pytest.raises(HeadError, match="to be a built-in head, but it is of the class user_heads:Usual"):
        load_head(saved[2])
