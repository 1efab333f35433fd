"""The contents that a catalogue names: a key and a status for each product, and where each content is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cache import Contents, content_key
from cache.cores import count_cores
from embed.catalogue.catalogue import Catalogue
from embed.contents.file_ranges import Place, PlacedCell
from embed.contents.hash_cache import Hints, identity
from embed.contents.images import locate, read_image
from embed.contents.statuses import ABSENT, OK, RETRIED
from embed.contents.texts import clean, normalise
from embed.errors import CatalogueError, ContentError
from embed.extraction.thread_map import ordered_map
from embed.progress import Progress
from embed.settings import ExtractSettings

__all__ = ["Source", "find_source"]

HASHED_TOGETHER = 64  # files a task, so that small files do not cost more to hand out than to hash


@dataclass(frozen=True)
class Source:
    """One modality of a catalogue: what each of the N products has, and where each unique content is."""

    modality: str
    keys: list[str]  # N, "" where the product has no content
    statuses: list[str]  # N, "ok" where it has
    places: dict[str, Path | Place | str]  # key -> the file, the place inside a file, or the text itself
    hints: Hints

    def read(self, key: str) -> bytes | str:
        """Return the content of a key.

        Raises:
            ContentError: it is no longer the content that was hashed.
        """
        place = self.places[key]
        if isinstance(place, str):
            return place
        try:
            return read_image(place, key=key)[1]
        except ContentError as error:
            if str(error) == RETRIED and isinstance(place, Path):
                self.hints.doubt(place, key)
            raise ContentError(RETRIED) from error

    def contents(self, left_out: set[str]) -> Contents:
        """Return keys and statuses for the cache; the products of the keys left out have changed under our hands."""
        return Contents(
            keys=["" if key in left_out else key for key in self.keys],
            statuses=[
                RETRIED if key in left_out else status for key, status in zip(self.keys, self.statuses, strict=True)
            ],
        )


def find_source(modality: str, catalogue: Catalogue, settings: ExtractSettings, *, hints: Hints) -> Source:
    """Return the contents of one modality, each file read and hashed once unless there is a hint of its key.

    Raises:
        CatalogueError: not one of the pictures that the catalogue names is there.
        UnreadableError: the machine lacks memory or open files.
    """
    cells = catalogue.cells(modality)
    found = (
        _texts(cells, is_cleaned=settings.clean_text)
        if modality == "text"
        else _images(cells, catalogue, settings, hints)
    )
    keys, statuses, places = [], [], {}
    for key, status, place in found:
        keys.append(key)
        statuses.append(status)
        if key and key not in places:
            places[key] = place
    if modality == "image":
        _check_found(statuses, cells, catalogue, settings)
    return Source(modality, keys, statuses, places, hints)


Found = tuple[str, str, Path | Place | str]  # key, status, place


def _texts(cells: list[str], *, is_cleaned: bool) -> Iterator[Found]:
    for cell in cells:
        try:
            text = normalise(cell)
            if is_cleaned:
                text = normalise(clean(text))
        except ContentError as error:
            yield "", str(error), ""
        else:
            yield content_key(text.encode()), OK, text


def _images(cells: list[str], catalogue: Catalogue, settings: ExtractSettings, hints: Hints) -> Iterator[Found]:
    n_workers = settings.n_workers or count_cores()
    root = (settings.image_root or catalogue.folder).resolve()
    folders: dict[str, Path] = {}
    # Pictures of one file are read in their order, for a reader that goes back would begin anew.
    n_together = 1 if any(isinstance(cell, PlacedCell) for cell in cells) else HASHED_TOGETHER

    def find_files(some_cells: list[str]) -> list[tuple[bytes, Found]]:
        places = [_locate(cell, root, folders, allow_outside=settings.allow_outside) for cell in some_cells]
        # Before any is read: what changes from now on has another identity in the next run.
        identities = [identity(place) if isinstance(place, Path) else b"" for place in places]
        known = hints.find(identities)
        return list(zip(identities, map(_image, places, known), strict=True))

    tasks = (cells[start : start + n_together] for start in range(0, len(cells), n_together))
    with Progress("Hashing pictures", len(cells), unit="file") as progress:
        for block in ordered_map(find_files, tasks, n_workers=n_workers, n_ahead=4 * n_workers):
            hints.remember([(of_file, key) for of_file, (key, _, _) in block])
            progress.advance(len(block))
            yield from (found for _, found in block)


def _locate(cell: str, root: Path, folders: dict[str, Path], *, allow_outside: bool) -> Path | Place | str:
    """Return the cell's file, its place inside another, or the status that says why there is none."""
    try:
        return locate(cell, root, allow_outside=allow_outside, folders=folders)
    except ContentError as error:
        return str(error)


def _image(place: Path | Place | str, known: str) -> Found:
    if isinstance(place, str):
        return "", place, ""
    if known:
        return known, OK, place
    try:
        return read_image(place)[0], OK, place
    except ContentError as error:
        return "", str(error), ""


def _check_found(statuses: list[str], cells: list[str], catalogue: Catalogue, settings: ExtractSettings) -> None:
    named = [n for n, status in enumerate(statuses) if status != ABSENT]
    if named and all(statuses[n] in ("missing", "outside", "url") for n in named):
        root = (settings.image_root or catalogue.folder).resolve()
        ways = ["Name their folder with --image-root"]
        if "url" in statuses:
            ways.append("fetch what is a URL")
        if "outside" in statuses:
            ways.append("permit others with --allow-outside")
        raise CatalogueError(
            f"Expected the pictures in column {catalogue.roles['image']} to be files below {root}, but none of the "
            f"{len(named)} is: {cells[named[0]]!r} is {statuses[named[0]]}. {', or '.join(ways)}."
        )
