"""scikit-learn's classical classifiers behind the call of a head, to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from heads.errors import HeadError, SettingError
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.fitting.sklearn_fit import fit_converged
from heads.modules.fitting.temperature import fit_temperature
from heads.modules.fitting.unseen_classes import find_seen_classes, spread_over_classes
from heads.modules.parts.standardiser import concatenate

__all__ = ["BASELINES", "Baseline", "BaselineFit", "fit", "fit_baseline"]

BASELINES = ("sklearn-boosting", "sklearn-forest", "sklearn-logistic", "sklearn-svm")


class Baseline(nn.Module):
    """Classify the concatenation of all modalities with a fitted model of scikit-learn's.

    It lives in memory only: scikit-learn stores models as pickles, which no head is loaded from.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(self, dims: Mapping[str, int], model: Any, *, seen_classes: Tensor, temperature: float = 1.0) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.model = model
        self.seen_classes = seen_classes.cpu()  # (K,) bool
        self.temperature = temperature

    def vectors(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> np.ndarray:
        """Return the concatenation that the model sees, (B, D) float32."""
        return concatenate(inputs, present, self.modalities).cpu().numpy()

    def logits(self, vectors: np.ndarray) -> Tensor:
        """Return what the model says of the classes that it knows: log-probabilities or margins, (B, k) float64."""
        if hasattr(self.model, "predict_proba"):
            with np.errstate(divide="ignore"):
                return torch.from_numpy(np.log(self.model.predict_proba(vectors).astype(np.float64)))
        margins = torch.from_numpy(self.model.decision_function(vectors).astype(np.float64))
        return torch.stack([-margins, margins], dim=1) if margins.ndim == 1 else margins

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        logits = self.logits(self.vectors(inputs, present)) / self.temperature
        answers = spread_over_classes(logits.log_softmax(1), self.seen_classes)
        return answers.float().to(present[self.modalities[0]].device)

    def state_dict(self, *_arguments: object, **_options: object) -> NoReturn:
        """Say that there is none.

        Raises:
            HeadError: always.
        """
        raise HeadError(
            f"Expected a head to be made of tensors to be saved, but {type(self.model).__name__} is scikit-learn's "
            "own and would be a pickle. Train another head to keep one; `logistic` is the same as sklearn-logistic."
        )


@dataclass(frozen=True)
class BaselineFit:
    """The head; whether its solver converged; and the temperature of its margins, 1 where it gives probabilities."""

    module: Baseline
    converged: bool
    temperature: float


def fit_baseline(
    name: str,
    inputs: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    n_classes: int,
    train: Tensor,
    validation: Tensor,
    row_weights: Tensor | None = None,
    sample_weights: Tensor | None = None,
    seed: int = 0,
) -> BaselineFit:
    """Return scikit-learn's model fitted to the training rows, with its own defaults; see `BASELINES` for the names.

    Validation rows are looked at by `sklearn-svm` only: they fit the temperature that turns margins into logits.

    Shape:
        inputs: {modality: (N, D_modality)} float32, standardised
        present: {modality: (N,)} bool
        targets: (N,) int64
        train, validation: (n,) int64
        row_weights: (N,) non-negative, of the training rows' losses; 1 where there are none
        sample_weights: (N,) non-negative, of the validation rows; likewise

    Raises:
        SettingError: there is no baseline of this name.
        LabelError: the training rows are all of one class.
    """
    seen_classes = find_seen_classes(targets[train], n_classes=n_classes)
    module = Baseline(
        {key: inputs[key].shape[1] for key in inputs}, _model(name, seed), seen_classes=seen_classes
    ).eval()

    def vectors_of(rows: Tensor) -> np.ndarray:
        return module.vectors(*take_rows(inputs, present, rows))

    labels = targets[train].cpu().numpy()
    weights = None if row_weights is None else row_weights[train].double().cpu().numpy()
    converged = fit_converged(module.model, vectors_of(train), labels, weights)
    validated = validation[seen_classes[targets[validation]]]
    if not hasattr(module.model, "predict_proba") and len(validated):
        seen_positions = seen_classes.cumsum(0) - 1  # of the classes seen, among themselves
        validated_weights = None if sample_weights is None else sample_weights[validated].cpu()
        logits, validated_labels = module.logits(vectors_of(validated)), seen_positions[targets[validated]].cpu()
        module.temperature = fit_temperature(logits, validated_labels, validated_weights)
    return BaselineFit(module, converged, module.temperature)


def _model(name: str, seed: int) -> Any:
    """Return the model of this name, not fitted."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if name == "sklearn-boosting":
        return HistGradientBoostingClassifier(random_state=seed)
    if name == "sklearn-forest":
        return RandomForestClassifier(random_state=seed, n_jobs=-1)
    if name == "sklearn-logistic":
        return LogisticRegression(max_iter=1000, random_state=seed)
    if name == "sklearn-svm":
        return LinearSVC(random_state=seed)
    raise SettingError(f"Expected a baseline to be one of {', '.join(BASELINES)}, got {name!r}.")


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    seed = rows.seed % 2**32  # scikit-learn takes no larger one
    return fit_baseline(
        rows.name, *rows.vectors_and_targets, **rows.sides, row_weights=rows.row_weights, seed=seed
    ).module, {}
