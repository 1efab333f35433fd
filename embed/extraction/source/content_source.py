"""The contents that a catalogue names: a key and a status for each product, and where each content is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cache import Contents, ContentSpec
from cache.arrays.hash_runs import ROW
from cache.arrays.key_column import KeyColumn
from cache.arrays.large_arrays import GrowingArray, empty, row_blocks
from cache.arrays.status_column import StatusColumn
from cache.cloud.addresses import is_address, resolved
from cache.sealed.samples import MOST_BYTES, choose_samples
from cache.system.file_identity import identity
from cache.system.reading import facts_of
from embed.catalogue.catalogue import Catalogue
from embed.catalogue.pictures.missing_pictures import tell_missing
from embed.catalogue.pictures.picture_lists import PictureList
from embed.contents.file_ranges import Place
from embed.contents.hash_cache import Hints
from embed.contents.images import locate, read_image
from embed.contents.objects import N_OBJECTS_AT_ONCE, ObjectPlace, is_object
from embed.contents.statuses import OK, RETRIED
from embed.errors import ContentError
from embed.extraction.shard import Shard
from embed.extraction.source.gathered_contents import gather
from embed.extraction.source.object_listing import N_OBJECTS_A_TASK, check_buckets, list_objects, locate_all
from embed.extraction.source.text_contents import Texts, texts_by_row
from embed.extraction.thread_map import PICTURES_TOGETHER, map_pictures
from embed.settings import ExtractSettings

__all__ = ["ContentSource", "ListedPicture", "Source", "find_source"]


class ContentSource(Protocol):
    """N contents of one modality by their keys, and where each unique one is read."""

    @property
    def keys(self) -> KeyColumn:
        """N keys, "" where there is no content; a content's row in their index is its number."""
        ...

    @property
    def statuses(self) -> Sequence[str]:
        """N statuses, "ok" where there is a content."""
        ...

    @property
    def places(self) -> Sequence[Any]:
        """By a content's number a text, or whatever else leads to the content."""
        ...

    def read(self, number: int) -> Any:
        """Return a content.

        Raises:
            ContentError: it can no longer be had.
        """
        ...


KeyedContent = tuple[str, str, Path | Place | str]  # key, status, place


@dataclass(frozen=True)
class ListedPicture:
    """One of several pictures of a product."""

    key: str  # "" where there is none
    status: str
    cell: str


@dataclass(frozen=True)
class Source:
    """One modality of a catalogue: what each of the N products has, and where each unique content is."""

    modality: str
    keys: KeyColumn  # N, "" where the product has no content; a content's row in their index is its number
    statuses: Sequence[str]  # N, "ok" where it has
    places: Sequence[Path | Place | str]  # of each content the file, the place inside a file, or the text itself
    spec: ContentSpec  # how the contents are made of the catalogue
    hints: Hints
    pictures: dict[int, list[ListedPicture]] = field(default_factory=dict)  # of products that have several, by row

    def read(self, number: int) -> bytes | str:
        """Return a content.

        Raises:
            ContentError: it is no longer the content that was hashed.
        """
        place = self.places[number]
        if isinstance(place, str):
            return place
        try:
            return read_image(place, key=self.keys.contents.key(number))[1]
        except ContentError as error:
            if str(error) == RETRIED:
                self.doubt(number)
            raise ContentError(RETRIED) from error

    def doubt(self, number: int) -> None:
        """Note that a content turned out not to have its key, which a hint may have given."""
        place = self.places[number]
        if of_file := _identity(place):
            self.hints.doubt(of_file, self.keys.contents.key(number), place=getattr(place, "address", place))

    def contents(self, left_out: set[str], *, kept: Mapping[str, bytes]) -> Contents:
        """Return keys and statuses for the cache; the products of the keys left out have changed under our hands.

        `kept` are the contents that the cache has as they are.
        """
        keys, statuses, index = self.keys, self.statuses, self.keys.contents
        if left_out:
            rows_left_out, rows, is_left_out = index.rows_of(left_out), empty(len(keys), ROW), empty(len(keys), bool)
            for block in row_blocks(len(keys)):
                is_left_out[block] = np.isin(keys.rows[block], rows_left_out) & (keys.rows[block] >= 0)
                rows[block] = np.where(is_left_out[block], -1, keys.rows[block])
            keys = KeyColumn(index, rows)
            statuses = StatusColumn.of(statuses).replaced(is_left_out, RETRIED)
        # Names of classes stand behind the products' texts.
        n_keys = int(self.keys.rows.max(initial=-1)) + 1 if self.modality == "text" else None
        samples = choose_samples(index, self._sample, kept_samples=kept, excluded_keys=left_out, n_keys=n_keys)
        return Contents(keys, statuses, spec=self.spec, samples=samples)

    def _sample(self, key: str) -> bytes | None:
        number = int(self.keys.contents.rows_of([key])[0])
        place = self.places[number]
        if isinstance(place, Path) and (facts := facts_of(place)) is not None and facts.st_size > MOST_BYTES:
            return None
        try:
            content = self.read(number)
        except ContentError:
            return None
        return content.encode() if isinstance(content, str) else content


