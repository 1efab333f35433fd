"""From scikit-learn's one matrix to vectors by modality: which columns are whose, and which rows lack a modality."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from heads.data.vectors import Vectors
from heads.errors import HeadError, SettingError
from heads.estimator.partial_vectors import count_partial, has_vector
from heads.head_types import HEAD_TYPES

__all__ = [
    "ONLY_MODALITY",
    "check_modalities",
    "columns_of",
    "ensure_all_finite",
    "is_by_modality",
    "join_columns",
    "named_modalities",
    "split_columns",
    "warn_of_partial",
    "widths_of",
]

ONLY_MODALITY = "vectors"  # the name of all columns where none is given


def check_modalities(modalities: object) -> dict[str, int]:
    """Return the modalities, {name: D}, in their order; D may be given as those of several encoders, (512, 768).

    Raises:
        SettingError: they are no mapping of one name or more to numbers of columns, or a name cannot be a modality's.
    """
    if not (
        isinstance(modalities, Mapping)
        and modalities
        and all(_widths(dims) for dims in modalities.values())
        and all(isinstance(dim, Integral) and int(dim) >= 1 for dims in modalities.values() for dim in _widths(dims))
    ):
        raise SettingError(
            'Expected modalities to say how many columns each modality has, such as {"image": 512, "text": 768}, got '
            f"{modalities!r}."
        )
    reserved = nn.ModuleDict()  # heads keep modalities in one, beside its own attributes
    for name in modalities:
        if not (isinstance(name, str) and name.isidentifier()) or name in HEAD_TYPES or hasattr(reserved, name):
            raise SettingError(
                f"Expected a modality's name to be a word that means nothing else here, got {name!r}. Choose another."
            )
    return {name: sum(map(int, _widths(dims))) for name, dims in modalities.items()}


def widths_of(modalities: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]]:
    """Return {modality: (D, ...)}, a D for each encoder, of the modalities whose columns are those of several."""
    return {name: tuple(map(int, dims)) for name, dims in (modalities or {}).items() if isinstance(dims, tuple | list)}


def named_modalities(X: object) -> dict[str, int] | None:  # noqa: N803 - scikit-learn's name
    """Return the modalities, {name: D}, that a DataFrame's columns are named after; None where they are not.

    Each has its columns side by side, named as ``image__0`` and ``image__1`` by `CachedEmbeddings`, and there are two
    or more. Some of them may be left out, as a selection of features does.
    """
    names = [str(name) for name in getattr(X, "columns", ())]
    parts = [name.rpartition("__") for name in names]
    runs = [(modality, len(list(columns))) for modality, columns in groupby(modality for modality, _, _ in parts)]
    modalities = dict(runs)
    is_named = all(number.isdecimal() for _, _, number in parts) and all(modalities) and len(set(names)) == len(names)
    return modalities if is_named and 1 < len(modalities) == len(runs) else None


def is_by_modality(X: object) -> bool:  # noqa: N803 - scikit-learn's name
    """Return whether X is a dict of matrices, and not one of scipy's sparse matrices, some of which are dicts too."""
    return isinstance(X, Mapping) and not hasattr(X, "shape")


def ensure_all_finite(n_modalities: int) -> bool | str:
    """Return scikit-learn's ``ensure_all_finite``: with several modalities, NaN may stand for one that a row lacks."""
    return "allow-nan" if n_modalities > 1 else True


def join_columns(X: Mapping[str, Any], modalities: Mapping[str, int] | None) -> tuple[np.ndarray, dict[str, int]]:  # noqa: N803 - scikit-learn's name
    """Return matrices side by side, (N, sum of D) float32, and {modality: D}; in the order of the modalities if given.

    Raises:
        HeadError: the matrices are not those of the modalities, or differ in their rows.
        ValueError: scikit-learn finds that something is no matrix of numbers.
    """
    from sklearn.utils import check_array

    names = list(X if modalities is None else modalities)
    if sorted(map(str, X)) != sorted(map(str, names)) or not names:
        raise HeadError(
            f"Expected X to have a matrix of each modality ({', '.join(names) or 'one at least'}), got those of "
            f"{', '.join(map(str, X)) or 'none'}."
        )
    is_finite = ensure_all_finite(len(names))
    matrices = {
        name: check_array(X[name], dtype=np.float32, ensure_all_finite=is_finite, input_name=f"X[{name!r}]")
        for name in names
    }
    dims = {name: matrix.shape[1] for name, matrix in matrices.items()}
    if modalities is not None and dims != dict(modalities):
        raise HeadError(f"Expected X to have the columns of {_shown(modalities)}, got those of {_shown(dims)}.")
    if len(n_rows := {len(matrix) for matrix in matrices.values()}) > 1:
        raise HeadError(f"Expected the matrices of X to have the same rows, got {sorted(n_rows)} rows.")
    return np.concatenate(list(matrices.values()), axis=1), dims


def split_columns(matrix: np.ndarray, modalities: Mapping[str, int]) -> Vectors:
    """Return the vectors of each modality, zeros where a row lacks it; a vector that a row has may hold some NaN.

    Shape:
        matrix: (N, sum of D) float32

    Raises:
        HeadError: the columns are not as many.
    """
    if sum(modalities.values()) != matrix.shape[1]:
        raise HeadError(
            f"Expected modalities to name all columns of X, which has {matrix.shape[1]}, but they name "
            f"{sum(modalities.values())}: {_shown(modalities)}."
        )
    inputs, present = {}, {}
    for name, columns in sorted(columns_of(modalities).items()):
        is_present = has_vector(matrix[:, columns])
        inputs[name] = torch.from_numpy(np.where(is_present[:, None], matrix[:, columns], np.float32(0)))
        present[name] = torch.from_numpy(is_present)
    return Vectors(encoders={}, specs={}, inputs=inputs, present=present)


def columns_of(modalities: Mapping[str, int]) -> dict[str, slice]:
    """Return which columns are each modality's.

    >>> columns_of({"text": 2, "image": 3})
    {'text': slice(0, 2, None), 'image': slice(2, 5, None)}
    """
    ends = np.cumsum(list(modalities.values())).tolist()
    return {name: slice(end - dim, end) for (name, dim), end in zip(modalities.items(), ends, strict=True)}


def warn_of_partial(matrix: np.ndarray, modalities: Mapping[str, int]) -> bool:
    """Warn of rows that have NaN in a part of a vector, and return whether there are any.

    Shape:
        matrix: (N, sum of D)
    """
    counts = {name: count_partial(matrix[:, columns]) for name, columns in columns_of(modalities).items()}
    partial_modalities = [
        f"{name}: {n_filled} rows are filled, {n_absent} lack it"
        for name, (n_filled, n_absent) in counts.items()
        if n_filled or n_absent
    ]
    if partial_modalities:
        warnings.warn(
            "Some rows have NaN in part of a vector. Where they have half of it or more, the training rows' means are "
            f"the rest; with less they count as rows that lack it ({'; '.join(partial_modalities)}).",
            stacklevel=3,
        )
    return bool(partial_modalities)


def _widths(dims: Any) -> Sequence[Any]:
    return dims if isinstance(dims, tuple | list) else (dims,)


def _shown(modalities: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {dim}" for name, dim in modalities.items())
