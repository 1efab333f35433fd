"""The named errors of training and prediction."""

from __future__ import annotations

from cache.errors import EmbedOnceError, SettingError

__all__ = ["HeadError", "LabelError", "MemoError", "RunError", "SettingError", "SplitError"]


class LabelError(EmbedOnceError, ValueError):
    """The labels do not make a classification task."""


class SplitError(EmbedOnceError, ValueError):
    """The rows cannot be split into training, validation and test rows."""


class HeadError(EmbedOnceError, ValueError):
    """A head cannot be built, loaded, or used on these vectors."""


class RunError(EmbedOnceError, ValueError):
    """The folder is no run."""


class MemoError(EmbedOnceError, ValueError):
    """The memo of an ablation cannot be used."""
