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
    tables = _TableChecks(file.stored)
    tables.check("digests", "S")
    n_products = tables.check_strings("catalogue/id", None)
    n_columns = tables.check_strings("catalogue/columns", None)
    columns = _members(file.stored, "catalogue/column") if n_columns else []
    if len(columns) != n_columns:
        raise DamagedCacheError(f"the catalogue names {n_columns} columns and has {len(columns)}")
    for name in columns:
        tables.check_strings(f"catalogue/column/{name}", n_products)
    for modality in _members(file.stored, ""):
        if modality not in ("catalogue", "digests"):
            _check_contents(file, tables, modality)
            _check_catalogue(file, tables, modality, n_products)
    tables.check_nothing_else({"catalogue/column"})


def _check_contents(file: CheckedFile, tables: _TableChecks, modality: str) -> None:
    """Check a modality's keys, and what its encoders made of the contents."""
    _check_name(modality)
    n_contents = tables.check(f"{modality}/key", "S64", None)[0]
    tables.check(f"{modality}/status", "S16", n_contents)
    for encoder in _members(file.stored, modality):
        if encoder not in ("key", "status"):
            _check_name(encoder)
            tables.check_vectors(f"{modality}/{encoder}/", n_contents)
            tables.check_no_empty_dimensions(f"{modality}/{encoder}/")
            tables.check(f"{modality}/{encoder}/encoded", "b", n_contents)
            _check_spec(file, f"{modality}/{encoder}/spec", EncoderSpec, modality)


def _check_catalogue(file: CheckedFile, tables: _TableChecks, modality: str, n_products: int) -> None:
    """Check what the catalogue has of a modality, if it has it."""
    path = f"catalogue/{modality}"
    if path not in file.stored:
        return
    tables.check(f"{path}/row", "i8", n_products)
    tables.check(f"{path}/status", "S16", n_products)
    if f"{path}/spec" in file.stored:
        tables.check(f"{path}/spec", "S")
        _check_spec(file, f"{path}/spec", ContentSpec, modality)
    if f"{path}/sample_key" in file.stored:
        n_samples = tables.check(f"{path}/sample_key", "S64", None)[0]
        tables.check_strings(f"{path}/sample", n_samples)


def check_part_schema(file: CheckedFile) -> None:
    """Check all that is stored in a part of the journal against `cache.format.layout`; no values are read.

    Raises:
        DamagedCacheError: a table is missing, too many, or of another type or shape.
    """
    tables = _TableChecks(file.stored)
    tables.check("encoder", "S")
    n_keys = tables.check("key", "S64", None)[0]
    tables.check_vectors("", n_keys)
    n_failed = tables.check("failed_key", "S64", None)[0]
    tables.check("failed_status", "S16", n_failed)
    tables.check_nothing_else(set())


class _TableChecks:
    """Checks of the tables of a file; those that were checked are known to be of the format."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._checked: set[str] = set()

    def check(self, path: str, kind: str, *shape: int | None) -> tuple[int, ...]:
        """Check a table's type and shape, in which None is any size, and return the shape."""
        table = self._items.get(path)
        if not isinstance(table, StoredTable):
            raise DamagedCacheError(f"the table {path} is missing")
        dtype, actual = table.dtype, table.shape
        if (
            kind not in (dtype.kind, dtype.str.lstrip("<|"))
            or len(actual) != len(shape)
            or any(expected not in (None, size) for expected, size in zip(shape, actual, strict=True))
        ):
            expected_shape = ", ".join("any" if n is None else str(n) for n in shape)
            raise DamagedCacheError(
                f"expected the table {path} to be {kind} of shape ({expected_shape}), got {dtype} of {actual}"
            )
        self._checked.add(path)
        return actual

    def check_strings(self, path: str, n_cells: int | None) -> int:
        """Check the two tables of strings, and return how many cells they have."""
        self.check(f"{path}/utf8", "u1", None)
        n_offsets = self.check(f"{path}/offset", "i8", None if n_cells is None else n_cells + 1)[0]
        if n_offsets < 1:
            raise DamagedCacheError(f"expected the table {path}/offset to have at least one row, got none")
        return n_offsets - 1

    def check_vectors(self, prefix: str, n_contents: int) -> None:
        """Check what an encoder made of contents: its spec, vectors and tokens, whose paths have this prefix."""
        self.check(f"{prefix}spec", "S")
        self.check(f"{prefix}vector", "f4", n_contents, None)
        if f"{prefix}token" in self._items or f"{prefix}token_offset" in self._items:
            n_tokens, dim = self.check(f"{prefix}token", "f2", None, None)
            if n_tokens and not dim:  # which take no bytes whatever their number
                raise DamagedCacheError(f"the table {prefix}token has {n_tokens} tokens of no dimensions")
            self.check(f"{prefix}token_offset", "i8", n_contents + 1)

    def check_no_empty_dimensions(self, prefix: str) -> None:
        """Check that no table has dimensions without rows.

        It takes no bytes whatever their number, and a matrix of products would have them.
        """
        for path in (f"{prefix}vector", f"{prefix}token"):
            table = self._items.get(path)
            n_rows, dim = table.shape if isinstance(table, StoredTable) else (0, 0)
            if dim and not n_rows:
                raise DamagedCacheError(f"the table {path} has {dim} dimensions of no rows")

    def check_nothing_else(self, groups: set[str]) -> None:
        """Check that there is nothing but the tables checked, the groups that they are in, and these groups."""
        groups = groups | {path.rpartition("/")[0] for path in self._checked}
        groups |= {path.rpartition("/")[0] for path in groups}
        for path, item in self._items.items():
            if path not in (self._checked if isinstance(item, StoredTable) else groups):
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
