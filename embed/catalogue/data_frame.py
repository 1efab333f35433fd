"""Products in memory as a catalogue: a DataFrame, or what pandas makes one of."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from cache.arrays.string_column import ColumnGatherer
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.catalogue import Catalogue
from embed.catalogue.columns import ColumnFinder, find_roles
from embed.catalogue.list_columns import list_cell
from embed.catalogue.pictures.image_template import split_templates
from embed.catalogue.pictures.pictured_table import with_pictures
from embed.catalogue.table import BATCH_ROWS
from embed.contents.file_ranges import PlacedCell
from embed.contents.images import to_rgb
from embed.errors import CatalogueError, SettingError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["FrameTable", "HeldPicture", "cell_of", "frame_of", "read_frame"]

FRAME_PATH = Path("the products")  # what messages call them; beside it paths are relative to the working folder
OF_ROWS = ("where", "per_class", "sample", "labels")  # settings that change which products there are


@dataclass(frozen=True)
class HeldPicture:
    """A picture in memory: a file's bytes, or a PIL image, whose bytes are those of an upright RGB PNG."""

    picture: bytes | Image.Image

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            ContentError: the image holds numbers of no known scale.
        """
        if isinstance(self.picture, bytes):
            return self.picture
        buffer = io.BytesIO()
        to_rgb(self.picture).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


@dataclass
class FrameTable:
    """A DataFrame's rows as text: what is missing is an empty cell, and pictures in memory are places to read."""

    frame: pd.DataFrame
    columns: list[str] = field(init=False)
    bad_lines: BadLines = field(default_factory=lambda: BadLines(FRAME_PATH))

    def __post_init__(self) -> None:
        self.columns = [str(name) for name in self.frame.columns]

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield at most `BATCH_ROWS` rows at a time, each column a list of cells."""
        for start in range(0, len(self.frame), BATCH_ROWS):
            rows = self.frame.iloc[start : start + BATCH_ROWS]
            yield {
                name: [cell_of(value) for value in rows.iloc[:, number].tolist()]
                for number, name in enumerate(self.columns)
            }


def cell_of(value: Any) -> str:
    """Return the text that a value in memory is in a catalogue.

    >>> cell_of(None), cell_of(Path("images/1.jpg")), cell_of(7), cell_of(np.array(["a", "b"]))
    ('', 'images/1.jpg', '7', '["a", "b"]')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | Image.Image):
        return PlacedCell("a picture in memory", HeldPicture(value))
    if isinstance(value, np.ndarray):  # a list, as pandas reads it from Parquet, whose cell is that of the file
        return list_cell(value.tolist()) if value.ndim else cell_of(value.item())
    if isinstance(value, list):
        return str([item.item() if isinstance(item, np.generic) else item for item in value])
    if isinstance(value, os.PathLike):
        return os.fspath(value) if isinstance(os.fspath(value), str) else os.fsdecode(value)
    is_missing = pd.isna(value)
    return "" if isinstance(is_missing, bool) and is_missing else str(value)


def frame_of(products: Any) -> pd.DataFrame:
    """Return products as a DataFrame; they may be one, a list of dicts, a dict of lists, or a list of texts.

    Raises:
        CatalogueError: they are none of these.
    """
    if isinstance(products, pd.DataFrame):
        return products
    if isinstance(products, pd.Series):
        return products.to_frame(products.name or "text")
    if isinstance(products, list | tuple) and all(isinstance(product, str) for product in products):
        return pd.DataFrame({"text": products}, dtype=object)
    try:
        return pd.DataFrame(products)
    except (ValueError, TypeError) as error:
        raise CatalogueError(
            f"Expected products as a DataFrame, a list of dicts, a dict of lists or a list of texts, got "
            f"{type(products).__name__} ({error})."
        ) from error


def read_frame(products: Any, settings: ExtractSettings | None) -> tuple[Catalogue, ExtractSettings]:
    """Return products as a catalogue, and the settings by which others are read of the same columns in the same way.

    Without settings the modalities are those of which there is a column.

    Raises:
        CatalogueError: a column cannot be found.
        SettingError: the settings would leave out products, or make several of one.
    """
    frame = frame_of(products)
    requested = settings or ExtractSettings()
    unfit = [name for name in OF_ROWS if getattr(requested, name) is not None]
    if unfit or requested.pictures == "rows":
        raise SettingError(
            "Expected settings that make one row of vectors of each product, but "
            f"{', '.join(unfit) or 'pictures=rows'} would not. Choose rows beforehand."
        )
    if requested.pictures == "mean":
        raise SettingError(
            "Expected pictures=first for products in memory, got mean: embed.extract alone makes means. Extract a "
            "catalogue with --pictures mean."
        )
    if (needed := _needed_columns(requested)) and needed <= set(map(str, frame.columns)):
        frame = frame.loc[:, [str(name) in needed for name in frame.columns]]
    table, resolved = with_pictures(FrameTable(frame), FRAME_PATH, requested)
    finder = ColumnFinder(table, resolved)
    if settings is None:
        modalities = tuple(name for name in MODALITIES if finder.find(name) is not None)
        resolved = replace(resolved, modalities=modalities or MODALITIES)  # of none, find_roles says what is needed
        finder = ColumnFinder(table, resolved)
    roles = find_roles(finder, FRAME_PATH)
    templates = tuple(template.text for template in getattr(table, "templates", ()))
    gatherers = {name: ColumnGatherer() for name in table.columns}
    for batch in table.batches():
        for name, cells in gatherers.items():
            cells.extend(batch[name])
    catalogue = Catalogue(
        path=FRAME_PATH,
        ids=[str(number) for number in range(len(frame))],
        columns={name: cells.column() for name, cells in gatherers.items()},
        roles=roles,
        text_columns=resolved.text_column_names,
        templates=templates,
    )
    has_images, has_texts = "image" in resolved.modalities, "text" in resolved.modalities
    repeatable = replace(
        resolved,
        image_column=roles["image"] if has_images and not templates else None,
        image_template=templates if has_images else (),
        text_column=roles["text"] if has_texts and resolved.text_columns is None else None,
    )
    return catalogue, repeatable


def _needed_columns(settings: ExtractSettings) -> set[str]:
    """Return the columns that the settings name; none unless they name those of all modalities."""
    needed: set[str | None] = set()
    if "image" in settings.modalities:
        templates = split_templates(settings.image_template) if settings.image_template else ()
        if settings.image_column:
            pictures = {settings.image_column}
        else:
            pictures = {name for template in templates for name in template.columns}
        if not pictures:
            return set()
        needed |= pictures
    if "text" in settings.modalities:
        texts: set[str | None] = set(settings.text_column_names) or {settings.text_column}
        if None in texts:
            return set()
        needed |= texts
    return {str(name) for name in needed}
