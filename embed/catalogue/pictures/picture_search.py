"""Which column of a table names pictures, or which templates lead to them, where nobody says so."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from cache.cloud.addresses import is_address
from cache.system.name_spellings import spelling_in
from embed.amounts import plural
from embed.catalogue.columns import ColumnFinder
from embed.catalogue.pictures.image_template import ImageTemplate
from embed.catalogue.pictures.picture_lists import is_picture_name, split_pictures
from embed.catalogue.pictures.template_search import find_templates
from embed.contents.file_ranges import PlacedCell
from embed.contents.objects import is_object

__all__ = ["find_pictures"]

N_SAMPLED = 200  # rows
MOSTLY = 0.95  # of the filled cells of a column, which name pictures where it is one of pictures

log = logging.getLogger("embed_once")


def find_pictures(
    finder: ColumnFinder, image: str | None, root: Path, path: Path
) -> tuple[str | None, list[ImageTemplate]]:
    """Return the column whose cells name pictures, or the templates that explain a sample of the first rows.

    It is the column `image` where a cell of it names a picture, or nothing explains the rows. Another choice is a note,
    where pictures are asked for.
    """
    if is_address(root):  # whose objects are not searched
        return image, []
    batch = finder.first_rows
    n_rows = len(next(iter(batch.values()), []))
    if not n_rows:
        return image, []
    sampled = range(0, n_rows, max(1, n_rows // N_SAMPLED))
    rows = [{name: cells[row] for name, cells in batch.items()} for row in sampled]
    if image is not None and any(_names_picture(row[image], root) for row in rows):
        return image, []
    level = logging.INFO if "image" in finder.settings.modalities else logging.DEBUG
    reason = f"No column of {path} has a usual name for pictures"
    if image is not None:
        reason = f"Of {plural(len(rows), 'row')} of {path} that were looked at, {image} names no picture that is there"
    if naming := _naming_pictures(finder.columns, rows, root):
        also = f" So do {', '.join(naming[1:4])}: --image-column names the one to take." if naming[1:] else ""
        log.log(level, "%s; %s does by its cells, and is taken.%s", reason, naming[0], also)
        return naming[0], []
    explanation = find_templates(rows, root, table_name=path.name, with_links=finder.settings.allow_outside)
    if explanation is None:
        return image, []
    rivals = explanation.rivals
    also = f" So would {rivals[0]}: --image-template names the one to take." if rivals else ""
    log.log(
        level, "%s; --image-template '%s' does, for %d of %s looked at.%s",
        reason, ",".join(explanation.templates), explanation.n_explained, plural(explanation.n_sampled, "row"), also,
    )  # fmt: skip
    return image, [ImageTemplate(text) for text in explanation.templates]


def _naming_pictures(columns: Sequence[str], rows: Sequence[Mapping[str, str]], root: Path) -> list[str]:
    """Return the columns nearly all of whose cells name pictures, the fullest first, in their order."""
    n_filled = {}
    for column in columns:
        filled = [cell for row in rows if (cell := row[column]).strip()]
        n_tolerated = int((1 - MOSTLY) * len(filled))
        misses = (cell for cell in filled if not _names_picture(cell, root, is_guessed=True))
        if len(set(filled)) > 1 and len(list(islice(misses, n_tolerated + 1))) <= n_tolerated:
            n_filled[column] = len(filled)
    return sorted(n_filled, key=lambda column: -n_filled[column])


def _names_picture(cell: str, root: Path, *, is_guessed: bool = False) -> bool:
    """Return whether a cell, or the first of those that it lists, is a file or the URL of an object.

    Where the column `is_guessed` its name has to end as a picture's does, too: files of other kinds are also there.
    """
    if isinstance(cell, PlacedCell):
        return True
    names = split_pictures(cell) or [cell.strip()]
    if is_guessed and not is_picture_name(names[0]):
        return False
    if is_object(names[0]):
        return True
    return bool(names[0]) and os.path.isfile(root / spelling_in(root, names[0]))
