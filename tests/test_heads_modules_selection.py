"""An ensemble: members are picked greedily by the log loss of validation rows, saved with it, and answer together."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import class_vectors, synthetic_cache
from test_heads_ablation import shop
from test_heads_ablation_race import RACE
from test_heads_modules_stack import few_strengths  # noqa: F401 - a fixture
from torch import nn

import heads
from cache import Cache
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.findings.best_heads import choose_heads
from heads.head_types import fusion_names, resolve_names
from heads.modules import selection
from heads.modules.saving.head_set import answer_all, vectors_for
from heads.modules.saving.saved_head import load_head
from heads.modules.selection import Selected, pick_members, select
from heads.settings import FitSettings
from heads.workflows.ablate import ablate

pytestmark = pytest.mark.slow

ENCODERS = {"image": "one", "text": "two"}


def greedily(chances, mask, *, is_single, row_weights):
    """Return the picks as a plain loop makes them."""
    picks, losses = [], []
    for _ in range(selection.N_PICKS):
        tried = []
        for member in range(chances.shape[1]):
            now = [*picks, member]
            loss = 0.0
            for row in range(len(chances)):
                known = [chances[row, one] for one in now if mask[row, one]]
                loss -= row_weights[row] * np.log(np.mean(known or chances[row][(mask[row] > 0) & is_single]))
            tried.append(loss / row_weights.sum())
        picks.append(int(np.argmin(tried)))
        losses.append(min(tried))
    return picks[: int(np.argmin(losses)) + 1]


@pytest.mark.parametrize(("least", "most"), [(0.01, 1.0), ([0.01, 0.9, 0.2, 0.2], [0.1, 1.0, 0.9, 0.9])])
def test_picks_are_those_of_a_plain_loop(least, most):
    """In the second case the text is the best by far, and rows without it fall back on the bad picture."""
    generator = np.random.default_rng(0)
    chances = generator.uniform(least, most, size=(30, 4))
    mask = np.ones((30, 4))
    mask[::3, 1] = 0
    more = {"is_single": np.array([True, True, False, False]), "row_weights": generator.uniform(0.1, 3, size=30)}
    tensors = {name: torch.from_numpy(one) for name, one in more.items()}
    picks = pick_members(torch.from_numpy(chances), torch.from_numpy(mask), **tensors)
    assert picks.tolist() == greedily(chances, mask, **more)
    assert len(set(picks.tolist())) > 1


def test_a_member_that_is_the_best_for_every_row_is_picked_alone():
    chances, ones = torch.tensor([[0.3, 0.9], [0.5, 0.8]], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    picks = pick_members(chances, ones.expand(2, 2), is_single=torch.tensor([True, False]), row_weights=ones)
    assert picks.unique().tolist() == [1]


def logs_of(chances):
    """Return the log-probabilities of two classes, of those of the first."""
    return torch.tensor([[one, 1 - one] for one in chances], dtype=torch.float64).log()


def test_the_loss_that_selects_is_that_of_the_ensemble_as_it_is_built():
    """Where the text is picked alone, rows without it get the picture's answer, which is bad: a fusion must help."""
    has_text = torch.arange(10) < 6
    logs = {"image": logs_of([0.2] * 10), "text": logs_of([0.95] * 6 + [0.5] * 4), "early": logs_of([0.7] * 10)}
    present = {"image": torch.ones(10, dtype=torch.bool), "text": has_text}
    targets, ones = torch.zeros(10, dtype=torch.int64), torch.ones(10, dtype=torch.float64)
    weights, temperature = select(logs, present, targets, ones)
    assert set(weights) == {"image", "text", "early"}
    assert weights["early"] > 0 == weights["image"]
    weights, temperature = select({name: logs[name] for name in present}, present, targets, ones)
    answers = torch.stack([logs[name] for name in sorted(present)], dim=1)
    module = Selected({name: nn.Identity() for name in present}, weights=weights)
    losses = []
    for tried in (temperature, temperature * 0.9, temperature * 1.1):
        module.get_buffer("temperature").fill_(tried)
        losses.append(-float(module.average(answers, present)[:, 0].double().mean()))
    share = 1 / 12  # Platt's smoothing moves the least by a little
    assert losses[0] < min(losses[1:]) + share * 0.1


