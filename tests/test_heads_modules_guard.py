"""The guard: no worse on validation rows than the best single head, whatever the fusion is."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import ROOT, class_vectors, synthetic_cache
from torch import nn

from cache import Cache
from heads.metrics.scores import scores
from heads.modules.guard import GUARD, Guarded, fit_guard
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.workflows.predict import predict
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

K = 3
QUICK = TrainSettings(
    fusions=("early", "late"), hidden_dim=16, max_epochs=4, n_resamples=100, controls=(), guard=True, weights="0.5,0.5"
)


class Fixed(nn.Module):
    """Answers with some input as logits."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, inputs, present, *tokens):  # noqa: ARG002 - a head's
        return inputs[self.name]


def certain(answers, sureness=4.0):
    """Return log-probabilities of heads that are rather sure of their answers, (n, K)."""
    return (sureness * nn.functional.one_hot(torch.as_tensor(answers), K).float()).log_softmax(1)


def wrong_where(targets, rows):
    answers = targets.clone()
    answers[rows] = (answers[rows] + 1) % K
    return answers


def guard_of(fusion, image, text, targets, present=None):
    """Fit a guard of the fusion `early` and return what it came to, and its answers."""
    n = len(targets)
    present = present or {name: torch.ones(n, dtype=torch.bool) for name in ("image", "text")}
    logs = {"early": fusion, "image": image, "text": text}
    guarded = Guarded(Fixed("early"), {"image": Fixed("image"), "text": Fixed("text")}).eval()
    what = fit_guard(
        guarded, logs, present, targets,
        fusion="early", best="text", groups=torch.arange(n), generator=np.random.default_rng(0),
    )  # fmt: skip
    return what, guarded(logs, {**present, "early": torch.ones(n, dtype=torch.bool)}), guarded


CODES = torch.arange(60) % K


def test_a_fusion_that_is_worse_gives_way_to_the_single_head():
    text = certain(wrong_where(CODES, range(3)))
    what, answers, _ = guard_of(
        certain(wrong_where(CODES, range(30))), certain(wrong_where(CODES, range(40))), text, CODES
    )
    assert what == "single"
    torch.testing.assert_close(answers, text)


def test_a_tie_goes_to_the_single_head():
    text = certain(wrong_where(CODES, range(5)))
    what, answers, _ = guard_of(text.clone(), certain(wrong_where(CODES, range(40))), text, CODES)
    assert what == "single"
    torch.testing.assert_close(answers, text)


def test_a_fusion_that_is_better_stays():
    fusion = certain(wrong_where(CODES, range(2)))
    what, answers, _ = guard_of(
        fusion, certain(wrong_where(CODES, range(40))), certain(wrong_where(CODES, range(20))), CODES
    )
    assert what in {"mixture", "fusion"}
    assert torch.equal(answers.argmax(1), fusion.argmax(1))


def test_a_row_without_the_single_heads_modality_is_the_fusions():
    """The head alone knows nothing there; elsewhere it is better than the fusion."""
    has_text = torch.arange(60) >= 12
    present = {"image": torch.ones(60, dtype=torch.bool), "text": has_text}
    text = certain(wrong_where(CODES, range(12)))
    fusion = certain(wrong_where(CODES, range(12, 40)))
    what, answers, _ = guard_of(fusion, certain(wrong_where(CODES, range(55))), text, CODES, present)
    assert what in {"mixture", "single"}
    assert torch.equal(answers.argmax(1), CODES)


def test_where_even_that_is_worse_the_single_head_answers_all():
    has_text = torch.arange(60) >= 12
    present = {"image": torch.ones(60, dtype=torch.bool), "text": has_text}
    text = certain(CODES)
    fusion = certain(wrong_where(CODES, range(60)))
    what, answers, _ = guard_of(fusion, certain(wrong_where(CODES, range(60))), text, CODES, present)
    assert what == "single everywhere"
    torch.testing.assert_close(answers, text)


