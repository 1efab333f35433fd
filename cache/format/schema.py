"""Whether a file has the tables of the format, each of its type and shape, and no others."""

from __future__ import annotations

import re
from typing import cast

from cache.errors import DamagedCacheError, NotACacheError
from cache.format.source_file import CheckedFile
from cache.format.stored_tables import Items, StoredTable, read_whole
from cache.keys import ContentSpec, EncoderSpec

__all__ = ["PLAIN_NAME", "check_part_schema", "check_schema"]

PLAIN_NAME = re.compile(r"[\w+-][\w.+-]*")  # of modalities and encoders


def check_schema(file: CheckedFile) -> None:
    """Check all that is stored in a cache against `cache.format.layout`; no values are read, but for the specs.

    Raises:
        DamagedCacheError: a table is missing, too many, or of another type or shape.
    """
    items = file.stored
    tables = _Tables(items)
    tables.table("digests", "S")
    n_products = tables.strings("catalogue/id", None)
    n_columns = tables.strings("catalogue/columns", None)
    columns = _members(items, "catalogue/column") if n_columns else []
    if len(columns) != n_columns:
        raise DamagedCacheError(f"the catalogue names {n_columns} columns and has {len(columns)}")
    for name in columns:
        tables.strings(f"catalogue/column/{name}", n_products)
    modalities = [name for name in _members(items, "") if name not in ("catalogue", "digests")]
    for modality in modalities:
        _check_name(modality)
        n_contents = tables.table(f"{modality}/key", "S64", None)[0]
        tables.table(f"{modality}/status", "S16", n_contents)
        for encoder in _members(items, modality):
            if encoder not in ("key", "status"):
                _check_name(encoder)
                tables.encoded(f"{modality}/{encoder}/", n_contents)
                tables.check_empty(f"{modality}/{encoder}/")
                tables.table(f"{modality}/{encoder}/encoded", "b", n_contents)
                _check_spec(file, f"{modality}/{encoder}/spec", EncoderSpec, modality)
        if f"catalogue/{modality}" in items:
            tables.table(f"catalogue/{modality}/row", "i8", n_products)
            tables.table(f"catalogue/{modality}/status", "S16", n_products)
            if f"catalogue/{modality}/spec" in items:
                tables.table(f"catalogue/{modality}/spec", "S")
                _check_spec(file, f"catalogue/{modality}/spec", ContentSpec, modality)
            if f"catalogue/{modality}/sample_key" in items:
                n_samples = tables.table(f"catalogue/{modality}/sample_key", "S64", None)[0]
                tables.strings(f"catalogue/{modality}/sample", n_samples)
    tables.check_nothing_else({"catalogue/column"})


def check_part_schema(file: CheckedFile) -> None:
    """Check all that is stored in a part of the journal against `cache.format.layout`; no values are read.

    Raises:
        DamagedCacheError: a table is missing, too many, or of another type or shape.
    """
    tables = _Tables(file.stored)
    tables.table("encoder", "S")
    tables.encoded("", tables.table("key", "S64", None)[0])
    tables.table("failed_status", "S16", tables.table("failed_key", "S64", None)[0])
    tables.check_nothing_else(set())


class _Tables:
    """The tables of a file, and which of them are known to be of the format."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._known: set[str] = set()

    def table(self, path: str, kind: str, *shape: int | None) -> tuple[int, ...]:
        """Check one table's type and shape, where None is any size, and return the shape."""
        table = self._items.get(path)
        if not isinstance(table, StoredTable):
            raise DamagedCacheError(f"the table {path} is missing")
        dtype, actual = table.dtype, table.shape
        if (
            kind not in (dtype.kind, dtype.str.lstrip("<|"))
            or len(actual) != len(shape)
            or any(wanted not in (None, size) for wanted, size in zip(shape, actual, strict=True))
        ):
            wish = ", ".join("any" if n is None else str(n) for n in shape)
            raise DamagedCacheError(
                f"expected the table {path} to be {kind} of shape ({wish}), got {dtype} of {actual}"
            )
        self._known.add(path)
        return actual

    def strings(self, path: str, n_cells: int | None) -> int:
        """Check the two tables of a string, and return how many cells it has."""
        self.table(f"{path}/utf8", "u1", None)
        n_offsets = self.table(f"{path}/offset", "i8", None if n_cells is None else n_cells + 1)[0]
        if n_offsets < 1:
            raise DamagedCacheError(f"expected the table {path}/offset to have at least one row, got none")
        return n_offsets - 1

    def encoded(self, start: str, n_contents: int) -> None:
        """Check what an encoder made of contents, in tables whose paths have this start."""
        self.table(f"{start}spec", "S")
        self.table(f"{start}vector", "f4", n_contents, None)
        if f"{start}token" in self._items or f"{start}token_offset" in self._items:
            n_tokens, dim = self.table(f"{start}token", "f2", None, None)
            if n_tokens and not dim:  # which take no bytes whatever their number
                raise DamagedCacheError(f"the table {start}token has {n_tokens} tokens of no dimensions")
            self.table(f"{start}token_offset", "i8", n_contents + 1)

    def check_empty(self, start: str) -> None:
        """Check that no rows have no dimensions either: such take no bytes whatever their number, and products do."""
        for path in (f"{start}vector", f"{start}token"):
            table = self._items.get(path)
            n_rows, dim = table.shape if isinstance(table, StoredTable) else (0, 0)
            if dim and not n_rows:
                raise DamagedCacheError(f"the table {path} has {dim} dimensions of no rows")

    def check_nothing_else(self, groups: set[str]) -> None:
        """Check that there is nothing but the tables checked, the groups that they are in, and these groups."""
        groups = groups | {path.rpartition("/")[0] for path in self._known}
        groups |= {path.rpartition("/")[0] for path in groups}
        for path, item in self._items.items():
            if path not in (self._known if isinstance(item, StoredTable) else groups):
                raise DamagedCacheError(f"{path} is no part of the format")


def _check_name(name: str) -> None:
    if not PLAIN_NAME.fullmatch(name):
        raise DamagedCacheError(f"expected a name of letters, digits, '.', '_', '+' and '-', got {name!r}")


def _check_spec(file: CheckedFile, path: str, kind: type[EncoderSpec | ContentSpec], modality: str) -> None:
    table = cast("StoredTable", file.stored[path])
    try:
        spec = kind.from_json(bytes(read_whole(file, path, table)).decode(errors="replace"))
    except NotACacheError as error:
        raise DamagedCacheError(f"{path}: {error}") from error
    if spec.modality != modality:
        raise DamagedCacheError(f"{path} is that of another modality")


def _members(items: Items, path: str) -> list[str]:
    group = items.get(path)
    if not isinstance(group, list):
        raise DamagedCacheError(f"the group {path} is missing")
    return group
