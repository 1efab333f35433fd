"""Schedules of the learning rate: what each takes of the rate, for one head and for each head of a stack."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_jobs import CPU, make_member, small_job

from heads.ablation.job_keys import _keyed
from heads.errors import SettingError
from heads.estimator.classifier import FusionClassifier
from heads.estimator.parameters import find_settings
from heads.schedules import SCHEDULES, count_stalls, share_of_rate
from heads.settings import FitSettings
from heads.training.scheduler import fit, fit_jobs
from heads.training.stack_planner import plan_stacks


def test_cosine_falls_to_nothing_at_the_last_epoch_after_an_even_rise():
    shares = [share_of_rate("cosine", step, n_warmup=4, n_steps=12, n_stalls=0) for step in range(12)]
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
    share = share_of_rate("plateau", 7, n_warmup=0, n_steps=40, n_stalls=n_stalls)
    assert share == pytest.approx(0.1**n_stalls)


def test_plateau_looks_at_the_heads_own_scores():
    member = make_member(small_job("early", schedule="plateau", patience=4))
    for loss, n_stalls in ((1.0, 0), (0.9, 0), (0.95, 0), (0.95, 1)):
        member.note(1.0, loss, 0.5, state={}, share_s=0.0)
        assert set(member.shares_of_rate()) == {0.1**n_stalls}


def test_the_default_takes_the_whole_rate_at_every_step():
    """So that a training without a schedule is what it was before there were any, to the bit."""
    assert make_member(small_job("early")).shares_of_rate() == [1.0] * make_member(small_job("early")).n_steps


@pytest.mark.slow
def test_heads_of_all_schedules_share_a_stack_and_each_gets_what_it_gets_alone():
    changes = [{"schedule": name, "warmup": warmup} for name in SCHEDULES for warmup in (0.0, 0.5)]
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


def test_a_result_that_was_remembered_before_there_were_schedules_still_is():
    plain = _keyed(FitSettings())
    assert not {"schedule", "warmup"} & plain.keys()
    assert _keyed(replace(FitSettings(), schedule="cosine")) == {**plain, "schedule": "cosine"}
    assert _keyed(replace(FitSettings(), warmup=2.0)) == {**plain, "warmup": 2.0}


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
