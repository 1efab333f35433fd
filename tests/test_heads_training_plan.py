"""What settings come to on some rows: those that train the same are told alike, and no others."""

from dataclasses import replace

import pytest
import torch
from small_jobs import small_job, small_task

from heads.settings import FitSettings
from heads.training.scheduler import fit
from heads.training.training_plan import TrainingPlan, class_weights, count_epoch_rows, plain_settings

MANY = torch.full((50,), 500)
SOME = torch.tensor([40, 40, 40])


def plain(counts, **changes):
    return plain_settings(FitSettings(**changes), counts=counts, weighted=counts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_epochs": 20}, {"max_epochs": 40}),
        ({"max_epochs": 8}, {}),
        ({"warmup": 0.3}, {"warmup": 1.0}),
        ({"warmup": 4.0}, {"warmup": 30.0}),  # half of the epochs at most
        ({"patience": 7}, {"patience": 100}),
        ({"keep": "last", "patience": 2}, {"keep": "last"}),
        ({"class_weights": "balanced"}, {}),
        ({"per_class": "smallest"}, {"per_class": "500"}),
        ({"per_class": "smallest"}, {"per_class": "largest"}),
        ({"max_epochs": 9, "warmup": 5.0, "patience": 30}, {"max_epochs": 90, "warmup": 6.0, "patience": 8}),
    ],
    ids=str,
)
def test_settings_that_come_to_the_same_are_told_alike(one, other):
    assert plain(MANY, **one) == plain(MANY, **other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_epochs": 7}, {"max_epochs": 8}),
        ({"schedule": "none", "max_epochs": 20}, {"schedule": "none", "max_epochs": 40}),
        ({"schedule": "cosine", "warmup": 0.0}, {"schedule": "cosine", "warmup": 1.0}),
        ({"warmup": 1.0}, {"warmup": 2.0}),
        ({"patience": 2}, {"patience": 3}),
        ({"schedule": "plateau", "patience": 30}, {"schedule": "plateau", "patience": 40}),
        ({"keep": "last"}, {"keep": "best"}),
        ({"batch_size": 256}, {"batch_size": 512}),
        ({"per_class": "smallest"}, {}),  # classes are drawn one by one
        ({"learning_rate": 1e-3}, {"learning_rate": 2e-3}),
        ({"rank": 2}, {"rank": 4}),
    ],
    ids=str,
)
def test_settings_that_make_a_difference_are_not(one, other):
    assert plain(MANY, **one) != plain(MANY, **other)


def test_of_few_rows_other_settings_make_none():
    """120 rows: batches of 16, and as many epochs as there may be."""
    assert plain(SOME, batch_size=16) == plain(SOME, batch_size=512)
    assert plain(SOME, max_epochs=20) != plain(SOME, max_epochs=40)
    uneven = torch.tensor([40, 50, 30])
    assert plain(uneven, class_weights="balanced") != plain(uneven)
    weighted = plain_settings(FitSettings(class_weights="balanced"), counts=SOME, weighted=uneven.double())
    assert weighted.class_weights == "balanced"


def test_the_defaults_are_told_as_they_are():
    """What they were remembered by stays what they are remembered by."""
    for counts in (MANY, SOME, torch.tensor([1, 1]), torch.tensor([5, 0, 300_000])):
        assert plain(counts) == FitSettings()
        assert plain(counts, schedule="none", batch_size=64) in (
            FitSettings(schedule="none", batch_size=64),
            FitSettings(schedule="none"),
        )


def test_a_class_without_rows_weighs_nothing():
    assert plain(torch.tensor([30, 0, 30]), class_weights="balanced").class_weights == "equal"
    assert plain(torch.tensor([30, 0, 30]), class_weights=(1.0, 2.0)).class_weights == (1.0, 2.0)  # told when trained


CHANGES = [
    {"warmup": 0.5},
    {"patience": 30},
    {"batch_size": 16},
    {"class_weights": "balanced"},
    {"per_class": "largest"},
    {"schedule": "none", "patience": 50},
    {"schedule": "plateau", "patience": 60},
    {"keep": "last", "patience": 3},
    {"max_epochs": 5, "warmup": 2.4},
    {"max_epochs": 5, "warmup": 9.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_head_is_trained_by_its_plain_settings_as_by_its_own_to_the_bit(changes):
    task = small_task(n_rows=(120, 60, 30))
    task = replace(task, targets=torch.arange(len(task.targets)) % 3)
    job = small_job("early", task, **{"schedule": "one-cycle", "max_epochs": 4, "learning_rate": 0.02, **changes})
    counts = torch.bincount(job.train_targets)
    other = small_job("early", task, **vars(plain_settings(job.settings, counts=counts, weighted=counts)))
    assert TrainingPlan.of(other.settings, n_rows=other.n_epoch_rows) == TrainingPlan.of(
        job.settings, n_rows=job.n_epoch_rows
    )
    one, same = fit(job), fit(other)
    assert one.history == same.history
    state = same.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.module.state_dict().items())


def test_an_epoch_has_as_many_rows_as_are_asked_for():
    counts = torch.tensor([5, 0, 20])
    assert [count_epoch_rows(wish, counts) for wish in (None, "smallest", "largest", "7")] == [25, 10, 40, 14]
    assert class_weights(counts, "balanced")[[0, 2]].tolist() == [2.5, 0.625]
