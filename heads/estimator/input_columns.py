"""From a matrix as scikit-learn knows it to vectors by modality: which columns are whose, and who has none."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from heads.data.vectors import Vectors
from heads.errors import HeadError, SettingError
from heads.head_types import HEAD_TYPES

__all__ = [
    "ONLY_MODALITY", "check_modalities", "finite_wish", "is_by_modality", "join_columns", "named_modalities",
    "split_columns",
]  # fmt: skip

ONLY_MODALITY = "vectors"  # the name of all columns where none is given


def check_modalities(modalities: object) -> dict[str, int]:
    """Return the modalities, {name: D}, in their order.

    Raises:
        SettingError: they are no mapping of one name or more to numbers of columns, or a name cannot be a modality's.
    """
    if not (
        isinstance(modalities, Mapping)
        and modalities
        and all(isinstance(dim, Integral) and int(dim) >= 1 for dim in modalities.values())
    ):
        raise SettingError(
            'Expected modalities to say how many columns each modality has, such as {"image": 512, "text": 768}, got '
            f"{modalities!r}."
        )
    taken = nn.ModuleDict()  # whose own names no modality can have
    for name in modalities:
        if not (isinstance(name, str) and name.isidentifier()) or name in HEAD_TYPES or hasattr(taken, name):
            raise SettingError(
                f"Expected a modality's name to be a word that means nothing else here, got {name!r}. Choose another."
            )
    return {name: int(dim) for name, dim in modalities.items()}


def named_modalities(X: object) -> dict[str, int] | None:  # noqa: N803 - scikit-learn's name
    """Return the modalities, {name: D}, that a DataFrame's columns are named after; None where they are not.

    Each has its columns side by side, ``image__0``, ``image__1`` and so on, as `CachedEmbeddings` names them, and there
    are two or more.
    """
    names = [str(name) for name in getattr(X, "columns", ())]
    modalities: dict[str, int] = {}
    for name in names:
        modality, _, number = name.rpartition("__")
        if number != str(modalities.setdefault(modality, 0)):
            return None
        modalities[modality] += 1
    ordered = [f"{name}__{number}" for name, dim in modalities.items() for number in range(dim)]
    return modalities if len(modalities) > 1 and all(modalities) and names == ordered else None


def is_by_modality(X: object) -> bool:  # noqa: N803 - scikit-learn's name
    """Return whether X is a dict of matrices, and not one of scipy's sparse matrices, some of which are dicts too."""
    return isinstance(X, Mapping) and not hasattr(X, "shape")


def finite_wish(n_modalities: int) -> bool | str:
    """Return scikit-learn's ``ensure_all_finite``: NaN may stand for what is absent where something else is there."""
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
    wish = finite_wish(len(names))
    matrices = {
        name: check_array(X[name], dtype=np.float32, ensure_all_finite=wish, input_name=f"X[{name!r}]")
        for name in names
    }
    dims = {name: matrix.shape[1] for name, matrix in matrices.items()}
    if modalities is not None and dims != dict(modalities):
        raise HeadError(f"Expected X to have the columns of {_shown(modalities)}, got those of {_shown(dims)}.")
    if len(n_rows := {len(matrix) for matrix in matrices.values()}) > 1:
        raise HeadError(f"Expected the matrices of X to have the same rows, got {sorted(n_rows)} rows.")
    return np.concatenate(list(matrices.values()), axis=1), dims


def split_columns(matrix: np.ndarray, modalities: Mapping[str, int]) -> Vectors:
    """Return the vectors of each modality; who has NaN in all its columns lacks it.

    Shape:
        matrix: (N, sum of D) float32

    Raises:
        HeadError: the columns are not as many; or a vector is NaN in part.
    """
    if sum(modalities.values()) != matrix.shape[1]:
        raise HeadError(
            f"Expected modalities to name all columns of X, which has {matrix.shape[1]}, but they name "
            f"{sum(modalities.values())}: {_shown(modalities)}."
        )
    ends = np.cumsum(list(modalities.values()))
    inputs, present = {}, {}
    for name, own in sorted(zip(modalities, np.split(matrix, ends[:-1], axis=1), strict=True)):
        is_nan = np.isnan(own)  # (N, D)
        is_absent = is_nan.all(axis=1)
        if len(partial := np.flatnonzero(is_nan.any(axis=1) & ~is_absent)):
            raise HeadError(
                f"Expected a row to have all numbers of its {name} vector, or NaN throughout where it has none, but "
                f"{len(partial)} rows have NaN in part, the first is row {partial[0]}."
            )
        inputs[name] = torch.from_numpy(np.where(is_absent[:, None], np.float32(0), own))
        present[name] = torch.from_numpy(~is_absent)
    return Vectors(encoders={}, specs={}, inputs=inputs, present=present)


def _shown(modalities: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {dim}" for name, dim in modalities.items())
