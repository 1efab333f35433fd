"""Writing datasets that carry checksums: Fletcher-32 per chunk, SHA-256 per dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import h5py
import numpy as np

from cache.arrays.large_arrays import row_blocks
from cache.arrays.lazy_table import LazyTable
from cache.arrays.string_column import StringColumn
from cache.format.layout import FORMAT_VERSION
from cache.system.stop_signals import raise_held_signals
from cache.tokens import offsets_of
from cache.version import version_here

__all__ = ["Writer", "array_digest", "content_sha256", "dataset_digest", "decode_strings", "encode_strings"]

CHUNK_ROWS = 1024
BLOCK_ROWS = 64 * CHUNK_ROWS


class Writer:
    """Writes datasets into an open file and keeps each one's digest, by its path.

    `check` is called after each block, and may raise what went wrong with the file; a Ctrl-C that was held is raised,
    too.
    """

    def __init__(self, file: h5py.File, *, file_format: str, check: Callable[[], None] = lambda: None) -> None:
        self.file = file
        self.check = check
        self.digests: dict[str, str] = {}
        self._links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        self._links.set_create_intermediate_group(True)
        self._links.set_char_encoding(h5py.h5t.CSET_UTF8)
        file.attrs["format"] = np.bytes_(file_format)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["created_by"] = np.bytes_(f"embed-once {version_here()}")

    def array(self, path: str, array: np.ndarray | LazyTable, *, is_chunked: bool = True) -> None:
        """Write one array of numbers or fixed-width bytes; without chunks it has no Fletcher-32 either."""
        self.blocks(path, array.shape, array.dtype, _blocks_of(array), is_chunked=is_chunked)

    def text(self, path: str, text: str) -> None:
        """Write one string as a scalar of bytes."""
        self.array(path, np.array(text.encode(), dtype=f"S{max(1, len(text.encode()))}"))

    def strings(self, path: str, cells: Sequence[str]) -> None:
        """Write N strings as ``utf8`` and ``offset``."""
        for name, array in encode_strings(cells).items():
            self.array(f"{path}/{name}", array)

    def blocks(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        blocks: Iterable[np.ndarray],
        *,
        is_chunked: bool = True,
    ) -> None:
        """Write a dataset from consecutive blocks of its rows, so that it never stands in memory whole."""
        dataset = self._create(path, shape, dtype, is_chunked=is_chunked)
        digest = _start_digest(shape, dtype)
        start = 0
        for block in blocks:
            content = np.ascontiguousarray(block)
            if block.shape == shape:
                if block.size:  # by h5py's low-level function: a small table is written in a third of the time
                    dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, content)
            elif block.size:
                dataset[start : start + len(block)] = block
                start += len(block)
            digest.update(content.data)
            self.check()
            raise_held_signals()
        self.digests[path] = digest.hexdigest()

    def _create(self, path: str, shape: tuple[int, ...], dtype: np.dtype, *, is_chunked: bool) -> h5py.Dataset:
        """Return a new dataset, made by h5py's low-level functions, since `create_dataset` adds twice HDF5's time."""
        storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        storage.set_obj_track_times(False)
        if is_chunked and 0 not in shape and shape:
            rows = CHUNK_ROWS if len(shape) > 1 else BLOCK_ROWS
            storage.set_chunk((min(rows, shape[0]), *shape[1:]))
            storage.set_fletcher32()
        space = h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(h5py.h5s.SCALAR)
        kind = h5py.h5t.py_create(dtype, logical=True)
        dataset_id = h5py.h5d.create(self.file.id, None, kind, space, storage)
        h5py.h5o.link(dataset_id, self.file.id, path.encode(), lcpl=self._links)
        return h5py.Dataset(dataset_id)

    def finish(self) -> None:
        """Write the digests; call it last."""
        self.file.attrs["content_sha256"] = np.bytes_(content_sha256(self.digests))
        text = json.dumps(self.digests, sort_keys=True, indent=1)
        self.file.create_dataset("digests", data=np.bytes_(text.encode()))


def encode_strings(cells: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the cells in Arrow's layout: all bytes in one array, and where each cell begins.

    Shape:
        output: ``utf8`` (bytes,) uint8 and ``offset`` (N + 1,) int64
    """
    if isinstance(cells, StringColumn):
        return {"offset": cells.offset, "utf8": cells.utf8}
    encoded = [cell.encode("utf-8", "surrogateescape") for cell in cells]
    offsets = offsets_of([len(cell) for cell in encoded])
    return {"offset": offsets, "utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8)}


def decode_strings(utf8: np.ndarray, offset: np.ndarray) -> list[str]:
    """Return the N cells that `encode_strings` laid out."""
    content, bounds = utf8.tobytes(), offset.tolist()
    return [content[start:end].decode("utf-8", "surrogateescape") for start, end in pairwise(bounds)]


def array_digest(array: np.ndarray | LazyTable) -> str:
    """Return the SHA-256 that a dataset of this array has."""
    digest = _start_digest(array.shape, array.dtype)
    for block in _blocks_of(array):
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _blocks_of(array: np.ndarray | LazyTable) -> Iterable[np.ndarray]:
    if isinstance(array, LazyTable):
        return array.blocks()
    return (array[rows] for rows in row_blocks(len(array))) if array.ndim == 1 and len(array) else [array]


def dataset_digest(dataset: h5py.Dataset) -> str:
    """Return the SHA-256 of a stored dataset, read block by block.

    Raises:
        OSError: a chunk does not match its Fletcher-32 checksum.
    """
    if dataset.shape == ():
        return array_digest(np.asarray(dataset[()], dtype=dataset.dtype))
    digest = _start_digest(dataset.shape, dataset.dtype)
    for start in range(0, len(dataset), BLOCK_ROWS):
        raise_held_signals()
        digest.update(np.ascontiguousarray(dataset[start : start + BLOCK_ROWS]).data)
    return digest.hexdigest()


def content_sha256(digests: dict[str, str]) -> str:
    """Return the SHA-256 over all datasets' digests."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _start_digest(shape: tuple[int, ...], dtype: np.dtype) -> hashlib._Hash:
    return hashlib.sha256(json.dumps([np.dtype(dtype).str, list(shape)]).encode())
