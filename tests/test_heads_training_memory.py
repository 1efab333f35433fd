"""Heads on a device: stacks stay within their share of its memory, and what does not fit loses nothing."""

import gc
import logging
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_jobs import small_job, small_task
from test_heads_modules_own import own_job
from test_heads_training_engine import assert_same_fit, every_kind, fits_of, jobs_of

import heads.training.scheduler
import heads.training.stack_planner
from cache.system.out_of_memory import is_out_of_memory
from heads.data.tokens import ProductTokens
from heads.device import to_host
from heads.errors import HeadError, HeadMemoryError
from heads.modules.one_by_one import OneByOne
from heads.modules.seeded import build_empty
from heads.training.adamw import StackedAdamW
from heads.training.footprint import _LiveBytes, footprint
from heads.training.gradient_loop import _one_epoch, _validate
from heads.training.head_state import Member
from heads.training.row_source import open_source
from heads.training.scheduler import fit
from heads.training.stack import Stack
from heads.training.stack_planner import plan_stacks, stack_bytes

pytestmark = pytest.mark.slow

META = torch.empty(0, device="meta")
WANT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.fixture(scope="module", autouse=True)
def _libraries_are_no_garbage():
    """Spare what is collected with each memory that is given back all that the tests before have imported."""
    gc.collect()
    gc.freeze()


def n_parameters(job):
    return sum(tensor.numel() for tensor in build_empty(job.description).parameters())


# What a head takes.


def test_tensors_are_counted_as_long_as_they_are_there_and_once_however_many_views_they_have():
    with _LiveBytes() as live:
        first = torch.zeros(1000, device="meta")
        second = first.view(10, 100)[2:] * 2
        assert live.now == 4000 + 3200
        del first
        assert live.now == 3200
        second += 1
        torch.zeros(10, device="cpu")
    assert (live.now, live.peak) == (3200, 7200)


def test_a_step_is_counted_with_what_it_keeps_for_its_gradients():
    """A user's linear head by hand: what is there when the weights' gradient is, of a batch of 16 rows."""
    job = own_job("Linear", batch_size=16)
    inputs, weights = (12 + 10) * 16 * 4, (22 * 3 + 3) * 4
    n_bytes = footprint(job, torch.float32)
    assert n_bytes > inputs + weights * (1 + 1 + 3)
    more = footprint(own_job("Linear", small_task(n_rows=(12000, 40, 30)), batch_size=64), torch.float32)
    assert more > n_bytes


