"""What heads answer is kept in three numbers a row: no matrix of all rows and classes is made."""

import numpy as np
import pytest
import torch
from support import class_vectors, synthetic_cache

import heads
from cache import Cache
from heads.experiment.experiment import Experiment
from heads.experiment.problem import pose
from heads.experiment.trained_heads import SIDES, train_heads
from heads.metrics.answers import Answers
from heads.metrics.registry import measure
from heads.metrics.scores import log_loss, scores
from heads.modules.mixture import mix
from heads.modules.saved_head import TrainedHead
from heads.settings import TrainSettings

N_ROWS, N_CLASSES = 300, 3
SETTINGS = TrainSettings(hidden_dim=8, max_epochs=2, n_resamples=100, precision="fp32", weights="auto", guard=True)


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    targets = np.random.default_rng(0).integers(N_CLASSES, size=N_ROWS)
    vectors = {
        "image": class_vectors(targets, 8, spread=2.0, seed=1),
        "text": class_vectors(targets, 6, spread=1.5, seed=2),
    }
    cells = [f"class {code}" for code in targets]
    return synthetic_cache(tmp_path_factory.mktemp("answers") / "c.h5", vectors, {"label": cells})


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
    for name in ("heads.experiment.late_fusion.FITTED_CELLS", "heads.reports.train_page.SWEPT_CELLS"):
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
