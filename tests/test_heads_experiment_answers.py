"""What heads answer is kept in three numbers a row: no matrix of all rows and classes is made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import class_vectors, synthetic_cache

import heads
from cache import Cache
from heads.experiment.experiment import Experiment
from heads.experiment.findings.evaluation import find_out
from heads.experiment.late_fusion import MemberAnswers
from heads.experiment.problem import pose
from heads.experiment.trained_heads import SIDES, train_heads
from heads.metrics.answers import Answers
from heads.metrics.registry import measure
from heads.metrics.scores import log_loss, scores
from heads.modules.mixture import mix
from heads.modules.saving.saved_head import TrainedHead
from heads.reports.train_page import _sweep
from heads.settings import TrainSettings

pytestmark = pytest.mark.slow

N_ROWS, N_CLASSES = 300, 3
SETTINGS = TrainSettings(
    hidden_dim=8, max_epochs=2, n_resamples=100, precision="fp32", weights="auto", guard=True, fusions=("early", "late")
)


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    targets = np.random.default_rng(0).integers(N_CLASSES, size=N_ROWS)
    vectors = {
        "image": class_vectors(targets, 8, spread=2.0, seed=1),
        "text": class_vectors(targets, 6, spread=1.5, seed=2),
    }
    cells = [f"class {code}" for code in targets]
    sides = ["train"] * 210 + ["validation"] * 30 + ["test"] * 60
    return synthetic_cache(tmp_path_factory.mktemp("answers") / "c.h5", vectors, {"label": cells, "side": sides})


def test_whole_answers_are_made_of_no_more_rows_than_weights_are_fitted_on(cache_path, tmp_path, monkeypatch):
    """Of 30 validation rows 20 are looked at; training rows, which are most, are never answered whole."""
    sizes = []
    whole = TrainedHead.log_probabilities

    def noting(head, *arguments, **options):
        answers = whole(head, *arguments, **options)
        if options.get("rows") is not None:  # else what is looked at many times, at most 20,000 rows
            sizes.append(len(answers))
        return answers

    monkeypatch.setattr(TrainedHead, "log_probabilities", noting)
    for name in ("heads.experiment.few_rows.FITTED_CELLS", "heads.reports.train_page.SWEPT_CELLS"):
        monkeypatch.setattr(name, 20 * N_CLASSES)
    report = heads.train(cache_path, settings=SETTINGS, runs_path=tmp_path / "runs")
    assert {"late", "late+guard"} <= report.metrics.keys()
    assert max(sizes) <= 20


def test_late_fusion_answers_as_the_average_of_whole_answers(cache_path):
    with Cache(cache_path) as cache:
        roster = train_heads(Experiment.of(pose(cache, SETTINGS), SETTINGS, sides=SIDES), SETTINGS)
    averaging = roster.trained["late"].averaging
    for side in SIDES:
        members = roster.whole_answers(roster.singles, side)
        average = mix(members.log_probabilities, members.present, averaging.mixture).float().exp().numpy()
        for name, numbers in vars(Answers.of(average, members.targets.numpy())).items():
            assert np.array_equal(getattr(roster.trained["late"].answers[side], name), numbers), (side, name)


def test_scores_of_answers_are_those_of_probabilities():
    generator = np.random.default_rng(0)
    probabilities = torch.from_numpy(generator.standard_normal((50, 4))).softmax(1).float().numpy()
    targets = generator.integers(4, size=50)
    order = generator.permutation(50)
    blocks = ((places, Answers.of(probabilities[places], targets[places])) for places in np.split(order, [7, 30]))
    found = measure(Answers.gathered(50, blocks), targets, 4)
    expected = scores(targets, probabilities.argmax(1), 4) | {"log_loss": log_loss(probabilities, targets)}
    assert expected.items() <= found.items()


@pytest.mark.parametrize("weights", ["auto", "sweep"])
def test_rows_that_are_drawn_are_told_of_once_and_follow_from_the_seed(
    weights, cache_path, tmp_path, monkeypatch, caplog
):
    """Of 30 validation and 60 test rows 20 are looked at: before, those of one fixed draw, and guards in silence."""
    monkeypatch.setattr("heads.experiment.few_rows.FITTED_CELLS", 20 * N_CLASSES)
    looked_at = []
    of = MemberAnswers.of.__func__

    def noting(kind, logs, rows, **options):
        looked_at.append(tuple(rows.tolist()))
        return of(kind, logs, rows, **options)

    monkeypatch.setattr(MemberAnswers, "of", classmethod(noting))
    drawn = []
    for seed in (0, 1):
        settings = replace(SETTINGS, weights=weights, seed=seed, split_column="side")
        with caplog.at_level("INFO", logger="embed_once"):
            report = heads.train(cache_path, settings=settings, runs_path=tmp_path / f"{weights} {seed}")
        told = "20 of the 30 validation rows" + (" and 20 of the 60 test rows" if weights == "sweep" else "")
        note = f"late's weights and guards look at {told}, drawn by the seed: all answers to more take too much memory."
        assert [one for one in report.notes if "drawn" in one] == [note]
        assert [one.message for one in caplog.records if "drawn" in one.message] == [note]
        assert len(set(looked_at)) == (2 if weights == "sweep" else 1)  # a draw a side, whoever asks
        drawn.append(set(looked_at))
        looked_at.clear()
        caplog.clear()
    assert not drawn[0] & drawn[1]


def test_nothing_is_told_where_no_rows_are_drawn(cache_path, monkeypatch):
    with Cache(cache_path) as cache:
        assert not [one for one in pose(cache, SETTINGS).notes if "drawn" in one]
        monkeypatch.setattr("heads.experiment.few_rows.FITTED_CELLS", 20 * N_CLASSES)
        given = replace(SETTINGS, weights="0.4,0.6", guard=False)
        assert not [one for one in pose(cache, given).notes if "drawn" in one]


def test_the_report_says_on_how_many_test_rows_weights_were_swept(cache_path, monkeypatch):
    monkeypatch.setattr("heads.experiment.few_rows.FITTED_CELLS", 20 * N_CLASSES)
    monkeypatch.setattr("heads.reports.train_page.plot_sweep", lambda *_: "")
    settings = replace(SETTINGS, weights="sweep", fusions=("late",), controls=(), split_column="side")
    with Cache(cache_path) as cache:
        roster = train_heads(Experiment.of(pose(cache, settings), settings, sides=SIDES), settings)
    shown = _sweep(roster, find_out(roster, settings), roster.trained["late"].averaging)
    assert shown["n_rows"] == 20
