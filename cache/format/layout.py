"""The cache format, version 4, and the one way to open a file of it.

A cache is one HDF5 file that is written once and never changed in place. It needs no more than plain h5py::

    with h5py.File("embeddings.h5") as file:
        vectors = file["image/resnet18/vector"][:]        # (U, 512), one row per unique picture
        row = file["catalogue/image/row"][:]              # (N,), the vector's row for each product, -1 for none
        utf8 = file["catalogue/id/utf8"][:].tobytes()     # strings are kept as Arrow keeps them
        offset = file["catalogue/id/offset"][:]           # (N + 1,)
        ids = [utf8[a:b].decode() for a, b in itertools.pairwise(offset)]

Two kinds of table are kept apart: vectors stand by *content*, products stand in the *catalogue*.
U is the number of unique contents of a modality, N the number of products, D an encoder's dimension.

======================================  ========  =======  ==========================================================
path                                    shape     type     meaning
======================================  ========  =======  ==========================================================
``/<modality>/key``                     (U,)      S64      SHA-256 of the content: of the image file's bytes, or of
                                                           the normalised text in UTF-8; or of several keys, whose
                                                           vectors' mean it has (`cache.keys.mean_key`)
``/<modality>/status``                  (U,)      S16      ``ok``, or why the content could not be read
``/<modality>/<encoder>/vector``        (U, D)    f4       one vector per key; NaN where there is none
``/<modality>/<encoder>/encoded``       (U,)      bool     whether there is a vector
``/<modality>/<encoder>/token``         (T, D')   f2       since version 2, and only where the encoder gives such: the
                                                           token states of all contents, one content after the other
``/<modality>/<encoder>/token_offset``  (U + 1,)  i8       with them: content n has the tokens from ``token_offset[n]``
                                                           to ``token_offset[n + 1]``: none without a vector, else one
                                                           to 65,536; where there are tokens, D' is 1 or more
``/<modality>/<encoder>/spec``          ()        S        JSON: all that changes the vector (`cache.keys`), and since
                                                           version 4 ``side_notes``, which do not
``/catalogue/id``                       (N,)      string   the product's id, in the catalogue's order
``/catalogue/columns``                  (C,)      string   the names of the other columns, in their order
``/catalogue/column/<name>``            (N,)      string   their cells as written; in the name ``%``, ``/`` and a
                                                           lone ``.`` are percent-encoded
``/catalogue/<modality>/row``           (N,)      i8       the product's row in ``/<modality>``, -1 where it has none
``/catalogue/<modality>/status``        (N,)      S16      ``ok``, or why the product has no vector
``/catalogue/<modality>/spec``          ()        S        since version 3, and only where it is known: JSON: of which
                                                           columns the contents are made, and how (`cache.keys`)
``/catalogue/<modality>/sample_key``    (S,)      S64      since version 4, and only where there are any: the keys of
                                                           some contents that are kept (`cache.sealed.samples`)
``/catalogue/<modality>/sample``        (S,)      string   with them: the contents
``/digests``                            ()        S        JSON: the SHA-256 of all others (`cache.format.writer`)
======================================  ========  =======  ==========================================================

A *string* is a group of ``utf8`` (bytes, u1) and ``offset`` (N + 1, i8): cell n is ``utf8[offset[n]:offset[n + 1]]``.
Bytes that were not Unicode are kept (Python's ``surrogateescape``).

The root has the attributes ``format`` = ``embed-once cache``, ``format_version`` = 4, ``created_by``, and
``content_sha256``, the SHA-256 over ``/digests``: two caches with the same one hold the same. They are a number and
bytes of fixed length. Versions 1 to 3 are read for ever: 1 had no tokens, 1 and 2 no specs of contents, and none
side notes. Sealing into such a cache makes one of version 4.

A *part* of the journal (`cache.journal.part`, `cache.journal.journal`) is a file of its own, ``format`` =
``embed-once part``, with ``/key`` (n,), ``/vector`` (n, D), ``/failed_key`` (m,), ``/failed_status`` (m,), ``/spec``
and ``/encoder``; since version 2 it may have ``/token`` (t, D') and ``/token_offset`` (n + 1,), too.

Datasets are chunked by 1024 rows with Fletcher-32, uncompressed; only a part's tokens stand in one piece, so that a few
of them can be read from amid many. Neither links other than hard ones, nor external or virtual storage, nor
variable-length types occur, and `open_checked` refuses a file that has them.
"""

from __future__ import annotations

import io
import re
import stat
from pathlib import Path
from urllib.parse import quote

import h5py
import numpy as np

from cache.errors import DamagedCacheError, NotACacheError, UnknownVersionError, UnreadableError, UnsafeFileError
from cache.format.schema import check_part_schema, check_schema
from cache.format.source_file import CheckedFile, SourceFile
from cache.format.stored_tables import Items, StoredTable, stored_items
from cache.system.reading import facts_of

