"""Jobs that are trained in a stack get what each gets alone, and nothing of a training is left where it was called."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_jobs import CPU, small_job, small_task
from torch import nn

import heads.training.scheduler
import heads.training.stack_planner
from heads.data.tokens import ProductTokens
from heads.errors import HeadError
from heads.training.adamw import StackedAdamW
from heads.training.head_state import Member
from heads.training.job import Fit
from heads.training.scheduler import fit, fit_jobs
from heads.training.stack import Stack
from heads.training.stack_planner import plan_stacks, rounds_at_once

pytestmark = pytest.mark.slow

KINDS = {
    "image": {}, "early": {}, "attention": {}, "gated": {}, "lowrank": {},
    "early, learned absence": {"absent": "learned"}, "attention, learned absence": {"absent": "learned"},
    "early, modality dropout": {"modality_dropout": 0.3}, "gated, modality dropout": {"modality_dropout": 0.3},
    "early, balanced": {"class_weights": "balanced"}, "early, adjusted": {"logit_adjustment": 1.0},
    "early, cosine": {"schedule": "cosine", "warmup": 1.5}, "gated, plateau": {"schedule": "plateau", "patience": 3},
    "early, 15 a class": {"per_class": "15"}, "early, the largest class": {"per_class": "largest"},
}  # fmt: skip
# Learning rate, weight decay, dropout, epochs: neighbours that are equal, such that are not, and one that stops first.
OWN = [(2e-3, 0.01, 0.5, 2), (2e-3, 0.01, 0.2, 1), (1e-2, 0.1, 0.5, 2), (2e-3, 0.1, 0.0, 2)]
every_kind = pytest.mark.parametrize("kind", KINDS)


def jobs_of(kind):
    """Return four jobs of one shape: two folds with other rows, and seeds, rates and epochs of their own."""
    name, changes = kind.split(",")[0], KINDS[kind]
    n_rows = (120, 30, 40) if "largest" in kind else (124, 40, 26)  # as many rows of the largest class, or as few steps
    times = 2 if "plateau" in kind else 1  # so that a rate falls
    folds = [small_task(0), small_task(0 if "largest" in kind else 1, n_rows=n_rows)]
    return [
        small_job(
            name, folds[seed % 2], seed=seed, learning_rate=rate, weight_decay=decay, dropout=dropout,
            max_epochs=times * n_epochs, **changes,
        )
        for seed, (rate, decay, dropout, n_epochs) in enumerate(OWN)
    ]  # fmt: skip


def stacks_of(jobs):
    return plan_stacks(jobs, like=torch.empty(0)).stacks


def fits_of(jobs, *, dtype=torch.float32, **options):
    return [fitted for _, fitted in sorted(fit_jobs(jobs, device=CPU, dtype=dtype, **options))]


def assert_same_fit(fitted, expected, *, atol=0.0):
    assert len(fitted.history) == len(expected.history)
    assert fitted.best_epoch == expected.best_epoch
    for epoch, other in zip(fitted.history, expected.history, strict=True):
        assert epoch == pytest.approx(other, abs=atol, rel=0)
    state, other = fitted.module.state_dict(), expected.module.state_dict()
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(
            tensor, other[name], atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def stack_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("stack")]


# A stack and its heads.


@pytest.mark.parametrize(
    ("kind", "dtype", "atol"),
    [
        *((kind, torch.float32, 1e-5) for kind in KINDS),
        # What draws rows, weighs them and sets the rate is in float32 whatever the heads compute in.
        *((kind, torch.bfloat16, 1e-3) for kind in KINDS if set(KINDS[kind]) <= {"absent"}),
        ("gated, modality dropout", torch.bfloat16, 1e-3),
        ("early, adjusted", torch.bfloat16, 1e-3),
    ],
    ids=str,
)
def test_a_job_in_a_stack_gets_the_fit_it_gets_alone(kind, dtype, atol):
    """To rounding: a product of a batch of matrices may be summed in another order than one of two."""
    jobs = jobs_of(kind)
    assert len(stacks_of(jobs)) == 1
    together = fits_of(jobs, dtype=dtype)
    assert [len(fitted.history) for fitted in together] == [job.settings.max_epochs for job in jobs]
    for job, fitted in zip(jobs, together, strict=True):
        assert_same_fit(fitted, fit(job, dtype=dtype), atol=atol)


def test_heads_are_in_float32_whatever_they_compute_in():
    module = fit(small_job("gated"), dtype=torch.bfloat16).module
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("changes", [{"learning_rate": 1e-2}, {"weight_decay": 3.0}, {"dropout": 0.1}, {"seed": 9}])
def test_every_setting_of_a_job_tells(changes):
    """The comparison above can fail."""
    job = small_job("early")
    other = small_job("early", **changes)
    with pytest.raises(AssertionError):
        assert_same_fit(fit(other), fit(job), atol=1e-3)


def test_the_same_seed_gives_the_same_fit_to_the_bit():
    for name in ("early", "attention"):
        assert_same_fit(fit(small_job(name)), fit(small_job(name)))


def test_a_job_that_stops_leaves_the_stack_and_the_others_go_on(monkeypatch):
    sizes, keep = [], Stack.keep

    def watched(self, places):
        keep(self, places)
        sizes.append(len(self.parameters[0]))

    monkeypatch.setattr(Stack, "keep", watched)
    jobs = [small_job("early", seed=seed, max_epochs=n) for seed, n in enumerate([5, 1, 3, 3])]
    together = fits_of(jobs)
    assert sizes == [3, 1]
    for job, fitted in zip(jobs, together, strict=True):
        assert_same_fit(fitted, fit(job), atol=1e-5)


def test_patience_is_each_jobs_own():
    """The best epoch is the first of the best macro-F1 and, of such, the least loss."""
    jobs = [small_job("early", patience=patience, max_epochs=12, learning_rate=0.05) for patience in (1, 2, 60)]
    fits = fits_of(jobs)
    assert [len(one.history) - one.best_epoch for one in fits[:2]] == [1, 2]
    assert len(fits[2].history) == 12
    for one in fits:
        scores = [(epoch["validation_macro_f1"], -epoch["validation_loss"]) for epoch in one.history]
        assert one.best_epoch == scores.index(max(scores)) + 1
    for epoch, other in zip(fits[0].history, fits[2].history, strict=False):
        assert epoch == pytest.approx(other, abs=1e-5)


def test_the_history_is_that_of_the_head_kept():
    """Validation loss and macro-F1 of the best epoch, computed again."""
    job = small_job("early", max_epochs=6)
    fitted, rows = fit(job), torch.from_numpy(job.task.split.validation)
    logits = fitted.module(
        {name: matrix[rows] for name, matrix in job.task.inputs.items()},
        {name: mask[rows] for name, mask in job.task.present.items()},
    )
    best, targets, answers = fitted.history[fitted.best_epoch - 1], job.task.targets[rows], logits.argmax(1)
    assert best["validation_loss"] == pytest.approx(nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    f1 = []
    for code in range(3):
        hits = int(((answers == code) & (targets == code)).sum())
        f1.append(2 * hits / int((answers == code).sum() + (targets == code).sum()))
    assert best["validation_macro_f1"] == pytest.approx(np.mean(f1), rel=1e-6)


def test_a_job_that_diverges_is_an_error_and_the_others_are_unharmed():
    jobs = [small_job("early", seed=0), small_job("early", seed=1, learning_rate=1e30), small_job("early", seed=2)]
    first, error, last = fits_of(jobs)
    assert isinstance(error, HeadError)
    assert "the loss of early is not finite in epoch 1" in str(error)
    assert "--learning-rate, which is 1e+30" in str(error)
    for job, fitted in ((jobs[0], first), (jobs[2], last)):
        assert_same_fit(fitted, fit(job), atol=1e-5)
    with pytest.raises(HeadError, match="not finite"):
        fit(jobs[1])


def test_the_times_of_a_stack_are_shared_out():
    jobs = jobs_of("early")
    assert all(fitted.elapsed_s > 0 for fitted in fits_of(jobs))


# Stacks.


def test_jobs_of_one_shape_stand_in_one_stack_in_order_of_their_rates():
    jobs = jobs_of("early") + jobs_of("gated")
    stacks = stacks_of(jobs)
    assert sorted(sorted(places) for places in stacks) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for places in stacks:
        rates = [(jobs[place].settings.learning_rate, jobs[place].settings.weight_decay) for place in places]
        assert rates == sorted(rates)


@pytest.mark.parametrize(
    "changes",
    [{"hidden_dim": 32}, {"batch_size": 8}, {"absent": "learned"}, {"modality_dropout": 0.1}, {"per_class": "7"}],
    ids=str,
)
def test_jobs_of_another_shape_stand_apart(changes):
    jobs = [small_job("early"), small_job("early", seed=1, **changes), small_job("early", seed=2)]
    assert sorted(map(sorted, stacks_of(jobs))) == [[0, 2], [1]]


@pytest.mark.parametrize(
    "n_rows",
    [(240, 40, 30), (136, 40, 30), (120, 65, 30)],
    ids=["larger batches", "more steps", "larger blocks of validation rows"],
)
def test_jobs_with_other_batches_stand_apart(n_rows):
    jobs = [small_job("early"), small_job("early", small_task(n_rows=n_rows))]
    assert len(stacks_of(jobs)) == 2


def test_a_stack_is_no_larger_than_the_cache_of_a_core(monkeypatch):
    jobs = [small_job("early", seed=seed) for seed in range(7)]
    n_numbers = 22 * 16 + 2 * 16 + 16 * 3 + 3  # of a head: two linear maps and a batch norm
    monkeypatch.setitem(
        heads.training.stack_planner.STACK_BYTES, "cpu", 3 * n_numbers * heads.training.stack_planner.BYTES_A_PARAMETER
    )
    stacks = stacks_of(jobs)
    assert Counter(map(len, stacks)) == {3: 2, 1: 1}
    assert sorted(place for places in stacks for place in places) == list(range(7))
    monkeypatch.setitem(heads.training.stack_planner.STACK_BYTES, "cpu", 1)
    assert [len(places) for places in stacks_of(jobs)] == [1] * 7


@pytest.mark.parametrize(("free_bytes", "expected"), [(140 * 2**30, 8 * 2**30), (8 * 2**30, 2 * 2**30)])
def test_a_stack_takes_a_fourth_of_the_free_memory_of_a_gpu_at_most(monkeypatch, free_bytes, expected):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free_bytes, 141 * 2**30))
    assert heads.training.stack_planner.stack_bytes(torch.device("cuda")) == expected
    assert heads.training.stack_planner.stack_bytes(CPU) == heads.training.stack_planner.STACK_BYTES["cpu"]


def test_the_longest_work_comes_first():
    jobs = [small_job("early"), small_job("early", hidden_dim=64), small_job("early", hidden_dim=32)]
    assert stacks_of(jobs) == [[1], [2], [0]]


def test_attention_comes_before_a_head_of_as_many_parameters():
    """Its tokens pass through them one by one."""
    names = ["image", "text", "early", "gated", "lowrank", "attention"]
    dims = {"image": 512, "text": 768}
    jobs = [small_job(name, hidden_dim=256) for name in names]
    jobs = [
        replace(job, description=replace(job.description, dims={own: dims[own] for own in job.description.dims}))
        for job in jobs
    ]
    assert [names[place] for (place,) in stacks_of(jobs)][:3] == ["attention", "lowrank", "gated"]


def test_heads_over_tokens_stand_alone_and_are_fitted_beside_the_others():
    """Their tokens are ragged."""
    task = small_task()
    counts = torch.arange(190) % 3 + 1
    values = torch.randn(int(counts.sum()), 6, generator=torch.Generator().manual_seed(0)).half()
    task = replace(task, tokens={"text": ProductTokens(values, torch.cumsum(counts, 0) - counts, counts)})
    plain = small_job("attention", task)
    over_tokens = replace(plain, description=replace(plain.description, token_dims={"text": 6}))
    jobs = [over_tokens, replace(over_tokens, settings=replace(plain.settings, seed=1)), plain]
    assert sorted(stacks_of(jobs)) == [[0], [1], [2]]
    first, second, _ = fits_of(jobs)
    assert_same_fit(first, fit(jobs[0]), atol=1e-5)
    assert first.history != second.history


# What the caller sees.


def test_results_come_as_they_are_done(monkeypatch):
    """The short job's while the long one still has epochs to go."""
    taken, was_taken, note = threading.Event(), [], Member.note

    def waiting(self, *arguments, **options):
        note(self, *arguments, **options)
        if len(self.fit().history) > 1:
            was_taken.append(taken.wait(60))

    monkeypatch.setattr(Member, "note", waiting)
    jobs = [small_job("early", max_epochs=3), small_job("early", seed=1, max_epochs=1)]
    results = fit_jobs(jobs, device=CPU, dtype=torch.float32)
    place, fitted = next(results)
    taken.set()
    assert (place, len(fitted.history)) == (1, 1)
    assert [place for place, _ in results] == [0]
    assert was_taken == [True, True]


