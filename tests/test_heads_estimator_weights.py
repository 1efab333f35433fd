"""Weights of rows: what a weight of 2, 0 and 1 is to each head, and how scikit-learn routes them."""

import numpy as np
import pytest
import sklearn
from sklearn.metrics import f1_score, get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support import class_vectors

from heads import FusionClassifier, SettingError
from heads.data.splitting.holdout import draw_holdout
from heads.metrics.scores import log_loss, scores
from heads.modules.selection import select

pytestmark = pytest.mark.slow

CODES = np.arange(60) % 3
X = np.hstack([class_vectors(CODES, 5, spread=1.5, seed=1), class_vectors(CODES, 4, spread=1.5, seed=2)])
X[::7, :5] = np.nan  # rows without the text
X[3::11, 5:] = np.nan
EASY = class_vectors(CODES, 9, spread=0.2)
WEIGHTS = np.random.default_rng(0).integers(0, 4, 60)
GROUPS = np.arange(60) // 4
BY_STEPS = ["early", "late", "gated", "lowrank", "attention", "text"]
AT_ONCE = ["logistic", "centroids", "neighbours", "majority", "sklearn-logistic", "sklearn-svm"]
NONE_HELD_OUT = 1e-6  # the training rows are those that choose, too


def classifier(fusion="centroids", **settings):
    settings = {"random_state": 0, "hidden_dim": 16, "max_epochs": 4, **settings}
    return FusionClassifier(fusion, modalities={"text": 5, "image": 4}, **settings)


def answers(fitted):
    return fitted.predict_proba(X)


@pytest.mark.parametrize(
    ("fusion", "class_weight"),
    [(name, None) for name in AT_ONCE] + [("logistic", "balanced"), ("sklearn-svm", "balanced")],
)
def test_a_weight_of_2_is_the_row_twice(fusion, class_weight):
    """In standardisation, the weights of classes, the fit, and the choice of strength, k and temperature."""
    model = classifier(fusion, validation_fraction=NONE_HELD_OUT, class_weight=class_weight)
    weighted = answers(model.fit(X, CODES, sample_weight=WEIGHTS))
    plain = answers(model.fit(X, CODES))
    repeated = answers(model.fit(X.repeat(WEIGHTS, 0), CODES.repeat(WEIGHTS)))
    np.testing.assert_allclose(weighted, repeated, atol=1e-3)  # of the solver: its tolerance
    assert np.abs(weighted - plain).max() > 0.01


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_weight_of_2_is_the_row_twice_in_a_step_and_in_what_stops_it(class_weight):
    """Of a head without batch norm, whose statistics are those of a batch's rows, when an epoch is one step."""
    weights = np.array([1, 2, 1, 3, 1, 1, 2, 1, 2])
    model = classifier(
        "attention", validation_fraction=NONE_HELD_OUT, dropout=0, max_epochs=12, class_weight=class_weight
    )
    rows = slice(20, 29)
    weighted = model.fit(X[rows], CODES[rows], sample_weight=weights)
    history, probabilities = weighted.history_, answers(weighted)
    repeated = model.fit(X[rows].repeat(weights, 0), CODES[rows].repeat(weights))
    for ours, theirs in zip(history, repeated.history_, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    np.testing.assert_allclose(probabilities, answers(repeated), atol=1e-3)


@pytest.mark.parametrize("fusion", [*BY_STEPS, *AT_ONCE, "sklearn-forest", "sklearn-boosting"])
def test_a_weight_of_0_is_no_row_and_weights_of_1_are_none(fusion):
    model, is_in = classifier(fusion), WEIGHTS > 0
    absent = answers(model.fit(X[is_in], CODES[is_in]))
    assert np.array_equal(answers(model.fit(X, CODES, sample_weight=is_in)), absent)
    plain = answers(model.fit(X, CODES))
    assert np.array_equal(answers(model.fit(X, CODES, sample_weight=1)), plain)
    assert not np.array_equal(absent, plain)


@pytest.mark.parametrize("fusion", ["late", "attention", "sklearn-forest", "sklearn-boosting"])
def test_of_labels_that_contradict_each_other_the_heavier_one_is_learned(fusion):
    """Each product stands twice, with another label of another weight."""
    twice, labels = np.vstack([EASY, EASY]), np.hstack([CODES, (CODES + 1) % 3])
    model, rows = classifier(fusion, max_epochs=10, learning_rate=1e-2), np.arange(60)
    weighted = model.fit(twice, labels, sample_weight=np.repeat([0.3, 0.1], 60)).predict_proba(EASY)
    equal = model.fit(twice, labels).predict_proba(EASY)
    assert (weighted.argmax(1) == CODES).mean() > 0.8
    assert weighted[rows, CODES].mean() > equal[rows, CODES].mean() + 0.05


@pytest.mark.parametrize("fusion", ["late", "attention", "centroids", "logistic", "sklearn-svm", "majority"])
def test_weights_of_less_than_a_row_each_have_no_unit(fusion):
    model = classifier(fusion)
    one, other = (answers(model.fit(X, CODES, sample_weight=unit * WEIGHTS)) for unit in (0.25, 1e-6))
    np.testing.assert_allclose(one, other, atol=1e-5)
    same, plain = answers(model.fit(X, CODES, sample_weight=1e-3)), answers(model.fit(X, CODES))
    assert np.array_equal(same, plain)


def test_the_holdout_is_a_share_of_the_weight():
    weights = np.where(np.arange(200) < 100, 9.0, 1.0)
    targets = np.zeros(200, dtype=np.int64)
    split = draw_holdout(targets, np.array([0.2]), generator=np.random.default_rng(0), weights=weights)
    assert weights[split.validation].sum() == pytest.approx(0.2 * 1000, abs=9)
    assert np.array_equal(np.sort([*split.train, *split.validation]), np.arange(200))


def test_weighted_scores_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    targets, predictions, weights = generator.integers(4, size=50), generator.integers(4, size=50), generator.random(50)
    found = scores(targets, predictions, 5, 0.01 * weights)
    assert found["macro_f1"] == pytest.approx(f1_score(targets, predictions, average="macro", sample_weight=weights))
    assert found["accuracy"] == pytest.approx(weights[targets == predictions].sum() / weights.sum())
    probabilities = generator.dirichlet(np.ones(4), 50)
    expected = sklearn.metrics.log_loss(targets, probabilities, sample_weight=weights)
    assert log_loss(probabilities, targets, weights) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fusion", "weights", "message"),
    [
        ("early", np.where(CODES, 1, -1), "sample_weight to be 0 or more, got -1"),
        ("early", np.zeros(60), "all are zero"),
        ("early", np.ones((60, 2)), r"one number a row, got an array of shape \(60, 2\)"),
        ("neighbours", np.full(60, 1.5), "whole numbers for neighbours, .* got 1.5"),
        ("neighbours", np.full(60, 1e6), "small whole numbers for neighbours, .* of 5.*e.07 altogether"),
    ],
)
def test_weights_that_mean_nothing_are_a_named_error(fusion, weights, message):
    with pytest.raises(SettingError, match=message):
        classifier(fusion).fit(X, CODES, sample_weight=weights)


