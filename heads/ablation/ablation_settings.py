"""What an ablation may be told, and the defaults of all of it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heads.ablation.grid import AXES, Range, span
from heads.errors import SettingError
from heads.head_types import fusion_names
from heads.settings import PRECISIONS

__all__ = ["AblationSettings", "parse_seeds"]

USUAL_FOLDS = 5
MOST_SEEDS = 10_000
MOST_DIGITS = 19  # of 2^63


@dataclass(frozen=True)
class AblationSettings:
    """Settings of `heads.ablate`.

    Raises:
        SettingError: a value is out of its range, or two do not go together.
    """

    label: str | None = None  # the column to learn; None: by its usual names
    fusions: tuple[str, ...] = field(default_factory=fusion_names)  # each modality alone is trained in any case
    grid: Mapping[str, tuple[Any, ...] | Range] = field(default_factory=dict)  # setting -> its values; else the default
    n_trials: int | None = None  # of a search, for each head and its encoders; None: every combination of the grid
    weights: str | None = None  # of late fusion: "0.4,0.6", "image=0.4,text=0.6" or "auto"; None: equal
    modalities: tuple[str, ...] | None = None  # None: all that the cache has
    encoders: tuple[str, ...] = ()  # of a modality where none is named: all that the cache has
    metadata_columns: tuple[str, ...] | None = None  # of the catalogue, that make the modality metadata; ("auto",)
    metadata_counts: tuple[str, ...] = ()  # columns of text, whose counts of words and characters are metadata
    allow_leaks: bool = False  # let columns that give the label away be metadata
    min_rows: int = 10  # classes with fewer rows are left out
    n_folds: int | None = None  # None: 5, or 1 where a column splits; 1 is one split as that of `heads.train`
    seeds: tuple[int, ...] = (0,)  # of initial weights and order; the folds are the same for all
    split_seed: int = 0
    split_column: str | None = None  # a column that says train, validation or test
    test_share: float = 0.2  # where there is one fold
    validation_share: float = 0.15  # of all rows, in each fold
    n_resamples: int = 1000  # of the bootstrap
    memory: str | None = None  # such as 8G, for vectors; larger caches are trained from the disk; None: half of all
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, values in self.grid.items():
            self._check("grid", name in AXES, f"of {', '.join(AXES)}", name)
            if isinstance(values, Range) and self.n_trials is None:
                raise SettingError(f"A range ({name} {values}) is for a search. Add --search N, or list the values.")
            self._check("grid", isinstance(values, Range) or len(values) > 0, "of one value or more each", name)
        span({name: values for name, values in self.grid.items() if not isinstance(values, Range)})
        self._check("search", self.n_trials is None or self.n_trials >= 1, "at least 1", self.n_trials)
        self._check("min-rows", self.min_rows >= 1, "at least 1", self.min_rows)
        self._check("folds", self.n_folds is None or self.n_folds >= 1, "at least 1", self.n_folds)
        if self.split_column is not None and (self.n_folds or 1) > 1:
            raise SettingError(f"--split-column makes one fold, but --folds is {self.n_folds}. Leave one out.")
        is_list = len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds)
        good = is_list and all(0 <= seed < 2**63 for seed in self.seeds)
        self._check("seeds", good, "a number of seeds, or different ones from 0 on", self.seeds)
        self._check("split-seed", 0 <= self.split_seed < 2**63, "at least 0 and less than 2^63", self.split_seed)
        for name in ("test_share", "validation_share"):
            value = getattr(self, name)
            self._check(name.replace("_", "-"), 0 < value < 1, "between 0 and 1", value)
        test_share = self.test_share if self.folds == 1 else 1 / self.folds
        left = test_share + self.validation_share < 1
        self._check("validation-share", left, "less than what the test rows leave", self.validation_share)
        self._check("resamples", self.n_resamples >= 100, "at least 100", self.n_resamples)
        self._check("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS), self.precision)
        if self.weights is not None and "late" not in self.fusions:
            raise SettingError("--weights are those of late fusion. Add late to --fusion, or leave the weights out.")

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return self.n_folds or (USUAL_FOLDS if self.split_column is None else 1)

    def _check(self, name: str, holds: bool, wish: str, value: object) -> None:
        if not holds:
            raise SettingError(f"--{name}: expected {wish}, got {value}.")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that a list names, or as many as a number says.

    >>> parse_seeds("3"), parse_seeds("7,11"), parse_seeds("7,")
    ((0, 1, 2), (7, 11), (7,))

    Raises:
        SettingError: the text says something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= MOST_DIGITS for part in parts if part) or not any(parts):
        shown = reprlib.repr(text)
        raise SettingError(f"--seeds: expected a number of seeds, or a list such as 7,11, got {shown}.")
    numbers = [int(part) for part in parts if part]
    n_seeds = numbers[0] if len(parts) == 1 else len(numbers)
    if n_seeds > MOST_SEEDS:
        raise SettingError(f"--seeds: expected {MOST_SEEDS} seeds at most, got {n_seeds}.")
    return tuple(range(n_seeds)) if len(parts) == 1 else tuple(numbers)
