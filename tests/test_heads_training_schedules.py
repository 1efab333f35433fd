"""Schedules of the learning rate: what each takes of the rate, for one head and for each head of a stack."""

import math

import numpy as np
import pytest
import torch
from small_jobs import CPU, make_member, small_job, small_task

from heads.ablation.job_keys import _settings_in_key
from heads.errors import SettingError
from heads.estimator.classifier import FusionClassifier
from heads.estimator.parameters import find_settings
from heads.experiment.configuration import Configuration, FoldJob
from heads.schedules import SCHEDULES, count_stalls
from heads.settings import FitSettings
from heads.training.scheduler import fit, fit_jobs
from heads.training.stack_planner import plan_stacks


def test_cosine_falls_to_nothing_at_the_last_epoch_after_an_even_rise():
    shares = [SCHEDULES["cosine"].share(step, n_warmup=4, n_steps=12, n_stalls=0) for step in range(12)]
    falling = [(1 + math.cos(math.pi * n / 8)) / 2 for n in range(8)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0, *falling])
    assert shares[8] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.04


@pytest.mark.parametrize(
    ("scores", "patience", "n_stalls"),
    [
        ([], 1, 0),
        ([1, 2, 3], 1, 0),
        ([1, 1, 2, 0], 1, 2),
        ([5, 4, 4, 3, 6, 1], 3, 1),
        ([5, 4, 4, 4, 4, 4, 4], 3, 2),  # it waits again after each
        ([(0.5, -1.0), (0.5, -0.9), (0.5, -0.95)], 1, 1),  # of equal macro-F1 the loss tells
    ],
)
def test_a_stall_is_so_many_epochs_without_a_better_score(scores, patience, n_stalls):
    assert count_stalls(scores, patience=patience) == n_stalls
    share = SCHEDULES["plateau"].share(7, n_warmup=0, n_steps=40, n_stalls=n_stalls)
    assert share == pytest.approx(0.1**n_stalls)


def test_plateau_looks_at_the_heads_own_scores():
    member = make_member(small_job("early", schedule="plateau", patience=4))
    for loss, n_stalls in ((1.0, 0), (0.9, 0), (0.95, 0), (0.95, 1)):
        member.note(1.0, loss, 0.5, state={}, share_s=0.0)
        assert set(member.shares_of_rate()) == {0.1**n_stalls}


def test_without_a_schedule_the_whole_rate_is_taken_at_every_step():
    """So that a training without a schedule is what it was before there were any, to the bit."""
    assert make_member(small_job("early")).shares_of_rate() == [1.0] * make_member(small_job("early")).plan.n_steps


@pytest.mark.slow
def test_heads_of_all_schedules_share_a_stack_and_each_gets_what_it_gets_alone():
    plain = [{"schedule": name} for name in SCHEDULES]
    changes = [*plain, *({**one, "warmup": 1.5 if one["schedule"] == "one-cycle" else 0.5} for one in plain)]
    jobs = [small_job("early", patience=2, max_epochs=5, learning_rate=0.05, **one) for one in changes]
    assert len(plan_stacks(jobs, like=torch.empty(0)).stacks) == 1
    together = dict(fit_jobs(jobs, device=CPU, dtype=torch.float32))
    losses = set()
    for place, job in enumerate(jobs):
        lone = fit(job)
        for epoch, expected in zip(together[place].history, lone.history, strict=True):
            assert epoch == pytest.approx(expected, abs=1e-5)
        losses.add(round(lone.history[-1]["train_loss"], 4))
    assert len(losses) == len(jobs)  # each of them tells


def keyed(head="early", **changes):
    """Return the settings that the key of a job of this head is of."""
    return _settings_in_key(FoldJob(Configuration.of(head, {"text": "a"}, FitSettings(**changes)), 0, 0))


def test_a_result_that_was_remembered_before_there_were_schedules_still_is():
    plain = keyed(schedule="none")
    assert not {"schedule", "warmup"} & plain.keys()
    assert keyed(schedule="cosine") == {**plain, "schedule": "cosine"}
    assert keyed(schedule="none", warmup=2.0) == {**plain, "warmup": 2.0}


def test_a_result_of_the_defaults_before_one_cycle_is_none_of_the_defaults_now():
    assert keyed() == {**keyed(schedule="none", batch_size=256), "schedule": "one-cycle", "batch_size": 512}


def test_a_head_that_is_fitted_at_once_is_remembered_as_before_one_cycle():
    before = keyed("logistic")
    assert "schedule" not in before
    assert before["batch_size"] == 256
    assert keyed("logistic", schedule="plateau", batch_size=64) == before


def test_one_cycle_rises_through_an_epoch_and_falls_to_nothing_in_eight_or_in_fifteen_hundred_steps():
    task = small_task(n_rows=(10_000, 40, 30))
    many, few = (make_member(small_job("early", task, schedule="one-cycle", **one, max_epochs=60)) for one in CYCLES)
    assert [(one.plan.batch_size, one.plan.n_steps) for one in (many, few)] == [(512, 19), (64, 156)]
    shares = of_all_epochs(many, n_epochs=20)  # 19 of 19 steps at four times the rate are fewer than 1,500
    assert max(shares) == pytest.approx(4.0)
    assert shares.index(max(shares)) == many.plan.n_steps - 1
    assert 0 < shares[-1] < 0.01
    assert many.has_stopped
    shares = of_all_epochs(few, n_epochs=10)  # of 156 steps
    assert max(shares) == 1.0  # small batches take the rate as it is
    assert few.has_stopped


CYCLES = ({"batch_size": 512}, {"batch_size": 64})


def of_all_epochs(member, *, n_epochs):
    """Return the shares of the rate through so many epochs, each better than the one before."""
    shares = []
    for number in range(n_epochs):
        assert not member.has_stopped
        shares += member.shares_of_rate()
        member.note(1.0, 1.0 - number / 100, number / 100, state={}, share_s=0.0)
    return shares


def test_one_cycle_takes_no_more_epochs_than_there_may_be_and_falls_to_nothing_in_them():
    member = make_member(small_job("early", schedule="one-cycle", max_epochs=3))
    assert of_all_epochs(member, n_epochs=3)[-1] < 0.05
    assert member.has_stopped


@pytest.mark.parametrize("changes", [{"schedule": "linear"}, {"warmup": -1.0}], ids=str)
def test_what_is_no_schedule_is_refused(changes):
    with pytest.raises(SettingError, match=f"--{next(iter(changes))}: expected"):
        FitSettings(**changes)


def test_the_classifier_has_them_as_parameters():
    parameters = FusionClassifier(schedule="cosine", warmup=2).get_params()
    arguments = "early", np.array(["a", "b"]), np.array(["a", "b"])
    settings, _ = find_settings(parameters, *arguments)
    assert (settings.schedule, settings.warmup) == ("cosine", 2)
    with pytest.raises(SettingError, match="Expected schedule to be a word, got 1"):
        find_settings({**parameters, "schedule": 1}, *arguments)
