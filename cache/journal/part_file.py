"""Files of the journal's parts: read only if they match the digest in their name, and while they stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cache.arrays.key_column import KeyColumn
from cache.errors import CacheError, DamagedCacheError, NotACacheError, UnknownVersionError, UnreadableError
from cache.format.layout import PART_FORMAT, open_checked
from cache.format.plain_rows import PlainRows
from cache.format.source_file import Identity, SourceFile
from cache.journal.part import Part, decode_part, failures_in, keys_in
from cache.keys import EncoderSpec
from cache.system.out_of_memory import is_out_of_memory
from cache.system.reading import raise_if_refused, reading

__all__ = [
    "SUFFIX",
    "Heading",
    "OpenParts",
    "PartFile",
    "PartTokens",
    "PartVectors",
    "encoder_in",
    "load_part",
    "load_part_file",
    "matches_digest",
    "part_name",
    "read_heading",
]

MOST_OPEN = 128  # files of parts at a time: systems allow at least some 256
SUFFIX = ".part.h5"


def part_name(part: Part, content: bytes) -> str:
    """Return the name of a part's file: ``<modality>.<encoder>.<SHA-256 of its bytes>.part.h5``."""
    return f"{part.spec.modality}.{part.encoder}.{hashlib.sha256(content).hexdigest()}{SUFFIX}"


def encoder_in(name: str) -> str:
    """Return ``<modality>.<encoder>`` of the name of a part's file."""
    return name.removesuffix(SUFFIX).rpartition(".")[0]


def matches_digest(name: str, content: bytes | bytearray) -> bool:
    """Return whether bytes have the digest that is in the name of a part's file."""
    return hashlib.sha256(content).hexdigest() == name.removesuffix(SUFFIX).rpartition(".")[2]


@dataclass(frozen=True)
class PartFile:
    """A part's file as it was when its digest was checked."""

    path: Path
    identity: Identity

    def open(self) -> SourceFile:
        """Open the file again.

        Raises:
            UnreadableError: the system cannot open it.
            CacheError: it is another file by now.
        """
        source = SourceFile(self.path)
        if source.identity != self.identity:
            source.close()
            raise CacheError(
                f"Expected {self.path} to stay as it was when its digest was checked, got another file. Type the same "
                "line again."
            )
        return source


def load_part(path: Path) -> Part:
    """Return the part in `path`.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: the system could not read it; nothing is known of its bytes.
        DamagedCacheError: the file's bytes do not match the digest in its name.
        UnknownVersionError: the bytes match, and are of another version of the format.
        NotACacheError: the bytes match, and are no part of this project.
    """
    return load_part_file(path)[1]