def find_source(
    modality: str,
    catalogue: Catalogue,
    settings: ExtractSettings,
    *,
    hints: Hints,
    needs_pictures: bool = True,
    shard: Shard | None = None,
) -> Source:
    """Return the contents of one modality, each file read and hashed once unless there is a hint of its key.

    Of a `shard` the contents are those that are its own, and do not stand for products.

    Raises:
        CatalogueError: not one of the pictures that the catalogue names is there, and `needs_pictures`.
        UnreadableError: the machine lacks memory or open files.
    """
    cells = catalogue.cells(modality)
    lists = [_names(cell) for cell in cells] if modality == "image" and catalogue.has_means else []
    cells = list(chain.from_iterable(lists)) if lists else cells
    if shard is not None and modality == "image":
        cells = shard.pictures(cells)
    names = catalogue.class_names(settings.class_name_columns) if modality == "text" else []
    contents: Iterator[tuple[str, str, Any]] = (
        texts_by_row(cells, is_cleaned=settings.clean_text, names=names)
        if modality == "text"
        else _find_images(cells, catalogue, settings, hints)
    )
    if shard is not None and modality == "text":
        contents = (one for one in contents if one[0] and shard.takes_key(one[0]))
    listed_places: list[Any] = []
    places: Sequence[Any] = listed_places
    most = len(cells) + len(names)
    if modality == "text":
        rows = GrowingArray(ROW)
        column, statuses = gather(contents, lambda some: rows.extend(np.array(some, dtype=ROW)), most=most)
        places = Texts(cells, rows.array(), is_cleaned=settings.clean_text, names=names)
    else:
        column, statuses = gather(contents, listed_places.extend, most=most)
    if modality == "image" and needs_pictures and shard is None:
        tell_missing(statuses, cells, catalogue, settings)
    if names and shard is None:  # they are contents of no product
        column, statuses = column[: len(cells)], statuses[: len(cells)]
    spec = catalogue.content_spec(modality, is_cleaned=settings.clean_text)
    pictures: dict[int, list[ListedPicture]] = {}
    if lists and shard is None:
        every = map(ListedPicture, column, statuses, cells)
        by_product = [list(islice(every, len(names))) for names in lists]
        pictures = {row: listed for row, listed in enumerate(by_product) if len(listed) > 1}
        firsts = np.cumsum([0, *map(len, lists[:-1])])
        column = KeyColumn(column.contents, column.rows[firsts])
        statuses = StatusColumn.of([listed[0].status for listed in by_product])
    return Source(modality, column, statuses, places, spec, hints, pictures)


def _names(cell: str) -> list[str]:
    """Return the pictures that a cell lists where all are taken, else the cell alone."""
    return cell.names if isinstance(cell, PictureList) else [cell]


def _find_images(
    cells: Sequence[str], catalogue: Catalogue, settings: ExtractSettings, hints: Hints
) -> Iterator[KeyedContent]:
    root = resolved(settings.image_root or catalogue.folder)
    folders: dict[str, Path] = {}
    named = cells if is_address(root) else filter(is_object, cells)
    objects = locate_all(named, root, allow_outside=settings.allow_outside)
    check_buckets(objects)
    listed = {} if hints.is_empty else list_objects(objects)

    def find_files(some_cells: Sequence[str]) -> list[tuple[bytes, KeyedContent]]:
        places = [_locate(cell, root, folders, allow_outside=settings.allow_outside) for cell in some_cells]
        for place in places:
            if isinstance(place, ObjectPlace) and not hints.is_empty:
                place.facts = listed.get(place.address)
                if place.facts is None:
                    place.look()
        # Before any is read: what changes from now on has another identity in the next run.
        identities = [_identity(place) for place in places]
        contents = list(map(_image, places, hints.find(identities)))
        # Of an object the store tells the tag together with the bytes.
        identities = [
            place.identity() if isinstance(place, ObjectPlace) else of_file
            for place, of_file in zip(places, identities, strict=True)
        ]
        return list(zip(identities, contents, strict=True))

    n_workers, n_together = settings.n_workers, PICTURES_TOGETHER
    if objects:  # which are waited for
        n_workers, n_together = settings.n_workers or N_OBJECTS_AT_ONCE, N_OBJECTS_A_TASK
    blocks = map_pictures(
        find_files, cells, cells, label="Hashing pictures", n_workers=n_workers, n_together=n_together
    )
    for block in blocks:
        hints.remember([(of_file, key) for of_file, (key, _, _) in block])
        yield from (content for _, content in block)


def _locate(cell: str, root: Path, folders: dict[str, Path], *, allow_outside: bool) -> Path | Place | str:
    """Return the cell's file, its place inside another, or the status that says why there is none."""
    try:
        return locate(cell, root, allow_outside=allow_outside, folders=folders)
    except ContentError as error:
        return str(error)


def _identity(place: object) -> bytes:
    """Return what changes when the file or the object at a place does; nothing of other places."""
    if isinstance(place, ObjectPlace):
        return place.identity()
    return identity(place) if isinstance(place, Path) else b""


def _image(place: Path | Place | str, known: str) -> KeyedContent:
    if isinstance(place, str):
        return "", place, ""
    if known:
        return known, OK, place
    try:
        return read_image(place)[0], OK, place
    except ContentError as error:
        return "", str(error), ""
