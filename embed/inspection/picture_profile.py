"""Pictures: sizes, modes and formats from their headers, what is broken or missing, and which are the same file."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cache.cloud.addresses import resolved
from embed.catalogue.pictures.missing_pictures import EXPLAINED, explain_missing
from embed.contents.images import decode, locate, measure, read_image
from embed.contents.statuses import NOT_BAD, OK
from embed.errors import ContentError
from embed.extraction.thread_map import map_pictures
from embed.inspection.duplicate_counter import Digests, Repeats
from embed.inspection.quantiles import find_quantiles

__all__ = ["BadPicture", "Picture", "PictureProfile", "inspect_picture", "profile_pictures"]

MOST_COMPARED_PIXELS = 200_000_000  # decoded to compare pictures where `deep` is not set, in some seconds
MOST_BAD = 1000  # listed by name
N_SIZES = 20  # the commonest
N_REPEATS = 10  # the largest groups of copies

NamedPicture = tuple[int, tuple[str, str]]  # row, (id, cell)


@dataclass(frozen=True)
class Picture:
    """What one row's picture is: a status, and unless it is bad what its header says."""

    row: int
    status: str
    key: str = ""
    n_bytes: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    pixels: int = 0  # a digest of size and RGB values, where it was decoded


@dataclass(frozen=True)
class BadPicture:
    """A picture that extraction would not encode."""

    id: str
    cell: str
    status: str


@dataclass(frozen=True)
class PictureProfile:
    """The pictures of a catalogue, or of a sample of its rows."""

    column: str
    root: str
    n_rows: int  # of the catalogue
    n_looked_at: int  # rows; fewer than `n_rows` where it is a sample
    is_deep: bool  # every picture was decoded, else its header alone was read
    statuses: dict[str, int]
    repeats: Repeats
    n_alike: int | None  # files with the pixels of another; None where that would have taken too long
    n_bytes: int  # of the good ones, each row's counted
    byte_quantiles: dict[str, float]
    width_quantiles: dict[str, float]
    height_quantiles: dict[str, float]
    aspect_quantiles: dict[str, float]  # width by height
    n_portrait: int
    n_square: int
    n_landscape: int
    modes: dict[str, int]
    formats: dict[str, int]
    sizes: list[tuple[int, int, int]]  # width, height, rows: the commonest
    n_sizes: int
    widths: dict[int, int]  # rows by width, for the histogram
    heights: dict[int, int]
    n_bad: int
    bad: list[BadPicture]  # the first of them
    explanation: str  # what would lead to those that are not there; "" where nothing is known


def profile_pictures(
    column: str,
    named: Sequence[NamedPicture],
    *,
    n_rows: int,
    root: Path,
    allow_outside: bool,
    deep: bool,
    n_workers: int | None,
) -> PictureProfile:
    """Read the files that rows name, each once, and return what they are.

    Every file is hashed whole, for that is how copies are found; all pixels are decoded where `deep` is set, else those
    of pictures of one size, if they are few. Memory: the named rows, whose number the caller bounds, and a few files
    for each of the workers.
    """
    root = resolved(root)
    folders: dict[str, Path] = {}

    def inspect_all(named: Sequence[NamedPicture], *, deep: bool, label: str) -> list[Picture]:
        def inspect_block(block: Sequence[NamedPicture]) -> list[Picture]:
            return [
                inspect_picture(row, cell, root=root, allow_outside=allow_outside, deep=deep, folders=folders)
                for row, (_, cell) in block
            ]

        cells = [cell for _, (_, cell) in named]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
            blocks = map_pictures(inspect_block, named, cells, label=label, n_workers=n_workers)
            return [picture for block in blocks for picture in block]

    pictures = inspect_all(named, deep=deep, label="Reading pictures")
    comparable = _comparable(pictures)
    n_alike = None
    if deep:
        n_alike = _count_alike([pictures[index] for index in comparable])
    elif sum(pictures[index].width * pictures[index].height for index in comparable) <= MOST_COMPARED_PIXELS:
        decoded = inspect_all([named[index] for index in comparable], deep=True, label="Comparing pixels")
        n_alike = _count_alike(decoded)
    return _summary(column, named, pictures, n_rows=n_rows, root=root, deep=deep, n_alike=n_alike)