def test_rows_count_as_often_as_they_weigh_and_those_that_were_learned_from_not_at_all():
    logs = {"image": logs_of([0.9, 0.9, 0.3, 0.2]), "text": logs_of([0.4, 0.2, 0.8, 0.9])}
    present = dict.fromkeys(logs, torch.ones(4, dtype=torch.bool))
    targets = torch.zeros(4, dtype=torch.int64)
    twice = torch.tensor([2.0, 1.0, 3.0, 0.0], dtype=torch.float64)
    rows = torch.tensor([0, 0, 1, 2, 2, 2])
    some = {name: one[rows] for name, one in logs.items()}, {name: one[rows] for name, one in present.items()}
    repeated = pick_members(
        torch.stack([one[:, 0].exp() for one in some[0].values()], dim=1), torch.ones(6, 2, dtype=torch.float64),
        is_single=torch.tensor([True, True]), row_weights=torch.ones(6, dtype=torch.float64),
    )  # fmt: skip
    weights, _ = select(logs, present, targets, twice)
    assert weights["text"] == pytest.approx(float((repeated == 1).double().mean()))
    assert weights != select(logs, present, targets, torch.ones(4, dtype=torch.float64))[0]
    assert select(logs, present, targets, torch.zeros(4)) == ({"image": 0.5, "text": 0.5}, 1.0)


def test_weights_are_shares_of_the_picks_and_the_temperature_makes_the_average_as_sure_as_it_ought_to_be():
    targets = torch.arange(40) % 2
    sure = torch.tensor([[0.9, 0.1], [0.1, 0.9]])[targets].log()
    wrong = sure.flip(1)
    mostly = torch.where((torch.arange(40) < 30)[:, None], sure, wrong)  # right in 3 of 4 and too sure
    present = {"text": torch.ones(40, dtype=torch.bool)}
    weights, temperature = select({"text": wrong, "stack": mostly}, present, targets, torch.ones(40))
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["stack"] > 0.5 > weights["text"]
    assert temperature > 1 or weights["text"]


class Always(nn.Module):
    """Answer the same of every row."""

    def __init__(self, *chances):
        super().__init__()
        self.register_buffer("logs", torch.tensor(chances).log())

    def forward(self, inputs, present):  # noqa: ARG002 - as heads are called
        return self.logs.expand(len(next(iter(present.values()))), -1)


def test_single_heads_count_where_the_modality_is_and_fusions_always():
    members = {"text": Always(0.9, 0.1), "image": Always(0.2, 0.8), "early": Always(0.5, 0.5)}
    present = {"image": torch.tensor([True, True, False]), "text": torch.tensor([True, False, False])}
    inputs = {name: torch.zeros(3, 1) for name in present}
    ensemble = Selected(members, weights={"text": 0.5, "image": 0.0, "early": 0.5})
    torch.testing.assert_close(ensemble(inputs, present)[:, 0].exp(), torch.tensor([0.7, 0.5, 0.5]))
    singles = Selected({name: members[name] for name in present}, weights={"text": 1.0, "image": 0.0})
    torch.testing.assert_close(singles(inputs, present)[:2, 0].exp(), torch.tensor([0.9, 0.2]))
    assert ensemble.remark == "averages text 0.50, early 0.50, selected by the log loss of the validation rows"


def test_members_are_the_single_heads_and_the_run_s_fusions_that_can_be_saved_with_it():
    named = ("early", "late", "stack", "sklearn-svm", "mine.py:Mine", "ensemble")
    one = Configuration.of("ensemble", ENCODERS, FitSettings(hidden_dim=64), beside=named)
    assert [member.head for member in one.members] == ["image", "text", "early", "stack"]
    assert one.members[2] == Configuration.of("early", ENCODERS, FitSettings(hidden_dim=64))
    scaled = Configuration.of("ensemble", ENCODERS, FitSettings(scaling="l2"), beside=named)
    assert [member.head for member in scaled.members] == ["image", "text", "early"]  # stack scales for itself
    assert FoldJob(one, 2, 5).members[0] == FoldJob(one.members[0], 2, 5)
    seedless = Configuration.of("ensemble", ENCODERS, FitSettings(), beside=["logistic"])
    assert [job.seed for job in FoldJob(seedless, 2, 5).members] == [5, 5, 0]
    assert Configuration.of("early", ENCODERS, FitSettings(), beside=named).beside == ()