@every_kind
def test_every_built_in_head_is_known_and_takes_more_than_its_parameters(kind):
    job = jobs_of(kind)[0]
    single, half = (footprint(job, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert single >= half > heads.training.stack_planner.BYTES_A_PARAMETER * n_parameters(job)


@pytest.mark.parametrize("name", ["early", "gated", "lowrank", "attention"])
def test_larger_batches_take_more(name):
    task = small_task(n_rows=(40_000, 40, 30))
    small, large = (footprint(small_job(name, task, batch_size=size), torch.float32) for size in (512, 2048))
    assert large > small + (2048 - 512) * (22 + 16) * 4  # the batch itself and a hidden layer


def test_what_cannot_be_computed_without_numbers_is_not_known():
    assert footprint(own_job("Looking"), torch.float32) is None
    assert footprint(own_job("Remembering"), torch.float32) is None  # its training says what is wrong with it
    assert footprint(own_job("Usual"), torch.float32) > 0


def test_the_callers_random_numbers_stay_as_they_were():
    before = torch.get_rng_state()
    footprint(own_job("Usual"), torch.float32)
    footprint(small_job("early"), torch.float32)
    assert torch.equal(before, torch.get_rng_state())


# Stacks on a device.


def sizes_of(jobs, like=META):
    return Counter(map(len, plan_stacks(jobs, like=like).stacks))


def test_a_stack_on_a_device_holds_as_many_heads_as_its_share_has_room_for(monkeypatch):
    jobs = [small_job("early", seed=seed) for seed in range(7)]
    monkeypatch.setitem(heads.training.stack_planner.STACK_BYTES, "meta", 3 * footprint(jobs[0], torch.float32))
    assert sizes_of(jobs) == {3: 2, 1: 1}
    assert sizes_of(jobs, torch.empty(0)) == {7: 1}


def test_heads_of_which_nothing_is_known_stand_alone_on_a_device(monkeypatch):
    monkeypatch.setitem(heads.training.stack_planner.STACK_BYTES, "meta", 2**40)
    assert sizes_of([own_job("Looking", seed=seed) for seed in range(3)]) == {1: 3}
    assert sizes_of([own_job("Usual", seed=seed) for seed in range(3)]) == {3: 1}


def test_where_the_vectors_of_all_tasks_are_too_many_each_stack_has_one_task(monkeypatch):
    tasks = [small_task(0), small_task(1)]
    jobs = [small_job("early", tasks[seed % 2], seed=seed) for seed in range(6)]
    both = 2 * 190 * 22 * 4
    monkeypatch.setattr("heads.training.stack_planner.footprint", lambda *_: 1)
    monkeypatch.setitem(heads.training.stack_planner.STACK_BYTES, "meta", both)
    assert plan_stacks(jobs, like=META).stacks == [[0, 2, 4, 1, 3, 5]]
    monkeypatch.setitem(heads.training.stack_planner.STACK_BYTES, "meta", both - 1)
    assert plan_stacks(jobs, like=META).stacks == [[0, 2, 4], [1, 3, 5]]


def test_vectors_and_what_pytorch_keeps_unused_count_for_what_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (6 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 5 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2**30)
    cuda = torch.device("cuda")
    assert stack_bytes(cuda) == 10 * 2**30 // 4
    assert stack_bytes(cuda, resident=6 * 2**30) == 2**30
    assert stack_bytes(cuda, resident=20 * 2**30) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_in_a_stack_follows_from_the_jobs_and_not_from_addresses(turned):
    tasks = sorted([small_task(0), small_task(1)], key=id, reverse=turned)
    jobs = [small_job("early", tasks[seed % 2], seed=seed) for seed in range(4)]
    assert plan_stacks(jobs, like=torch.empty(0)).stacks == [[0, 2, 1, 3]]


# An epoch.


@pytest.mark.parametrize("name", ["early", "gated", "lowrank", "attention"])
def test_an_epoch_never_asks_the_device_for_a_number(name):
    """Nobody waits for it before the epoch's figures are read at once: the meta device has no numbers to give."""
    jobs = [small_job(name, seed=seed, modality_dropout=0.2, class_weights="balanced") for seed in range(2)]
    source = open_source(jobs[0].task, META)
    stack = Stack([job.description for job in jobs], [0, 1], device=META.device)
    members = [Member(place, job, source) for place, job in enumerate(jobs)]
    optimiser = StackedAdamW(stack.parameters, learning_rates=[1e-3, 2e-3], weight_decays=[0.0, 0.0])
    tensors = [_one_epoch(stack, optimiser, members, np.random.default_rng(0)), *_validate(stack, members).values()]
    assert [(tensor.shape, tensor.device.type) for tensor in tensors] == [((2,), "meta")] * 3
    state = {name: tensor[0] for name, tensor in stack.tensors.items()}
    members[0].note(1.0, 1.0, 1.0, state=state, share_s=0.0)
    assert {tensor.device.type for tensor in members[0]._best_state.values()} == {"meta"}


def test_neither_does_one_with_tokens():
    """Padding is left out on the CPU alone."""
    task, counts = small_task(), torch.arange(190) % 3 + 1
    tokens = ProductTokens(torch.zeros(int(counts.sum()), 6).half(), torch.cumsum(counts, 0) - counts, counts)
    job = small_job("attention", replace(task, tokens={"text": tokens}))
    job = replace(job, description=replace(job.description, token_dims={"text": 6}))
    stack, member = Stack([job.description], [0], device=META.device), Member(0, job, open_source(job.task, META))
    optimiser = StackedAdamW(stack.parameters, learning_rates=[1e-3], weight_decays=[0.0])
    assert _one_epoch(stack, optimiser, [member], np.random.default_rng(0)).is_meta


def test_what_comes_to_the_host_is_a_copy():
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    copies = to_host(tensors)
    assert all(torch.equal(copies[name], tensor) for name, tensor in tensors.items())
    assert all(copies[name].data_ptr() != tensor.data_ptr() for name, tensor in tensors.items())


# Memory that runs out.


@pytest.fixture
def room(monkeypatch):
    """Return a function that lets steps of more than so many heads raise an error."""

    def make(n_heads, error=WANT[0]):
        step = StackedAdamW.step

        def tight(self, grads, shares):
            if len(grads[0]) > n_heads:
                raise type(error)(*error.args)  # a new one, that holds nothing else
            step(self, grads, shares)

        monkeypatch.setattr(StackedAdamW, "step", tight)

    return make


@pytest.fixture(scope="module")
def alone():
    """Five jobs, and what each comes to by itself."""
    jobs = [small_job("early", seed=seed) for seed in range(5)]
    return jobs, [fit(job) for job in jobs]


@pytest.mark.parametrize("error", WANT, ids=lambda error: str(error)[:20])
def test_a_stack_that_does_not_fit_is_trained_in_halves_with_the_same_results(error, alone, room, caplog):
    caplog.set_level(logging.INFO)
    jobs, expected = alone
    room(2, error)
    for fitted, other in zip(fits_of(jobs), expected, strict=True):
        assert_same_fit(fitted, other, atol=1e-5)
    notes = [record.getMessage() for record in caplog.records if "halves" in record.getMessage()]
    assert notes == [
        f"{n} heads together do not fit into the memory of cpu, so they are trained in halves." for n in (5, 3)
    ]


def test_heads_that_are_done_are_not_trained_again(room, monkeypatch):
    """Memory runs out in the second epoch, when one has stopped."""
    jobs = [small_job("early", seed=seed, max_epochs=n) for seed, n in enumerate([1, 3, 3])]
    expected, trained = [fit(job) for job in jobs], []
    step, descend = StackedAdamW.step, heads.training.scheduler.descend

    def tight(self, grads, shares):
        if len(grads[0]) == 2:
            raise WANT[0]
        step(self, grads, shares)

    monkeypatch.setattr(StackedAdamW, "step", tight)
    monkeypatch.setattr(
        heads.training.scheduler,
        "descend",
        lambda stack, *a, **k: trained.append(len(stack)) or descend(stack, *a, **k),
    )
    for fitted, other in zip(fits_of(jobs), expected, strict=True):
        assert_same_fit(fitted, other, atol=1e-5)
    assert trained == [3, 1, 1]


def test_a_single_head_that_does_not_fit_is_an_error_with_the_way_out(room):
    room(0)
    errors = fits_of([small_job("early", seed=seed) for seed in range(2)])
    assert all(isinstance(one, HeadMemoryError) for one in errors)
    assert str(errors[0]).startswith("Training early expected to fit into the memory of cpu, got: CUDA out of memory.")
    assert str(errors[0]).endswith("use --device cpu, or lower --batch-size or --hidden-dim.")


def test_another_error_is_none_of_memory(room):
    room(2, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        fits_of([small_job("early", seed=seed) for seed in range(5)])


def test_memory_that_runs_out_in_a_class_of_the_users_own_halves_too(monkeypatch):
    jobs = [own_job("Usual", seed=seed) for seed in range(3)]
    expected, call = [fit(job) for job in jobs], OneByOne._checked

    def tight(self, answer, **options):
        if len(self.seeds) > 1:
            raise HeadError("Usual must answer") from WANT[0]
        return call(self, answer, **options)

    monkeypatch.setattr(OneByOne, "_checked", tight)
    for fitted, other in zip(fits_of(jobs), expected, strict=True):
        assert_same_fit(fitted, other, atol=1e-6)


def test_a_head_that_is_fitted_at_once_says_so_too(monkeypatch):
    def failing(*_, **__):
        raise WANT[0]

    monkeypatch.setattr(heads.training.scheduler, "fit_direct", failing)
    job = small_job("early")
    with pytest.raises(HeadMemoryError, match="Training logistic expected"):
        fit(replace(job, description=replace(job.description, name="logistic")))


def test_the_tensors_are_let_go_before_the_memory_is_given_back(room, monkeypatch):
    held, left, hold = [], [], Stack._hold

    def watched(self, tensors):
        hold(self, tensors)
        held.extend(weakref.ref(parameter) for parameter in self.parameters)

    monkeypatch.setattr(Stack, "_hold", watched)
    give = heads.training.scheduler.give_memory_back

    def counting(device):
        give(device)
        left.append(sum(reference() is not None for reference in held))

    monkeypatch.setattr(heads.training.scheduler, "give_memory_back", counting)
    room(1)
    fits_of([small_job("early", seed=seed) for seed in range(2)])
    assert left == [0]


@pytest.mark.parametrize("error", WANT, ids=lambda error: str(error)[:20])
def test_errors_of_memory_are_told_by_their_words_and_by_what_they_were_raised_from(error):
    assert is_out_of_memory(error)
    outer = HeadError("a head")
    assert not is_out_of_memory(outer)
    outer.__cause__ = error
    assert is_out_of_memory(outer)
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(None)
