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
from embed.errors import ContentError, SettingError
from embed.extraction.shard import Shard
from embed.extraction.source.gathered_contents import gather
from embed.extraction.source.object_listing import N_OBJECTS_A_TASK, check_buckets, list_objects, locate_all
from embed.extraction.source.text_contents import Texts, texts_by_row
from embed.extraction.thread_map import PICTURES_TOGETHER, map_pictures
from embed.settings import ExtractSettings

__all__ = ["ContentSource", "ListedPicture", "Source", "find_source", "read_content"]


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
        """By a content's number: a text, or whatever leads to the content."""
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


def read_content(place: Path | Place | str, key: str) -> bytes | str:
    """Return a content: the text that its place is, or a picture's bytes.

    Raises:
        ContentError: it is no longer the content that was hashed; the cause says why.
    """
    if isinstance(place, str):
        return place
    try:
        return read_image(place, key=key)[1]
    except ContentError as error:
        raise ContentError(RETRIED) from error


@dataclass(frozen=True)
class Source:
    """One modality of a catalogue: what each of the N products has, and where each unique content is."""

    modality: str
    keys: KeyColumn  # N, "" where the product has no content; a content's row in their index is its number
    statuses: Sequence[str]  # N, "ok" where it has
    places: Sequence[Path | Place | str]  # by a content's number: its file, its place inside one, or the text itself
    spec: ContentSpec  # how the contents are made of the catalogue
    hints: Hints
    pictures: dict[int, list[ListedPicture]] = field(default_factory=dict)  # of products that have several, by row

    def read(self, number: int) -> bytes | str:
        """Return a content.

        Raises:
            ContentError: it is no longer the content that was hashed.
        """
        try:
            return read_content(self.places[number], self.keys.contents.key(number))
        except ContentError as error:
            if str(error.__cause__) == RETRIED:
                self.doubt(number)
            raise

    def doubt(self, number: int) -> None:
        """Note that a content turned out not to have its key, which a hint may have given."""
        place = self.places[number]
        if place_identity := _identity(place):
            self.hints.doubt(place_identity, self.keys.contents.key(number), place=getattr(place, "address", place))

    def contents(self, left_out: set[str], *, kept: Mapping[str, bytes]) -> Contents:
        """Return keys and statuses for the cache; what the keys `left_out` were of has changed under our hands.

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
        """Return a content for the cache to keep as it is; None for one that is large, or can no longer be had."""
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
        SettingError: a catalogue has no contents of that modality.
        CatalogueError: not one of the pictures that the catalogue names is there, and `needs_pictures`.
        UnreadableError: the machine lacks memory or open files.
    """
    if modality == "text":
        return _find_texts(catalogue, settings, hints, shard)
    if modality != "image":
        raise SettingError(f"Expected encoders of image or text, got one of {modality!r}. A catalogue has no others.")
    return _find_pictures(catalogue, settings, hints, shard, needs_pictures=needs_pictures)


def _find_texts(catalogue: Catalogue, settings: ExtractSettings, hints: Hints, shard: Shard | None) -> Source:
    """Return the texts of products, and those of names of classes, which are contents of no product."""
    is_cleaned = settings.clean_text
    cells = catalogue.cells("text")
    names = catalogue.class_names(settings.class_name_columns)
    contents = texts_by_row(cells, is_cleaned=is_cleaned, names=names)
    if shard is not None:
        contents = ((key, status, row) for key, status, row in contents if key and shard.takes_key(key))
    rows = GrowingArray(ROW)  # a row of each unique text
    keys, statuses = gather(
        contents, lambda new_rows: rows.extend(np.array(new_rows, dtype=ROW)), capacity=len(cells) + len(names)
    )
    if names and shard is None:
        keys, statuses = keys[: len(cells)], statuses[: len(cells)]
    texts = Texts(cells, rows.array(), is_cleaned=is_cleaned, names=names)
    return Source("text", keys, statuses, texts, catalogue.content_spec("text", is_cleaned=is_cleaned), hints)


