"""The contents that a catalogue names: a key and a status for each product, and where each content is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

from cache import Contents, ContentSpec
from cache.cloud.addresses import is_address, resolved
from cache.reading import facts_of
from cache.samples import MOST_BYTES, choose_samples
from embed.catalogue.catalogue import Catalogue
from embed.catalogue.pictures.missing_pictures import EXPLAINED, explain_missing
from embed.catalogue.pictures.picture_lists import PictureList
from embed.contents.file_ranges import Place
from embed.contents.hash_cache import Hints, identity
from embed.contents.images import locate, read_image
from embed.contents.objects import N_OBJECTS_AT_ONCE, ObjectPlace, is_object
from embed.contents.statuses import ABSENT, OK, RETRIED
from embed.errors import CatalogueError, ContentError
from embed.extraction.object_listing import (
    N_OBJECTS_A_TASK,
    check_buckets,
    list_objects,
    locate_all,
)
from embed.extraction.shard import Shard
from embed.extraction.text_contents import Texts, texts_by_row
from embed.extraction.thread_map import PICTURES_TOGETHER, map_pictures
from embed.settings import ExtractSettings

__all__ = ["ContentSource", "ListedPicture", "Source", "find_source"]

log = logging.getLogger("embed_once")


class ContentSource(Protocol):
    """N contents of one modality by their keys, and where each unique one is read."""

    @property
    def keys(self) -> Sequence[str]:
        """N keys, "" where there is no content."""
        ...

    @property
    def statuses(self) -> Sequence[str]:
        """N statuses, "ok" where there is a content."""
        ...

    @property
    def places(self) -> Mapping[str, Any]:
        """By key a text, or whatever else leads to the content."""
        ...

    def read(self, key: str) -> Any:
        """Return the content of a key.

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
    keys: list[str]  # N, "" where the product has no content
    statuses: list[str]  # N, "ok" where it has
    places: Mapping[str, Path | Place | str]  # key -> the file, the place inside a file, or the text itself
    spec: ContentSpec  # how the contents are made of the catalogue
    hints: Hints
    pictures: dict[int, list[ListedPicture]] = field(default_factory=dict)  # of products that have several, by row

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
            if str(error) == RETRIED:
                self.doubt(key)
            raise ContentError(RETRIED) from error

    def doubt(self, key: str) -> None:
        """Note that a content turned out not to have its key, which a hint may have given."""
        place = self.places[key]
        if of_file := _identity(place):
            self.hints.doubt(of_file, key, place=getattr(place, "address", place))

    def contents(self, left_out: set[str], *, kept: Mapping[str, bytes]) -> Contents:
        """Return keys and statuses for the cache; the products of the keys left out have changed under our hands.

        `kept` are the contents that the cache has as they are.
        """
        return Contents(
            keys=["" if key in left_out else key for key in self.keys] if left_out else self.keys,
            statuses=[
                RETRIED if key in left_out else status for key, status in zip(self.keys, self.statuses, strict=True)
            ]
            if left_out
            else self.statuses,
            spec=self.spec,
            samples=choose_samples(
                self.places.keys() - left_out if left_out else self.places.keys(), self._sample, kept=kept
            ),
        )

    def _sample(self, key: str) -> bytes | None:
        place = self.places[key]
        if isinstance(place, Path) and (facts := facts_of(place)) is not None and facts.st_size > MOST_BYTES:
            return None
        try:
            content = self.read(key)
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
    known: Mapping[str, int] | None = None,
    shard: Shard | None = None,
) -> Source:
    """Return the contents of one modality, each file read and hashed once unless there is a hint of its key.

    Keys that are `known`, {key: row}, are the same strings, so that they stand in memory once. Of a `shard` the
    contents are those that are its own, and do not stand for products.

    Raises:
        CatalogueError: not one of the pictures that the catalogue names is there, and `needs_pictures`.
        UnreadableError: the machine lacks memory or open files.
    """
    cells = catalogue.cells(modality)
    lists = [_names(cell) for cell in cells] if modality == "image" and catalogue.has_means else []
    cells = list(chain.from_iterable(lists)) if lists else cells
    if shard is not None and modality == "image":
        cells = shard.pictures(cells)
    keys, statuses, places = [], [], {}
    contents: Iterator[tuple[str, str, Any]] = (
        texts_by_row(cells, is_cleaned=settings.clean_text)
        if modality == "text"
        else _find_images(cells, catalogue, settings, hints)
    )
    known = known or {}
    names = list(known)
    for new_key, status, place in contents:
        if shard is not None and modality == "text" and not (new_key and shard.takes_key(new_key)):
            continue
        row = known.get(new_key)
        key = new_key if row is None else names[row]
        keys.append(key)
        statuses.append(status)
        if key and key not in places:
            places[key] = place
    by_key = Texts(cells, places, is_cleaned=settings.clean_text) if modality == "text" else places
    if modality == "image" and needs_pictures and shard is None:
        _tell_missing(statuses, cells, catalogue, settings)
    spec = catalogue.content_spec(modality, is_cleaned=settings.clean_text)
    pictures: dict[int, list[ListedPicture]] = {}
    if lists and shard is None:
        every = map(ListedPicture, keys, statuses, cells)
        by_product = [list(islice(every, len(names))) for names in lists]
        pictures = {row: listed for row, listed in enumerate(by_product) if len(listed) > 1}
        keys, statuses = [listed[0].key for listed in by_product], [listed[0].status for listed in by_product]
    return Source(modality, keys, statuses, by_key, spec, hints, pictures)


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


def _tell_missing(statuses: list[str], cells: Sequence[str], catalogue: Catalogue, settings: ExtractSettings) -> None:
    """Note what would lead to pictures that are not there.

    Raises:
        CatalogueError: not one of those that are named is there.
    """
    named = [n for n, status in enumerate(statuses) if status != ABSENT]
    missing = [n for n in named if statuses[n] in EXPLAINED]
    if not missing:
        return
    root = resolved(settings.image_root or catalogue.folder)
    column = catalogue.roles["image"]
    explanation = explain_missing([cells[n] for n in missing], root, column=column)
    if len(missing) < len(named):
        if explanation:
            log.warning("Column %s: %s", column, explanation)
        return
    ways = ["Name their folder with --image-root"]
    if "url" in statuses:
        ways.append("fetch what is a URL")
    if "outside" in statuses:
        ways.append("permit others with --allow-outside")
    remedy = f"{', or '.join(ways)}."
    raise CatalogueError(
        f"Expected the pictures in column {column} to be files below {root}, but none of the {len(named)} is: "
        f"{cells[named[0]]!r} is {statuses[named[0]]}. {f'{explanation} Or: {remedy}' if explanation else remedy}"
    )