@pytest.mark.parametrize("n_parallel", [1, 2, 5])
def test_each_job_gets_its_own_result_however_many_lanes_there_are(n_parallel, monkeypatch):
    monkeypatch.setattr("heads.training.stack_planner.count_parallel", lambda _: n_parallel)
    jobs = [small_job(name, seed=seed, max_epochs=2) for seed in range(2) for name in ("text", "early", "gated")]
    for job, fitted in zip(jobs, fits_of(jobs), strict=True):
        assert_same_fit(fitted, fit(job), atol=1e-5)


def test_one_job_may_be_asked_for_twice():
    """Also where it has no stack with others: that waited for ever for the second fit."""
    early = small_job("early")
    direct = replace(early, description=replace(early.description, name="logistic"))
    for job in (early, direct):
        assert sorted(index for index, _ in fit_jobs([job, job, early], device=CPU, dtype=torch.float32)) == [0, 1, 2]
    assert stacks_of([direct, direct]) in ([[0], [1]], [[1], [0]])


def test_beside_a_device_the_cores_fit_what_is_computed_on_the_cpu_anyway(monkeypatch):
    """Several at a time, while the device has one thread; with the same result, in whose name it is."""
    device, where, both = torch.device("meta"), [], threading.Barrier(2)
    monkeypatch.setitem(heads.training.stack_planner.STACK_BYTES, "meta", 2**30)
    monkeypatch.setattr("heads.training.scheduler.count_cores", lambda: 3)

    def fit_direct(job, *, device):
        name = job.description.name
        if name == "logistic":
            both.wait(timeout=60)
        where.append((name, device))
        return Fit(nn.Identity(), job.description, 0, [], 0.0)

    monkeypatch.setattr("heads.training.scheduler.fit_direct", fit_direct)
    early = small_job("early")
    names = ("logistic", "neighbours", "logistic", "centroids")
    jobs = [replace(early, description=replace(early.description, name=name)) for name in names]
    found = dict(fit_jobs(jobs, device=device, dtype=torch.float32))
    assert [found[place].description.name for place in range(4)] == list(names)
    assert sorted(where, key=str) == sorted(
        [("centroids", device), ("logistic", CPU), ("logistic", CPU), ("neighbours", device)], key=str
    )


