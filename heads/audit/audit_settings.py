"""What an audit may be told, and the defaults of all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from heads.errors import SettingError
from heads.settings import ProblemSettings, check

__all__ = ["AuditSettings"]

LEAST_FOLDS = 2


@dataclass(frozen=True)
class AuditSettings(ProblemSettings):
    """Settings of `heads.audit`.

    Raises:
        SettingError: a value is out of its range.
    """

    takes_split_column: ClassVar[bool] = False
    fusions: tuple[str, ...] = ()  # the audit has a head of its own
    encoders: Mapping[str, str] = field(default_factory=dict)  # modality -> encoder; else the only one there is
    n_folds: int = 5  # of which each answers the rows that it did not learn from
    n_neighbours: int = 10  # that vote
    most: int = 500  # findings of a kind
    seed: int = 0

    def __post_init__(self) -> None:
        check(self, "n_folds", self.n_folds >= LEAST_FOLDS, f"at least {LEAST_FOLDS}")
        check(self, "n_neighbours", self.n_neighbours >= 1, "at least 1")
        check(self, "most", self.most >= 1, "at least 1")
        check(self, "seed", 0 <= self.seed < 2**63, "at least 0 and less than 2^63")
        if self.split_column is not None or self.fusions:
            raise SettingError("An audit makes folds and a head of its own. Leave --split-column and --fusion out.")
        super().__post_init__()

    @property
    def folds(self) -> int:
        return self.n_folds

    @property
    def draw_seed(self) -> int:
        return self.seed