__all__ = [
    "CACHE_FORMAT",
    "FORMAT_VERSION",
    "PART_FORMAT",
    "attribute",
    "column_path",
    "open_checked",
]

CACHE_FORMAT = "embed-once cache"
PART_FORMAT = "embed-once part"
FORMAT_VERSION = 4
READABLE_VERSIONS = (1, 2, 3, 4)


def column_path(name: str) -> str:
    """Return where the column `name` stands in the file."""
    # Everything that HDF5 allows in a name stays readable; the empty name gets one.
    quoted = re.sub(r"[/%\0\ud800-\udfff]", lambda match: quote(match[0].encode("utf-8", "surrogatepass"), ""), name)
    return "catalogue/column/" + ("%2E" if name == "." else quoted or "%")


def open_checked(
    path: str | Path, *, file_format: str = CACHE_FORMAT, source: SourceFile | io.BytesIO | None = None
) -> CheckedFile:
    """Return the file, opened for reading, after checking that it is ours, whole and harmless; its `stored` is set.

    `source` has the bytes if they were read before; the path is then used in messages only. A published file is
    never opened for writing, so no lock is taken and none is needed.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: the system could not read it, so that nothing is known of what is in it.
        NotACacheError: the file is not HDF5, or not one of this project's.
        DamagedCacheError: the file is truncated or its structure is unreadable.
        UnknownVersionError: the format version is another one.
        UnsafeFileError: the file links to other files, or claims more than it stores.
    """
    path = Path(path)
    file = _open(path, _source(path) if source is None else source)
    try:
        with file.reading():
            _check_version(file, path, file_format)
            file.stored = stored_items(file)
            _check_claims(file.stored, n_bytes=file.n_bytes)
            if file_format == PART_FORMAT:
                check_part_schema(file)
            else:
                check_schema(file)
                if attribute(file, "content_sha256") is None:
                    raise DamagedCacheError("the attribute content_sha256 is missing")
    except (UnreadableError, NotACacheError, UnknownVersionError):
        file.close()
        raise
    except UnsafeFileError as error:
        file.close()
        raise UnsafeFileError(f"{path} is not safe to read: {error} Do not use it.") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        file.close()
        raise _damaged(path, error) from error
    return file


def attribute(file: h5py.File, name: str) -> str | int | None:
    """Return a root attribute that is a number or bytes of fixed length; None where there is no such attribute.

    HDF5 reads strings of variable length from a heap, and never returns from one that was crafted to be endless.
    """
    # By h5py's low-level functions: `file.attrs` opens the attribute anew for each question.
    if not h5py.h5a.exists(file.id, name.encode()):
        return None
    stored = h5py.h5a.open(file.id, name.encode())
    if stored.dtype.kind not in "iuS" or stored.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
        return None
    value = np.empty((), stored.dtype)
    stored.read(value)
    return value.item().decode(errors="replace") if value.dtype.kind == "S" else int(value)


def _check_version(file: h5py.File, path: Path, file_format: str) -> None:
    actual = attribute(file, "format")
    if actual != file_format:
        raise NotACacheError(
            f"Expected {path} to be a file of the format {file_format!r}, got "
            + (f"{actual!r}." if isinstance(actual, str) else "some other HDF5 file.")
            + " Name another file (embed-extract -o)."
        )
    version = attribute(file, "format_version")
    if version not in READABLE_VERSIONS:
        raise UnknownVersionError(
            f"Expected {path} to have format version {' or version '.join(map(str, READABLE_VERSIONS))}, got "
            f"{version}. Update embed-once, or write a new cache with embed-extract -o."
        )


def _check_claims(items: Items, *, n_bytes: int) -> None:
    """Check that all tables together fit into the file: in a crafted one, indices of chunks may share their blocks."""
    n_stored = sum(item.n_stored for item in items.values() if isinstance(item, StoredTable))
    if n_stored > n_bytes:
        raise UnsafeFileError(f"its datasets claim {n_stored} bytes together, and it has {n_bytes}.")


def _source(path: Path) -> SourceFile:
    facts = facts_of(path)
    if facts is None:
        raise FileNotFoundError(f"Expected a cache, but {path} is not there. Make one with embed-extract.")
    if not stat.S_ISREG(facts.st_mode):
        raise FileNotFoundError(f"Expected a cache, but {path} is a folder or no plain file. Name another.")
    return SourceFile(path)


def _open(path: Path, source: SourceFile | io.BytesIO) -> CheckedFile:
    try:
        return CheckedFile(source)
    except OSError as error:
        with source:
            source.seek(0)
            head = source.read(8)
            if isinstance(source, SourceFile):
                source.check()
        if head != b"\x89HDF\r\n\x1a\n":
            raise NotACacheError(
                f"Expected {path} to be an HDF5 file, but it is of another kind. Make a cache of a catalogue with "
                "embed-extract; if a cache was to be written to this path, name another (-o)."
            ) from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedCacheError:
    return DamagedCacheError(
        f"{path} is damaged ({error}). Restore it from a copy, or delete it and run embed-extract again."
    )
