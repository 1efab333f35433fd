"""Fits of scikit-learn's models in several threads, of which the first to begin is the first to end."""

import threading
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info

from heads.modules.fitting.sklearn_fit import fit_converged

VECTORS, LABELS = np.eye(4), np.arange(4)


class WaitingModel:
    """A model whose fit begins and ends when it is told to, with a warning."""

    def __init__(self, warning):
        self.warning = warning
        self.begun, self.may_end = threading.Event(), threading.Event()

    def fit(self, *_, **__):
        self.n_threads = blas_threads()
        self.begun.set()
        assert self.may_end.wait(60)
        warnings.warn("as told", self.warning, stacklevel=1)


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_overlapping_fits_leave_the_process_as_it_was_and_mix_no_warnings():
    """Two at once left one thread to all products of matrices, and no warning was shown ever after."""
    shown, before = warnings.showwarning, blas_threads()
    models = [WaitingModel(ConvergenceWarning), WaitingModel(UserWarning)]
    converged = {}

    def fit(number):
        converged[number] = fit_converged(models[number], VECTORS, LABELS, None)

    def fit_both():
        threads = [threading.Thread(target=fit, args=(number,)) for number in range(2)]
        for model, thread in zip(models, threads, strict=True):
            thread.start()
            assert model.begun.wait(60)
        for model, thread in zip(models, threads, strict=True):
            model.may_end.set()
            thread.join()

    with pytest.warns(UserWarning, match="as told"):
        fit_both()
    assert converged == {0: False, 1: True}
    assert all(model.n_threads == {1} for model in models)
    assert blas_threads() == before
    assert warnings.showwarning is shown
