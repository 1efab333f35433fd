"""Modalities dropped in training, and learned vectors where one is absent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_jobs import DIMS, answers_of, make_member, small_job, small_task
from support import class_vectors, synthetic_cache

from cache import Cache
from heads.modules.registry import build
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.training.batch_loader import draw_epoch
from heads.training.scheduler import fit
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]


def masks_of(rate, *, absent=0.3, n_epochs=3, name="early"):
    """Return which modalities each row has in some epochs, and which it is shown with, (n, M) each."""
    task = small_task(n_rows=(2000, 10, 10), absent=absent)
    member = make_member(small_job(name, task, modality_dropout=rate))
    copy = make_member(member.job)
    has, shown = [], []
    for _ in range(n_epochs):
        rows = copy.draw_epoch().rows
        for step, batch in enumerate(draw_epoch([member])):
            shown.append(torch.stack([batch.arguments[1][modality][0] for modality in sorted(batch.arguments[1])], 1))
            has.append(torch.stack([task.present[modality][rows[step]] for modality in sorted(batch.arguments[1])], 1))
    return torch.cat(has), torch.cat(shown)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.95])
def test_a_row_is_never_left_with_nothing(rate):
    has, shown = masks_of(rate)
    assert shown.any(1).all()
    assert (has | ~shown).all(), "a modality came from nowhere"
    lost = (has & ~shown)[has.all(1)]
    # Each goes with the rate, but not both: that happens with its square, and is undone.
    assert lost.double().mean(0).tolist() == pytest.approx([rate - rate**2] * 2, abs=0.03)
    assert not (has & ~shown)[~has.all(1)].any()


def test_every_epoch_drops_others():
    (_, shown), (_, again) = (masks_of(0.5, absent=0.0, n_epochs=n) for n in (1, 2))
    first, second = again.split(len(shown))
    assert torch.equal(first, shown)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("rate", "name"), [(0.0, "early"), (0.5, "text")])
def test_nothing_is_dropped_without_a_rate_nor_of_one_modality(rate, name):
    has, shown = masks_of(rate, name=name)
    assert torch.equal(has, shown)


def test_modality_dropout_helps_where_a_modality_is_missing():
    """The text tells all and the picture less, so that a head that always sees both hardly looks at the picture."""
    task = small_task(n_rows=(400, 100, 1000), spread=0.3, image_spread=2.0, absent=0.0)
    plain, dropping, alone = (
        fit(small_job(name, task, modality_dropout=rate, max_epochs=12)).module
        for name, rate in (("early", 0.0), ("early", 0.5), ("image", 0.0))
    )
    assert accuracy_of(dropping, task, without="text") > accuracy_of(plain, task, without="text") + 0.02
    assert accuracy_of(dropping, task, without="text") > accuracy_of(alone, task) - 0.03
    assert accuracy_of(dropping, task) > 0.95


def accuracy_of(module, task, *, without=None):
    answers = answers_of(module, task, task.split.test, without=without)
    return float((answers == task.targets[task.split.test]).double().mean())


def learned(name, task, **changes):
    return fit(small_job(name, task, absent="learned", weight_decay=0.0, **changes)).module


@pytest.mark.parametrize("name", ["early", "attention", "gated", "lowrank"])
def test_a_learned_vector_gets_a_gradient_where_its_modality_is_absent(name):
    state = learned(name, small_task(absent=0.3)).state_dict()
    assert {key for key in state if key.startswith("vectors.")} == {"vectors.image", "vectors.text"}
    for modality, dim in DIMS.items():
        assert state[f"vectors.{modality}"].shape == (dim,)
        assert (state[f"vectors.{modality}"] != 0).all()


def test_a_learned_vector_stays_as_it_was_where_nobody_lacks_the_modality():
    state = learned("early", small_task(absent=0.0)).state_dict()
    assert not state["vectors.text"].any()
    dropped = learned("early", small_task(absent=0.0), modality_dropout=0.3).state_dict()
    assert dropped["vectors.text"].any()


@pytest.mark.parametrize("value", [0.0, 7.0, float("nan")])
def test_the_learned_vector_stands_for_what_is_absent_whatever_stands_there(value):
    task, rows = small_task(absent=0.3), torch.arange(20)
    module = learned("early", task)
    inputs = {name: matrix[rows] for name, matrix in task.inputs.items()}
    present = {name: mask[rows] for name, mask in task.present.items()}
    filled = {name: torch.where(present[name][:, None], matrix, value) for name, matrix in inputs.items()}
    shown = {name: torch.where(present[name][:, None], matrix, module.vectors[name]) for name, matrix in inputs.items()}
    everything = {name: torch.ones(20, dtype=torch.bool) for name in DIMS}
    plain = module.head
    torch.testing.assert_close(module(filled, present), plain(shown, everything))


def test_absence_may_tell():
    """The first class has no text, and its pictures are as all others': zeros would be an average text."""
    task = small_task(n_rows=(400, 100, 300), absent=0.0, spread=1.0)
    inputs, present = dict(task.inputs), dict(task.present)
    present["text"] = task.targets != 0
    inputs["image"] = torch.zeros_like(inputs["image"])
    task = replace(task, inputs=inputs, present=present)
    answers = answers_of(learned("gated", task, max_epochs=10), task, task.split.test)
    targets = task.targets[task.split.test]
    assert (answers[targets == 0] == 0).double().mean() > 0.95


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("absence")
    targets = np.arange(200) % 3
    vectors = {"image": class_vectors(targets, 8, seed=1), "text": class_vectors(targets, 10, seed=2)}
    present = {"image": np.arange(200) % 4 != 0, "text": np.arange(200) % 5 != 1}
    path = synthetic_cache(folder / "c.h5", vectors, {"label": [f"{code}" for code in targets]}, present=present)
    settings = TrainSettings(hidden_dim=16, max_epochs=4, n_resamples=100, absent="learned")
    return path, train(path, settings=settings, runs_path=folder / "runs")


