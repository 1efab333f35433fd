"""Fitting scikit-learn's models, several threads at once: whether the solver converged is returned, not warned of."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["fit_converged"]

SHARED_NUMBERS = 2**24  # in vectors: a product of fewer is one thread's

_of_this_thread = threading.local()


class _WhileAnyFits:
    """A setting of the whole process, made by the first thread that begins a fit, taken back by the last that ends one.

    Each thread with a setting of its own would take back what it found, which another one had set.
    """

    def __init__(self, setting: Callable[[], AbstractContextManager[Any]]) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._n_users = 0
        self._made: AbstractContextManager[Any] = nullcontext()

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_users:
                self._made = self._setting()
                self._made.__enter__()
            self._n_users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_users -= 1
            if not self._n_users:
                self._made.__exit__(None, None, None)


def fit_converged(model: Any, vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> bool:
    """Fit a model to (N, D) vectors, (N,) labels and (N,) weights, and return whether its solver converged.

    Other warnings are given as usual.
    """
    # Threads that wait for each other took twice as long, or more.
    blas_threads = _ONE_BLAS_THREAD if vectors.size < SHARED_NUMBERS else nullcontext()
    _of_this_thread.has_converged = True
    with blas_threads, _CONVERGENCE_NOTED:
        model.fit(vectors, labels, sample_weight=weights)
    return _of_this_thread.has_converged


@contextmanager
def _convergence_noted() -> Iterator[None]:
    """Note in each thread that a solver did not converge, in place of a warning."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", ConvergenceWarning)
        show = warnings.showwarning

        def note(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
            if issubclass(category, ConvergenceWarning):
                _of_this_thread.has_converged = False
            else:
                show(message, category, *place, **options)

        warnings.showwarning = note
        yield


@functools.cache  # to look for them takes as long as to fit a small model
def _libraries() -> ThreadpoolController:
    """Return the libraries in this process that have threads of their own."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_CONVERGENCE_NOTED = _WhileAnyFits(_convergence_noted)
_ONE_BLAS_THREAD = _WhileAnyFits(lambda: _libraries().limit(limits=1, user_api="blas"))
