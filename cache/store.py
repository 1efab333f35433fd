"""`Cache`: what a reader asks a sealed cache for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from cache.cloud.local_copies import local_copy
from cache.errors import DamagedCacheError, MissingEntryError, UnreadableError
from cache.keys import ContentSpec, EncoderSpec
from cache.layout import attribute, column_path, open_checked
from cache.memory_budget import check_memory
from cache.plain_rows import PlainRows
from cache.source_file import SourceFile
from cache.string_column import StringColumn
from cache.tokens import MOST_TOKENS, Tokens, is_out_of_order
from cache.writer import BLOCK_ROWS, array_digest, content_sha256, decode_strings

__all__ = ["Cache"]

MOST_HASHED_BYTES = 2**24  # larger tables are covered by the checksums of their chunks


class Cache:
    """A sealed cache, open for reading; a later seal puts another file in its place and does not disturb it.

    Of a cache in a bucket (``s3://bucket/embeddings.h5``) a copy on the local disk is opened, brought up to date.

    Shapes: N products, U unique contents of a modality, D dimensions of an encoder.

    Raises:
        CloudError: the bucket cannot be had.
        FileNotFoundError, NotACacheError, DamagedCacheError, UnknownVersionError, UnsafeFileError:
            as `cache.layout.open_checked` does.
        UnreadableError: the system could not read the file, now or in a method; fix the cause and open it anew.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = local_copy(path)
        self._file = open_checked(self.path)
        self._unread: dict[str, str] = {}  # the digests of what has not been read yet

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return the path, how many products there are, and the encoders; quick, as it reads shapes alone."""
        if not self._file:
            return f"Cache {self.path}\nclosed"
        encoders = []
        for path in (f"{modality}/{name}" for modality in self.content_modalities for name in self.encoders(modality)):
            n_vectors, dim = self._shape(f"{path}/vector")
            tokens = f" (tokens of {self._shape(f'{path}/token')[1]})" if self._has(f"{path}/token") else ""
            encoders.append(f"{path} {n_vectors} × {dim}{tokens}")
        n_products = self._shape("catalogue/id/offset")[0] - 1
        return f"Cache {self.path}\n{n_products} products\n{', '.join(encoders) or 'no encoders'}"

    def __len__(self) -> int:
        return len(self._read("catalogue/id/offset")) - 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def content_sha256(self) -> str:
        """The SHA-256 over all that the cache holds."""
        with self._reading("content_sha256"):
            return str(attribute(self._file, "content_sha256") or "")

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of every dataset, by its path."""
        try:
            digests = json.loads(self._text("digests"))
        except (ValueError, RecursionError) as error:
            raise self._damaged("digests", error) from error
        if not isinstance(digests, dict):
            raise self._damaged("digests", "it is no JSON object")
        return digests

    @property
    def modalities(self) -> list[str]:
        """The modalities that the catalogue has, sorted by name."""
        return [name for name in self.content_modalities if self._has(f"catalogue/{name}")]

    @property
    def content_modalities(self) -> list[str]:
        """All modalities of which there are contents, also those that only earlier catalogues had, sorted by name."""
        return sorted(name for name in self._names("/") if name not in {"catalogue", "digests"})

    def encoders(self, modality: str) -> list[str]:
        """Return the names of the encoders whose vectors there are, sorted.

        Raises:
            MissingEntryError: the cache has no such modality.
        """
        if modality not in self.content_modalities:
            raise MissingEntryError(
                f"Expected the cache {self.path} to hold the modality {modality!r}, but it holds "
                f"{', '.join(self.modalities) or 'none'}. Extract it with embed-extract --modalities {modality}."
            )
        return sorted(name for name in self._names(modality) if name not in {"key", "status"})

    def encoder(self, modality: str, name: str | None = None) -> str:
        """Return `name` if there is such an encoder, or the only one there is where `name` is None.

        Raises:
            MissingEntryError: there is no such encoder, or more than one to choose from.
        """
        names = self.encoders(modality)
        if name is None and len(names) == 1:
            return names[0]
        if name in names:
            return str(name)
        wish = f"the {modality} encoder {name!r}" if name else f"one {modality} encoder"
        raise MissingEntryError(
            f"Expected the cache {self.path} to hold {wish}, but it holds {', '.join(names) or 'none'}. "
            f"Name one with --encoder {modality}={names[0] if names else 'NAME'}, or extract it."
        )

    def spec(self, modality: str, encoder: str) -> EncoderSpec:
        """Return all that made the encoder's vectors what they are."""
        return EncoderSpec.from_json(self._text(f"{modality}/{encoder}/spec"))

    def content_spec(self, modality: str) -> ContentSpec | None:
        """Return how the modality's contents are made of the catalogue; None where that is not known."""
        path = f"catalogue/{modality}/spec"
        return ContentSpec.from_json(self._text(path)) if self._has(path) else None

    def samples(self, modality: str) -> dict[str, str]:
        """Return the contents that are kept as they are, as strings by key (`cache.samples`)."""
        path = f"catalogue/{modality}/sample"
        if not self._has(f"{path}_key"):
            return {}
        return dict(zip(self._ascii(f"{path}_key").astype(str).tolist(), self._strings(path), strict=True))

    def ids(self) -> list[str]:
        """Return the N products' ids, in the catalogue's order."""
        return list(self.id_column())

    def id_column(self) -> StringColumn:
        """Return the N products' ids as they are kept, which takes less memory."""
        utf8 = self._read("catalogue/id/utf8")
        return StringColumn(utf8, self._offsets("catalogue/id/offset", len(utf8)))

    def columns(self) -> list[str]:
        """Return the names of the catalogue's other columns, in their order."""
        return self._strings("catalogue/columns")

    def column(self, name: str) -> list[str]:
        """Return the N cells of a column, as they are written in the catalogue.

        Raises:
            MissingEntryError: the catalogue has no such column; the message lists those it has.
        """
        if name not in self.columns():
            raise MissingEntryError(
                f"Expected the catalogue to have the column {name!r}, but its columns are "
                f"{', '.join(self.columns()) or 'none'}. Name one of them."
            )
        return self._strings(column_path(name))

    def keys(self, modality: str) -> np.ndarray:
        """Return the content keys, (U,) of 64 hexadecimal digits as bytes."""
        return self._ascii(f"{modality}/key")

    def content_statuses(self, modality: str) -> np.ndarray:
        """Return each content's status, (U,) bytes: ``ok``, or why it could not be read."""
        return self._ascii(f"{modality}/status")

    def encoded(self, modality: str, encoder: str) -> np.ndarray:
        """Return which contents have a vector, (U,) bool."""
        return self._read(f"{modality}/{encoder}/encoded")

    def vectors(self, modality: str, encoder: str) -> np.ndarray:
        """Return the vectors by content, (U, D) float32; NaN where there is none."""
        return self._read(f"{modality}/{encoder}/vector")

    def vector_block(self, modality: str, encoder: str, start: int, stop: int) -> np.ndarray:
        """Return the vectors of the contents from `start` to `stop`, (stop - start, D) float32."""
        return self._read(f"{modality}/{encoder}/vector", slice(start, stop))

    def plain_rows(self, modality: str, encoder: str) -> PlainRows:
        """Return an encoder's vectors as bytes of the file, for `cache.vector_rows`, which checks them."""
        with self._reading(path := f"{modality}/{encoder}/vector"):
            return PlainRows(self._file[path], cast("SourceFile", self._file.source))

    def dimension(self, modality: str, encoder: str) -> int:
        """Return D."""
        return self._shape(f"{modality}/{encoder}/vector")[1]

    def has_tokens(self, modality: str, encoder: str) -> bool:
        """Return whether the encoder's entry has token states beside its vectors."""
        return self._has(f"{modality}/{encoder}/token")

    def token_dimension(self, modality: str, encoder: str) -> int:
        """Return D of the tokens, 0 where there are none."""
        return self._shape(f"{modality}/{encoder}/token")[1] if self.has_tokens(modality, encoder) else 0

    def token_counts(self, modality: str, encoder: str) -> np.ndarray:
        """Return how many tokens each content has, (U,) int64; 0 where it has no vector."""
        return np.diff(self._token_offsets(modality, encoder))

    def token_values(self, modality: str, encoder: str, start: int, stop: int) -> np.ndarray:
        """Return the tokens from `start` to `stop` of all contents', (stop - start, D') float16."""
        return self._read(f"{modality}/{encoder}/token", slice(start, stop))

    def tokens(self, modality: str, encoder: str | None = None) -> Tokens:
        """Return the tokens by content, of U contents; a content without vector has none.

        Raises:
            MissingEntryError: the cache lacks the modality or the encoder, or the encoder has no tokens.
        """
        encoder = self.encoder(modality, encoder)
        if not self.has_tokens(modality, encoder):
            raise MissingEntryError(
                f"Expected {modality}/{encoder} to have tokens, but {self.path} has its vectors alone. Extract them "
                "with embed-extract --tokens."
            )
        return Tokens(self._read(f"{modality}/{encoder}/token"), self._token_offsets(modality, encoder))

    def rows(self, modality: str) -> np.ndarray:
        """Return the content's row for each product, (N,) int64; -1 where it has none.

        Raises:
            DamagedCacheError: a row points outside the table.
        """
        if modality in self.content_modalities and modality not in self.modalities:
            raise MissingEntryError(
                f"Expected the catalogue of {self.path} to have the modality {modality!r}, but it has "
                f"{', '.join(self.modalities) or 'none'}: the vectors of {modality} are those of another catalogue. "
                f"Run embed-extract with {modality} among its --modalities."
            )
        rows = self._read(f"catalogue/{modality}/row")
        if rows.size and (rows.min() < -1 or rows.max() >= self._shape(f"{modality}/key")[0]):
            raise self._damaged(f"catalogue/{modality}/row", "rows point outside their table")
        return rows

    def statuses(self, modality: str) -> list[str]:
        """Return each product's status, N strings: ``ok``, or why it has no vector."""
        statuses = self._ascii(f"catalogue/{modality}/status")
        shared: dict[bytes, str] = {}  # one object for each status that occurs
        blocks = (statuses[start : start + BLOCK_ROWS].tolist() for start in range(0, len(statuses), BLOCK_ROWS))
        return [shared.setdefault(one, one.decode()) for block in blocks for one in block]

    def present(self, modality: str, encoder: str) -> np.ndarray:
        """Return which products have a vector, (N,) bool."""
        rows = self.rows(modality)
        return (rows >= 0) & np.append(self.encoded(modality, encoder), False)[rows]

    def matrix(self, modality: str, encoder: str | None = None, *, memory: str | None = None) -> np.ndarray:
        """Return one vector a product, (N, D) float32 in the catalogue's order; NaN where there is none.

        `memory` is what the matrix may take, such as ``8G``; None: half of what the machine has.

        Raises:
            MissingEntryError: the cache lacks the modality or the encoder.
            CacheError: the matrix takes more than `memory`.
        """
        encoder = self.encoder(modality, encoder)
        present, dim = self.present(modality, encoder), self.dimension(modality, encoder)
        check_memory(len(present), dim, memory=memory, what=f"the vectors of {modality}/{encoder}")
        if not present.any():
            return np.full((len(present), dim), np.nan, dtype=np.float32)
        # Products without a content take the first one's vector for now: nothing is held but contents and products.
        matrix = self.vectors(modality, encoder).take(self.rows(modality), axis=0, mode="clip")  # (N, D)
        matrix[~present] = np.nan
        return matrix

    def _strings(self, path: str) -> list[str]:
        utf8 = self._read(f"{path}/utf8")
        return decode_strings(utf8, self._offsets(f"{path}/offset", len(utf8)))

    def _offsets(self, path: str, n_rows: int) -> np.ndarray:
        offsets = self._read(path)
        if offsets[0] != 0 or offsets[-1] != n_rows or is_out_of_order(offsets):
            raise self._damaged(path, "the offsets are out of order")
        return offsets

    def _token_offsets(self, modality: str, encoder: str) -> np.ndarray:
        path = f"{modality}/{encoder}/token"
        offsets = self._offsets(f"{path}_offset", self._shape(path)[0])
        counts = np.diff(offsets)
        if not np.array_equal(counts > 0, self.encoded(modality, encoder)):
            raise self._damaged(f"{path}_offset", "expected tokens where there is a vector, and only there")
        if counts.max(initial=0) > MOST_TOKENS:
            raise self._damaged(f"{path}_offset", f"a content has {counts.max()} tokens, more than {MOST_TOKENS}")
        return offsets

    def _ascii(self, path: str) -> np.ndarray:
        array = self._read(path)
        if array.view(np.uint8).max(initial=0) > 127:
            raise self._damaged(path, "it is not ASCII")
        return array

    def _text(self, path: str) -> str:
        return bytes(self._read(path)).decode(errors="replace")

    def _read(self, path: str, rows: slice | None = None) -> np.ndarray:
        with self._reading(path):
            dataset = self._file[path]
            array = dataset[() if rows is None else rows]
            has_checksums = dataset.fletcher32
        if rows is None and path != "digests" and not (has_checksums and array.nbytes > MOST_HASHED_BYTES):
            self._check_digest(path, np.asarray(array, dtype=dataset.dtype))
        return array

    def _check_digest(self, path: str, array: np.ndarray) -> None:
        """Check what was read for the first time: checksums are of chunks alone, and specs have none."""
        if not self._unread:
            self._unread = self.digests
            if content_sha256(self._unread) != self.content_sha256:
                raise self._damaged("digests", "it does not match content_sha256")
        expected = self._unread.get(path)
        if expected != "":
            if expected != array_digest(array):
                raise self._damaged(path, "it does not match its digest")
            self._unread[path] = ""

    def _shape(self, path: str) -> tuple[int, ...]:
        with self._reading(path):
            return tuple(int(size) for size in self._file[path].shape)

    def _names(self, path: str) -> list[str]:
        with self._reading(path):
            return list(self._file[path])

    def _has(self, path: str) -> bool:
        with self._reading(path):
            return path in self._file

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        """Turn HDF5's errors into `DamagedCacheError`, unless the system could not read the file."""
        try:
            with self._file.reading():
                yield
        except UnreadableError:
            raise
        except (KeyError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: str, reason: object) -> DamagedCacheError:
        return DamagedCacheError(
            f"{self.path} is damaged at {path} ({reason}). Run cache-verify, and restore it from a copy or delete it "
            "and run embed-extract again."
        )