def check_folds(found, params, model):
    """Check that each fold's model is the one that is fitted by hand, with these parameters of its rows."""
    for fitted, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        expected = model.fit(X[train], CODES[train], **{name: values[train] for name, values in params.items()})
        assert np.array_equal(answers(fitted), answers(expected))
        assert not np.array_equal(answers(fitted), answers(model.fit(X[train], CODES[train])))


def test_cross_validation_hands_weights_on_without_routing():
    params = {"sample_weight": WEIGHTS}
    found = cross_validate(classifier(), X, CODES, cv=3, params=params, return_estimator=True, return_indices=True)
    check_folds(found, params, classifier())


def test_scikit_learn_routes_weights_and_groups():
    params = {"sample_weight": WEIGHTS, "groups": GROUPS}
    with sklearn.config_context(enable_metadata_routing=True):
        routed = classifier().set_fit_request(sample_weight=True, groups=True).set_score_request(sample_weight=True)
        options = {"cv": GroupKFold(3), "params": params, "return_estimator": True, "return_indices": True}
        check_folds(cross_validate(routed, X, CODES, **options), params, classifier())

        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), routed)
        scoring = get_scorer("accuracy").set_score_request(sample_weight=True)  # 1.6 routes nothing to pipelines' own
        found = cross_validate(pipeline, X, CODES, scoring=scoring, **options)
        plain = make_pipeline(StandardScaler(), classifier())
        for fitted, train in zip(found["estimator"], found["indices"]["train"], strict=True):
            by_hand = {f"fusionclassifier__{name}": values[train] for name, values in params.items()}
            with sklearn.config_context(enable_metadata_routing=False):
                expected = answers(plain.fit(X[train], CODES[train], **by_hand))
            assert np.array_equal(answers(fitted), expected)

        search = GridSearchCV(routed, {"fusion": ["centroids", "majority"]}, cv=GroupKFold(3)).fit(X, CODES, **params)
        expected = classifier(search.best_params_["fusion"]).fit(X, CODES, **params)
        assert np.array_equal(answers(search), answers(expected))


def test_rows_that_were_learned_from_do_not_select_an_ensemble(monkeypatch):
    """With none held out its members weigh alike; else the rows that select it count as often as they weigh."""
    told = []
    monkeypatch.setattr(
        "heads.experiment.experiment.select", lambda *given: told.append(given[3].tolist()) or select(*given)
    )
    model = classifier("ensemble", max_epochs=1)
    model.set_params(validation_fraction=NONE_HELD_OUT).fit(X, CODES, sample_weight=1 + WEIGHTS)
    assert not any(told.pop())
    model.set_params(validation_fraction=0.2).fit(X, CODES, sample_weight=1 + WEIGHTS)
    assert len(told[0]) < 30
    assert set(told[0]) <= {1.0, 2.0, 3.0, 4.0}
    assert len(set(told[0])) > 1
