"""What stands in an HDF5 file, by path: tables of plain numbers or bytes that are its own, and nothing else."""

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
    """What a table is. HDF5 says each of these anew when asked, which takes as long as to read a small table."""

    shape: tuple[int, ...]
    dtype: np.dtype
    n_stored: int  # bytes
    has_checksums: bool  # of its chunks


Items = dict[str, StoredTable | list[str]]  # by path, that of the root is ""; groups are the names of what they hold


def stored_items(file: h5py.File) -> Items:
    """Return all that is in a file, by path, in the order of the names.

    Raises:
        UnsafeFileError: a link leads elsewhere or in a circle, or a table takes its data from elsewhere or nowhere.
    """
    return dict(_walk(h5py.h5g.open(file.id, b"/"), "", depth=_MAX_DEPTH, seen=set()))


def open_table(file: h5py.File, path: str) -> h5py.h5d.DatasetID:
    """Return a table by h5py's lower functions: `file[path]` makes a file object, too."""
    return h5py.h5d.open(file.id, path.encode(errors="surrogateescape"))


def read_whole(file: h5py.File, path: str, table: StoredTable) -> np.ndarray:
    """Return all of a table, or the value of one that has no axes, in half the time that h5py takes for a small one.

    Raises:
        ValueError: it is another than `table` says.
    """
    stored = open_table(file, path)
    if stored.shape != table.shape:  # for which HDF5 would fill memory that is not the array's
        raise ValueError(f"expected the shape {table.shape}, got {stored.shape}")
    array = np.empty(table.shape, table.dtype)
    if array.size:
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array if array.ndim else array[()]


def _walk(
    group: h5py.h5g.GroupID, path: str, *, depth: int, seen: set[int]
) -> Iterator[tuple[str, StoredTable | list[str]]]:
    """Yield a group of this path and all that is below it, each with its own path."""
    if depth == 0:
        raise UnsafeFileError(f"/{path} lies deeper than the format goes.")
    links: list[tuple[bytes, int, int]] = []
    # All at once, and by h5py's lower functions: its own ask for each name by its number, and make a file object.
    group.links.iterate(lambda name, link: links.append((name, link.type, link.u)), info=True)
    names = [name.decode(errors="surrogateescape") for name, _, _ in links]
    yield path, names
    for name, (stored_name, kind, address) in zip(names, links, strict=True):
        place = f"{path}/{name}" if path else name
        if kind != h5py.h5l.TYPE_HARD:
            raise UnsafeFileError(f"/{place} is a link to elsewhere.")
        if address in seen:
            raise UnsafeFileError(f"/{place} is a second name of something else.")
        seen.add(address)
        stored = h5py.h5o.open(group, stored_name)
        if isinstance(stored, h5py.h5d.DatasetID):
            yield place, _table(stored, place)
        elif isinstance(stored, h5py.h5g.GroupID):
            yield from _walk(stored, place, depth=depth - 1, seen=seen)
        else:
            raise UnsafeFileError(f"/{place} is neither a group nor a dataset.")


def _table(stored: h5py.h5d.DatasetID, place: str) -> StoredTable:
    properties = stored.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise UnsafeFileError(f"/{place} takes its data from another file.")
    dtype, shape, n_stored = stored.dtype, stored.shape, stored.get_storage_size()
    if dtype.kind not in "biufS":
        raise UnsafeFileError(f"expected /{place} to hold numbers or bytes, got {dtype}.")
    filters = {properties.get_filter(n)[0] for n in range(properties.get_nfilters())}  # a name may be anything
    if not filters <= _FILTERS:
        raise UnsafeFileError(f"/{place} is filtered by HDF5's {', '.join(map(str, sorted(filters - _FILTERS)))}.")
    n_bytes = 0 if shape is None else math.prod(shape) * dtype.itemsize
    if n_bytes > n_stored:
        raise UnsafeFileError(f"/{place} claims {n_bytes} bytes and stores {n_stored}.")
    return StoredTable(shape, dtype, n_stored, bool(filters))
