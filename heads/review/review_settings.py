"""The settings of a review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from heads.settings import check

__all__ = ["ReviewSettings"]


@dataclass(frozen=True)
class ReviewSettings:
    """Settings of `heads.review_products`.

    Raises:
        SettingError: a value is out of its range.
    """

    label: str | None = None  # the column to fill, which need not exist yet; None: by its usual names
    classes: tuple[str, ...] = ()  # that products may be of, besides those that labels name already
    corrections: str | Path | None = None  # a CSV of products and labels: the answers so far
    count: int = 100  # products that are asked for
    encoders: Mapping[str, str] = field(default_factory=dict)  # modality -> encoder; else the only one there is
    modalities: tuple[str, ...] | None = None  # None: all that the cache has
    group_column: str | None = None  # rows with one cell in it are copies, of which one is asked for
    near_duplicates: float | None = None  # vectors of this cosine are copies, too; None: those equal within rounding
    seed: int = 0
    memory: str | None = None  # such as 8G, for vectors; None: half of all

    def __post_init__(self) -> None:
        check(self, "count", 1 <= self.count <= 10_000, "from 1 to 10,000 products")
        check(self, "seed", 0 <= self.seed < 2**63, "at least 0 and less than 2^63")
        cosine = self.near_duplicates
        check(self, "near_duplicates", cosine is None or 0 < cosine <= 1, "a cosine over 0 and up to 1")
