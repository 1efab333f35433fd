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
    """One modality of N products: the key and the status of each one's content, "" where it has none.

    `spec` says how contents are made of the catalogue. `samples` are a few contents as they are
    (`cache.sealed.samples`).
    """

    keys: Sequence[str]  # becomes a `KeyColumn`
    statuses: Sequence[str]
    spec: ContentSpec | None = None
    kept: Sequence[str] = ()  # the keys of further contents, in their order: those that products' means are made of
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

        `indices` are the keys of each modality by their rows, `failures` the statuses, by key, of the contents that
        could not be read.
        """
        strings: dict[str, Sequence[str]] = {"catalogue/id": self.ids, "catalogue/columns": list(self.columns)}
        strings |= {column_path(name): cells for name, cells in self.columns.items()}
        arrays: dict[str, np.ndarray | LazyTable] = {
            f"{path}/{name}": array for path, cells in strings.items() for name, array in encode_strings(cells).items()
        }
        for modality, contents in self.contents.items():
            rows = KeyColumn.of(contents.keys).rows_in(indices[modality])
            arrays[f"catalogue/{modality}/row"] = LazyTable(len(rows), np.int64, rows.__getitem__)
            arrays[f"catalogue/{modality}/status"] = _statuses(contents, rows, failures[modality])
            if contents.spec is not None:
                arrays[f"catalogue/{modality}/spec"] = np.array(contents.spec.to_json().encode())
            if contents.samples:
                arrays[f"catalogue/{modality}/sample_key"] = np.array(list(contents.samples), dtype="S64")
                cells = [content.decode("utf-8", "surrogateescape") for content in contents.samples.values()]
                arrays |= {f"catalogue/{modality}/sample/{n}": array for n, array in encode_strings(cells).items()}
        return arrays


def _statuses(contents: Contents, rows: np.ndarray, failures: Mapping[str, str]) -> LazyTable:
    """Return each product's status, (N,) S16; that of a content that could not be read is the one in `failures`.

    Shape:
        rows: (N,) of whole numbers, the row of each product's content in the file; -1 without
    """
    column = KeyColumn.of(contents.keys)
    failed_rows = column.contents.rows_of(failures)  # in the column's own index
    failed_statuses = np.array(list(failures.values()), dtype="S16")
    is_indexed = failed_rows >= 0
    failed_rows, failed_statuses = failed_rows[is_indexed], failed_statuses[is_indexed]
    order = np.argsort(failed_rows)
    failed_rows, failed_statuses = failed_rows[order], failed_statuses[order]

    def make(block: slice) -> np.ndarray:
        statuses, column_rows = _letters(contents.statuses[block]), column.rows[block]
        statuses[(rows[block] < 0) & (column_rows >= 0)] = b"not_encoded"
        if len(failed_rows):
            positions = np.searchsorted(failed_rows, column_rows).clip(max=len(failed_rows) - 1)
            has_failed = failed_rows[positions] == column_rows
            statuses[has_failed] = failed_statuses[positions[has_failed]]
        return statuses

    return LazyTable(len(rows), "S16", make)


def _letters(statuses: Sequence[str]) -> np.ndarray:
    """Return statuses as (n,) S16."""
    if isinstance(statuses, StatusColumn):
        return np.array(statuses.words, dtype="S16")[statuses.numbers]
    return np.array(statuses, dtype="S16")
