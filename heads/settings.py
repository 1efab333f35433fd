"""The settings of a training, and their defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from heads.errors import SettingError
from heads.head_types import control_names, fusion_names
from heads.schedules import SCHEDULES

__all__ = [
    "ABSENT",
    "AUTO",
    "CLASS_WEIGHTS",
    "FITTED_WEIGHTS",
    "KEEPS",
    "PRECISIONS",
    "SCALINGS",
    "SIZES",
    "FitSettings",
    "ProblemSettings",
    "TrainSettings",
    "check",
]

PRECISIONS = ("auto", "fp32", "bf16")
ABSENT = ("zeros", "learned")
CLASS_WEIGHTS = ("equal", "balanced")
KEEPS = ("best", "last")
SCALINGS = ("z-score", "none", "l2", "pca")  # what each does stands in heads/modules/parts/scalings.py
FITTED_WEIGHTS = ("auto", "sweep")
AUTO = "auto"  # of the logit adjustment: fitted on validation rows
OPTIONLESS = ("n_tokens", "n_attention_heads")  # no command has an option for them
SIZES: Mapping[str, Mapping[str, Any]] = {
    # Does it run?
    "small": {"hidden_dim": 64, "dropout": 0.0, "max_epochs": 10},
    # Can it learn the training rows by heart?
    "large": {
        "hidden_dim": 1024,
        "dropout": 0.0,
        "weight_decay": 0.0,
        "schedule": "none",
        "batch_size": 256,
        "max_epochs": 60,
        "patience": 60,
        "keep": "last",
    },
    # Does it generalise?
    "regularised": {"hidden_dim": 256, "dropout": 0.5, "weight_decay": 0.05, "modality_dropout": 0.2},
}


@dataclass(frozen=True)
class FitSettings:
    """Settings of one head's training.

    Raises:
        SettingError: a value is out of its range.
    """

    seed: int = 0
    hidden_dim: int = 256  # attention over tokens is half as wide
    n_tokens: int = 2  # that attention splits each vector into
    n_attention_heads: int = 4
    rank: int = 4  # of lowrank
    dropout: float = 0.5
    modality_dropout: float = 0.0  # of the modalities of a row, at least one staying
    scaling: str = "z-score"  # of vectors, by statistics of the training rows; tokens are always z-scored
    absent: str = "zeros"  # what stands for an absent modality: zeros, which are the mean, or a learned vector
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    schedule: str = "one-cycle"  # of the learning rate, or none, cosine or plateau (`heads.schedules`)
    warmup: float = 0.0  # epochs through which the learning rate rises to what it is
    batch_size: int = 512  # at most; few rows make smaller ones, so that an epoch has 16 steps
    max_epochs: int = 60  # the schedule may plan fewer
    patience: int = 6  # epochs without a better macro-F1 on the validation rows
    keep: str = "best"  # the weights of the epoch that is best on the validation rows, or last: those of max_epochs
    class_weights: str | tuple[float, ...] = "equal"  # or balanced: each weighs the same in the loss; or K numbers
    # times the log of the classes' shares, added to the logits in training; auto: taken from them afterwards, fitted
    logit_adjustment: float | str = 0.0
    per_class: str | None = None  # rows of each class in an epoch: a number, smallest or largest; None or all: all rows

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "n_tokens", "n_attention_heads", "rank", "max_epochs", "patience"):
            check(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("dropout", "modality_dropout"):
            check(self, name, 0 <= getattr(self, name) < 1, "at least 0 and less than 1")
        check(self, "batch_size", self.batch_size >= 2, "at least 2")
        check(self, "learning_rate", 0 < self.learning_rate < math.inf, "positive and finite")
        for name in ("weight_decay", "warmup"):
            check(self, name, 0 <= getattr(self, name) < math.inf, "at least 0 and finite")
        strength = self.logit_adjustment
        is_valid = strength == AUTO if isinstance(strength, str) else 0 <= strength < math.inf
        check(self, "logit_adjustment", is_valid, "auto, or a number, at least 0 and finite")
        check(self, "seed", 0 <= self.seed < 2**63, "at least 0 and less than 2^63")
        is_multiple = self.hidden_dim % self.n_attention_heads == 0
        check(self, "hidden_dim", is_multiple, f"a multiple of {self.n_attention_heads}")
        check(self, "schedule", self.schedule in SCHEDULES, " or ".join(SCHEDULES))
        check(self, "scaling", self.scaling in SCALINGS, ", ".join(SCALINGS))
        check(self, "absent", self.absent in ABSENT, " or ".join(ABSENT))
        check(self, "keep", self.keep in KEEPS, " or ".join(KEEPS))
        if isinstance(self.class_weights, str):
            check(self, "class_weights", self.class_weights in CLASS_WEIGHTS, " or ".join(CLASS_WEIGHTS))
        else:
            are_valid = all(0 < weight < math.inf for weight in self.class_weights)
            check(self, "class_weights", are_valid, "positive and finite")


@dataclass(frozen=True)
class ProblemSettings:
    """What is learned, from which vectors, on which rows, and on what machine.

    Raises:
        SettingError: a value is out of its range, or two do not go together.
    """

    label: str | None = None  # the column to learn; None: by its usual names
    label_level: int | None = None  # of labels that are paths or lists: 1 the first, -1 the last; None: as they are
    fusions: tuple[str, ...] = field(default_factory=fusion_names)  # each modality alone is trained in any case
    weights: str | None = None  # of late fusion: "0.4,0.6", "image=0.4,text=0.6", "auto", "sweep"; None: equal
    modalities: tuple[str, ...] | None = None  # None: all that the cache has
    encoders: Mapping[str, str] | tuple[str, ...] = ()  # {modality: its only one}, or those to compare
    metadata_columns: tuple[str, ...] | None = None  # of the catalogue, that make the modality metadata; ("auto",)
    metadata_counts: tuple[str, ...] = ()  # columns of text, whose counts of words and characters are metadata
    allow_leaks: bool = False  # let columns that give the label away be metadata
    corrections: str | Path | None = None  # the path of a CSV file of products and the labels that they should have
    min_rows: int = 10  # classes with fewer rows are left out
    group_column: str | None = None  # rows of one cell stand on one side of every split, as copies do
    near_duplicates: float | None = None  # vectors of this cosine are copies, too; None: those equal within rounding
    takes_split_column: ClassVar[bool] = True
    split_column: str | None = None  # a column that says train, validation or test; None: split by seed
    test_share: float = 0.2  # where there is one fold
    validation_share: float = 0.15  # of all rows, in each fold
    n_resamples: int = 1000  # of the bootstrap
    margin: float = 2.0  # points of a score that do not matter: a difference surely within them is none
    memory: str | None = None  # such as 8G, for vectors; larger caches are trained from the disk; None: half of all
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.corrections is not None:
            object.__setattr__(self, "corrections", str(self.corrections))  # as config.json can hold it
        check(self, "min_rows", self.min_rows >= 1, "at least 1")
        cosine = self.near_duplicates
        check(self, "near_duplicates", cosine is None or 0 < cosine <= 1, "a cosine over 0 and up to 1")
        if self.label_level is not None:
            check(self, "label_level", self.label_level != 0, "1 for the first level, 2, …, or -1 for the last")
        for name in ("test_share", "validation_share"):
            check(self, name, 0 < getattr(self, name) < 1, "between 0 and 1")
        test_share = self.test_share if self.folds == 1 else 1 / self.folds
        leaves_some = test_share + self.validation_share < 1
        check(self, "validation_share", leaves_some, "less than what the test rows leave")
        check(self, "n_resamples", self.n_resamples >= 100, "at least 100")
        check(self, "margin", 0 < self.margin < 100, "points above 0 and below 100")
        check(self, "precision", self.precision in PRECISIONS, ", ".join(PRECISIONS))
        if self.weights is not None and "late" not in self.fusions:
            raise SettingError(
                f"--weights are those of late fusion, but --fusion is {','.join(self.fusions) or 'none'}. Add late, "
                "or leave the weights out."
            )

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return 1

    @property
    def draw_seed(self) -> int:
        """The seed of the split or the folds, and of the bootstrap."""
        raise NotImplementedError


@dataclass(frozen=True)
class TrainSettings(ProblemSettings, FitSettings):
    """Settings of `heads.train`; `weights` may be "sweep" too, and `seed` is that of the split, too.

    Raises:
        SettingError: a value is out of its range.
    """

    views: bool = False  # training rows show one of their picture's views (`embed-extract --views 4`), drawn anew
    guard: bool = False  # beside each fusion one that is no worse than the best single head on the validation rows
    pseudo_label: bool = False  # learn from products without a label, too, where that helps on validation rows
    controls: tuple[str, ...] = ("majority", "centroids")  # those that take no time
    encoders: Mapping[str, str] = field(default_factory=dict)  # modality -> encoder; else the only one there is

    def __post_init__(self) -> None:
        FitSettings.__post_init__(self)
        ProblemSettings.__post_init__(self)
        check(self, "encoders", isinstance(self.encoders, Mapping), "a mapping {modality: encoder}")
        check(self, "controls", set(self.controls) <= set(control_names()), f"some of {', '.join(control_names())}")

    @property
    def draw_seed(self) -> int:
        return self.seed


def check(settings: Any, name: str, holds: bool, requirement: str) -> None:
    """Check that a setting meets its requirement, such as "at least 1".

    Raises:
        SettingError: it does not, as `holds` says.
    """
    if not holds:
        option = name if name in OPTIONLESS else "--" + name.removeprefix("n_").replace("_", "-")
        raise SettingError(f"{option}: expected {requirement}, got {getattr(settings, name)}.")