@pytest.fixture
def epochs(monkeypatch):
    """The epochs of all heads, as they are trained."""
    counted, note = [], Member.note

    def watched(self, *arguments, **options):
        counted.append(self.job_index)
        note(self, *arguments, **options)

    monkeypatch.setattr(Member, "note", watched)
    return counted


def test_a_caller_who_stops_listening_ends_the_training(epochs, monkeypatch):
    endless = {"max_epochs": 2000, "patience": 2000}
    jobs = [small_job("text", max_epochs=1), small_job("early", **endless), small_job("gated", **endless)]
    monkeypatch.setattr("heads.training.stack_planner.count_parallel", lambda _: 3)
    results = fit_jobs(jobs, device=CPU, dtype=torch.float32)
    assert next(results)[0] == 0
    assert stack_threads()
    results.close()
    assert stack_threads() == []
    assert 1 <= len(epochs) < 2000


def test_a_mistake_in_one_stack_is_raised_and_ends_the_others(epochs, monkeypatch):
    descend = heads.training.scheduler.descend

    def failing(jobs, *arguments, **options):
        if jobs[0].description.name == "text":
            raise ZeroDivisionError
        yield from descend(jobs, *arguments, **options)

    monkeypatch.setattr(heads.training.scheduler, "descend", failing)
    monkeypatch.setattr("heads.training.stack_planner.count_parallel", lambda _: 2)
    with pytest.raises(ZeroDivisionError):
        fits_of([small_job("early", max_epochs=2000, patience=2000), small_job("text")])
    assert stack_threads() == []
    assert len(epochs) < 2000