def _find_pictures(
    catalogue: Catalogue, settings: ExtractSettings, hints: Hints, shard: Shard | None, *, needs_pictures: bool
) -> Source:
    """Return the pictures of products, of which one that lists several has the first, until there are means."""
    cells = catalogue.cells("image")
    lists = [_names(cell) for cell in cells] if catalogue.has_means else []
    if lists:
        cells = list(chain.from_iterable(lists))
    if shard is not None:
        cells = shard.pictures(cells)
    places: list[Path | Place | str] = []
    contents = _find_images(cells, catalogue, settings, hints)
    keys, statuses = gather(contents, places.extend, capacity=len(cells))
    if needs_pictures and shard is None:
        tell_missing(statuses, cells, catalogue, settings)
    pictures: dict[int, list[ListedPicture]] = {}
    if lists and shard is None:
        all_pictures = map(ListedPicture, keys, statuses, cells)
        by_product = [list(islice(all_pictures, len(names))) for names in lists]
        pictures = {row: listed for row, listed in enumerate(by_product) if len(listed) > 1}
        first_rows = np.cumsum([0, *map(len, lists[:-1])])
        keys = KeyColumn(keys.contents, keys.rows[first_rows])
        statuses = StatusColumn.of([listed[0].status for listed in by_product])
    spec = catalogue.content_spec("image", is_cleaned=settings.clean_text)
    return Source("image", keys, statuses, places, spec, hints, pictures)


def _names(cell: str) -> list[str]:
    """Return the pictures that a cell lists where all are taken, else the cell alone."""
    return cell.names if isinstance(cell, PictureList) else [cell]


def _find_images(
    cells: Sequence[str], catalogue: Catalogue, settings: ExtractSettings, hints: Hints
) -> Iterator[KeyedContent]:
    """Yield each cell's key, status and place; threads locate, and read and hash what no hint is of."""
    root = resolved(settings.image_root or catalogue.folder)
    folders: dict[str, Path] = {}
    object_cells = cells if is_address(root) else filter(is_object, cells)
    objects = locate_all(object_cells, root, allow_outside=settings.allow_outside)
    check_buckets(objects)
    facts = {} if hints.is_empty else list_objects(objects)

    def find_files(block: Sequence[str]) -> list[tuple[bytes, KeyedContent]]:
        places = [_locate(cell, root, folders, allow_outside=settings.allow_outside) for cell in block]
        for place in places:
            if isinstance(place, ObjectPlace) and not hints.is_empty:
                place.facts = facts.get(place.address)
                if place.facts is None:
                    place.look()
        # Before any is read: what changes from now on has another identity in the next run.
        identities = [_identity(place) for place in places]
        contents = list(map(_image, places, hints.find(identities)))
        # Of an object the store tells the tag together with the bytes.
        identities = [
            place.identity() if isinstance(place, ObjectPlace) else file_identity
            for place, file_identity in zip(places, identities, strict=True)
        ]
        return list(zip(identities, contents, strict=True))

    n_workers, n_together = settings.n_workers, PICTURES_TOGETHER
    if objects:  # which are waited for
        n_workers, n_together = settings.n_workers or N_OBJECTS_AT_ONCE, N_OBJECTS_A_TASK
    blocks = map_pictures(
        find_files, cells, cells, label="Hashing pictures", n_workers=n_workers, n_together=n_together
    )
    for block in blocks:
        hints.remember([(place_identity, key) for place_identity, (key, _, _) in block])
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


def _image(place: Path | Place | str, hinted_key: str) -> KeyedContent:
    """Return what a place holds, which is read unless there is a hint of its key; a status is the place of nothing."""
    if isinstance(place, str):
        return "", place, ""
    if hinted_key:
        return hinted_key, OK, place
    try:
        return read_image(place)[0], OK, place
    except ContentError as error:
        return "", str(error), ""
