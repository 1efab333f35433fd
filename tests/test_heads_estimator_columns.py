"""Columns of X that are NaN in part, the tools of scikit-learn that move columns, and the worth of whole modalities."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import make_scorer, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support import class_vectors

from heads import FusionClassifier, HeadError, SettingError, modality_importance

CODES = np.arange(150) % 3
NOISE = np.random.default_rng(3).standard_normal((150, 1)).astype(np.float32)
X = np.hstack([class_vectors(CODES, 4, spread=0.6, seed=1), class_vectors(CODES, 4, spread=0.6, seed=2), NOISE])
TEXT, IMAGE = slice(0, 4), slice(4, 9)
X[1::2, IMAGE] = np.nan  # half of the rows have no image
X[::10, TEXT] = np.nan
DIMS = {"text": 4, "image": 5}


def classifier(fusion="late", **settings):
    return FusionClassifier(fusion, modalities=DIMS, random_state=0, hidden_dim=16, max_epochs=12, **settings)


@pytest.fixture(scope="module")
def late():
    return classifier().fit(X, CODES)


@pytest.fixture(scope="module")
def logistic():
    return classifier("logistic", validation_fraction=1e-6).fit(X, CODES)


def asked_of(fitted, matrix):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return fitted.predict_proba(matrix), [str(warning.message) for warning in caught]


def test_where_half_of_a_vector_is_there_the_training_rows_means_are_the_rest(logistic):
    partial, filled = X[:1].repeat(2, 0), X[:1].repeat(2, 0)
    partial[0, 5:7] = np.nan
    filled[0, 5:7] = np.nanmean(X[:, 5:7], axis=0)
    answers, messages = asked_of(logistic, partial)
    np.testing.assert_allclose(answers, logistic.predict_proba(filled), atol=1e-5)
    assert len(messages) == 1
    assert "image: 1 rows are filled, 0 lack it" in messages[0]
    logistic.predict(partial)  # and it is told once
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def test_where_less_than_half_is_there_the_row_lacks_the_modality(late):
    partial, without = X[2:3].copy(), X[2:3].copy()
    partial[0, 6:] = np.nan  # 2 of 5 are left
    without[0, IMAGE] = np.nan
    with pytest.warns(UserWarning, match="image: 0 rows are filled, 1 lack it"):
        answers = classifier().fit(X, CODES).predict_proba(partial)
    assert np.array_equal(answers, late.predict_proba(without))


def test_training_fills_what_is_missing_with_the_means_of_its_rows():
    partial, filled = X.copy(), X.copy()
    rows = slice(0, 60, 6)
    partial[rows, 5] = np.nan
    partial[2, 5:9] = np.nan  # 1 of 5 is left
    filled[2, IMAGE] = np.nan
    filled[rows, 5] = np.nanmean(partial[:, 5])
    model = classifier("logistic", validation_fraction=1e-6)
    with pytest.warns(UserWarning, match="image: 10 rows are filled, 1 lack it"):
        fitted = model.fit(partial, CODES)
    answers = fitted.predict_proba(X)
    np.testing.assert_allclose(answers, model.fit(filled, CODES).predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.filterwarnings("ignore:Some rows have NaN in part")
def test_a_column_that_tells_nothing_is_worth_nothing_though_rows_lack_its_modality(late, as_frame):
    """A shuffled column puts NaN into vectors and numbers where none is: neither changes who has one."""
    given = pd.DataFrame(X, columns=[f"c{n}" for n in range(9)]) if as_frame else X
    fitted = classifier().fit(given, CODES) if as_frame else late
    found = permutation_importance(fitted, given, CODES, n_repeats=3, random_state=0)
    assert abs(found.importances_mean[8]) < 0.015  # the noise; of an absent image it would be 0.05
    assert found.importances_mean.max() > 0.05
    shown = partial_dependence(fitted, given.astype(np.float64), [8], grid_resolution=3)
    assert np.isfinite(shown.average).all()
    assert np.ptp(shown.average, axis=1).max() < 0.05


def test_a_modality_is_worth_what_the_score_loses_when_its_vectors_are_shuffled(late):
    importance = modality_importance(late, X, CODES, n_repeats=4, random_state=0)
    assert importance.modalities == ["text", "image"]
    assert importance.importances.shape == (2, 4)
    np.testing.assert_allclose(importance.importances_mean, importance.importances.mean(1))
    np.testing.assert_allclose(importance.importances_std, importance.importances.std(1))
    generator = np.random.RandomState(0)
    has_text = np.flatnonzero(~np.isnan(X[:, 0]))
    by_hand = X.copy()
    by_hand[has_text, TEXT] = X[generator.permutation(has_text), TEXT]
    assert importance.importances[0, 0] == pytest.approx(late.score(X, CODES) - late.score(by_hand, CODES))
    assert importance.importances_mean[0] > importance.importances_mean[1] > 0.02  # half of the rows have no image


def test_a_modality_that_tells_only_by_being_there_is_worth_nothing(late):
    """Its vectors are the same in all rows that have it, so that no shuffle among these changes anything."""
    matrix = X.copy()
    matrix[::2, IMAGE] = 1.0
    importance = modality_importance(late, matrix, CODES, random_state=0)
    assert importance.importances[1].tolist() == [0] * 5


def test_the_form_of_x_does_not_matter(late):
    expected = modality_importance(late, X, CODES, n_repeats=2, random_state=0)
    by_modality = {"text": X[:, TEXT], "image": X[:, IMAGE]}
    frame = pd.DataFrame(X)
    for given in (by_modality, frame, X.tolist()):
        importance = modality_importance(late, given, CODES, n_repeats=2, random_state=0)
        assert np.array_equal(importance.importances, expected.importances)
    pd.testing.assert_frame_equal(frame, pd.DataFrame(X))  # what was given is as it was


def test_a_pipeline_is_told_its_modalities_and_any_score_is_taken():
    pipeline = make_pipeline(StandardScaler(), classifier("logistic")).fit(X, CODES)
    scoring = make_scorer(recall_score, average="macro")
    weights = np.where(CODES, 1.0, 2.0)
    importance = modality_importance(
        pipeline, X, CODES, modalities=DIMS, scoring=scoring, sample_weight=weights, random_state=0
    )
    assert importance.importances_mean[0] > 0.1
    with pytest.raises(SettingError, match="how many columns each modality has"):
        modality_importance(pipeline, X, CODES)
    with pytest.raises(HeadError, match="the 9 columns of its modalities, got 8"):
        modality_importance(pipeline, X[:, 1:], CODES, modalities=DIMS)
    with pytest.raises(SettingError, match="n_repeats to be 1 or more, got 0"):
        modality_importance(pipeline, X, CODES, modalities=DIMS, n_repeats=0)
