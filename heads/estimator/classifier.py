"""A scikit-learn classifier that trains heads, for pipelines, grids and cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data
from torch import Tensor, nn

from heads.data.labels import Labels
from heads.data.splitting.holdout import draw_holdout
from heads.errors import LabelError
from heads.estimator.input_columns import (
    ONLY_MODALITY,
    check_modalities,
    ensure_all_finite,
    is_by_modality,
    join_columns,
    named_modalities,
    split_columns,
    warn_of_partial,
    widths_of,
)
from heads.estimator.parameters import find_fusion, find_late_weights, find_settings
from heads.estimator.partial_vectors import column_means, fill_partial
from heads.estimator.sample_weights import check_sample_weight
from heads.estimator.training import train_head
from heads.experiment.results import Trained
from heads.head_types import head_type
from heads.modules.saving.saved_head import TrainedHead
from heads.modules.seeded import head_alone
from heads.settings import FitSettings

__all__ = ["FusionClassifier"]


class FusionClassifier(ClassifierMixin, BaseEstimator):
    """Classify vectors of one modality or several with a head of this package, as scikit-learn's classifiers do.

    `fusion` is a fusion, a modality's name, a head that is fitted at once (such as ``logistic``), or a class of your
    own (``module:Class``, ``file.py:Class``). `modalities` says what the columns of X are, in their order. If it is
    None, they are taken from a DataFrame whose columns are named as `CachedEmbeddings` names them; of other matrices
    all columns are one modality, whose own head ``early`` and ``late`` are then. With several modalities, a row that
    has NaN in more than half of a modality's columns lacks it; in half or less, the means of the training rows stand
    for what is missing. Rows without any modality are not trained on. Where a modality's columns are those of several
    encoders, ``{"image": (512, 384)}`` has each standardised by itself. Metadata is a modality as any other: a matrix
    of numbers, such as a `ColumnTransformer` makes of columns. `fit` and `predict` also take a dict of matrices,
    {modality: (N, D)}, as X; scikit-learn's cross-validation needs one matrix.

    `class_weight` is None, ``balanced``, or {class: positive number}, 1 for classes that are not named. `weights` are
    those of late fusion: {modality: number}, or "0.4,0.6" in the order of the sorted names; None: equal. The other
    parameters are those of `heads.settings.FitSettings`; a head uses those that it has a use for.

    Iterative heads stop early on `validation_fraction` of each class's rows, drawn by `random_state`; of a class that
    weighs less than the heaviest the fraction is as much smaller. Where no class is large enough to give a row (it
    takes four at a fraction of 0.15), they stop on the training rows, and an ensemble's members weigh alike.

    Shape:
        X: (N, sum of D), or {modality: (N, D)}
        y: (N,) labels of two classes or more

    Attributes:
        classes_: (K,) the labels, sorted.
        modalities_: {modality: D}, in the columns' order.
        history_: the losses and macro-F1 of each epoch, empty where there are none; of late fusion by modality.
        best_epoch_: the epoch whose weights are kept, counted from 1; of late fusion by modality.

    >>> X, y = [[0.0, 1.0], [1.0, 0.0]] * 10, ["a", "b"] * 10
    >>> FusionClassifier(fusion="centroids", random_state=0).fit(X, y).predict([[0.1, 0.9]])
    array(['a'], dtype='<U1')
    """

    _head: TrainedHead
    _told_of_partial: bool = False

    def __init__(
        self,
        fusion: str = "early",
        *,
        modalities: Mapping[str, int | Sequence[int]] | None = None,
        random_state: int | np.random.RandomState | None = None,
        hidden_dim: int = FitSettings.hidden_dim,
        dropout: float = FitSettings.dropout,
        modality_dropout: float = FitSettings.modality_dropout,
        learning_rate: float = FitSettings.learning_rate,
        weight_decay: float = FitSettings.weight_decay,
        schedule: str = FitSettings.schedule,
        warmup: float = FitSettings.warmup,
        batch_size: int = FitSettings.batch_size,
        max_epochs: int = FitSettings.max_epochs,
        patience: int = FitSettings.patience,
        scaling: str = FitSettings.scaling,
        class_weight: str | Mapping[Any, float] | None = None,
        weights: str | Mapping[str, float] | None = None,
        validation_fraction: float = 0.15,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        self.fusion = fusion
        self.modalities = modalities
        self.random_state = random_state
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.scaling = scaling
        self.class_weight = class_weight
        self.weights = weights
        self.validation_fraction = validation_fraction
        self.device = device
        self.precision = precision

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> FusionClassifier:  # noqa: N803 - scikit-learn's name
        """Train the head on the rows, and return the classifier itself.

        `sample_weight`, (N,), says how often a row counts, in the training rows and in the validation rows; one of 0 is
        left out. Rows of one of the `groups`, (N,), are held out together, or not at all.

        Raises:
            SettingError: a parameter or a weight is out of its range.
            LabelError: there are fewer than two classes among the rows that have vectors.
            HeadError: the columns are not those of the modalities; training does not converge.
        """
        declared = named_modalities(X) if self.modalities is None else self.modalities
        modalities = None if declared is None else check_modalities(declared)
        if is_by_modality(X):
            X, modalities = join_columns(X, modalities)  # noqa: N806
            check_modalities(modalities)
        is_finite = ensure_all_finite(len(modalities or {}))
        matrix, y = validate_data(self, X, y, dtype=np.float32, ensure_all_finite=is_finite)
        check_classification_targets(y)
        weights = check_sample_weight(sample_weight, matrix)
        modalities = modalities or {ONLY_MODALITY: matrix.shape[1]}
        vectors = replace(split_columns(matrix, modalities), widths=widths_of(declared))
        self._told_of_partial = warn_of_partial(matrix, modalities)
        fusion = find_fusion(self.fusion, list(vectors.dims))
        self.classes_, targets = np.unique(y, return_inverse=True)
        targets = np.where(vectors.some_present() & (True if weights is None else weights > 0), targets, -1)
        if (n_classes := len(np.unique(targets[targets >= 0]))) < 2:
            raise LabelError(
                f"Expected y to have two classes or more, but there is {n_classes} class among the "
                f"{(targets >= 0).sum()} rows that have vectors{'' if weights is None else ' and a weight'}."
            )
        settings, shares = find_settings(self.get_params(deep=False), fusion, self.classes_, y)
        groups = None if groups is None else check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
        check_consistent_length(matrix, groups)
        generator = np.random.default_rng(settings.seed)
        split = draw_holdout(targets, shares, generator=generator, groups=groups, weights=weights)
        trained = train_head(
            fusion,
            fill_partial(vectors, column_means(vectors, split.train, weights)),
            Labels("y", [str(name) for name in self.classes_], targets, []),
            split,
            settings,
            late_weights=find_late_weights(self.weights if head_type(fusion).is_average else None, list(vectors.dims)),
            sample_weights=weights,
            groups=groups,
            device=self.device,
            precision=self.precision,
        )
        self._keep(trained, fusion)
        self.modalities_ = modalities
        return self

    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Return the log-probability of every class, (N, K) float64; a row's answer depends on that row alone."""
        return self._log_probabilities(X).numpy()

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Return the probability of every class, (N, K) float64, in the order of `classes_`."""
        return self._log_probabilities(X).exp().numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Return the most probable class of each row, (N,)."""
        answers = self._log_probabilities(X).argmax(1).numpy()
        return self.classes_[answers]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        declared = getattr(self, "modalities_", self.modalities)
        tags.input_tags.allow_nan = isinstance(declared, Mapping) and len(declared) > 1
        tags.classifier_tags.poor_score = self.fusion == "majority"
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        head = state.get("_head")
        if head is not None and head.description.plugin is not None:
            # Its weights instead of the module: a pickle cannot name a class that was loaded from a file.
            state = {**state, "_head": replace(head, module=nn.Identity()), "_plugin_state": head.module.state_dict()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        plugin_state = state.pop("_plugin_state", None)
        super().__setstate__(state)
        if plugin_state is not None:
            self._head = replace(self._head, module=head_alone(self._head.description, plugin_state))

    def _keep(self, trained: dict[str, Trained], fusion: str) -> None:
        """Set the head and the attributes that say how its training went, or that of late fusion's members."""
        self._head = trained[fusion].head
        self.history_: Any = trained[fusion].history
        self.best_epoch_: Any = trained[fusion].best_epoch
        if head_type(fusion).is_average:
            members = {name: result for name, result in trained.items() if name != fusion} or trained
            self.history_ = {name: result.history for name, result in members.items()}
            self.best_epoch_ = {name: result.best_epoch for name, result in members.items()}

    def _log_probabilities(self, X: Any) -> Tensor:  # noqa: N803 - scikit-learn's name
        check_is_fitted(self, "modalities_")
        if is_by_modality(X):
            X, _ = join_columns(X, self.modalities_)  # noqa: N806
        is_finite = ensure_all_finite(len(self.modalities_))
        matrix = validate_data(self, X, reset=False, dtype=np.float32, ensure_all_finite=is_finite)
        vectors = split_columns(matrix, self.modalities_)
        if not self._told_of_partial:  # once: tools that move columns ask hundreds of times
            self._told_of_partial = warn_of_partial(matrix, self.modalities_)
        standardise = self._head.standardise
        means = {name: standardise.get_buffer(f"mean_{name}") for name in standardise.modalities}
        vectors = fill_partial(vectors, means)
        # In float64, so that the probabilities of a row sum to 1 as closely as scikit-learn's own.
        return self._head.log_probabilities(vectors.inputs, vectors.present).double().log_softmax(1)
