"""`ImportedProducts`: the products that imported vectors are of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.columns.column_names import usual_column
from cache.errors import CacheError
from cache.exchange.imported_vectors import ImportedVectors, read_texts
from cache.keys import fields_sha256
from cache.sealed.products import Contents, Products

__all__ = ["ImportedProducts"]

OK, ABSENT, NOT_ENCODED = "ok", "absent", "not_encoded"
_KEY_OR_STATUS = re.compile(r"[\w+-][\w.+-]*/(key|status)")  # columns that an export adds


@dataclass
class ImportedProducts:
    """N products: their ids, their columns, and the content keys and statuses that stand beside their vectors."""

    modality: str
    ids: list[str]
    columns: dict[str, list[str]]
    keys: list[str]  # "" where none is given
    statuses: list[str]  # "" likewise
    has_keys: bool

    @classmethod
    def read(
        cls, vectors: ImportedVectors, modality: str, *, ids_path: Path | None, id_column: str | None
    ) -> ImportedProducts:
        """Return what stands beside the vectors, in their own file or in a CSV file.

        Raises:
            CacheError: there are no ids, they repeat or are empty, or are not as many as the vectors; a key is no
                SHA-256, or a status no word.
        """
        texts = dict(vectors.texts) if ids_path is None else read_texts(ids_path)
        where = ids_path or vectors.path
        name = id_column or usual_column("id", texts)
        if name not in texts:
            wish = f"the column {id_column!r}" if id_column else "a column of ids"
            raise CacheError(
                f"Expected {where} to have {wish}, got {', '.join(texts) or 'no columns'}. Name it with --id-column, "
                "or a CSV file of the products with --ids."
            )
        ids = texts.pop(str(name))
        if len(ids) != vectors.n_rows:
            raise CacheError(
                f"Expected a row of {where} for each of the {vectors.n_rows} vectors of {vectors.path}, got "
                f"{len(ids)}. They must be the same products in the same order."
            )
        repeated = [product_id for product_id, n in Counter(ids).items() if n > 1]
        if repeated or "" in ids:
            fault = f"{repeated[0]!r} more than once" if repeated else "an empty one"
            raise CacheError(
                f"Expected ids of their own in {where}, got {fault}. Mend it, or name another --id-column."
            )
        keys = texts.get(f"{modality}/key")
        statuses = texts.get(f"{modality}/status", [""] * len(ids))
        _check_each(keys or [], r"(?:[0-9a-f]{64})?", f"{modality}/key", "SHA-256 digests of 64 hexadecimal digits")
        _check_each(statuses, r"[a-z_]{0,16}", f"{modality}/status", "words of at most 16 letters")
        columns = {name: cells for name, cells in texts.items() if not _KEY_OR_STATUS.fullmatch(name)}
        return cls(modality, ids, columns, list(keys or map(_id_key, ids)), statuses, keys is not None)

    def take_keys(self, products: Products) -> None:
        """Take the keys that the products of a cache have for the same ids, unless the file itself has keys."""
        contents = products.contents.get(self.modality)
        if contents is not None and not self.has_keys:
            key_of_id = {product_id: key for product_id, key in zip(products.ids, contents.keys, strict=True) if key}
            self.keys = [key_of_id.get(product_id, key) for product_id, key in zip(self.ids, self.keys, strict=True)]

    def products(self, has_vector: np.ndarray) -> Products:
        """Return the products as a cache keeps them; one without vector has no content, unless the file has its key.

        Shape:
            has_vector: (N,) bool

        Raises:
            CacheError: a vector has no key, though the file has keys.
        """
        bare_rows = [row for row in np.flatnonzero(has_vector).tolist() if not self.keys[row]]
        if bare_rows:
            raise CacheError(
                f"Expected a key for each vector, but {self.ids[bare_rows[0]]!r} has none in {self.modality}/key. Fill "
                "it, or leave the column out."
            )
        keys = [key if has or self.has_keys else "" for key, has in zip(self.keys, has_vector.tolist(), strict=True)]
        without_key = {"": ABSENT, OK: NOT_ENCODED}  # status in the file -> that of a product without content
        statuses = [
            OK if key else without_key.get(status, status) for key, status in zip(keys, self.statuses, strict=True)
        ]
        return Products(self.ids, self.columns, {self.modality: Contents(keys, statuses)})

    def failures(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the statuses, by key, of contents that could not be read; `keys` are those of the N products."""
        return {
            key: status
            for key, status in zip(keys, self.statuses, strict=True)
            if key and status not in ("", OK, NOT_ENCODED)
        }


def _id_key(product_id: str) -> str:
    """Return the key of a content of which only the product is known."""
    return fields_sha256({"imported_id": product_id})


def _check_each(cells: Sequence[str], pattern: str, name: str, wish: str) -> None:
    for row, cell in enumerate(cells):
        if not re.fullmatch(pattern, cell):
            raise CacheError(f"Expected the column {name} to hold {wish}, got {cell[:70]!r} in row {row + 1}. Mend it.")
