"""Text files as people have them: compressed or not, in one encoding, or in one with bytes of another in between."""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cache.system.reading import raise_if_refused, reading
from embed.errors import CatalogueError

__all__ = ["MAX_LINE", "find_encoding", "open_bytes", "open_text", "read_lines"]

COMPRESSED = (".bz2", ".gz", ".tar", ".xz", ".zip", ".zst")  # what pandas opens by these ends of names
MAX_LINE = 2**25  # characters; a small file can be compressed from a line that fills all memory

_COMPRESSION_ERRORS = (
    OSError, EOFError, ValueError, ImportError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError
)  # fmt: skip


def find_encoding(path: Path, requested: str | None) -> str:
    """Return the encoding that is requested, else UTF-16 where the file begins with its mark, else UTF-8."""
    if requested is not None:
        return "utf-8-sig" if requested.lower() in ("utf-8", "utf8", "utf_8") else requested  # with a mark or without
    with reading(path), path.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def read_lines(file: IO[str]) -> Iterator[str]:
    """Yield a file's lines; of one that is longer than `MAX_LINE` its first so many characters, which have no end."""
    while line := file.readline(MAX_LINE):
        yield line
        while len(line) == MAX_LINE and line[-1] not in "\r\n":
            line = file.readline(MAX_LINE)


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file for reading lines whose ends stay as they are; its name says how it is compressed.

    Bytes that are not in this encoding stay what they are (``surrogateescape``), and texts that hold them get the
    status ``not_unicode``.

    Raises:
        CatalogueError: it is not compressed as its name says, or is no text in this encoding; while it is read, too.
        UnreadableError: the system could not read it.
    """
    try:
        with _opened(path, "r", encoding=encoding, errors="surrogateescape") as file:
            yield file
    except LookupError as error:
        raise CatalogueError(f"--encoding: expected one that Python knows, got {encoding!r}.") from error
    except UnicodeError as error:
        raise CatalogueError(
            f"Expected the catalogue to be text in {encoding}, but {path} is not: {error}. Name its --encoding."
        ) from error


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its bytes; its name says how it is compressed.

    Raises:
        CatalogueError: it is not compressed as its name says; while it is read, too.
        UnreadableError: the system could not read it.
    """
    with _opened(path, "rb") as file:
        yield file


@contextmanager
def _opened(path: Path, mode: str, **options: str) -> Iterator[Any]:
    """Open a file, unpacked as its name says, and let errors in the block be those of a catalogue."""
    try:
        with _handle(path, mode, **options) as file:
            yield file
    except (CatalogueError, LookupError, UnicodeError):
        raise
    except _COMPRESSION_ERRORS as error:
        raise_if_refused(error, path)
        if "Multiple files found" in str(error):
            raise CatalogueError(
                f"Expected {path} to hold one table, but it holds several files. Unpack it, and name the table in "
                "it, or the folder where that holds class folders."
            ) from error
        raise CatalogueError(
            f"Expected the catalogue to be a table that pandas reads, but {path} is not: {error}. Its name says how "
            "it is compressed."
        ) from error


@contextmanager
def _handle(path: Path, mode: str, **options: Any) -> Iterator[Any]:
    """Open a file, unpacked as its name says; errors are those of the libraries."""
    if not path.name.lower().endswith(COMPRESSED):  # half a second for pandas is saved
        with path.open(mode, newline="" if mode == "r" else None, **options) as file:
            yield file
        return
    if path.name.lower().endswith(".zip") and (table := _only_file(path)):
        with zipfile.ZipFile(path) as archive, _member(archive, table) as file:
            yield io.TextIOWrapper(file, newline="", **options) if mode == "r" else file
        return
    from pandas.io.common import get_handle

    with get_handle(path, mode, compression="infer", is_text=mode == "r", **options) as handles:
        yield handles.handle


def _only_file(path: Path) -> str:
    """Return the one file in an archive but what a Mac puts beside it; "" where there is none, or several."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/") and not name.endswith("/")]
    names = [name for name in names if not name.endswith(".DS_Store")]
    return names[0] if len(names) == 1 else ""


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a file in an archive.

    Raises:
        CatalogueError: it cannot be unpacked.
    """
    try:
        return archive.open(name)
    except RuntimeError as error:  # a password, or a compression that Python does not know
        raise CatalogueError(
            f"Expected {archive.filename} to hold a table that can be unpacked, but {name} cannot: {error}. Unpack it, "
            "and name the table."
        ) from error
