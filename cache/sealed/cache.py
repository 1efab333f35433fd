"""`Cache`: what a reader asks a sealed cache for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cache.arrays.key_index import KeyIndex
from cache.arrays.status_column import StatusColumn, StatusGatherer, count_statuses
from cache.arrays.string_column import StringColumn
from cache.cloud.local_copies import local_copy
from cache.errors import MissingEntryError
from cache.format.checked_tables import CheckedTables
from cache.format.layout import column_path
from cache.format.plain_rows import PlainRows
from cache.format.token_offsets import token_offsets
from cache.keys import ContentSpec, EncoderSpec
from cache.system.memory_budget import check_memory
from cache.tokens import Tokens

__all__ = ["Cache"]


class Cache:
    """A sealed cache, open for reading; a later seal puts another file in its place and does not disturb it.

    Of a cache in a bucket (``s3://bucket/embeddings.h5``) a copy on the local disk is opened, brought up to date.

    Shapes: N products, U unique contents of a modality, D dimensions of an encoder.

    Raises:
        CloudError: the bucket cannot be had.
        FileNotFoundError, NotACacheError, DamagedCacheError, UnknownVersionError, UnsafeFileError:
            as `cache.format.layout.open_checked` does.
        UnreadableError: the system could not read the file, now or in a method; fix the cause and open it anew.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = local_copy(path)
        self.tables = CheckedTables(self.path)
        self._columns: list[str] | None = None  # read once

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return the path, the number of products, and the encoders; only shapes are read."""
        if not self.tables.is_open:
            return f"Cache {self.path}\nclosed"
        encoders = []
        for path in (f"{modality}/{name}" for modality in self.content_modalities for name in self.encoders(modality)):
            n_vectors, dim = self.tables.shape(f"{path}/vector")
            tokens = f" (tokens of {self.tables.shape(f'{path}/token')[1]})" if self.tables.has(f"{path}/token") else ""
            encoders.append(f"{path} {n_vectors} × {dim}{tokens}")
        return f"Cache {self.path}\n{len(self)} products\n{', '.join(encoders) or 'no encoders'}"

    def __len__(self) -> int:
        return self.tables.shape("catalogue/id/offset")[0] - 1

    def close(self) -> None:
        """Close the file."""
        self.tables.close()

    @property
    def content_sha256(self) -> str:
        """The SHA-256 over all that the cache holds."""
        return self.tables.content_sha256

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of every dataset, by its path."""
        return self.tables.digests

    @property
    def modalities(self) -> list[str]:
        """The modalities that the catalogue has, sorted by name."""
        return [name for name in self.content_modalities if self.tables.has(f"catalogue/{name}")]

    @property
    def content_modalities(self) -> list[str]:
        """All modalities of which there are contents, also those that only earlier catalogues had, sorted by name."""
        return sorted(name for name in self.tables.names("") if name not in {"catalogue", "digests"})

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
        return sorted(name for name in self.tables.names(modality) if name not in {"key", "status"})

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
        return EncoderSpec.from_json(self.tables.text(f"{modality}/{encoder}/spec"))

    def content_spec(self, modality: str) -> ContentSpec | None:
        """Return how the modality's contents are made of the catalogue; None where that is not known."""
        path = f"catalogue/{modality}/spec"
        return ContentSpec.from_json(self.tables.text(path)) if self.tables.has(path) else None

    def samples(self, modality: str) -> dict[str, str]:
        """Return the contents that are kept as they are, as strings by key (`cache.sealed.samples`)."""
        path = f"catalogue/{modality}/sample"
        if not self.tables.has(f"{path}_key"):
            return {}
        return dict(zip(self.tables.ascii(f"{path}_key").astype(str).tolist(), self.tables.strings(path), strict=True))

    def ids(self) -> list[str]:
        """Return the N products' ids, in the catalogue's order."""
        return list(self.id_column())

    def id_column(self) -> StringColumn:
        """Return the N products' ids as they are kept, which takes less memory."""
        utf8 = self.tables.whole("catalogue/id/utf8")
        return StringColumn(utf8, self.tables.offsets("catalogue/id/offset", len(utf8)))

    def columns(self) -> list[str]:
        """Return the names of the catalogue's other columns, in their order."""
        if self._columns is None:
            self._columns = self.tables.strings("catalogue/columns")
        return self._columns.copy()

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
        return self.tables.strings(column_path(name))

    def n_contents(self, modality: str) -> int:
        """Return U, the number of unique contents; no key is read."""
        return self.tables.shape(f"{modality}/key")[0]

    def keys(self, modality: str) -> np.ndarray:
        """Return the content keys, (U,) of 64 hexadecimal digits as bytes."""
        return self.tables.ascii(f"{modality}/key")

    def key_index(self, modality: str) -> KeyIndex:
        """Return the content keys by their rows, which takes less memory."""
        index = KeyIndex()
        index.reserve(self.n_contents(modality))
        for _, keys in self.tables.ascii_blocks(f"{modality}/key"):
            index.extend(keys)
        return index

    def failures(self, modality: str) -> dict[str, str]:
        """Return the statuses of the contents that could not be read, by their keys."""
        failures: dict[str, str] = {}
        for rows, statuses in self.tables.ascii_blocks(f"{modality}/status"):
            if len(failed := np.flatnonzero(statuses != b"ok")):
                keys = self.tables.block(f"{modality}/key", rows)[failed].astype(str).tolist()
                failures |= zip(keys, statuses[failed].astype(str).tolist(), strict=True)
        return failures

    def content_statuses(self, modality: str) -> np.ndarray:
        """Return each content's status, (U,) bytes: ``ok``, or why it could not be read."""
        return self.tables.ascii(f"{modality}/status")

    def encoded(self, modality: str, encoder: str) -> np.ndarray:
        """Return which contents have a vector, (U,) bool."""
        return self.tables.whole(f"{modality}/{encoder}/encoded")

    def vectors(self, modality: str, encoder: str) -> np.ndarray:
        """Return the vectors by content, (U, D) float32; NaN where there is none."""
        return self.tables.read(f"{modality}/{encoder}/vector")

    def vector_block(self, modality: str, encoder: str, start: int, stop: int) -> np.ndarray:
        """Return the vectors of the contents from `start` to `stop`, (stop - start, D) float32."""
        return self.tables.read(f"{modality}/{encoder}/vector", slice(start, stop))

    def plain_rows(self, modality: str, encoder: str) -> PlainRows:
        """Return an encoder's vectors as bytes of the file, for `cache.sealed.vector_rows`, which checks them."""
        return self.tables.plain_rows(f"{modality}/{encoder}/vector")

    def dimension(self, modality: str, encoder: str) -> int:
        """Return D, the dimension of the encoder's vectors."""
        return self.tables.shape(f"{modality}/{encoder}/vector")[1]

    def has_tokens(self, modality: str, encoder: str) -> bool:
        """Return whether the encoder's entry has token states beside its vectors."""
        return self.tables.has(f"{modality}/{encoder}/token")

    def token_dimension(self, modality: str, encoder: str) -> int:
        """Return the dimension of the encoder's tokens; 0 where it has none."""
        return self.tables.shape(f"{modality}/{encoder}/token")[1] if self.has_tokens(modality, encoder) else 0

    def token_counts(self, modality: str, encoder: str) -> np.ndarray:
        """Return how many tokens each content has, (U,) int64; 0 where it has no vector."""
        return np.diff(self._token_offsets(modality, encoder))

    def token_values(self, modality: str, encoder: str, start: int, stop: int) -> np.ndarray:
        """Return the tokens from `start` to `stop`, counted through all contents, (stop - start, D') float16."""
        return self.tables.read(f"{modality}/{encoder}/token", slice(start, stop))

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
        return Tokens(self.tables.read(f"{modality}/{encoder}/token"), self._token_offsets(modality, encoder))

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
        rows = self.tables.read(f"catalogue/{modality}/row")
        if rows.size and (rows.min() < -1 or rows.max() >= self.n_contents(modality)):
            raise self.tables.damaged(f"catalogue/{modality}/row", "rows point outside their table")
        return rows

    def statuses(self, modality: str) -> list[str]:
        """Return each product's status, N strings: ``ok``, or why it has no vector."""
        return list(self.status_column(modality))

    def status_column(self, modality: str) -> StatusColumn:
        """Return each product's status as a byte, which takes less memory."""
        path = f"catalogue/{modality}/status"
        gatherer = StatusGatherer(self.tables.shape(path)[0])
        for _, statuses in self.tables.ascii_blocks(path):
            gatherer.extend(statuses.astype(str).tolist())
        return gatherer.column()

    def status_counts(self, modality: str) -> dict[str, int]:
        """Return how many products have each status, in the order of their first mention."""
        return count_statuses(statuses for _, statuses in self.tables.ascii_blocks(f"catalogue/{modality}/status"))

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
        # Products without a content get the first vector for a moment, so that no third array is needed.
        matrix = self.vectors(modality, encoder).take(self.rows(modality), axis=0, mode="clip")  # (N, D)
        matrix[~present] = np.nan
        return matrix

    def _token_offsets(self, modality: str, encoder: str) -> np.ndarray:
        return token_offsets(self.tables, f"{modality}/{encoder}", encoded=self.encoded(modality, encoder))
