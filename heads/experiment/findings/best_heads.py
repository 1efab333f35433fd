"""Which heads of a run are the best, by the validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heads.head_types import GUARD, head_type

__all__ = ["LATE_FITTED", "Choice", "choose_heads"]

LATE_FITTED = "late's weights were fitted on the validation rows too."  # beside a choice by these


@dataclass(frozen=True)
class Choice:
    """The heads with the best macro-F1 on the validation rows: of all, of one modality, of the fusions if there are."""

    best: str
    single: str
    fusion: str | None
    is_late_fitted: bool = False  # on the validation rows, which chose

    @property
    def sentence(self) -> str:
        """The choice in words."""
        fusion = f", the best fusion {self.fusion}" if self.fusion else ""
        return (
            "Chosen by macro-F1 on the validation rows, never by the test rows: the best head is "
            f"{self.best}, the best single modality {self.single}{fusion}."
            + (f" {LATE_FITTED}" if self.is_late_fitted else "")
        )


def choose_heads(
    metrics: Mapping[str, Mapping[str, Any]], modalities: Sequence[str], *, is_late_fitted: bool = False
) -> Choice:
    """Return the best heads by their scores; the first of equals.

    Guarded fusions and ensembles are left out: the validation rows chose what they are mixed of. Late fusion, of which
    they fit a weight a modality at most, is not; the choice says so.
    """

    def best(names: Sequence[str]) -> str:
        return max(names, key=lambda name: metrics[name]["validation"]["macro_f1"])

    singles = [name for name in metrics if name in modalities]
    mixed = [name for name in metrics if name.endswith(GUARD) or head_type(name).averages_fusions]
    fusions = [name for name in metrics if name not in (*modalities, *mixed)]
    return Choice(best([*singles, *fusions]), best(singles), best(fusions) if fusions else None, is_late_fitted)
