"""Which rows an epoch sees, what a class weighs, and that only training rows say so."""

import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from small_jobs import CPU, answers_of, make_member, small_job, small_task

import heads.training.batch_loader
import heads.training.sampler
from heads.errors import SettingError
from heads.training.batch_loader import draw_epoch
from heads.training.sampler import batch_size_of, draw_order, parse_per_class
from heads.training.scheduler import fit, fit_jobs

CODES = torch.tensor([0] * 50 + [1] * 7 + [3] * 20)  # class 2 has no training row


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def member_of(targets, *, n_classes=4, **changes):
    """Return the member of a stack whose training rows are all rows, of these classes."""
    n_rows = len(targets)
    task = small_task(n_rows=(n_rows, 1, 1))
    task = replace(task, targets=torch.zeros(n_rows + 2, dtype=torch.int64))
    task.targets[torch.from_numpy(task.split.train)] = targets
    job = small_job("early", task, **changes)
    return make_member(replace(job, description=replace(job.description, n_classes=n_classes)))


@pytest.mark.parametrize("n_rows", [1, 2, 77, 1024])
def test_every_row_comes_once_an_epoch(n_rows):
    order = draw_order(torch.zeros(n_rows, dtype=torch.int64), None, generator())
    assert sorted(order.tolist()) == list(range(n_rows))


@pytest.mark.parametrize("n_rows", [31, 32, 33, 64, 100, 161])
def test_every_row_of_many_windows_comes_once(monkeypatch, n_rows):
    monkeypatch.setattr(heads.training.sampler, "BLOCK_ROWS", 8)
    monkeypatch.setattr(heads.training.sampler, "WINDOW_ROWS", 32)
    order = draw_order(torch.zeros(n_rows, dtype=torch.int64), None, generator())
    assert sorted(order.tolist()) == list(range(n_rows))


