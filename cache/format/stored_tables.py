"""The items of an HDF5 file by path: groups, and tables of plain numbers or bytes that the file itself holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np

from cache.errors import UnsafeFileError

__all__ = ["Items", "StoredTable", "open_table", "read_whole", "stored_items"]

_MAX_DEPTH = 5  # /catalogue/column/<name>/utf8 is the deepest path, at 4
_FILTERS = {h5py.h5z.FILTER_FLETCHER32}


class StoredTable(NamedTuple):
    """A table's shape, type and storage, kept since asking HDF5 for them takes as long as reading a small table."""

    shape: tuple[int, ...]
    dtype: np.dtype
    n_stored: int  # bytes
    has_checksums: bool  # of its chunks


Items = dict[str, StoredTable | list[str]]  # by path, "" for the root; a group is the list of its members' names


def stored_items(file: h5py.File) -> Items:
    """Return all that is in a file, by path, in the order of the names.

    Raises:
        UnsafeFileError: a link leads elsewhere or in a circle, or a table takes its data from elsewhere or nowhere.
    """
    return dict(_walk(h5py.h5g.open(file.id, b"/"), "", depth=_MAX_DEPTH, addresses=set()))


def open_table(file: h5py.File, path: str) -> h5py.h5d.DatasetID:
    """Return a table by h5py's low-level function: `file[path]` makes a file object, too."""
    return h5py.h5d.open(file.id, path.encode(errors="surrogateescape"))


def read_whole(file: h5py.File, path: str, table: StoredTable) -> np.ndarray:
    """Return all of a table, or the value of a scalar; for small ones in half the time that h5py takes.

    Raises:
        ValueError: its shape is not that of `table`.
    """
    stored = open_table(file, path)
    if stored.shape != table.shape:  # HDF5 would write beyond the array
        raise ValueError(f"expected the shape {table.shape}, got {stored.shape}")
    array = np.empty(table.shape, table.dtype)
    if array.size:
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array if array.ndim else array[()]


def _walk(
    group: h5py.h5g.GroupID, path: str, *, depth: int, addresses: set[int]
) -> Iterator[tuple[str, StoredTable | list[str]]]:
    """Yield a group of this path and all that is below it, each with its own path."""
    if depth == 0:
        raise UnsafeFileError(f"/{path} lies deeper than the format goes.")
    links: list[tuple[bytes, int, int]] = []
    # All at once, and by h5py's low-level function: a `Group` asks for each name by its number, and makes file objects.
    group.links.iterate(lambda name, link: links.append((name, link.type, link.u)), info=True)
    names = [name.decode(errors="surrogateescape") for name, _, _ in links]
    yield path, names
    for name, (stored_name, kind, address) in zip(names, links, strict=True):
        item_path = f"{path}/{name}" if path else name
        if kind != h5py.h5l.TYPE_HARD:
            raise UnsafeFileError(f"/{item_path} is a link to elsewhere.")
        if address in addresses:
            raise UnsafeFileError(f"/{item_path} is a second name of something else.")
        addresses.add(address)
        stored = h5py.h5o.open(group, stored_name)
        if isinstance(stored, h5py.h5d.DatasetID):
            yield item_path, _table(stored, item_path)
        elif isinstance(stored, h5py.h5g.GroupID):
            yield from _walk(stored, item_path, depth=depth - 1, addresses=addresses)
        else:
            raise UnsafeFileError(f"/{item_path} is neither a group nor a dataset.")


def _table(stored: h5py.h5d.DatasetID, item_path: str) -> StoredTable:
    properties = stored.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise UnsafeFileError(f"/{item_path} takes its data from another file.")
    dtype, shape, n_stored = stored.dtype, stored.shape, stored.get_storage_size()
    if dtype.kind not in "biufS":
        raise UnsafeFileError(f"expected /{item_path} to hold numbers or bytes, got {dtype}.")
    filters = {
        properties.get_filter(n)[0] for n in range(properties.get_nfilters())
    }  # by number: a filter's name may be anything
    if not filters <= _FILTERS:
        raise UnsafeFileError(f"/{item_path} is filtered by HDF5's {', '.join(map(str, sorted(filters - _FILTERS)))}.")
    n_bytes = 0 if shape is None else math.prod(shape) * dtype.itemsize
    if n_bytes > n_stored:
        raise UnsafeFileError(f"/{item_path} claims {n_bytes} bytes and stores {n_stored}.")
    return StoredTable(shape, dtype, n_stored, bool(filters))
