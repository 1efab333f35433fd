"""What scikit-learn spreads over processes: they are the same for all tests here, as each takes seconds to start."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from support import CountingEncoder, class_vectors

import heads
from cache import Cache

pytestmark = pytest.mark.slow

CODES = np.arange(60) % 3
LABELS = np.array(["c", "a", "b"])[CODES]
MATRIX = np.hstack([class_vectors(CODES, 5, spread=0.6, seed=1), class_vectors(CODES, 4, spread=0.6, seed=2)])


def test_a_grid_search_finds_the_same_in_two_processes():
    head = heads.FusionClassifier(modalities={"text": 5, "image": 4}, random_state=0, hidden_dim=16, max_epochs=4)
    grid = {"fusion": ["late", "logistic"]}
    alone, two = (GridSearchCV(head, grid, cv=2, n_jobs=n_jobs).fit(MATRIX, LABELS) for n_jobs in (1, 2))
    assert np.array_equal(alone.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert np.isfinite(alone.cv_results_["mean_test_score"]).all()
    assert np.array_equal(alone.predict_proba(MATRIX), two.predict_proba(MATRIX))


def test_two_processes_share_one_cache(tmp_path):
    titles = [{"title": f"shirt {n}"} for n in range(24)]
    transformer = heads.CachedEmbeddings(tmp_path / "c.h5", encoders=[CountingEncoder("text", dim=4)])
    pipeline = make_pipeline(transformer, LogisticRegression())
    assert len(cross_val_score(pipeline, titles, LABELS[:24], cv=2, n_jobs=2, error_score="raise")) == 2
    with Cache(tmp_path / "c.h5") as cache:
        assert cache.encoded("text", "counting").sum() == 24
