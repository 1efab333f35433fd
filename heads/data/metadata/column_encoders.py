"""How one column of a catalogue becomes numbers, described in JSON's types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cache.columns.column_types import (
    DATE_ORDERS,
    DATE_PARTS,
    parse_booleans,
    parse_categories,
    parse_dates,
    parse_numbers,
    parse_plain_numbers,
)

__all__ = ["N_NUMBERS", "ColumnEncoding", "NumberScale", "numbers_of", "parse_counts"]

N_NUMBERS = {"number": 1, "date": len(DATE_PARTS), "counts": 2}
MOST_WIDTH = 2**16  # of a hashed column


class NumberScale(NamedTuple):
    """The training rows' range of a number, their median and their standard deviation.

    Numbers are brought to one scale here, beside zeros and ones: the standardisation of a head has a least scale that
    follows from the mean one, and a column of prices would flatten all categories.
    """

    low: float
    median: float
    high: float
    scale: float

    @classmethod
    def of(cls, values: np.ndarray) -> NumberScale:
        """Return what some numbers have, (n,)."""
        low, median, high = float(values.min()), float(np.median(values)), float(values.max())
        return cls(low, median, high, float(values.std()) or 1.0)

    @property
    def is_sound(self) -> bool:
        """Whether these are numbers that some column could have."""
        are_finite = all(isinstance(value, int | float) and math.isfinite(value) for value in self)
        return are_finite and self.low <= self.median <= self.high and self.scale > 0

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return numbers within the range, the median at 0; NaN stays NaN."""
        return (np.clip(values, self.low, self.high) - self.median) / self.scale


@dataclass(frozen=True)
class ColumnEncoding:
    """How a column is encoded.

    Missing cells of a categorical or boolean column are a category; a category that is none of these is zeros.
    A number is clipped to the training rows' range; a missing one is their median, and one dimension more says so.
    """

    name: str
    kind: str  # categorical, boolean, hashed, number, date or counts
    categories: tuple[str, ...] = ()
    numbers: tuple[NumberScale, ...] = ()  # that the column comes to
    width: int = 0  # of a hashed column
    order: str = ""  # of a date's day and month: one of DATE_ORDERS

    @property
    def dim(self) -> int:
        """How many dimensions the column comes to."""
        return len(self.categories) + self.width + (len(self.numbers) + 1 if self.numbers else 0)

    @property
    def is_sound(self) -> bool:
        """Whether the fields go together, and claim no more than a fitted encoding does."""
        n_numbers = N_NUMBERS.get(self.kind, 0)
        if self.kind not in (*N_NUMBERS, "categorical", "boolean", "hashed"):
            return False
        return (
            len(self.numbers) == n_numbers
            and all(number.is_sound for number in self.numbers)
            and (self.kind == "hashed") == bool(self.width)
            and 0 <= self.width <= MOST_WIDTH
            and self.order in (DATE_ORDERS if self.kind == "date" else ("",))
            and bool(self.categories) == (self.kind in ("categorical", "boolean"))
            and len(set(self.categories)) == len(self.categories)
        )

    def series(self, cells: Sequence[str], *, version: int) -> list[list[Any] | np.ndarray]:
        """Return what the column's vectors are made of: N categories, or N numbers once or several times.

        Version 1 of the encoding reads prices and decimal commas as missing.
        """
        if not self.numbers:
            parsed = parse_booleans(cells) if self.kind == "boolean" else parse_categories(cells)
            return [[word.encode(errors="backslashreplace").decode() for word in parsed] if self.width else parsed]
        plain = parse_plain_numbers(cells)[:, None] if version == 1 and self.kind == "number" else None
        columns = (numbers_of(self.kind, cells, order=self.order) if plain is None else plain).T
        return [number.scaled(values) for number, values in zip(self.numbers, columns, strict=True)]

    def knows(self, cells: Sequence[str], *, version: int) -> np.ndarray:
        """Return which of N cells are numbers, or of a category that the training had, (N,) bool."""
        if self.width or not len(cells):
            return np.ones(len(cells), dtype=bool)
        values = self.series(cells, version=version)[0]
        if self.numbers:
            return ~np.isnan(np.asarray(values, dtype=np.float64))
        return np.isin(np.asarray(values, dtype=object), np.asarray(self.categories, dtype=object))

    def encode(self, series: Sequence[Sequence[Any] | np.ndarray]) -> np.ndarray:
        """Return the vectors of N cells from their `series`, (N, dim) float32."""
        if self.width:
            from sklearn.feature_extraction import FeatureHasher

            hasher = FeatureHasher(n_features=self.width, input_type="string", dtype=np.float32)
            return hasher.transform([[word] for word in series[0]]).toarray()
        if not self.numbers:
            positions = {category: position for position, category in enumerate(self.categories)}
            category_positions = np.array([positions.get(cell, -1) for cell in series[0]])
            return (category_positions[:, None] == np.arange(len(positions))).astype(np.float32)
        is_missing = np.isnan(series)  # (numbers, N); the parts of a date are missing together
        first_numbers, *other_numbers = np.where(is_missing, 0.0, series)  # the median is at 0
        return np.stack([first_numbers, is_missing[0], *other_numbers], axis=1).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that say something, in JSON's types."""
        fields: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.width:
            return fields | {"width": self.width}
        if self.numbers:
            order = {"order": self.order} if self.order else {}
            return fields | order | {"numbers": [number._asdict() for number in self.numbers]}
        return fields | {"categories": list(self.categories)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ColumnEncoding:
        """Return the encoding that `to_dict` described."""
        return cls(
            name=str(fields["name"]),
            kind=str(fields["kind"]),
            categories=tuple(map(str, fields.get("categories", ()))),
            numbers=tuple(NumberScale(**number) for number in fields.get("numbers", ())),
            width=int(fields.get("width", 0)),
            order=str(fields.get("order", "")),
        )


def numbers_of(kind: str, cells: Sequence[str], *, order: str = "") -> np.ndarray:
    """Return the numbers that cells come to, (N, numbers) float64; `order` is that of dates (`column_types`)."""
    if kind == "number":
        return parse_numbers(cells)[:, None]
    return parse_dates(cells, order) if kind == "date" else parse_counts(cells)


def parse_counts(cells: Sequence[str]) -> np.ndarray:
    """Return how many words and characters each cell has, NaN where it is empty, (N, 2) float64."""
    return np.array(
        [(len(words), len(" ".join(words))) if (words := cell.split()) else (np.nan, np.nan) for cell in cells],
        dtype=np.float64,
    ).reshape(-1, 2)
