"""What an ablation may be told, and the defaults of all of it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cache.workers.ray_cluster import RaySettings
from heads.ablation.engines.registry import ENGINES
from heads.ablation.grid import Range, span
from heads.errors import SettingError
from heads.experiment.configuration import AXES
from heads.settings import ProblemSettings, check

__all__ = ["AblationSettings", "parse_seeds"]

USUAL_FOLDS = 5
MOST_SEEDS = 10_000
MOST_DIGITS = 19  # of 2^63


@dataclass(frozen=True)
class AblationSettings(ProblemSettings):
    """Settings of `heads.ablate`.

    Raises:
        SettingError: a value is out of its range, or two do not go together.
    """

    grid: Mapping[str, tuple[Any, ...] | Range] = field(default_factory=dict)  # setting -> its values; else the default
    n_trials: int | None = None  # of a search, for each head and its encoders; None: every combination of the grid
    encoders: tuple[str, ...] = ()  # of a modality where none is named: all that the cache has
    n_folds: int | None = None  # None: 5, or 1 where a column splits; 1 is one split as that of `heads.train`
    seeds: tuple[int, ...] = (0,)  # of initial weights and order; the folds are the same for all
    split_seed: int = 0
    race: bool = False  # train fold by fold, and stop what is certainly behind
    engine: str = "local"  # where jobs are trained
    ray: RaySettings = field(default_factory=RaySettings)  # of the engine ray

    def __post_init__(self) -> None:
        for name, values in self.grid.items():
            if name not in AXES:
                raise SettingError(f"--grid: expected settings of {', '.join(AXES)}, got {name}.")
            if isinstance(values, Range) and self.n_trials is None:
                raise SettingError(f"A range ({name} {values}) is for a search. Add --search N, or list the values.")
            if not isinstance(values, Range) and not values:
                raise SettingError(f"--grid: expected one value or more of each setting, got none of {name}.")
        span({name: values for name, values in self.grid.items() if not isinstance(values, Range)})
        if self.n_trials is not None and self.n_trials < 1:
            raise SettingError(f"--search: expected at least 1 trial, got {self.n_trials}.")
        check(self, "encoders", not isinstance(self.encoders, Mapping), "a list of encoders")
        if self.weights == "sweep":
            raise SettingError("--weights: expected numbers or auto, got sweep, which is for heads-train alone.")
        check(self, "n_folds", self.n_folds is None or self.n_folds >= 1, "at least 1")
        if self.split_column is not None and (self.n_folds or 1) > 1:
            raise SettingError(f"--split-column makes one fold, but --folds is {self.n_folds}. Leave one out.")
        if self.race and self.n_trials is not None:
            raise SettingError("--race drops configurations of a grid, and --search chooses its own. Leave one out.")
        if self.race and self.folds < 2:
            raise SettingError(f"--race: expected 2 folds or more, got {self.folds}. Name some with --folds.")
        are_distinct = len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds)
        are_seeds = are_distinct and all(0 <= seed < 2**63 for seed in self.seeds)
        check(self, "seeds", are_seeds, "a number of seeds, or different ones from 0 on")
        check(self, "split_seed", 0 <= self.split_seed < 2**63, "at least 0 and less than 2^63")
        check(self, "engine", self.engine in ENGINES, " or ".join(ENGINES))
        super().__post_init__()

    @property
    def folds(self) -> int:
        return self.n_folds or (USUAL_FOLDS if self.split_column is None else 1)

    @property
    def draw_seed(self) -> int:
        return self.split_seed


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
