"""Tar shards in the WebDataset layout as a table: members of one stem make a product.

Of ``shard-000.tar`` with ``shirts/7.jpg``, ``shirts/7.txt`` and ``shirts/7.json``, the product ``shirts/7`` has a
picture, a text, and a column for each name in the JSON object; ``.cls`` is the label. The stem ends at the first dot of
the last name, so that ``7.front.png`` and ``7.back.png`` are two pictures of ``7``, of which one is read; where nearly
each picture would be of a kind of its own (``v1.25.jpg``), it ends at the last dot. Nothing is ever unpacked: a picture
is known by its place in the shard.
"""

from __future__ import annotations

import errno
import itertools
import logging
import tarfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cache.system.reading import raise_if_refused
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.file_patterns import find_files, folders_within
from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES
from embed.catalogue.formats.json_lines import Names, parse_object
from embed.catalogue.list_columns import is_requested
from embed.catalogue.table import BATCH_ROWS
from embed.contents.file_ranges import FilePart, PlacedCell
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["Shards", "find_shards"]

MAX_CELL_BYTES = 2**24  # of a text, a label or an object
MOST_VIEWS = 8  # kinds of pictures in a sample; more, each of which is rare, are names with dots
COLUMNS = {"cls": "label", "json": "json", "txt": "text"} | {suffix[1:]: "image" for suffix in PICTURE_SUFFIXES}
ORDER = ("image", "text", "label")

log = logging.getLogger("embed_once")

Product = dict[str, str]  # column -> cell; a picture's is a PlacedCell


class Shards:
    """The products in tar files; the shards are read once for the columns, and once for the cells.

    Members of one stem need not follow one another, but stand in one shard. What is no regular file, a second member of
    one stem and kind, and what cannot be read are bad; they are counted by the member's number.

    Raises:
        CatalogueError: a shard is not there, no tar file or not whole, or a member is bad and `bad_lines` is ``error``.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.shards = find_shards(path)
        self.is_error = settings.bad_lines == "error"
        self.unread_kinds: Counter[str] = Counter()
        self.keeps_lists = partial(is_requested, settings=settings)
        self.requested = settings.image_column or ""  # a kind of members, such as front.png, or any column
        self.view = ""  # the kind that is the picture, where none is plain
        self.ends_at_last_dot = False
        kinds, names = self._scan()
        if self._choose_view(kinds):
            kinds, names = self._scan()
        columns = [self.requested, *(column for column in ORDER if column != self.requested)]
        self._member_columns = ["id", *(column for column in columns if column in kinds)]
        self.columns = list(self._member_columns)
        self._json_columns = {name: f"json.{name}" if name in self.columns else name for name in names.plain()}
        self.columns += self._json_columns.values()
        if self.unread_kinds:
            shown = ", ".join(f"{n} .{kind}" for kind, n in self.unread_kinds.most_common(5))
            view = next((kind for kind in self.unread_kinds if _is_view(kind)), None)
            hint = f" --image-column {view} takes its pictures." if view else ""
            log.info("%s: members of other kinds are left out: %s.%s", path, shown, hint)

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the products shard by shard in the members' order, each column a list of cells."""
        products = self._products()
        n_nested: Counter[str] = Counter()
        n_products = n_without = 0
        while block := list(itertools.islice(products, BATCH_ROWS)):
            batch = {column: [product.get(column, "") for product in block] for column in self._member_columns}
            objects = [self._object(product) for product in block]
            for name, column in self._json_columns.items():
                n_nested[column] += sum(cells.get(name, "") is None for cells in objects)
                batch[column] = [cells.get(name) or "" for cells in objects]
            n_products += len(block)
            n_without += sum(not cell for cell in batch.get(self._picture, ()))
            yield batch
        if n_without and (self.view or _is_view(self.requested)):
            log.warning(
                "%d of %d samples of %s have no %s: they stay, without a picture.",
                n_without, n_products, self.path, self.view or self.requested,
            )  # fmt: skip
        for column, n in (+n_nested).items():
            log.warning(
                "Of column %s of %s, lists or objects are left out, and these cells empty: %d.", column, self.path, n
            )

    def _object(self, product: Product) -> dict[str, str | None]:
        """Return the cells of a product's JSON object."""
        return parse_object(product["json"], keeps_lists=self.keeps_lists) if "json" in product else {}

    @property
    def _picture(self) -> str:
        """The column of pictures."""
        return self.requested if self.requested in self.columns else "image"

    def _scan(self) -> tuple[set[str], Names]:
        """Return the columns that members give, and the names in their objects."""
        names = Names(self.path)
        kinds: set[str] = set()
        for product in self._products():
            kinds |= product.keys()
            names.add(self._object(product))
        return kinds, names

    def _choose_view(self, kinds: set[str]) -> bool:
        """Choose what is a sample's picture, where names have more than one dot; return whether that changes it."""
        views = Counter({kind: n for kind, n in self.unread_kinds.items() if _is_view(kind)})
        if not views or self.requested in kinds:
            return False
        if len(views) > MOST_VIEWS and views.total() < 2 * len(views):
            self.ends_at_last_dot = True
            log.info("%s: names have dots, so that a sample's name ends at the last one.", self.path)
        elif "image" not in kinds:
            self.view = views.most_common(1)[0][0]
            shown = ", ".join(f"{n} .{kind}" for kind, n in views.most_common(MOST_VIEWS))
            log.info(
                "%s has several pictures a sample (%s): .%s is taken (--image-column names another).",
                self.path, shown, self.view,
            )  # fmt: skip
        return bool(self.view) or self.ends_at_last_dot

    def _products(self) -> Iterator[Product]:
        """Yield the products shard by shard, and count bad members and the kinds that are not read."""
        self.bad_lines = BadLines(self.path, is_error=self.is_error, unit="member")
        self.unread_kinds.clear()
        for shard in self.shards:
            products: dict[str, Product] = {}
            for number, (name, member) in enumerate(_members(shard), 1):
                try:
                    self._add(products, shard, name, member)
                except ValueError as error:
                    if error.__cause__ is not None:
                        raise_if_refused(error.__cause__, shard)
                    self.bad_lines.add(number, f"of {shard.name} ({name}) {error}")
            yield from products.values()

    def _add(self, products: dict[str, Product], shard: Path, name: str, member: tarfile.TarInfo) -> None:
        """Add a member to its product.

        Raises:
            ValueError: it is bad.
        """
        folder, _, last = name.rpartition("/")
        stem, dot, kind = last.rpartition(".") if self.ends_at_last_dot else last.partition(".")
        kind = kind.lower()
        if member.isdir() or not stem or not dot:
            return
        product_id = f"{folder}/{stem}" if folder else stem
        column = "image" if self.view and kind == self.view else COLUMNS.get(kind)
        if self.requested and kind == self.requested.lower():
            column = self.requested
        if column is None:
            self.unread_kinds[kind] += 1
            if _is_view(kind) and (self.view or _is_view(self.requested)):
                products.setdefault(product_id, {"id": product_id})  # else the sample would be lost
            return
        if not member.isreg() or member.issparse():
            raise ValueError("is no regular file")
        if column in products.get(product_id, {}):
            raise ValueError(f"is the second {column} of {product_id}")
        content = FilePart(shard, member.offset_data, member.size)
        cell: str = PlacedCell(f"{shard.name}/{name}", content)
        if not kind.endswith(PICTURE_SUFFIXES) and f".{kind}" not in PICTURE_SUFFIXES:
            if member.size > MAX_CELL_BYTES:
                raise ValueError(f"has {member.size} bytes")
            cell = content.read().decode("utf-8-sig", "surrogateescape")
        if column == "json":
            parse_object(cell)
        products.setdefault(product_id, {"id": product_id})[column] = cell.strip() if column == "label" else cell


