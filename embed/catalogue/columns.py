"""Which of a catalogue's columns plays which role."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cache.column_names import USUAL_NAMES, usual_column
from embed.errors import CatalogueError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["check_asked", "check_distinct", "find_column", "find_id_column", "find_roles"]

log = logging.getLogger("embed_once")


def find_column(role: str, columns: Iterable[str], settings: ExtractSettings) -> str | None:
    """Return the column that is asked for, or has one of the role's usual names; None where there is none."""
    asked = getattr(settings, f"{role}_column")
    if asked is not None:
        return asked if asked in columns else None
    return usual_column(role, columns)


def find_roles(columns: list[str], settings: ExtractSettings, path: Path) -> dict[str, str]:
    """Return the column of each modality that has one, {modality: column}.

    Raises:
        CatalogueError: a modality that is to be encoded has none, or a column that is named is not there.
    """
    roles = {}
    for modality in MODALITIES:
        if modality == "text" and settings.text_columns is not None:
            roles[modality] = ", ".join(settings.text_column_names)
            for name in settings.text_column_names:
                check_asked("--text-columns", name, columns)
            continue
        column = _find_column(modality, columns, settings, path, is_needed=modality in settings.modalities)
        if column is not None:
            roles[modality] = column
    return roles


def find_id_column(columns: list[str], settings: ExtractSettings, path: Path) -> str | None:
    """Return the column of ids; None where there is none of a usual name, which is told.

    Raises:
        CatalogueError: the column that is named is not there.
    """
    column = _find_column("id", columns, settings, path, is_needed=settings.id_column is not None)
    if column is None:
        log.info("No column of ids was found (%s): rows are numbered from 0.", ", ".join(USUAL_NAMES["id"]))
    return column


def check_asked(option: str, name: str | None, columns: list[str]) -> None:
    """Check that a column that an option names is there.

    Raises:
        CatalogueError: it is not.
    """
    if name not in columns:
        raise CatalogueError(f"{option}: expected one of the catalogue's columns ({', '.join(columns)}), got {name!r}.")


def check_distinct(names: list[str], place: str) -> None:
    """Check that no two columns have one name; `place` says where they stand.

    Raises:
        CatalogueError: some have.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise CatalogueError(
            f"Expected columns to have names of their own, but {place} repeats {', '.join(repeated)}. Rename or remove "
            "what is too many."
        )


def _find_column(
    role: str, columns: list[str], settings: ExtractSettings, path: Path, *, is_needed: bool
) -> str | None:
    column = find_column(role, columns, settings)
    if column is not None or not is_needed:
        return column
    asked = getattr(settings, f"{role}_column")
    if asked is not None:
        check_asked(f"--{role}-column", asked, columns)
    other = ",".join(modality for modality in ("image", "text") if modality != role)
    template = ", make paths of other columns with --image-template 'images/{id}.jpg'" if role == "image" else ""
    raise CatalogueError(
        f"Expected {path} to have a column of {role}s ({', '.join(USUAL_NAMES[role][:4])}, …), but its columns are "
        f"{', '.join(columns)}. Name it with --{role}-column{template}, or do without: --modalities {other}."
    )
