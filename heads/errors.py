"""The named errors of training and prediction."""

from __future__ import annotations

from typing import Any

from cache.errors import EmbedOnceError, SettingError

__all__ = [
    "ExportError",
    "HeadError",
    "HeadMemoryError",
    "LabelError",
    "MemoError",
    "RunError",
    "SettingError",
    "SplitError",
    "TrackError",
]


class LabelError(EmbedOnceError, ValueError):
    """The labels do not make a classification task."""


class SplitError(EmbedOnceError, ValueError):
    """The rows cannot be split into training, validation and test rows."""


class HeadError(EmbedOnceError, ValueError):
    """A head cannot be built, loaded, or used on these vectors."""


class HeadMemoryError(HeadError):
    """A head does not fit into the memory there is; elsewhere, or another time, it may."""


class RunError(EmbedOnceError, ValueError):
    """The folder is no run."""


class MemoError(EmbedOnceError, ValueError):
    """The memo of an ablation cannot be used."""


class TrackError(EmbedOnceError, RuntimeError):
    """A tracker did not take a run; the run is kept, and `report` says what it found."""

    def __init__(self, message: str, *, report: Any) -> None:
        super().__init__(message)
        self.report = report


class ExportError(EmbedOnceError, RuntimeError):
    """A head cannot be exported, or what was exported answers otherwise."""
