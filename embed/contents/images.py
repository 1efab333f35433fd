"""Pictures: from a catalogue's cell to a file, from a file to its key, from bytes to RGB pixels."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from cache import content_key
from cache.cloud.addresses import is_address, is_url
from cache.system.name_spellings import spelling_in
from cache.system.out_of_memory import is_out_of_memory
from embed.contents.decode_budget import DECODE_BUDGET, decoding_bytes
from embed.contents.file_ranges import Place, PlacedCell, read_file, unreadable
from embed.contents.jpeg_scans import has_too_many_scans
from embed.contents.objects import is_object, locate_object
from embed.contents.statuses import ABSENT, RETRIED
from embed.errors import ContentError

__all__ = ["CONTENT", "EXACT", "decode", "is_scaled", "locate", "measure", "read_image", "to_rgb"]

EXACT = "upright RGB"  # how pictures are decoded that are not scaled meanwhile
CONTENT = "content"  # a key of a decoded picture's `info`: the bytes that were decoded

# Multi-picture JPEGs of cameras (MPO) are opened as JPEG.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 89_478_485  # Pillow's own limit, where it begins to warn of decompression bombs
MAX_ASPECT = 50  # the shorter side is resized to 256, so that a 1 x 5000 strip would become 983 MB
STRIP_PIXELS = 2**22  # of a picture that takes several steps to RGB

NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def locate(cell: str, root: Path, *, allow_outside: bool, folders: dict[str, Path] | None = None) -> Path | Place:
    """Return the file that a catalogue's cell names, relative to `root` (resolved), or its place in another file.

    A URL of a bucket leads to an object, and so does every cell where the root is in a bucket.

    `folders` keeps what each folder of the catalogue was resolved to; one `dict` serves a run, and all its threads.

    Raises:
        ContentError: the cell is empty or a URL, or names no regular file below the root.
        UnreadableError: the machine lacks memory or open files.
    """
    if isinstance(cell, PlacedCell):
        if isinstance(cell.place, Path) and not cell.place.is_file():
            raise ContentError("not_a_file" if cell.place.exists() else "missing")
        return cell.place
    cell = cell.strip()
    if not cell:
        raise ContentError(ABSENT)
    if is_object(cell) or is_address(root):
        return locate_object(cell, root, allow_outside=allow_outside)
    if is_url(cell):
        raise ContentError("url")
    cell = spelling_in(root, cell)
    try:
        path = _resolve(cell, root, {} if folders is None else folders)
        if not allow_outside and not path.is_relative_to(root):
            raise ContentError("outside")
        if not stat.S_ISREG(path.stat().st_mode):
            raise ContentError("not_a_file")
    except ContentError:
        raise
    except OSError as error:
        if error.errno in NOT_THERE:
            raise ContentError("missing") from error
        raise unreadable(error, root / cell) from error
    except (ValueError, RuntimeError) as error:  # NUL in the name, a loop of links
        raise ContentError("missing") from error
    return path


def _resolve(cell: str, root: Path, folders: dict[str, Path]) -> Path:
    """Return the cell's path without links; the system is asked about each folder once, and about each file's name."""
    folder, name = os.path.split(cell)
    if name in ("", ".", ".."):
        return (root / cell).resolve()
    resolved = folders.get(folder)
    if resolved is None:
        resolved = folders[folder] = (root / folder).resolve()
    path = resolved / name
    return path.resolve() if path.is_symlink() else path


def read_image(place: Path | Place, *, key: str | None = None) -> tuple[str, bytes]:
    """Return the content key and the bytes of a file, or of a picture inside another.

    Raises:
        ContentError: it cannot be read, is empty or too large, or no longer has the key that it had.
        UnreadableError: the machine lacks memory or open files.
    """
    try:
        content = read_file(place) if isinstance(place, Path) else place.read()
    except ContentError as error:
        if key is not None and str(error) == "missing":
            raise ContentError("changed") from error
        raise
    if not content:
        raise ContentError("empty")
    actual_key = content_key(content)
    if key is not None and actual_key != key:
        raise ContentError("changed")
    return actual_key, content


def decode(content: bytes, *, least_side: int | None = None) -> Image.Image:
    """Return the picture upright and in RGB, with its bytes among its `info`.

    Where `least_side` is given, a JPEG is scaled by 1/2, 1/4 or 1/8 while it is decoded, as far as both its sides keep
    so many pixels. Threads share a budget of memory, and wait for each other.

    Raises:
        ContentError: it is no picture, is damaged, or is too large to decode.
    """
    with _opened(content) as image:
        if least_side is not None:
            image.draft(None, (least_side, least_side))  # other formats have nothing to scale
        with DECODE_BUDGET.take(decoding_bytes(image.size, image.format)):
            image.load()
            picture = to_rgb(image)
    picture.info[CONTENT] = content
    return picture


def measure(content: bytes) -> tuple[int, int, str, str]:
    """Return the picture's width and height as they are stored, its mode and its format, all from its header alone.

    Raises:
        ContentError: it is no picture, is too large to decode, or holds numbers whose scale is unknown.
    """
    with _opened(content) as image:
        _check_mode(image)
        return *image.size, image.mode, image.format or ""


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Yield the picture, whose pixels are not loaded yet; every failure in the block gets its status."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(width, height) > MAX_ASPECT * min(width, height):
                raise ContentError("too_large")
            if image.format in ("JPEG", "MPO") and has_too_many_scans(content):
                raise ContentError("too_large")
            yield image
    except ContentError:
        raise
    except UnidentifiedImageError as error:
        raise ContentError("not_an_image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ContentError("too_large") from error
    except MemoryError as error:  # another time there may be enough
        raise ContentError(RETRIED) from error
    except Exception as error:  # decoders raise anything on damaged data; the product gets the status
        if "data too large" in str(error):  # Pillow refuses PNG metadata that unpacks to megabytes
            raise ContentError("too_large") from error
        if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno is not None):  # of its own files, say
            raise ContentError(RETRIED) from error
        raise ContentError("truncated") from error


def is_scaled(content: bytes, *, least_side: int) -> bool:
    """Return whether `decode` scales this picture down; it must be one that can be decoded."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        size = image.size
        image.draft(None, (least_side, least_side))
        return image.size != size


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded picture as upright RGB.

    The EXIF orientation is applied, 16-bit grey is scaled to 8 bits, transparency is composed on white, and every
    other mode (1, L, P, CMYK, YCbCr, …) is converted by Pillow. Of an animation it is the first frame.

    Raises:
        ContentError: the picture holds floating-point or 32-bit numbers, whose scale is unknown.
    """
    _check_mode(image)
    if image.mode.startswith("I"):
        rgb = _in_strips(image, _scaled)
    elif image.has_transparency_data:
        rgb = _in_strips(image, _composed)
    else:
        rgb = image.convert("RGB")
    transpose = _TRANSPOSE.get(_orientation(image))
    return rgb if transpose is None else rgb.transpose(transpose)


def _check_mode(image: Image.Image) -> None:
    """Check that the picture's numbers have a known scale: those of floating point or 32 bits have none.

    Raises:
        ContentError: they have not.
    """
    if image.mode in ("F", "I"):
        raise ContentError("unsupported_mode")


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return the picture converted strip by strip, so that the steps on the way never stand in memory whole."""
    width, height = image.size
    n_rows = max(1, STRIP_PIXELS // width)
    if n_rows >= height:
        return convert(image)
    rgb = Image.new("RGB", image.size)
    for top in range(0, height, n_rows):
        rgb.paste(convert(image.crop((0, top, width, min(top + n_rows, height)))), (0, top))
    return rgb


def _scaled(image: Image.Image) -> Image.Image:
    """Return 16-bit grey in RGB: Pillow's own conversion clips at 255, so that it turns white."""
    grey = np.asarray(image).astype(np.uint32)  # (H, W), 0 to 65535
    grey[grey == image.info.get("transparency", 65535)] = 65535
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")


def _composed(image: Image.Image) -> Image.Image:
    """Return a picture with transparency on white."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # EXIF blocks are often malformed; the picture without them is whole
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    return 1
