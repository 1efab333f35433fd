"""The catalogue as the cache keeps it: every product's cells, and which content it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex
from cache.arrays.lazy_table import LazyTable
from cache.arrays.status_column import StatusColumn
from cache.format.layout import column_path
from cache.format.writer import encode_strings
from cache.keys import ContentSpec

__all__ = ["Contents", "Products"]


@dataclass(frozen=True)
class Contents:
    """One modality of N products: each one's content key, "" where it has none, its status, and how it is made.

    The contents that are kept beside those, in their order, are what the products' means are made of.
    Some contents are kept as they are (`cache.sealed.samples`).
    """

    keys: Sequence[str]  # kept as a `KeyColumn`
    statuses: Sequence[str]
    spec: ContentSpec | None = None
    kept: Sequence[str] = ()
    samples: Mapping[str, bytes] = field(default_factory=dict)  # key -> content

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", KeyColumn.of(self.keys))


@dataclass(frozen=True)
class Products:
    """N products in the catalogue's order: their ids, their other columns as written, their contents."""

    ids: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    contents: Mapping[str, Contents]

    def arrays(
        self, indices: Mapping[str, KeyIndex], failures: Mapping[str, Mapping[str, str]]
    ) -> dict[str, np.ndarray | LazyTable]:
        """Return the arrays of ``/catalogue`` by their paths in the file.

        `indices` give each modality's row by key, `failures` the status of the keys that could not be read.
        """
        strings: dict[str, Sequence[str]] = {"catalogue/id": self.ids, "catalogue/columns": list(self.columns)}
        strings |= {column_path(name): cells for name, cells in self.columns.items()}
        arrays: dict[str, np.ndarray | LazyTable] = {
            f"{path}/{name}": array for path, cells in strings.items() for name, array in encode_strings(cells).items()
        }
        for modality, contents in self.contents.items():
            places = KeyColumn.of(contents.keys).rows_in(indices[modality])
            arrays[f"catalogue/{modality}/row"] = LazyTable(len(places), np.int64, places.__getitem__)
            arrays[f"catalogue/{modality}/status"] = _statuses(contents, places, failures[modality])
            if contents.spec is not None:
                arrays[f"catalogue/{modality}/spec"] = np.array(contents.spec.to_json().encode())
            if contents.samples:
                arrays[f"catalogue/{modality}/sample_key"] = np.array(list(contents.samples), dtype="S64")
                cells = [content.decode("utf-8", "surrogateescape") for content in contents.samples.values()]
                arrays |= {f"catalogue/{modality}/sample/{n}": array for n, array in encode_strings(cells).items()}
        return arrays


def _statuses(contents: Contents, places: np.ndarray, failures: Mapping[str, str]) -> LazyTable:
    """Return each product's status, (N,) S16: of contents that could not be read, whoever tried them, what they have.

    Shape:
        places: (N,) of whole numbers, the row of its content among all; -1 without
    """
    column = KeyColumn.of(contents.keys)
    failed, of_failed = column.contents.rows_of(failures), np.array(list(failures.values()), dtype="S16")
    failed, of_failed = failed[failed >= 0], of_failed[failed >= 0]
    order = np.argsort(failed)
    failed, of_failed = failed[order], of_failed[order]

    def make(block: slice) -> np.ndarray:
        statuses, rows = _letters(contents.statuses[block]), column.rows[block]
        statuses[(places[block] < 0) & (rows >= 0)] = b"not_encoded"
        if len(failed):
            numbers = np.searchsorted(failed, rows).clip(max=len(failed) - 1)
            has_failed = failed[numbers] == rows
            statuses[has_failed] = of_failed[numbers[has_failed]]
        return statuses

    return LazyTable(len(places), "S16", make)


def _letters(statuses: Sequence[str]) -> np.ndarray:
    if isinstance(statuses, StatusColumn):
        return np.array(statuses.words, dtype="S16")[statuses.numbers]
    return np.array(statuses, dtype="S16")