def test_an_ensemble_that_is_asked_for_alone_brings_all_others():
    names, notes = resolve_names(["ensemble"], on_disk=False)
    assert set(names) == {"ensemble", *fusion_names()}
    assert any("none is named" in note for note in notes)
    assert "none of those named can be a member" in resolve_names(["late", "ensemble"], on_disk=False)[1][-1]
    assert resolve_names(["ensemble", "gated"], on_disk=False)[0] == ("ensemble", "gated")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    targets = np.arange(150) % 3
    vectors = {"image": class_vectors(targets, 5, spread=1.2), "text": class_vectors(targets, 6, seed=1, spread=1.2)}
    row = np.arange(150)
    cache = synthetic_cache(
        folder / "c.h5", vectors, {"label": [f"class {code}" for code in targets]},
        present={"image": row % 8 != 3, "text": row % 8 != 5},
        tokens={"text": [np.random.default_rng(n).standard_normal((1 + n % 3, 4)) for n in row]},
    )  # fmt: skip
    settings = heads.TrainSettings(
        fusions=("attention", "early", "neighbours", "ensemble"), hidden_dim=16, max_epochs=2, n_resamples=100,
        device="cpu", precision="fp32",
    )  # fmt: skip
    return cache, heads.train(cache, settings=settings, runs_path=folder / "runs")


@pytest.mark.parametrize("forced", [None, {"attention": 0.5, "neighbours": 0.5}], ids=["selected", "with tokens"])
def test_a_saved_ensemble_holds_its_members_and_answers_as_before(run, forced, tmp_path):
    path, report = run
    saved = {name: load_head(report.run_path / name) for name in ("attention", "neighbours", "image", "text")}
    ensemble = load_head(report.run_path / "ensemble")
    with Cache(path) as cache:
        vectors = vectors_for([*saved.values(), ensemble], cache)
    if forced:
        described = replace(
            saved["attention"].description, name="ensemble", weights={**forced, "image": 0.0, "text": 0.0},
            n_stored=saved["neighbours"].description.n_stored,
        )  # fmt: skip
        module = Selected({name: saved[name].module for name in described.weights}, weights=described.weights)
        ensemble = replace(saved["attention"], description=described, module=module.eval())
        ensemble.save(tmp_path, golden=vectors, golden_rows=np.arange(8))
        ensemble = load_head(tmp_path / "ensemble")
    alone = ensemble.log_probabilities(vectors.inputs, vectors.present, vectors.tokens)
    together = answer_all([*saved.values(), ensemble], vectors)["ensemble"]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert sum(ensemble.description.weights.values()) == pytest.approx(1)


def test_the_validation_rows_that_selected_it_do_not_choose_it_as_the_best(run):
    _, report = run
    assert any("never choose it as the best" in note for note in report.notes)
    remark = load_head(report.run_path / "ensemble").module.remark
    assert f"ensemble: {remark}." in report.notes
    assert f"ensemble: {remark}." in json.loads((report.run_path / "metrics.json").read_text())["notes"]
    assert "ensemble" in report.metrics
    scores = {name: {"validation": {"macro_f1": float(name == "ensemble")}} for name in report.metrics}
    assert choose_heads(scores, ["image", "text"]).best != "ensemble"


@pytest.mark.usefixtures("few_strengths")
def test_a_residual_that_is_the_stack_is_no_member_beside_it(tmp_path):
    targets = np.arange(90) % 2
    vectors = {
        "image": np.random.default_rng(0).standard_normal((90, 2)).astype(np.float32),  # noise
        "text": class_vectors(targets, 3, spread=1.2),
    }
    cache = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})
    settings = heads.TrainSettings(
        fusions=("residual", "stack", "ensemble"),
        controls=(),
        hidden_dim=8,
        max_epochs=1,
        n_resamples=100,
        device="cpu",
    )
    report = heads.train(cache, settings=settings, runs_path=tmp_path / "runs")
    assert load_head(report.run_path / "residual").module.answers_as == "stack"
    weights = load_head(report.run_path / "ensemble").description.weights
    assert set(weights) == {"image", "text", "stack"}


def test_a_race_leaves_it_out_and_says_so(tmp_path, caplog):
    cache = shop(tmp_path / "c.h5")
    settings = replace(RACE, fusions=("early", "ensemble"), n_folds=2, grid={**RACE.grid, "learning_rate": (3e-3,)})
    with caplog.at_level(logging.INFO, logger="embed_once"):
        raced = ablate(cache, settings=settings, runs_path=tmp_path / "runs", with_report=False)
    assert "ensemble is left out of the race" in caplog.text
    assert {row.configuration.head for row in raced.ranking.rows} == {"image", "text", "early"}
    whole = ablate(cache, settings=replace(settings, race=False), runs_path=tmp_path / "runs", with_report=False)
    assert "ensemble" in {row.configuration.head for row in whole.ranking.rows}
    assert whole.ranking.fusion.head == "early"
