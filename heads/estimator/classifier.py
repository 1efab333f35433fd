"""A scikit-learn classifier that trains heads, for pipelines, grids and cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data
from torch import Tensor, nn

from heads.data.holdout import draw_holdout
from heads.data.labels import Labels
from heads.data.splits import Split
from heads.data.vectors import Vectors
from heads.device import find_device
from heads.errors import HeadError, LabelError, SettingError
from heads.estimator.input_columns import (
    ONLY_MODALITY,
    check_modalities,
    finite_wish,
    is_by_modality,
    join_columns,
    named_modalities,
    split_columns,
)
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.late_fusion import Weighting
from heads.experiment.problem import Problem
from heads.experiment.results import Trained
from heads.head_types import HEAD_TYPES, SYNONYMS, head_type
from heads.modules.late import parse_weights
from heads.modules.plugin import is_plugin
from heads.modules.saved_head import TrainedHead
from heads.modules.seeded import head_alone
from heads.settings import PRECISIONS, FitSettings

__all__ = ["FusionClassifier"]

INTEGERS = ("hidden_dim", "batch_size", "max_epochs", "patience")
COLUMNS = "columns"  # what stands for an encoder: the vectors are columns of X
REALS = ("dropout", "modality_dropout", "learning_rate", "weight_decay")


class FusionClassifier(ClassifierMixin, BaseEstimator):
    """Classify vectors of one modality or several with a head of this package, as scikit-learn's classifiers do.

    `fusion` is a fusion, a modality's name, a head that is fitted at once (such as ``logistic``), or a class of your
    own (``module:Class``, ``file.py:Class``). `modalities` says what the columns of X are, in their order; None takes
    that from a DataFrame whose columns are named as `CachedEmbeddings` names them, and else is one modality of all
    columns, over which ``early`` and ``late`` are that modality's own head. Where there are several, a row that has NaN
    in all columns of a modality lacks it; NaN in some of them is an error. Rows that have nothing are not trained on.
    Metadata is a modality as any other: a matrix of numbers, such as a `ColumnTransformer` makes of columns. X may also
    be a dict of matrices, {modality: (N, D)}, for `fit` and `predict` themselves: scikit-learn's cross-validation wants
    one matrix.

    `class_weight` is None, ``balanced``, or {class: positive number}, 1 where none is said. `weights` are those of late
    fusion: {modality: number}, or "0.4,0.6" in the order of the sorted names; None: equal. The other parameters are
    those of `heads.settings.FitSettings`, each of the heads that have such a thing.

    Iterative heads stop early on `validation_fraction` of each class's rows, drawn by `random_state`; a class weighted
    with less than the greatest weight gives as much less of its rows. Where no class has a row to spare (four, at a
    fraction of 0.15), the training rows themselves are looked at.

    Shape:
        X: (N, sum of D), or {modality: (N, D)}
        y: (N,) labels of two classes or more

    Attributes:
        classes_: (K,) the labels, sorted.
        modalities_: {modality: D}, in the columns' order.
        history_: an epoch's losses and macro-F1 each; of late fusion {modality: such}; empty where there are no epochs.
        best_epoch_: the epoch whose weights are kept, counted from 1; of late fusion {modality: such}.

    >>> X, y = [[0.0, 1.0], [1.0, 0.0]] * 10, ["a", "b"] * 10
    >>> FusionClassifier(fusion="centroids", random_state=0).fit(X, y).predict([[0.1, 0.9]])
    array(['a'], dtype='<U1')
    """

    _head: TrainedHead

    def __init__(
        self,
        fusion: str = "early",
        *,
        modalities: Mapping[str, int] | None = None,
        random_state: int | np.random.RandomState | None = None,
        hidden_dim: int = FitSettings.hidden_dim,
        dropout: float = FitSettings.dropout,
        modality_dropout: float = FitSettings.modality_dropout,
        learning_rate: float = FitSettings.learning_rate,
        weight_decay: float = FitSettings.weight_decay,
        batch_size: int = FitSettings.batch_size,
        max_epochs: int = FitSettings.max_epochs,
        patience: int = FitSettings.patience,
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
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.class_weight = class_weight
        self.weights = weights
        self.validation_fraction = validation_fraction
        self.device = device
        self.precision = precision

    def fit(self, X: Any, y: Any, groups: Any = None) -> FusionClassifier:  # noqa: N803 - scikit-learn's name
        """Train the head on the rows, and return the classifier itself.

        Rows of one of the `groups`, (N,), are held out together, or not at all.

        Raises:
            SettingError: a parameter is out of its range.
            LabelError: there are fewer than two classes among the rows that have vectors.
            HeadError: the columns are not those of the modalities; a vector is NaN in part; training does not converge.
        """
        declared = named_modalities(X) if self.modalities is None else self.modalities
        modalities = None if declared is None else check_modalities(declared)
        if is_by_modality(X):
            X, modalities = join_columns(X, modalities)  # noqa: N806
            check_modalities(modalities)
        wish = finite_wish(len(modalities or {}))
        matrix, y = validate_data(self, X, y, dtype=np.float32, ensure_all_finite=wish)
        check_classification_targets(y)
        vectors = split_columns(matrix, modalities or {ONLY_MODALITY: matrix.shape[1]})
        fusion = self._find_fusion(list(vectors.dims))
        self.classes_, targets = np.unique(y, return_inverse=True)
        targets = np.where(vectors.some_present(), targets, -1)
        if (n_classes := len(np.unique(targets[targets >= 0]))) < 2:
            raise LabelError(
                f"Expected y to have two classes or more, but there is {n_classes} class among the "
                f"{(targets >= 0).sum()} rows that have vectors."
            )
        settings, shares = self._find_settings(fusion, y)
        groups = None if groups is None else check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
        check_consistent_length(matrix, groups)
        split = draw_holdout(targets, shares, generator=np.random.default_rng(settings.seed), groups=groups)
        labels = Labels("y", [str(name) for name in self.classes_], targets, [])
        trained = self._train(fusion, vectors, labels, split, settings)
        members = {name: one for name, one in trained.items() if name != fusion} or trained
        histories = {name: one.history for name, one in members.items()}
        best_epochs = {name: one.best_epoch for name, one in members.items()}
        is_average = head_type(fusion).is_average
        self._head = cast("TrainedHead", trained[fusion].head)
        self.history_ = histories if is_average else histories[fusion]
        self.best_epoch_ = best_epochs if is_average else best_epochs[fusion]
        self.modalities_ = modalities or {ONLY_MODALITY: matrix.shape[1]}
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
            # Not the module itself: a class that was run from a file is none that a pickle can name.
            state = {**state, "_head": replace(head, module=nn.Identity()), "_plugin_state": head.module.state_dict()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        plugin_state = state.pop("_plugin_state", None)
        super().__setstate__(state)
        if plugin_state is not None:
            self._head = replace(self._head, module=head_alone(self._head.description, plugin_state))

    def _log_probabilities(self, X: Any) -> Tensor:  # noqa: N803 - scikit-learn's name
        check_is_fitted(self, "modalities_")
        if is_by_modality(X):
            X, _ = join_columns(X, self.modalities_)  # noqa: N806
        wish = finite_wish(len(self.modalities_))
        matrix = validate_data(self, X, reset=False, dtype=np.float32, ensure_all_finite=wish)
        vectors = split_columns(matrix, self.modalities_)
        # In float64, so that the probabilities of a row sum to 1 as closely as scikit-learn's own.
        return self._head.log_probabilities(vectors.inputs, vectors.present).double().log_softmax(1)

    def _find_fusion(self, names: list[str]) -> str:
        fusion = SYNONYMS.get(self.fusion, self.fusion) if isinstance(self.fusion, str) else ""
        if fusion not in (*HEAD_TYPES, *names) and not is_plugin(fusion):
            raise SettingError(
                f"Expected fusion to be one of {', '.join((*names, *HEAD_TYPES))}, or a head of your own as "
                f"file.py:Class, got {self.fusion!r}."
            )
        if head_type(fusion).needs_two and len(names) < 2:
            raise SettingError(
                f"The fusion {fusion} needs two modalities, but there is {names[0]} alone. Say which columns are "
                'whose: modalities={"image": 512, "text": 768}.'
            )
        return fusion

    def _find_settings(self, fusion: str, y: np.ndarray) -> tuple[FitSettings, np.ndarray]:
        """Return the settings of training, and the share of each class's rows that validate it, (K,)."""
        for kind, word, names in (
            (Integral, "an integer", INTEGERS),
            (Real, "a number", (*REALS, "validation_fraction")),
        ):
            for name in names:
                if not isinstance(getattr(self, name), kind):
                    raise SettingError(f"Expected {name} to be {word}, got {getattr(self, name)!r}.")
        if not 0 < self.validation_fraction < 1:
            raise SettingError(f"Expected validation_fraction to be between 0 and 1, got {self.validation_fraction}.")
        if self.precision not in PRECISIONS:
            raise SettingError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if self.class_weight is not None and not head_type(fusion).weighs_classes:
            raise SettingError(f"{fusion} weighs no classes, but class_weight is {self.class_weight!r}: leave it out.")
        shares = np.full(len(self.classes_), float(self.validation_fraction))
        class_weights: str | tuple[float, ...] = "equal"
        if isinstance(self.class_weight, Mapping):
            own = compute_class_weight(dict(self.class_weight), classes=self.classes_, y=y)
            class_weights = tuple(own.tolist())
            shares *= own / own.max()
        elif self.class_weight == "balanced":
            class_weights = self.class_weight
        elif self.class_weight is not None:
            raise SettingError(
                f"Expected class_weight to be None, balanced, or numbers by class, got {self.class_weight!r}."
            )
        numbers = {name: getattr(self, name) for name in (*INTEGERS, *REALS)}
        return FitSettings(seed=_draw_seed(self.random_state), class_weights=class_weights, **numbers), shares

    def _train(
        self, fusion: str, vectors: Vectors, labels: Labels, split: Split, settings: FitSettings
    ) -> dict[str, Trained]:
        """Return what came of the head, and of late fusion's members, by name."""
        modalities = list(vectors.dims)
        problem = Problem(
            ids=[],
            vectors={(name, COLUMNS): [vectors.part([name])] for name in modalities},
            labels=labels,
            groups=np.arange(len(labels.targets)),
            is_placeholder=np.zeros(len(labels.targets), dtype=bool),
            folds=[split],
            fusions=(fusion,),
            notes=[],
            content_sha256="",
        )
        is_average = head_type(fusion).is_average
        experiment = Experiment(
            problem,
            sides=(),
            weighting=Weighting(parse_weights(_weights_text(self.weights) if is_average else None, modalities)),
            device=find_device(self.device),
            precision=self.precision,
        )
        encoders = {fusion: COLUMNS} if fusion in modalities else dict.fromkeys(modalities, COLUMNS)
        job = FoldJob(Configuration.of(fusion, encoders, settings), 0, settings.seed)
        trained: dict[str, Trained] = {}

        def take(job: FoldJob, result: Trained | HeadError) -> None:
            if isinstance(result, HeadError):
                raise result
            trained[job.configuration.head] = result

        experiment.run([job], take)
        return trained


def _draw_seed(random_state: Any) -> int:
    if random_state is None:  # numpy's global numbers stay as they were
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


def _weights_text(weights: object) -> str | None:
    if weights is None or isinstance(weights, str):
        return weights
    if isinstance(weights, Mapping):
        return ",".join(f"{name}={number}" for name, number in weights.items())
    raise SettingError(f'Expected weights such as {{"image": 0.4, "text": 0.6}} or "0.4,0.6", got {weights!r}.')