def test_learned_vectors_are_saved_with_the_head(report):
    path, trained = report
    names = ("early", "attention", "gated", "lowrank")
    loaded, again = load_heads(trained.run_path, names), load_heads(trained.run_path, names)
    for name in names:
        state = loaded[name].module.state_dict()
        assert state["vectors.image"].any()
        assert state["vectors.text"].any()
        assert loaded[name].description.absent == "learned"
        with torch.no_grad():
            loaded[name].module.vectors["text"].zero_()
        with Cache(path) as cache:
            vectors = loaded[name].vectors_of(cache)
        changed, as_saved = (head.probabilities(vectors) for head in (loaded[name], again[name]))
        rows = (changed != as_saved).any(1)
        lacking = ~vectors.present["text"].numpy() & vectors.present["image"].numpy()
        assert rows[lacking].all()
        assert not rows[vectors.present["text"].numpy()].any()


def test_heads_of_one_modality_learn_none(report):
    """They answer only for rows that have it; and so the members of late fusion do not either."""
    _, trained = report
    for name in ("image", "text", "late"):
        head = load_heads(trained.run_path)[name]
        assert head.description.absent == "zeros"
        assert not [key for key in head.module.state_dict() if "vectors" in key]


def test_a_learned_vector_begins_as_zeros():
    description = small_job("early", absent="learned").description
    plain = replace(description, absent="zeros")
    torch.manual_seed(0)
    head = build(description).eval()
    task, rows = small_task(absent=0.4), torch.arange(30)
    inputs, present = ({key: every[rows] for key, every in part.items()} for part in (task.inputs, task.present))
    other = build(plain).eval()
    other.load_state_dict(head.head.state_dict())
    torch.testing.assert_close(head(inputs, present), other(inputs, present))