def _comparable(pictures: Sequence[Picture]) -> list[int]:
    """Return the indices of one picture for each file that has the size of another file, upright or not."""
    first_of_file = {picture.key: n for n, picture in reversed(list(enumerate(pictures))) if picture.status == OK}
    of_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in first_of_file.values():
        of_size[tuple(sorted((pictures[index].width, pictures[index].height)))].append(index)
    return sorted(index for indices in of_size.values() if len(indices) > 1 for index in indices)


def _count_alike(decoded: Sequence[Picture]) -> int:
    """Return how many of the pictures have the pixels of an earlier one."""
    digests = [picture.pixels for picture in decoded if picture.pixels]
    return len(digests) - len(set(digests))


def inspect_picture(
    row: int, cell: str, *, root: Path, allow_outside: bool, deep: bool, folders: dict[str, Path] | None = None
) -> Picture:
    """Return what the picture is that a cell names; `root` is resolved, and `folders` as in `locate`."""
    key, content = "", b""
    try:
        key, content = read_image(locate(cell, root, allow_outside=allow_outside, folders=folders))
        width, height, mode, kind = measure(content)
        pixels = _pixels(content) if deep else 0
    except ContentError as error:
        return Picture(row, str(error), key, len(content))
    return Picture(row, OK, key, len(content), width, height, mode, kind, pixels)


def _pixels(content: bytes) -> int:
    """Return a digest of what an encoder sees of a picture: its size, and its RGB values."""
    image = decode(content)
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _summary(
    column: str,
    named: Sequence[NamedPicture],
    pictures: Sequence[Picture],
    *,
    n_rows: int,
    root: Path,
    deep: bool,
    n_alike: int | None,
) -> PictureProfile:
    digests = Digests()
    digests.add(Digests.of_key(picture.key) for picture in pictures)
    repeats = digests.repeats(n_largest=N_REPEATS)
    largest = []
    for repeat in repeats.largest:
        row, (_, cell) = named[repeat.row]
        largest.append(replace(repeat, row=row, example=cell))
    good = [picture for picture in pictures if picture.status == OK]
    bad = [
        BadPicture(product_id, cell, picture.status)
        for (_, (product_id, cell)), picture in zip(named, pictures, strict=True)
        if picture.status not in NOT_BAD
    ]
    missing = [picture.cell for picture in bad if picture.status in EXPLAINED]
    sizes = Counter((picture.width, picture.height) for picture in good)
    aspects = np.array([picture.width / picture.height for picture in good])  # (n_good,)
    return PictureProfile(
        column=column,
        root=str(root),
        n_rows=n_rows,
        n_looked_at=len(pictures),
        is_deep=deep,
        statuses=dict(Counter(picture.status for picture in pictures)),
        repeats=replace(repeats, largest=largest),
        n_alike=n_alike,
        n_bytes=sum(picture.n_bytes for picture in good),
        byte_quantiles=find_quantiles([picture.n_bytes for picture in good]),
        width_quantiles=find_quantiles([picture.width for picture in good]),
        height_quantiles=find_quantiles([picture.height for picture in good]),
        aspect_quantiles=find_quantiles(aspects.round(3).tolist()),
        n_portrait=int(np.count_nonzero(aspects < 1)),
        n_square=int(np.count_nonzero(aspects == 1)),
        n_landscape=int(np.count_nonzero(aspects > 1)),
        modes=dict(Counter(picture.mode for picture in good).most_common()),
        formats=dict(Counter(picture.format for picture in good).most_common()),
        sizes=[(*size, n) for size, n in sizes.most_common(N_SIZES)],
        n_sizes=len(sizes),
        widths=dict(Counter(picture.width for picture in good)),
        heights=dict(Counter(picture.height for picture in good)),
        n_bad=len(bad),
        bad=bad[:MOST_BAD],
        explanation=explain_missing(missing, root, column=column) if missing else "",
    )
