"""A classifier's parameters, checked: its head, the settings of its training, the weights of late fusion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight

from heads.errors import SettingError
from heads.head_types import HEAD_TYPES, SYNONYMS, head_type
from heads.modules.late import parse_weights
from heads.modules.plugin import is_plugin
from heads.settings import FITTED_WEIGHTS, PRECISIONS, FitSettings

__all__ = ["find_fusion", "find_late_weights", "find_settings"]

INTEGERS = ("hidden_dim", "batch_size", "max_epochs", "patience")
REALS = ("dropout", "modality_dropout", "learning_rate", "weight_decay", "warmup")
WORDS = ("scaling", "schedule")


def find_fusion(requested: object, modalities: Sequence[str]) -> str:
    """Return the name of the head that `fusion` asks for, over these modalities.

    Raises:
        SettingError: there is no such head, or it needs more modalities.
    """
    fusion = SYNONYMS.get(requested, requested) if isinstance(requested, str) else ""
    if fusion not in (*HEAD_TYPES, *modalities) and not is_plugin(fusion):
        raise SettingError(
            f"Expected fusion to be one of {', '.join((*modalities, *HEAD_TYPES))}, or a head of your own as "
            f"file.py:Class, got {requested!r}."
        )
    if head_type(fusion).needs_two and len(modalities) < 2:
        raise SettingError(
            f"The fusion {fusion} needs two modalities, but there is {modalities[0]} alone. Say which columns are "
            'whose: modalities={"image": 512, "text": 768}.'
        )
    return fusion


def find_settings(
    parameters: Mapping[str, Any], fusion: str, classes: np.ndarray, y: np.ndarray
) -> tuple[FitSettings, np.ndarray]:
    """Return the settings of training, and the share of each class's rows that validate it, (K,).

    Raises:
        SettingError: a parameter is out of its range.
    """
    fraction, class_weight = parameters["validation_fraction"], parameters["class_weight"]
    for kind, word, names in (
        (Integral, "an integer", INTEGERS),
        (Real, "a number", (*REALS, "validation_fraction")),
        (str, "a word", WORDS),
    ):
        for name in names:
            if not isinstance(parameters[name], kind):
                raise SettingError(f"Expected {name} to be {word}, got {parameters[name]!r}.")
    if not 0 < fraction < 1:
        raise SettingError(f"Expected validation_fraction to be between 0 and 1, got {fraction}.")
    if parameters["precision"] not in PRECISIONS:
        raise SettingError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got {parameters['precision']!r}.")
    if class_weight is not None and not head_type(fusion).weighs_classes:
        raise SettingError(f"{fusion} weighs no classes, but class_weight is {class_weight!r}: leave it out.")
    shares = np.full(len(classes), float(fraction))
    class_weights: str | tuple[float, ...] = "equal"
    if isinstance(class_weight, Mapping):
        weights = compute_class_weight(dict(class_weight), classes=classes, y=y)
        class_weights = tuple(weights.tolist())
        shares *= weights / weights.max()
    elif class_weight == "balanced":
        class_weights = class_weight
    elif class_weight is not None:
        raise SettingError(f"Expected class_weight to be None, balanced, or numbers by class, got {class_weight!r}.")
    numbers = {name: parameters[name] for name in (*INTEGERS, *REALS, *WORDS)}
    seed = _draw_seed(parameters["random_state"])
    with _as_parameters():
        return FitSettings(seed=seed, class_weights=class_weights, **numbers), shares


def find_late_weights(weights: object, modalities: Sequence[str]) -> dict[str, float]:
    """Return the weights of late fusion, {modality: weight}, of sum 1; equal where none are given.

    Raises:
        SettingError: they are not one number for each modality.
    """
    if isinstance(weights, Mapping):
        weights = ",".join(f"{name}={number}" for name, number in weights.items())
    if isinstance(weights, str) and weights in FITTED_WEIGHTS:
        raise SettingError(
            f"Expected weights to be one number per modality ({', '.join(sorted(modalities))}), got {weights!r}, which "
            "heads-train fits. Take its run, or fusion='stack', which learns what each modality is worth."
        )
    if weights is None or isinstance(weights, str):
        with _as_parameters():
            return parse_weights(weights, modalities)
    raise SettingError(f'Expected weights such as {{"image": 0.4, "text": 0.6}} or "0.4,0.6", got {weights!r}.')


@contextmanager
def _as_parameters() -> Iterator[None]:
    """Have errors name the classifier's parameters instead of the commands' options."""
    try:
        yield
    except SettingError as error:
        text = str(error).replace("--class-weights", "class_weight")
        raise SettingError(re.sub("--([a-z-]+)", lambda match: match[1].replace("-", "_"), text)) from error


def _draw_seed(random_state: Any) -> int:
    if random_state is None:  # numpy's global numbers stay as they were
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))