def _is_view(kind: str) -> bool:
    """Return whether members of a kind are one of several pictures: ``front.png``."""
    return "." in kind and kind.lower().endswith(PICTURE_SUFFIXES)


def find_shards(path: Path) -> list[Path]:
    """Return the shards that a path names: a tar file, a folder of such, ``shard-{000..003}.tar`` or ``shard-*.tar``.

    A folder without any has those of the folders below it.

    Raises:
        CatalogueError: one of them is not there, or the braces count downwards.
    """
    if path.is_dir():
        return _shards_in(path) or [shard for folder in folders_within(path) for shard in _shards_in(folder)]
    return [path] if path.is_file() else find_files(path)


def _shards_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".tar" and file.is_file())


def _members(shard: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield a shard's members with their names; what leads elsewhere in a name is nothing but part of the name.

    Raises:
        CatalogueError: it is no tar file, or not whole.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
            while (member := tar.next()) is not None:
                if member.size < 0 or tar.offset <= member.offset:  # else other members' bytes, or this one for ever
                    raise tarfile.ReadError(f"member {member.name!r} has {member.size} bytes")
                yield member.name.removeprefix("./"), member
                vars(tar)["members"].clear()  # else it keeps them all
            end = tar.offset
        with shard.open("rb") as file:
            file.seek(end)
            block = file.read(tarfile.BLOCKSIZE)
            is_last = not any(piece.strip(b"\0") for piece in iter(lambda: file.read(2**20), b""))
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        if getattr(error, "errno", None) != errno.EINVAL:  # an offset that no file can have, from a damaged header
            raise_if_refused(error, shard)
        raise CatalogueError(
            f"Expected a shard to be a whole tar file, not compressed, but {shard} is not: {error}. Make or fetch it "
            "again."
        ) from error
    if block.strip(b"\0") or len(block) < tarfile.BLOCKSIZE:
        raise CatalogueError(
            f"Expected a shard to be a whole tar file, but {shard} ends at byte {end} without an end mark, or is "
            "damaged there. Make or fetch it again."
        )
    if not is_last:
        raise CatalogueError(
            f"Expected a shard to be one tar file, but {shard} goes on behind the end mark at byte {end}: two files "
            "in one? Name them one by one (shard-{000..001}.tar), or join them with tar --concatenate."
        )
