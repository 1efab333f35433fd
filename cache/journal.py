"""The journal beside a cache: immutable parts, each one committed by a rename.

A part is written aside, brought to the disk, and renamed to a name that holds the SHA-256 of its bytes; when the
rename is on the disk too, the work in it is done for good. There is no index that could tear: the parts are what
the folder lists. Two writers of the same work write the same name or two parts with the same keys, and both are
harmless. Parts are only removed after `cache.sealing` has put them into the cache.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import h5py
import numpy as np

from cache.aside import fsync_folder, write_aside
from cache.errors import CacheError, DamagedCacheError
from cache.keys import EncoderSpec
from cache.layout import PART_FORMAT, open_checked
from cache.lock import WriterLock
from cache.tokens import MOST_TOKENS, Tokens
from cache.writer import Writer

__all__ = ["Journal", "Part", "PartTokens", "load_part", "load_vectors"]

log = logging.getLogger("embed_once")

_SUFFIX = ".part.h5"


@dataclass(frozen=True)
class Part:
    """Vectors of one encoder, their tokens where it gives such, and the contents that it could not read.

    Shape:
        vectors: (n, D) float32, finite, one row per key
        tokens: of n contents, finite, at least one token per key
    """

    encoder: str
    spec: EncoderSpec
    keys: list[str]
    vectors: np.ndarray
    failures: dict[str, str]  # key -> status
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        for name, taken in ((self.spec.modality, ("catalogue", "digests")), (self.encoder, ("key", "status"))):
            if not re.fullmatch(r"[\w+-][\w.+-]*", name) or name in taken:
                raise CacheError(
                    f"The names of modalities and encoders must be made of letters, digits, '.', '_', '+' and '-', and "
                    f"be none of {', '.join(taken)}, however got {name!r}."
                )
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.keys) or self.vectors.dtype != np.float32:
            raise CacheError(
                f"A part must have one float32 row per key, however it has {len(self.keys)} keys and "
                f"{self.vectors.dtype} vectors of shape {self.vectors.shape}."
            )
        if not np.isfinite(self.vectors).all():
            self._refuse_infinite("Vectors", int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))[0]))
        if self.tokens is not None:
            self._check_tokens(self.tokens)

    def _check_tokens(self, tokens: Tokens) -> None:
        if len(tokens) != len(self.keys) or (tokens.counts == 0).any() or (self.keys and not tokens.n_dim):
            raise CacheError(
                f"A part must have one token or more per key, however {self.spec.modality}/{self.encoder} has "
                f"{len(self.keys)} keys and tokens of {int((tokens.counts > 0).sum())}."
            )
        if tokens.counts.max(initial=0) > MOST_TOKENS:
            raise CacheError(
                f"A content must have at most {MOST_TOKENS} tokens, however one of {self.spec.modality}/{self.encoder} "
                f"has {tokens.counts.max()}. Cut what is encoded, with --max-length."
            )
        is_finite = np.isfinite(tokens.values).all(axis=1)  # (T,)
        if not is_finite.all():
            first = int(np.flatnonzero(~is_finite)[0])
            self._refuse_infinite("Tokens", int(np.searchsorted(tokens.offsets, first, side="right")) - 1)

    def _refuse_infinite(self, what: str, row: int) -> NoReturn:
        raise CacheError(
            f"{what} must be finite, however {self.spec.modality}/{self.encoder} gave NaN or infinity "
            f"for the content {self.keys[row][:12]}…. Try --device cpu, or other weights."
        )


class Journal:
    """The parts beside one cache, held by one writer inside a ``with`` block.

    Raises:
        CacheLockedError: another process is writing the same cache.
    """

    def __init__(self, cache_path: str | Path) -> None:
        cache_path = Path(cache_path)
        if not cache_path.name:
            raise CacheError(
                f"A cache must be a file, however -o names {str(cache_path)!r}. Name one such as cache.h5."
            )
        self.folder = cache_path.with_name(cache_path.name + ".journal")
        self._lock = WriterLock(self.folder / "lock")
        self._is_lasting = False  # whether the folder itself is known to be on the disk

    def __enter__(self) -> Journal:
        try:
            self._lock.acquire()
            for leftover in self.folder.glob("*.tmp"):
                leftover.unlink()
        except OSError as error:
            self._lock.release()
            raise CacheError(
                f"A cache must stand in a folder that can be written, however {error.filename or self.folder}: "
                f"{error.strerror}. Mend that, or name another cache with -o."
            ) from error
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        with suppress(OSError):  # it still holds parts
            self.folder.rmdir()

    def publish(self, part: Part) -> Path:
        """Bring one part to the disk and return its path; when this returns, the work is kept.

        Raises:
            CacheError: the disk is full or fails; nothing that was published before is touched.
        """
        content = _encode(part)
        name = f"{part.spec.modality}.{part.encoder}.{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
        try:
            if not self._is_lasting:
                fsync_folder(self.folder.parent)  # which has the journal's name
                self._is_lasting = True
            return write_aside(self.folder / name, lambda aside: aside.write_bytes(content), folder=self.folder)
        except OSError as error:
            raise CacheError(
                f"{len(part.keys)} vectors could not be written to {self.folder} ({error.strerror}). All that were "
                "written before are kept: mend the cause and type the same line again."
            ) from error

    def paths(self) -> list[Path]:
        """Return the published parts, sorted by name; an empty list where there is no journal."""
        return sorted(self.folder.glob(f"*{_SUFFIX}"))

    def parts(self) -> Iterator[tuple[Path, Part]]:
        """Yield every whole part; one that does not match its digest is removed, and its work is to be redone."""
        for path in self.paths():
            try:
                part = load_part(path)
            except DamagedCacheError as error:
                log.warning("%s Its contents will be encoded again.", error)
                path.unlink()
            else:
                yield path, part


def load_part(path: Path) -> Part:
    """Return the part in `path`.

    Raises:
        DamagedCacheError: the file's bytes do not match the digest in its name.
    """
    digest = path.name.removesuffix(_SUFFIX).rpartition(".")[2]
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise DamagedCacheError(f"The journal's part {path.name} is damaged.")
    with open_checked(path, file_format=PART_FORMAT) as file:
        return Part(
            encoder=file["encoder"][()].decode(),
            spec=EncoderSpec.from_json(file["spec"][()].decode()),
            keys=file["key"][:].astype(str).tolist(),
            vectors=file["vector"][:],
            failures=dict(
                zip(
                    file["failed_key"][:].astype(str).tolist(),
                    file["failed_status"][:].astype(str).tolist(),
                    strict=True,
                )
            ),
            tokens=Tokens(file["token"][:], file["token_offset"][:]) if "token" in file else None,
        )


def load_vectors(path: Path) -> np.ndarray:
    """Return the vectors of a part whose digest has been checked before, (n, D) float32."""
    with open_checked(path, file_format=PART_FORMAT) as file:
        return file["vector"][:]


class PartTokens:
    """The tokens of a part whose digest has been checked before, read a few contents at a time.

    They stand in one piece, so that plain reading finds them: to open HDF5 anew for each few would cost more than they.

    Raises:
        DamagedCacheError: they do not stand in one piece.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_checked(path, file_format=PART_FORMAT) as file:
            self._offsets = file["token_offset"][:]
            self._n_dim = file["token"].shape[1]
            self._first_byte = file["token"].id.get_offset()
        if self._first_byte is None and self._offsets[-1]:
            raise DamagedCacheError(f"The journal's part {path.name} must have its tokens in one piece. Remove it.")

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the tokens of some contents, one content after the other; no others are read.

        Shape:
            rows: (m,) int64, increasing
            output: (B, D) float16
        """
        some = [np.empty((0, self._n_dim), dtype=np.float16)]
        with self._path.open("rb") as file:
            for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []:  # of neighbours
                begin, end = self._offsets[run[0]], self._offsets[run[-1] + 1]
                file.seek(self._first_byte + int(begin) * 2 * self._n_dim)
                values = np.fromfile(file, dtype=np.float16, count=int(end - begin) * self._n_dim)
                some.append(values.reshape(end - begin, self._n_dim))
        return np.concatenate(some)


def _encode(part: Part) -> bytes:
    # The file is built in memory, so that a full disk meets plain bytes and not a half-written HDF5 library.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        writer = Writer(file, file_format=PART_FORMAT)
        writer.text("encoder", part.encoder)
        writer.text("spec", part.spec.to_json())
        writer.array("key", np.array(part.keys, dtype="S64"))
        writer.array("vector", part.vectors)
        if part.tokens is not None:
            writer.array("token_offset", part.tokens.offsets)
            # Not in chunks, so that the seal can read a few contents' tokens from amid many; the digest is in the name.
            writer.array("token", part.tokens.values, is_chunked=False)
        writer.array("failed_key", np.array(list(part.failures), dtype="S64"))
        writer.array("failed_status", np.array(list(part.failures.values()), dtype="S16"))
    return buffer.getvalue()