@pytest.mark.parametrize("seed", range(5))
def test_the_guard_is_never_worse_on_its_rows(seed):
    generator = torch.Generator().manual_seed(seed)
    logs = [torch.randn(60, K, generator=generator).mul(2).log_softmax(1) + certain(CODES, 1.0) for _ in range(3)]
    fusion, image, text = (logits.log_softmax(1) for logits in logs)
    _, answers, _ = guard_of(fusion, image, text, CODES)
    reached, wanted = (scores(CODES.numpy(), side.argmax(1).numpy(), K)["macro_f1"] for side in (answers, text))
    assert reached >= wanted


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    targets = np.arange(300) % K
    vectors = {
        "image": class_vectors(targets, 6, spread=3, seed=1),
        "text": class_vectors(targets, 5, spread=2, seed=2),
    }
    tokens = {"text": [np.random.default_rng(n).standard_normal((2, 5)) for n in range(300)]}
    present = {"image": np.arange(300) % 7 != 0, "text": np.arange(300) % 9 != 0}
    labels = {"label": [f"{code}" for code in targets]}
    path = synthetic_cache(folder / "c.h5", vectors, labels, present=present, tokens=tokens)
    return path, folder


def test_every_fusion_gets_a_guarded_one_that_is_saved_and_loaded(shop):
    path, folder = shop
    settings = replace(QUICK, fusions=("early", "attention", "gated", "lowrank", "late"))
    report = train(path, settings=settings, runs_path=folder / "runs")
    guarded = [name + GUARD for name in settings.fusions]
    assert list(report.metrics) == ["image", "text", *settings.fusions, *guarded]
    heads = load_heads(report.run_path)
    split = json.loads((report.run_path / "config.json").read_text())["split"]["test"]
    rows = torch.tensor([int(row) for row in split])
    best = max(("image", "text"), key=lambda name: report.metrics[name]["validation"]["macro_f1"])
    with Cache(path) as cache:
        for name in guarded:
            head = heads[name]
            answers = head.probabilities(head.vectors_of(cache).take(rows)).argmax(1)
            assert (answers == rows.numpy() % K).mean() == pytest.approx(report.metrics[name]["accuracy"])
            scored = report.metrics[name]["validation"]["macro_f1"]
            assert scored >= report.metrics[best]["validation"]["macro_f1"] - 1e-9


def test_guarded_fusions_get_no_verdict_of_their_own(shop):
    path, folder = shop
    report = train(path, settings=QUICK, runs_path=folder / "runs")
    assert [verdict.fusion for verdict in report.verdicts] == ["early", "late"]


def test_a_learned_vector_for_what_is_absent_is_saved_in_every_head(shop):
    path, folder = shop
    report = train(path, settings=replace(QUICK, absent="learned"), runs_path=folder / "runs")
    assert list(load_heads(report.run_path)) == ["image", "text", "early", "late", "early+guard", "late+guard"]


def test_a_guarded_class_of_ones_own_is_saved_and_answers_again(tmp_path):
    """The single heads beside it are built-in ones, as wide as was asked for, whatever the class does."""
    targets = np.arange(120) % K
    vectors = {"image": class_vectors(targets, 6, seed=1), "text": class_vectors(targets, 5, seed=2)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"{one}" for one in targets]})
    own = f"{ROOT / 'tests' / 'user_heads.py'}:Usual"
    settings = replace(QUICK, fusions=(own,), weights=None, hidden_dim=64)
    report = train(path, settings=settings, runs_path=tmp_path / "runs")
    predict(report.run_path, path, tmp_path / "answers.csv", plugins=True)
    with (tmp_path / "answers.csv").open(newline="") as file:
        answers = {row["id"]: row for row in csv.DictReader(file)}
    with (report.run_path / "predictions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert answers[row["id"]]["Usual+guard_probability"] == row["Usual+guard_probability"]
