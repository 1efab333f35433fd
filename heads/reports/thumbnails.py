"""Thumbnails of products for a page, found by a catalogue's cell below one folder; they hold nothing but pixels."""

from __future__ import annotations

import io
import os
import stat
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cache.pages.page import THUMBNAIL_SIDE, jpeg_url, small_jpeg
from cache.system.name_spellings import spelling_in
from heads.reports.shard_pictures import ShardMembers, split_member
from heads.reports.table_pictures import TablePictures

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Thumbnails", "spelt_below"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000  # 200 MB of RGBA


class Thumbnails:
    """The pictures below a folder, as files, in tar shards or in tables.

    A cell that leads out of the folder, by its path or by links, shows nothing.
    """

    def __init__(self, root: Path, *, side: int = THUMBNAIL_SIDE) -> None:
        self.root = root.resolve()
        self.side = side  # pixels at most
        self._members = ShardMembers()
        self._tables = TablePictures(self.root)

    def url(self, cell: str) -> str | None:
        """Return the picture that a cell names as a small data URL; None where there is none to show."""
        content = self.jpeg(cell)
        return None if content is None else jpeg_url(content)

    def jpeg(self, cell: str) -> bytes | None:
        """Return the picture that a cell names as a small JPEG file; None where there is none to show, for any reason.

        The pixels are compressed anew, so that text, profiles and all else that a file holds stay out of the page.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, of odd EXIF blocks; sizes are checked here
                return small_jpeg(_decode(self._read(cell), self.side), side=self.side)
        except Exception:  # noqa: BLE001 - decoders raise anything on damaged data; the card says "no picture"
            return None

    def content(self, cell: str) -> bytes | None:
        """Return the bytes of the picture's file that a cell names; None where there is none below the folder."""
        try:
            return self._read(cell)
        except Exception:  # noqa: BLE001 - tarfile and pyarrow raise anything on damaged files
            return None

    def _read(self, cell: str) -> bytes:
        """Return the bytes of the file, of the member of a shard, or of the row of a table, that a cell names."""
        if not cell.strip():
            raise ValueError("the cell is empty")
        path, member = spelt_below(self.root, cell.strip()), ""
        if path is None:
            shard, member = split_member(cell.strip())
            path = spelt_below(self.root, shard) if member else None
        if path is None:
            return self._tables.read(cell.strip(), most_bytes=MAX_BYTES)
        path = path.resolve(strict=True)
        if not path.is_relative_to(self.root):
            raise ValueError("the file is not below the root")
        with open(path, "rb", opener=_open_plainly) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or (status.st_size > MAX_BYTES and not member):
                raise ValueError("the file is too large, or none")
            if not member:
                return file.read(MAX_BYTES)
            facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            return self._members.read(file, member, shard=facts, most_bytes=MAX_BYTES)


def spelt_below(folder: Path, name: str) -> Path | None:
    """Return the path of a file below a folder, whichever Unicode form its name has there; None where there is none."""
    path = folder / spelling_in(folder, name)
    return path if os.path.lexists(path) else None


def _open_plainly(path: str, flags: int) -> int:
    """Open a path whose links were resolved: a link that has come since is refused, and a pipe does not block."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _decode(content: bytes, least_side: int) -> Image.Image:
    """Return a picture upright and in RGB, transparency on white; of an animation it is the first frame."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("the picture is too large to decode")
        image.draft(None, (least_side, least_side))  # other formats have nothing to scale
        image.load()
        upright: Image.Image = image
        with suppress(Exception):  # EXIF blocks are often malformed; the picture without them is whole
            upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return upright.convert("RGB")