@pytest.mark.parametrize("end", ["done", "closed", "failed"])
def test_the_callers_threads_and_random_numbers_stay_as_they_were(end):
    n_threads, learning_rate = torch.get_num_threads(), 1e30 if end == "failed" else 1e-3
    torch.set_num_threads(3)
    try:
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        results = fit_jobs(
            [small_job("early", learning_rate=learning_rate), small_job("text")], device=CPU, dtype=torch.float32
        )
        kinds = {type(fitted) for _, fitted in [next(results), *([] if end == "closed" else results)]}
        results.close()
        assert kinds == ({Fit, HeadError} if end == "failed" else {Fit})
        with ThreadPoolExecutor(1) as another:
            assert another.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
        assert torch.equal(before[0], torch.get_rng_state())
        assert np.array_equal(before[1], np.random.get_state()[1])
    finally:
        torch.set_num_threads(n_threads)


@pytest.mark.parametrize(("n_threads", "left"), [(2, 1), (7, 5)])
def test_who_takes_the_fits_leaves_the_stacks_their_cores(n_threads, left, monkeypatch):
    monkeypatch.setattr("heads.training.stack_planner.count_parallel", lambda _: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        jobs = [small_job("early"), small_job("text")]
        found = [torch.get_num_threads() for _ in fit_jobs(jobs, device=CPU, dtype=torch.float32)]
        assert (found, torch.get_num_threads()) == ([left, left], n_threads)
    finally:
        torch.set_num_threads(before)


def test_what_the_caller_drew_before_does_not_count():
    torch.manual_seed(1)
    first = fit(small_job("early"))
    torch.manual_seed(2)
    assert_same_fit(fit(small_job("early")), first)


def test_no_jobs_are_no_results():
    assert fits_of([]) == []


def test_the_task_is_left_as_it_was():
    job = small_job("early", modality_dropout=0.5)
    before = {name: matrix.clone() for name, matrix in job.task.inputs.items()}
    masks = {name: mask.clone() for name, mask in job.task.present.items()}
    fit(job)
    assert all(torch.equal(matrix, job.task.inputs[name]) for name, matrix in before.items())
    assert all(torch.equal(mask, job.task.present[name]) for name, mask in masks.items())


# AdamW.


SHARES = [[1.0] * 5, [0.5] * 5, [0.25, 0.5, 1.0, 1.0, 0.0]]  # of the learning rates, at a step


@pytest.mark.parametrize("shape", [(5,), (4, 3)], ids=str)
def test_stacked_adamw_is_torchs_adamw_for_each_head(shape):
    rates, decays = [1e-3, 1e-3, 0.1, 0.1, 1e-3], [0.0, 0.3, 0.3, 0.3, 0.0]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, *shape, generator=generator)
    stacked = [start.clone().requires_grad_(), torch.ones(5, 2, requires_grad=True)]
    optimiser = StackedAdamW(stacked, learning_rates=rates, weight_decays=decays)
    alone = [[start[head].clone().requires_grad_(), torch.ones(2, requires_grad=True)] for head in range(5)]
    optimisers = [
        torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        for parameters, rate, decay in zip(alone, rates, decays, strict=True)
    ]
    left = list(range(5))
    for step in range(8):
        grads = [torch.randn(5, *shape, generator=generator), torch.randn(5, 2, generator=generator)]
        if step == 4:  # two leave
            left = [0, 2, 4]
            places = torch.tensor(left)
            stacked = [tensor.detach()[places].requires_grad_() for tensor in stacked]
            optimiser.keep(places, stacked)
        shares = SHARES[step % len(SHARES)]
        optimiser.step([grad[left] for grad in grads], [shares[head] for head in left])
        for place, head in enumerate(left):
            optimisers[head].param_groups[0]["lr"] = rates[head] * shares[head]
            for parameter, grad in zip(alone[head], grads, strict=True):
                parameter.grad = grad[head]
            optimisers[head].step()
            for tensor, expected in zip(stacked, alone[head], strict=True):
                torch.testing.assert_close(tensor[place], expected)
    assert not torch.equal(stacked[0][0], stacked[0][2])


def test_rounds_of_small_heads_are_trained_together_and_those_of_large_ones_are_not():
    """A step takes a time of its own, as long as 15 small heads work in it, or one of a million parameters."""
    few, many = ([small_job("early", seed=seed) for seed in range(n)] for n in (3, 30))
    large = [small_job("early", hidden_dim=20_000)] * 6
    assert [rounds_at_once(jobs) for jobs in (few, many, [*few, small_job("image")], large)] == [10, 1, 15, 1]
