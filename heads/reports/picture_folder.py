"""The folder that a cache's paths of pictures are relative to, found by the pictures' bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cache import Cache, content_key
from cache.cloud.addresses import is_url
from heads.reports.folders_below import folders_below
from heads.reports.shard_pictures import split_member
from heads.reports.thumbnails import Thumbnails, spelt_below

__all__ = ["find_picture_folder", "no_pictures_note"]

N_SAMPLED = 8  # pictures, by which a folder is known
N_TRIED = 2  # of them, one of which must be in a folder before the others are looked for
MOST_SHARDS = 2  # that these are in: each is looked through for its members

IMAGE = "image"

_IN_ARROW = re.compile(r"\.arrow#[0-9]+$", re.IGNORECASE)


def find_picture_folder(cache: Cache, cells: Sequence[str], root: Path) -> Path:
    """Return the folder that the cells' paths are relative to: `root`, or one below it where `root` has none of them.

    A catalogue that is a folder, of class folders or of shards, names pictures relative to itself, and a cache that
    lies beside it does not know its name. A folder is taken if half of a sample of cells or more name files in it whose
    bytes have the SHA-256 that the cache has vectors of. For `root` one cell is enough, and it is returned where no
    folder is found. Nothing outside `root` is looked at.
    """
    sample = _sample(cache, cells)
    if not sample or any(_match_keys(root, sample)):
        return root
    tried = dict(list(sample.items())[:N_TRIED])
    for folder in folders_below(root):
        names = (split_member(cell)[0] for cell in tried)
        if (
            any(spelt_below(folder, name) is not None for name in names)
            and any(_match_keys(folder, tried))
            and 2 * sum(_match_keys(folder, sample)) >= len(sample)
        ):
            return folder
    return root


def no_pictures_note(column: str, cells: Sequence[str]) -> str:
    """Return why a page has no pictures although a column names them, and what to do."""
    named_cells = [cell.strip() for cell in cells if cell.strip()][:N_SAMPLED]
    if any(_IN_ARROW.search(cell) for cell in named_cells):
        return f"The pictures that {column} names stand inside Arrow files, which pages do not read."
    if named_cells and all(map(_is_elsewhere, named_cells)):
        return f"The pictures that {column} names are behind URLs, which pages do not fetch."
    return (
        f"None of the pictures that {column} names was found below the folder of --image-root, which is the cache's "
        "where it is not given: name the one that their paths are relative to, of class folders the catalogue itself."
    )


def _match_keys(folder: Path, sample: Mapping[str, str]) -> Iterator[bool]:
    """Yield for each cell whether the file that it names in a folder has the bytes of its key."""
    thumbnails = Thumbnails(folder)
    for cell, key in sample.items():
        content = thumbnails.content(cell)
        yield content is not None and content_key(content) == key


def _sample(cache: Cache, cells: Sequence[str]) -> dict[str, str]:
    """Return some cells that may name pictures below a folder, with the key of what each product's vector is of."""
    if IMAGE not in cache.modalities or not len(cells):
        return {}
    rows = cache.rows(IMAGE)
    products_with_picture = np.flatnonzero(rows >= 0)
    sampled_products = (
        products_with_picture[np.linspace(0, max(0, len(products_with_picture) - 1), N_SAMPLED).astype(int)]
        if len(products_with_picture)
        else products_with_picture
    )
    sample: dict[str, str] = {}
    shards: set[str] = set()
    for product in dict.fromkeys(sampled_products.tolist()):
        cell, row = cells[product].strip(), int(rows[product])
        if not cell or "\0" in cell or os.path.isabs(cell) or ".." in Path(cell).parts:
            continue
        if _is_elsewhere(cell) or _IN_ARROW.search(cell):
            continue
        shard, member = split_member(cell)
        shards |= {shard} if member else set()
        if len(shards) > MOST_SHARDS:
            break
        sample[cell] = _key(cache, row)
    return sample


def _is_elsewhere(cell: str) -> bool:
    """Return whether a picture is behind a URL, or stands in one."""
    return is_url(cell) or cell.lower().startswith("data:")


def _key(cache: Cache, row: int) -> str:
    [key] = cache.tables.read(f"{IMAGE}/key", slice(row, row + 1))
    return bytes(key).decode("ascii", "replace")
