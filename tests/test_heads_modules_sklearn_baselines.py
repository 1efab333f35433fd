"""scikit-learn's classifiers answer as heads do, with scikit-learn's own probabilities."""

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from support import class_vectors

from heads.errors import HeadError, LabelError, SettingError
from heads.head_types import head_type
from heads.modules import sklearn_baselines as baselines
from heads.modules.fitting.temperature import fit_temperature
from heads.modules.late import Late
from heads.modules.sklearn_baselines import BASELINES, fit_baseline

pytestmark = pytest.mark.slow

N_ROWS, DIMS = 240, {"image": 4, "text": 3}
TRAIN, VALIDATION = torch.arange(160), torch.arange(160, N_ROWS)
MODELS = {
    "sklearn-boosting": HistGradientBoostingClassifier,
    "sklearn-forest": RandomForestClassifier,
    "sklearn-logistic": LogisticRegression,
    "sklearn-svm": LinearSVC,
}
every_baseline = pytest.mark.parametrize("name", BASELINES)


def drawn(n_classes=3, *, seed=0):
    targets = np.random.default_rng(seed).integers(n_classes, size=N_ROWS)
    inputs = {name: torch.from_numpy(class_vectors(targets, dim, seed=seed + dim)) for name, dim in DIMS.items()}
    present = {"image": torch.arange(N_ROWS) % 7 != 0, "text": torch.ones(N_ROWS, dtype=torch.bool)}
    inputs["image"][~present["image"]] = torch.nan
    return inputs, present, torch.from_numpy(targets)


def joined(inputs):
    return torch.cat([inputs[name].nan_to_num(0.0) for name in sorted(inputs)], dim=1).numpy()


def fitted(name, inputs, present, targets, **options):
    options = {"n_classes": int(targets.max()) + 1, "train": TRAIN, "validation": VALIDATION, **options}
    return fit_baseline(name, inputs, present, targets, **options)


@pytest.mark.parametrize("n_classes", [2, 3])
@every_baseline
def test_probabilities_are_scikit_learn_s(name, n_classes):
    inputs, present, targets = drawn(n_classes)
    fit = fitted(name, inputs, present, targets, seed=3)
    model = MODELS[name](random_state=3).fit(joined(inputs)[TRAIN], targets[TRAIN].numpy())
    if name == "sklearn-svm":
        margins = torch.from_numpy(model.decision_function(joined(inputs))).double()
        margins = torch.stack([-margins, margins], 1) if n_classes == 2 else margins
        assert fit.temperature == pytest.approx(fit_temperature(margins[VALIDATION], targets[VALIDATION]))
        expected = (margins / fit.temperature).softmax(1).numpy()
    else:
        assert fit.temperature == 1
        expected = model.predict_proba(joined(inputs))
    answers = fit.module(inputs, present)
    assert answers.dtype == torch.float32
    np.testing.assert_allclose(answers.exp(), np.maximum(expected, 1e-12), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(answers.argmax(1), model.predict(joined(inputs)))
    assert fit.converged
    assert not fit.module.training


@every_baseline
def test_class_without_training_rows_is_never_the_answer(name):
    inputs, present, targets = drawn()
    targets[TRAIN] = torch.where(targets[TRAIN] == 1, 2, targets[TRAIN])
    fit = fitted(name, inputs, present, targets, n_classes=5)
    answers = fit.module(inputs, present)
    assert answers.shape == (N_ROWS, 5)
    assert set(answers.argmax(1).tolist()) == {0, 2}
    torch.testing.assert_close(answers[:, [1, 3, 4]], torch.full((N_ROWS, 3), math.log(1e-12)))
    assert answers.isfinite().all()


@every_baseline
def test_same_seed_gives_the_same_head(name):
    inputs, present, targets = drawn()
    one, two = (fitted(name, inputs, present, targets, seed=5).module(inputs, present) for _ in range(2))
    assert torch.equal(one, two)


def test_another_seed_gives_another_forest():
    inputs, present, targets = drawn()
    one, two = (
        fitted("sklearn-forest", inputs, present, targets, seed=seed).module(inputs, present) for seed in (5, 6)
    )
    assert not torch.equal(one, two)


@every_baseline
def test_row_weights_count(name):
    inputs, present, targets = drawn()
    weights = torch.where(targets == 0, 1e-6, 1.0)
    answers = fitted(name, inputs, present, targets, row_weights=weights).module(inputs, present).argmax(1)
    plain = fitted(name, inputs, present, targets).module(inputs, present).argmax(1)
    assert (answers[VALIDATION] == 0).sum() < (plain[VALIDATION] == 0).sum()


@every_baseline
def test_baseline_cannot_be_saved_and_says_so(name):
    inputs, present, targets = drawn()
    module = fitted(name, inputs, present, targets).module
    assert not head_type(name).is_saved
    with pytest.raises(HeadError, match="to be made of tensors to be saved, but"):
        module.state_dict()
    with pytest.raises(HeadError, match="to be made of tensors"):
        Late({"text": module}, weights={"text": 1.0}).state_dict()


def test_solver_that_does_not_converge_is_told_and_warns_nobody(monkeypatch):
    monkeypatch.setattr(baselines, "_model", lambda _name, _seed: LogisticRegression(max_iter=1))
    assert not fitted("sklearn-logistic", *drawn()).converged


def test_unknown_name_is_an_error():
    with pytest.raises(SettingError, match=r"one of sklearn-boosting, .*got 'forest'"):
        fitted("forest", *drawn())


def test_one_class_is_an_error():
    inputs, present, _ = drawn()
    with pytest.raises(LabelError, match="two classes or more"):
        fitted("sklearn-forest", inputs, present, torch.zeros(N_ROWS, dtype=torch.int64))
