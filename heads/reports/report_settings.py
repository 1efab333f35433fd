"""What a run's report may be told, and which columns of the catalogue it shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cache import Cache
from heads.errors import SettingError

__all__ = ["ReportColumns", "ReportSettings", "choose_columns"]

# The usual names, the most telling first; case, blanks, "_" and "-" do not count.
IMAGE_NAMES = (
    "image", "image_path", "filename", "image_file", "image_filename", "image_name", "img", "img_path", "picture",
    "photo", "file_name", "path", "file",
)  # fmt: skip
TITLE_NAMES = (
    "text", "title", "description", "productDisplayName", "product_title", "product_name", "display_name", "name",
    "caption",
)  # fmt: skip


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
    """Return the columns asked for, or those of the usual names.

    Raises:
        SettingError: the catalogue has no column that was asked for.
    """
    columns = cache.columns()
    chosen: dict[str, str | None] = {}
    for what, asked, names in (
        ("image", settings.image_column, IMAGE_NAMES),
        ("title", settings.title_column, TITLE_NAMES),
    ):
        if asked is not None and asked not in columns:
            raise SettingError(
                f"--{what}-column must be one of the catalogue's columns ({', '.join(columns) or 'none'}), however got "
                f"{asked!r}."
            )
        by_plain_name = {_plain(name): name for name in reversed(columns)}  # the first of equals
        usual = (by_plain_name[_plain(name)] for name in names if _plain(name) in by_plain_name)
        chosen[what] = asked if asked is not None else next(usual, None)
    return ReportColumns(**chosen)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
