"""A grid of settings: lists and ranges written as text, and the settings of a training that they span."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from heads.errors import SettingError
from heads.settings import AUTO, FitSettings

__all__ = ["Range", "axis_kind", "axis_name", "parse_axis", "span"]

_DEFAULTS = {field.name: field.default for field in fields(FitSettings)}
_SHORT = {"learning_rate": "lr", "hidden_dim": "hidden"}
_WORDS = tuple(name for name, default in _DEFAULTS.items() if not isinstance(default, int | float))
_LOGARITHMIC = ("learning_rate", "weight_decay")
_POWERS = ("hidden_dim", "batch_size")


@dataclass(frozen=True)
class Range:
    """The values from `low` to `high` that a search may take of a setting: of `kind` linear, log, powers or whole.

    Powers are those of 2.

    Raises:
        SettingError: it is empty, or a kind cannot have these ends.
    """

    name: str
    low: float
    high: float
    kind: str

    def __post_init__(self) -> None:
        self._check(self.low < self.high, "two numbers, the smaller first")
        if self.kind == "log":
            self._check(self.low > 0, "of positive numbers, for it is searched by order of magnitude")
        if self.kind in ("powers", "whole"):
            self._check(self.low == int(self.low) and self.high == int(self.high), "of whole numbers")
        if self.kind == "powers":
            powers = all(int(end) & (int(end) - 1) == 0 for end in (self.low, self.high))
            self._check(self.low >= 1 and powers, "of powers of two")
        for end in (self.low, self.high):
            _checked(self.name, int(end) if self.kind in ("powers", "whole") else end)

    def _check(self, holds: bool, requirement: str) -> None:
        if not holds:
            raise SettingError(f"Expected the range of {_option(self.name)} to be {requirement}, got {self}.")

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


def axis_name(name: str) -> str:
    """Return how a setting is called where there is little room.

    >>> axis_name("learning_rate"), axis_name("weight_decay")
    ('lr', 'weight-decay')
    """
    return _SHORT.get(name, name.replace("_", "-"))


def axis_kind(name: str) -> str:
    """Return how a setting's values lie: log, powers (of two), linear, whole (numbers) or words.

    >>> axis_kind("learning_rate"), axis_kind("dropout"), axis_kind("absent")
    ('log', 'linear', 'words')
    """
    if name in _WORDS:
        return "words"
    if name in _LOGARITHMIC:
        return "log"
    if name in _POWERS:
        return "powers"
    return "linear" if isinstance(_DEFAULTS[name], float) else "whole"


def parse_axis(name: str, text: str) -> tuple[Any, ...] | Range:
    """Return the values of a setting that a list names, or the range that ``low..high`` is.

    >>> parse_axis("learning_rate", "1e-3,3e-3")
    (0.001, 0.003)
    >>> str(parse_axis("hidden_dim", "64..512"))
    '64..512'

    Raises:
        SettingError: a value is none of the setting's.
    """
    if ".." in text and name not in _WORDS:
        low, high = (_number(name, part, text) for part in text.split("..", 1))
        return Range(name, low, high, axis_kind(name))
    parts = [part.strip() for part in text.split(",")]
    values = dict.fromkeys(_value(name, part, text) for part in parts if part)
    if not values:
        raise SettingError(f"{_option(name)}: expected one value or more with commas between, got {text!r}.")
    return tuple(_checked(name, value) for value in values)


def span(axes: Mapping[str, Sequence[Any]]) -> list[FitSettings]:
    """Return every combination of the values; what is not named is at its default.

    Raises:
        SettingError: values that do not go together.
    """
    names = list(axes)
    return [
        replace(FitSettings(), **dict(zip(names, values, strict=True))) for values in itertools.product(*axes.values())
    ]


def _value(name: str, part: str, text: str) -> Any:
    if name in _WORDS:
        return None if name == "per_class" and part == "all" else part
    if name == "logit_adjustment" and part == AUTO:
        return part
    number = _number(name, part, text)
    if isinstance(_DEFAULTS[name], float):
        return number
    if number != int(number):
        raise SettingError(f"{_option(name)}: expected whole numbers, got {text!r}.")
    return int(number)


def _number(name: str, part: str, text: str) -> float:
    try:
        number = float(part)
        int(number)  # raises for infinity and NaN
    except (ValueError, OverflowError) as error:
        expected = "numbers with commas between, or a range such as 1..2"
        raise SettingError(f"{_option(name)}: expected {expected}, got {text!r}.") from error
    return number


def _checked(name: str, value: Any) -> Any:
    """Return the value, or raise a SettingError where it is none of the setting's."""
    changes = {name: value}
    if name == "n_attention_heads":
        changes["hidden_dim"] = value
    FitSettings(**changes)
    if name == "per_class" and value is not None:
        from heads.training.sampler import parse_per_class

        parse_per_class(value, np.ones(1, dtype=np.int64))
    return value


def _option(name: str) -> str:
    return name if name.startswith("n_") else "--" + name.replace("_", "-")
