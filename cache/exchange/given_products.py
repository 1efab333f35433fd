"""`GivenProducts`: the products that given vectors are of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.columns.column_names import usual_column
from cache.errors import CacheError
from cache.exchange.given_vectors import GivenVectors, read_texts
from cache.keys import fields_sha256
from cache.sealed.products import Contents, Products

__all__ = ["GivenProducts"]

OK, ABSENT, NOT_ENCODED = "ok", "absent", "not_encoded"
_OF_A_MODALITY = re.compile(r"[\w+-][\w.+-]*/(key|status)")  # columns that an export adds


@dataclass
class GivenProducts:
    """N products: their ids, their columns, and the content keys and statuses that stand beside their vectors."""

    modality: str
    ids: list[str]
    columns: dict[str, list[str]]
    keys: list[str]  # "" where none is given
    statuses: list[str]  # "" likewise
    has_keys: bool

    @classmethod
    def read(
        cls, vectors: GivenVectors, modality: str, *, ids_path: Path | None, id_column: str | None
    ) -> GivenProducts:
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
        repeated = [one for one, n in Counter(ids).items() if n > 1]
        if repeated or "" in ids:
            what = f"{repeated[0]!r} more than once" if repeated else "an empty one"
            raise CacheError(f"Expected ids of their own in {where}, got {what}. Mend it, or name another --id-column.")
        keys = texts.get(f"{modality}/key")
        statuses = texts.get(f"{modality}/status", [""] * len(ids))
        _check_each(keys or [], r"(?:[0-9a-f]{64})?", f"{modality}/key", "SHA-256 digests of 64 hexadecimal digits")
        _check_each(statuses, r"[a-z_]{0,16}", f"{modality}/status", "words of at most 16 letters")
        columns = {name: cells for name, cells in texts.items() if not _OF_A_MODALITY.fullmatch(name)}
        return cls(modality, ids, columns, list(keys or [_id_key(one) for one in ids]), statuses, keys is not None)

    def take_keys(self, products: Products) -> None:
        """Take the keys that a cache has for the same ids, unless keys are given."""
        contents = products.contents.get(self.modality)
        if contents is not None and not self.has_keys:
            known = {one: key for one, key in zip(products.ids, contents.keys, strict=True) if key}
            self.keys = [known.get(one, key) for one, key in zip(self.ids, self.keys, strict=True)]

    def products(self, has_vector: np.ndarray) -> Products:
        """Return them as a catalogue; one without vector has no content, unless its key is given.

        Raises:
            CacheError: a vector has no key, where keys are given.
        """
        lacking = [n for n in np.flatnonzero(has_vector).tolist() if not self.keys[n]]
        if lacking:
            raise CacheError(
                f"Expected a key for each vector, but {self.ids[lacking[0]]!r} has none in {self.modality}/key. Fill "
                "it, or leave the column out."
            )
        keys, statuses = [], []
        for key, status, has in zip(self.keys, self.statuses, has_vector.tolist(), strict=True):
            keys.append(key if has or self.has_keys else "")
            statuses.append(OK if keys[-1] else status if status not in ("", OK) else NOT_ENCODED if status else ABSENT)
        return Products(self.ids, self.columns, {self.modality: Contents(keys, statuses)})

    def failures(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the statuses that are given of contents that could not be read, by key."""
        return {
            key: status
            for key, status in zip(keys, self.statuses, strict=True)
            if key and status not in ("", OK, NOT_ENCODED)
        }


def _id_key(one: str) -> str:
    """Return the key of a content of which no more is known than whose it is."""
    return fields_sha256({"imported_id": one})


def _check_each(cells: Sequence[str], pattern: str, name: str, wish: str) -> None:
    for row, cell in enumerate(cells):
        if not re.fullmatch(pattern, cell):
            raise CacheError(f"Expected the column {name} to hold {wish}, got {cell[:70]!r} in row {row + 1}. Mend it.")
