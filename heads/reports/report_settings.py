"""The settings of a run's report, and the columns of the catalogue that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cache import Cache
from cache.columns.column_names import USUAL_NAMES, no_such_column, usual_column
from heads.errors import SettingError

__all__ = ["ReportColumns", "ReportSettings", "choose_columns"]


@dataclass(frozen=True)
class ReportSettings:
    """Settings of a run's report."""

    image_column: str | None = None  # None: by its usual names, as the next
    title_column: str | None = None
    image_root: Path | None = None  # None: the cache's folder


@dataclass(frozen=True)
class ReportColumns:
    """The columns of the catalogue that show a product; None where there is none."""

    image: str | None
    title: str | None


def choose_columns(cache: Cache, settings: ReportSettings) -> ReportColumns:
    """Return the columns asked for, else those that vectors were made of, else those of the usual names.

    Raises:
        SettingError: the catalogue has no column that was asked for, or there is no such folder of pictures.
    """
    if settings.image_root is not None and not settings.image_root.is_dir():
        raise SettingError(f"--image-root: expected the folder of the pictures, got {settings.image_root}.")
    columns = cache.columns()
    columns_shown: dict[str, str | None] = {}
    for shown_as, role, requested in (
        ("image", "image", settings.image_column),
        ("title", "text", settings.title_column),
    ):
        spec = cache.content_spec(role) if role in cache.content_modalities else None
        made_of = None
        if spec and (spec_columns := [name for name in spec.columns if name in columns]):
            made_of = usual_column(role, spec_columns) or spec_columns[0]
        if spec and "templates" in spec.fields:  # whose column stands behind those of the table
            made_of = next((name for name in reversed(columns) if name in USUAL_NAMES[role]), None)
        if requested is not None and requested not in columns:
            raise SettingError(no_such_column(f"--{shown_as}-column", requested, columns))
        columns_shown[shown_as] = requested if requested is not None else made_of or usual_column(role, columns)
    return ReportColumns(**columns_shown)