def load_part_file(path: Path) -> tuple[PartFile, Part]:
    """Return the file as it was read, and the part in it.

    Raises:
        FileNotFoundError, UnreadableError, DamagedCacheError, UnknownVersionError, NotACacheError: as `load_part` does.
    """
    with SourceFile(path) as source, reading(path):
        file, content = PartFile(path, source.identity), source.bytes_at(0, source.n_bytes)
    if not matches_digest(path.name, content):
        raise DamagedCacheError(f"The journal's part {path.name} is damaged.")
    try:
        return file, decode_part(path, content)
    except UnknownVersionError:
        raise
    except (CacheError, OSError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise_if_refused(error, path)
        raise NotACacheError(
            f"Expected {path} to be a part of the journal, got whole bytes that cannot be read as one "
            f"({error.__cause__ or error}). Update embed-once, or move it elsewhere to have its contents encoded again."
        ) from error


class Heading(NamedTuple):
    """What a part's file says of itself; neither its vectors nor its digest have been checked."""

    file: PartFile
    encoder: str
    spec: EncoderSpec
    keys: KeyColumn
    failures: dict[str, str]  # key -> status
    dims: tuple[int, int]  # of its vectors, and of its tokens: 0 without any


def read_heading(path: Path) -> Heading | None:
    """Return what a part says of itself; None where it is gone, or too damaged to be read.

    Raises:
        UnreadableError: the system could not read it.
        UnknownVersionError: it is of another version of the format.
    """
    try:
        source = SourceFile(path)
        with open_checked(path, file_format=PART_FORMAT, source=source) as file, file.reading():
            return Heading(
                PartFile(path, source.identity),
                file["encoder"][()].decode(),
                EncoderSpec.from_json(file["spec"][()].decode()),
                keys_in(file),
                failures_in(file),
                (file["vector"].shape[1], file["token"].shape[1] if "token" in file else 0),
            )
    except (UnreadableError, UnknownVersionError):
        raise
    except (OSError, CacheError, LookupError, RuntimeError, ValueError):  # h5py's, for what is no part or not whole
        return None


class OpenParts:
    """The open files of parts that blocks are read from; they are closed at the end of its ``with`` block.

    The first `MOST_OPEN` stay open, and others are opened for each block. To close the one used longest ago would gain
    nothing: gathering keys in another order than they were encoded in needs nearly every part for every block.
    """

    def __init__(self) -> None:
        self._open: dict[PartFile, SourceFile] = {}

    def __enter__(self) -> OpenParts:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._open.values():
            source.close()
        self._open.clear()

    @contextmanager
    def using(self, file: PartFile) -> Iterator[SourceFile]:
        """Yield a part's file, open.

        Raises:
            UnreadableError, CacheError: as `PartFile.open` does.
        """
        if file in self._open:
            yield self._open[file]
        elif len(self._open) < MOST_OPEN:
            self._open[file] = file.open()
            yield self._open[file]
        else:
            with file.open() as source:
                yield source


class PartVectors:
    """The vectors of a part, read a few at a time.

    They are read as plain bytes: HDF5 would read a whole chunk for each. Their checksum is the digest of the file.

    Raises:
        DamagedCacheError: they do not stand row by row.
        UnreadableError: the system cannot read it.
        CacheError: it is another file than the one whose digest was checked.
    """

    def __init__(self, part_file: PartFile) -> None:
        self._file = part_file
        path = part_file.path
        with open_checked(path, file_format=PART_FORMAT, source=part_file.open()) as file, file.reading():
            self._rows = PlainRows(file["vector"], file.source)

    def take(self, rows: np.ndarray, parts: OpenParts | None = None) -> np.ndarray:
        """Return the vectors in some rows; no others are read.

        Shape:
            rows: (m,) int64, increasing
            output: (m, D) float32

        Raises:
            UnreadableError, CacheError: as for the part itself.
        """
        with self._file.open() if parts is None else parts.using(self._file) as source:
            return self._rows.take(rows, source)


class PartTokens:
    """The tokens of a part, read a few contents at a time.

    They are contiguous and read as plain bytes: opening the HDF5 file for each few would cost more than reading them.

    Raises:
        DamagedCacheError: they do not stand in one piece.
        UnreadableError: the system cannot read it.
        CacheError: it is another file than the one whose digest was checked.
    """

    def __init__(self, part_file: PartFile) -> None:
        self._file = part_file
        path = part_file.path
        with open_checked(path, file_format=PART_FORMAT, source=part_file.open()) as file, file.reading():
            self._offsets = file["token_offset"][:]
            self._dim = file["token"].shape[1]
            self._first_byte = file["token"].id.get_offset()
        if self._first_byte is None and self._offsets[-1]:
            raise DamagedCacheError(
                f"Expected the journal's part {path.name} to have its tokens in one piece, got several. Move it "
                "elsewhere to have its contents encoded again."
            )

    def take(self, rows: np.ndarray, parts: OpenParts | None = None) -> np.ndarray:
        """Return the tokens of some contents, one content after the other; no others are read.

        Shape:
            rows: (m,) int64, increasing
            output: (B, D) float16

        Raises:
            UnreadableError, CacheError: as for the part itself.
        """
        pieces = [np.empty((0, self._dim), dtype=np.float16)]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []  # of consecutive rows
        row_bytes = 2 * self._dim
        with self._file.open() if parts is None else parts.using(self._file) as source:
            for run in runs:
                begin, end = int(self._offsets[run[0]]), int(self._offsets[run[-1] + 1])
                content = source.bytes_at(self._first_byte + begin * row_bytes, (end - begin) * row_bytes)
                pieces.append(np.frombuffer(content, dtype=np.float16).reshape(end - begin, self._dim))
        return np.concatenate(pieces)
