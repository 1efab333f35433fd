"""`ProductTable`: the products of a cache as one table, for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from cache.errors import CacheError, MissingEntryError
from cache.sealed.cache import Cache
from cache.sealed.vector_rows import VectorRows

__all__ = ["ProductTable"]

BLOCK_BYTES = 2**26  # of vectors that are held at once


class ProductTable:
    """The products of a cache in the catalogue's order, with columns that are named as in the cache.

    They are ``id``, the catalogue's columns, then for each modality ``image/key`` and ``image/status``, and for each
    encoder ``image/<encoder>``: its vectors, NaN where there is none.

    Args:
        cache: an open one.
        encoders: (modality, name) of those whose vectors are columns; None: all that have any.
        columns: of the catalogue; None: all.

    Raises:
        MissingEntryError: there is no such encoder or column, or no vector at all.
        CacheError: two columns have one name.
    """

    def __init__(
        self, cache: Cache, *, encoders: Sequence[tuple[str, str]] | None = None, columns: Sequence[str] | None = None
    ) -> None:
        self._cache = cache
        if encoders is None:
            pairs = [(modality, name) for modality in cache.modalities for name in cache.encoders(modality)]
        else:
            pairs = [(modality, cache.encoder(modality, name)) for modality, name in encoders]
        dims = {pair: cache.dimension(*pair) for pair in pairs}
        self.dims = {pair: dim for pair, dim in dims.items() if dim}  # encoders without a vector have none
        if not self.dims:
            raise MissingEntryError(f"Expected {cache.path} to have vectors of products, got none. Run embed-extract.")
        self.texts: dict[str, list[str]] = {"id": cache.ids()}
        modalities = list(dict.fromkeys(modality for modality, _ in self.dims))
        columns = cache.columns() if columns is None else columns
        names = ["id", *columns]
        names += [f"{modality}/{suffix}" for modality in modalities for suffix in ("key", "status")]
        names += map(self.name_of, self.dims)
        if repeated := [name for name, n in Counter(names).items() if n > 1]:
            raise CacheError(
                f"Expected columns to have names of their own, but {', '.join(repeated)} would be there twice. Choose "
                "others of the catalogue with --columns."
            )
        self.texts |= {name: cache.column(name) for name in columns}
        self._rows = {modality: cache.rows(modality) for modality in modalities}  # (N,) each
        for modality, rows in self._rows.items():
            keys = np.append(cache.keys(modality), b"").astype(str)  # the last is that of row -1
            self.texts[f"{modality}/key"] = keys[rows].tolist()
            self.texts[f"{modality}/status"] = cache.statuses(modality)
        self._present = {pair: cache.present(*pair) for pair in self.dims}
        self._vectors = {pair: VectorRows(cache, *pair) for pair in self.dims}

    def __len__(self) -> int:
        return len(self.texts["id"])

    @staticmethod
    def name_of(pair: tuple[str, str]) -> str:
        """Return the name of an encoder's column."""
        return "/".join(pair)

    def vectors(self, pair: tuple[str, str], start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an encoder's vectors of the products from `start` to `stop`, and which products have one.

        Shape:
            output: (stop - start, D) float32, NaN where there is none; (stop - start,) bool
        """
        present = self._present[pair][start:stop]
        vectors = np.full((len(present), self.dims[pair]), np.nan, dtype=np.float32)
        vectors[present] = self._vectors[pair].take(self._rows[pair[0]][start:stop][present])
        return vectors, present

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield the start and the stop of blocks of the products from `start` to `stop`, by the bytes of vectors."""
        n_rows = max(1, BLOCK_BYTES // (4 * sum(self.dims.values())))
        stop = len(self) if stop is None else stop
        for block_start in range(start, stop, n_rows):
            yield block_start, min(block_start + n_rows, stop)