def test_a_window_is_made_of_whole_blocks_from_all_over(monkeypatch):
    monkeypatch.setattr(heads.training.sampler, "BLOCK_ROWS", 8)
    monkeypatch.setattr(heads.training.sampler, "WINDOW_ROWS", 32)
    order = draw_order(torch.zeros(640, dtype=torch.int64), None, generator())
    windows = order.split(32)
    for window in windows:
        assert sorted(Counter((window // 8).tolist()).values()) == [8, 8, 8, 8]
        assert window.tolist() != sorted(window.tolist())
        blocks_in_a_row = (window[1:] // 8 == window[:-1] // 8).sum()
        assert blocks_in_a_row < 20  # 28 if the blocks were not mixed, 7 of 31 by chance
    assert max(float(window.double().std()) for window in windows) > 100


@pytest.mark.parametrize("per_class", [None, 5])
def test_every_epoch_has_another_order_and_the_same_seed_the_same(per_class):
    drawn = generator(1)
    first, second = (draw_order(CODES, per_class, drawn) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, draw_order(CODES, per_class, generator(1)))


@pytest.mark.parametrize("per_class", [1, 7, 20, 50, 60])
def test_each_class_gives_as_many_rows_as_asked_for(per_class):
    order = draw_order(CODES, per_class, generator())
    assert Counter(CODES[order].tolist()) == {0: per_class, 1: per_class, 3: per_class}
    for code, n_rows in ((0, 50), (1, 7), (3, 20)):  # without replacement, until there are no more
        times = Counter(order[CODES[order] == code].tolist())
        assert len(times) == min(n_rows, per_class)
        assert max(times.values()) - min(times.values()) <= 1
    assert CODES[order].tolist() != sorted(CODES[order].tolist()) or per_class == 1


@pytest.mark.parametrize(
    ("text", "number"), [(None, None), ("12", 12), ("1", 1), ("smallest", 7), ("largest", 50), ("all", None)]
)
def test_rows_of_a_class_are_a_number_or_those_of_a_class(text, number):
    """A class without a training row does not count."""
    assert parse_per_class(text, np.array([50, 7, 0, 20])) == number


@pytest.mark.parametrize("text", ["", "0", "-3", "2.5", "most", "Largest"])
def test_rows_of_a_class_that_are_none_are_refused(text):
    with pytest.raises(
        SettingError, match=rf"--per-class: expected a number from 1, smallest, largest or all.*'{text}'"
    ):
        parse_per_class(text, np.array([5, 5]))


@pytest.mark.parametrize(
    ("n_rows", "most", "batch_size"),
    [
        (1, 256, 1), (15, 256, 15), (16, 256, 16), (300, 256, 16), (511, 256, 16), (512, 256, 32), (4095, 256, 128),
        (4096, 256, 256), (10**6, 256, 256), (10**6, 1000, 1000), (10**6, 10**6, 32768), (10_000, 100, 100),
        (10, 2, 2), (1000, 20, 20),
    ],
)  # fmt: skip
def test_few_rows_make_smaller_batches(n_rows, most, batch_size):
    assert batch_size_of(n_rows, most) == batch_size


@pytest.mark.parametrize(("per_class", "n_rows"), [(None, 77), ("5", 15), ("largest", 150), ("smallest", 21)])
def test_an_epoch_is_all_batches_that_are_full(per_class, n_rows):
    member = member_of(CODES, per_class=per_class)
    assert member.job.n_epoch_rows == n_rows
    rows = member.draw_epoch().rows
    batch_size = batch_size_of(n_rows, 256)
    assert rows.shape == (n_rows // batch_size, batch_size)
    assert set(rows.flatten().tolist()) <= set(member.task.split.train.tolist())


def test_a_batch_holds_the_rows_it_names():
    """Each job's own, and from its own task, which neighbours may share."""
    tasks = [small_task(0), small_task(1)]
    members = [make_member(small_job("early", tasks[place], seed=seed)) for seed, place in enumerate([0, 1, 1, 0])]
    copies = [make_member(member.job) for member in members]
    epochs = [copy.draw_epoch() for copy in copies]
    for step, batch in enumerate(draw_epoch(members)):
        for head, (member, epoch) in enumerate(zip(members, epochs, strict=True)):
            rows = epoch.rows[step]
            assert torch.equal(batch.targets[head], member.task.targets[rows])
            for name, matrix in member.task.inputs.items():
                assert torch.equal(batch.arguments[0][name][head], matrix[rows])
                assert torch.equal(batch.arguments[1][name][head], member.task.present[name][rows])
    assert step == len(epochs[0].rows) - 1


def test_balanced_classes_weigh_the_same_and_rows_one_on_average():
    weights = member_of(CODES, class_weights="balanced").class_weights
    assert weights[[0, 1, 3]].tolist() == pytest.approx([77 / (3 * 50), 77 / (3 * 7), 77 / (3 * 20)])
    assert weights[CODES].mean().item() == pytest.approx(1)
    assert weights.isfinite().all()
    assert member_of(CODES).class_weights.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("times", [0.0, 0.5, 1.0])
def test_the_logit_adjustment_is_the_log_of_a_classs_share(times):
    shifts = member_of(CODES, logit_adjustment=times).logit_shifts
    expected = [times * np.log(share / 77) for share in (50, 7, 20)]
    assert shifts[[0, 1, 3]].tolist() == pytest.approx(expected, abs=1e-6)
    assert shifts.isfinite().all()


@pytest.mark.parametrize(
    "changes",
    [{"class_weights": "balanced"}, {"logit_adjustment": 1.0}, {"per_class": "smallest"}, {"per_class": "largest"}],
    ids=str,
)
def test_only_training_rows_say_how_often_a_class_occurs(changes):
    """Others' labels do not: every number of the training stays as it was, to the bit."""
    job = small_job("early", small_task(shares=(0.7, 0.2, 0.1)), **changes)
    split, targets = job.task.split, job.task.targets.clone()
    targets[torch.from_numpy(split.validation)] = 2
    targets[torch.from_numpy(split.test)] = 2
    other = replace(job, task=replace(job.task, targets=targets))
    losses = [[epoch["train_loss"] for epoch in fit(one).history] for one in (job, other)]
    assert losses[0] == losses[1]
    targets[torch.from_numpy(split.train)[:20]] = 2
    assert losses[0] != [epoch["train_loss"] for epoch in fit(other).history]


@pytest.mark.slow
def test_what_is_for_rare_classes_serves_rare_classes():
    """Nineteen rows in twenty are of one of three overlapping classes."""
    task = small_task(n_rows=(800, 200, 1000), shares=(0.95, 0.03, 0.02), spread=3.0, absent=0.0)
    ways = [
        {}, {"class_weights": "balanced"}, {"logit_adjustment": 1.0}, {"per_class": "largest"}, {"per_class": "100"}
    ]  # fmt: skip
    jobs = [small_job("early", task, max_epochs=8, **way) for way in ways]
    rows, scores = task.split.test, {}
    for place, fitted in fit_jobs(jobs, device=CPU, dtype=torch.float32):
        answers = answers_of(fitted.module, task, rows)
        scores[place] = balanced_accuracy_score(task.targets[torch.from_numpy(rows)], answers)
    assert scores[0] < 0.5
    for place, way in enumerate(ways[1:], start=1):
        assert scores[place] > scores[0] + 0.1, way


def test_a_logit_adjustment_is_of_training_alone():
    """The head kept answers without it, and so its bias no longer favours the frequent class."""
    task = small_task(n_rows=(800, 200, 10), shares=(0.9, 0.05, 0.05), spread=50.0, absent=0.0)  # nothing to see
    fits = [fit(small_job("early", task, logit_adjustment=times, learning_rate=0.01)) for times in (0.0, 1.0)]
    rows = task.split.validation
    shares = [(answers_of(one.module, task, rows) == 0).double().mean().item() for one in fits]
    assert shares[0] > 0.9
    assert shares[1] < 0.8


def test_the_order_is_not_drawn_from_what_the_initial_weights_are():
    """Both come from torch's generator, which knows no more than 32 bits of a seed."""
    for seed in (0, 1, 2**31):
        drawn = torch.rand(8, generator=make_member(small_job("early", seed=seed)).generator)
        for other in range(seed, seed + 10):
            assert not torch.equal(drawn, torch.rand(8, generator=generator(other)))
        assert torch.equal(drawn, torch.rand(8, generator=make_member(small_job("early", seed=seed)).generator))


class Counted:
    """A source that notes how many of its windows are held when another is asked for."""

    def __init__(self, source):
        self.like = source.like
        self._source = source
        self._windows = []
        self.held = []

    def view(self, rows, modalities, versions):
        self.held.append(sum(window() is not None for window in self._windows))
        view = self._source.view(rows, modalities, versions)
        self._windows += [weakref.ref(matrix) for matrix in view.inputs.values()]
        return view


class NotInMemory:
    """Vectors that are read by rows."""

    def __init__(self, matrix):
        self._matrix, self.shape = matrix, matrix.shape

    def __getitem__(self, rows):
        return self._matrix[rows]


def test_a_window_is_let_go_before_the_next_is_read(monkeypatch):
    monkeypatch.setattr(heads.training.batch_loader, "WINDOW_ROWS", 32)
    task = small_task()
    task = replace(task, inputs={name: NotInMemory(matrix) for name, matrix in task.inputs.items()})
    assert task.on_disk
    members = [make_member(small_job("early", task, seed=seed)) for seed in range(2)]
    for member in members:
        member.source = Counted(member.source)
    n_batches = sum(1 for _ in draw_epoch(members))
    assert n_batches == 7  # of 16 rows: in three windows of 32 and one of 16
    assert [member.source.held for member in members] == [[0] * 4] * 2
