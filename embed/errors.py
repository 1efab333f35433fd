"""The named errors of extraction."""

from __future__ import annotations

from cache.errors import EmbedOnceError, SettingError, WorkerError

__all__ = [
    "CatalogueError",
    "ContentError",
    "DeviceError",
    "EncoderError",
    "SettingError",
    "TooManyBadError",
    "WeightsError",
    "WorkerError",
]


class CatalogueError(EmbedOnceError, ValueError):
    """The catalogue cannot be read as a table of products."""


class WeightsError(EmbedOnceError, ValueError):
    """The encoder's weights cannot be had, or do not fit the architecture."""


class DeviceError(EmbedOnceError, ValueError):
    """There is no such device here."""


class EncoderError(EmbedOnceError, RuntimeError):
    """The encoder gave something other than one finite float32 vector for each content."""


class TooManyBadError(EmbedOnceError, RuntimeError):
    """More contents could not be read than `max_bad` allows; all others are in the cache."""


class ContentError(EmbedOnceError, ValueError):
    """One content cannot be encoded; its first argument is the status that says why."""
