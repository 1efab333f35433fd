"""A scikit-learn transformer from products to their cached vectors; it needs an encoder for those that are new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from heads.errors import HeadError

if TYPE_CHECKING:
    from embed import Encoder, ExtractSettings

__all__ = ["CachedEmbeddings"]


class CachedEmbeddings(TransformerMixin, BaseEstimator):
    """Turn products into the concatenated vectors of their pictures and texts, which a cache keeps.

    What the cache does not know yet is encoded and put into it, so that each content is encoded once, whatever folds,
    shuffles and grids it goes through; known contents load no model. A cache of `embed-extract` serves as it is, and
    keeps its catalogue. Several processes may share one: one encodes while others wait.

    Products are rows of a DataFrame; or a list of dicts, a dict of lists, or a list of texts. Columns are found by
    their usual names when it is fitted, or named in the settings; all others are ignored. Pictures are paths, bytes or
    PIL images. A product that lacks a picture or a text has NaN in all columns of that modality, which
    `FusionClassifier` takes for absent; why is logged, and `statuses` tells.

    Args:
        cache_path: the cache; a new file where there is none.
        settings: those of `embed.ExtractSettings`, such as encoders, ``image_root`` and columns; None: the usual ones,
            for the modalities that have a column.
        encoders: encoders of your own, instead of those of the settings.

    Shape:
        X: N products
        output: (N, sum of D), a DataFrame whose columns are ``image__0`` and so on

    Attributes:
        modalities_: {modality: D}, in the columns' order.
        settings_: the settings with the columns that were found.
    """

    def __init__(
        self,
        cache_path: str | Path = "embeddings.h5",
        *,
        settings: ExtractSettings | None = None,
        encoders: Sequence[Encoder] | None = None,
    ) -> None:
        self.cache_path = cache_path
        self.settings = settings
        self.encoders = encoders

    def fit(self, X: Any, y: Any = None) -> CachedEmbeddings:  # noqa: ARG002, N803 - scikit-learn's names
        """Find the columns, encode what is new, and return the transformer itself.

        Raises:
            CatalogueError: a column cannot be found.
            CacheError: the cache is damaged, was made by another encoder of that name, or the disk is full.
            WeightsError: an encoder's weights cannot be had.
            HeadError: no product has a vector of some modality.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> pd.DataFrame:  # noqa: ARG002, N803 - scikit-learn's names
        """Return the vectors of the products that it is fitted on; raises what `fit` does."""
        return self._joined(X, self._fit(X))

    def transform(self, X: Any) -> pd.DataFrame:  # noqa: N803 - scikit-learn's name
        """Return the vectors of products, NaN where one has none.

        Raises:
            CatalogueError: the columns that it was fitted on are not there.
            CacheError, WeightsError: as `fit` does.
        """
        check_is_fitted(self, "modalities_")
        return self._joined(X, self._vectors(X, self.settings_)[0])

    def statuses(self, X: Any) -> pd.DataFrame:  # noqa: N803 - scikit-learn's name
        """Return ``ok`` for each product and modality, or why there is no vector, such as ``missing``."""
        check_is_fitted(self, "modalities_")
        parts, _ = self._vectors(X, self.settings_)
        return pd.DataFrame({part.name: part.statuses for part in parts}, index=_index_of(X))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002 - scikit-learn's name
        """Return the names of the columns: ``image__0`` and so on."""
        check_is_fitted(self, "modalities_")
        names = [f"{name}__{number}" for name, dim in self.modalities_.items() for number in range(dim)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags

    def _fit(self, X: Any) -> list[Any]:  # noqa: N803 - scikit-learn's name
        parts, settings = self._vectors(X, self.settings)
        if empty := [part.name for part in parts if not part.vectors.shape[1]]:
            raise HeadError(
                f"Expected one of {len(parts[0].statuses)} products to have vectors of {', '.join(empty)}, got none. "
                'Mend the column, or leave it out: settings=embed.ExtractSettings(modalities=("text",)).'
            )
        self.settings_ = settings
        self.modalities_ = {part.name: part.vectors.shape[1] for part in parts}
        return parts

    def _vectors(self, X: Any, settings: ExtractSettings | None) -> tuple[list[Any], ExtractSettings]:  # noqa: N803
        from embed.extraction.in_memory.product_vectors import product_vectors

        return product_vectors(X, self.cache_path, settings=settings, encoders=self.encoders)

    def _joined(self, X: Any, parts: Sequence[Any]) -> pd.DataFrame:  # noqa: N803 - scikit-learn's name
        n_rows = len(parts[0].statuses)
        matrices = [
            part.vectors if part.vectors.shape[1] else np.full((n_rows, self.modalities_[part.name]), np.nan, "f4")
            for part in parts
        ]
        matrix = np.concatenate(matrices, axis=1)  # (N, sum of D)
        return pd.DataFrame(matrix, columns=self.get_feature_names_out(), index=_index_of(X), copy=False)


def _index_of(X: Any) -> pd.Index | None:  # noqa: N803 - scikit-learn's name
    return X.index if isinstance(X, pd.DataFrame | pd.Series) else None
