"""The catalogue as the cache keeps it: every product's cells, and which content it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cache.key_column import KeyColumn
from cache.key_index import KeyIndex
from cache.keys import ContentSpec
from cache.layout import column_path
from cache.writer import encode_strings

__all__ = ["Contents", "Products"]


@dataclass(frozen=True)
class Contents:
    """One modality of N products: each one's content key, "" where it has none, its status, and how it is made.

    The contents that are kept beside those, in their order, are what the products' means are made of.
    Some contents are kept as they are (`cache.samples`).
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
    ) -> dict[str, np.ndarray]:
        """Return the arrays of ``/catalogue`` by their paths in the file.

        `indices` give each modality's row by key, `failures` the status of the keys that could not be read.
        """
        strings: dict[str, Sequence[str]] = {"catalogue/id": self.ids, "catalogue/columns": list(self.columns)}
        strings |= {column_path(name): cells for name, cells in self.columns.items()}
        arrays = {
            f"{path}/{name}": array for path, cells in strings.items() for name, array in encode_strings(cells).items()
        }
        for modality, contents in self.contents.items():
            column, failed = KeyColumn.of(contents.keys), failures[modality]
            places = column.found_in(indices[modality])
            statuses = np.array(contents.statuses, dtype="S16")  # (N,)
            statuses[(places < 0) & (column.rows >= 0)] = b"not_encoded"
            if failed:
                of_failed = np.zeros(len(column.contents) + 1, dtype="S16")  # the last is that of row -1
                of_failed[column.contents.rows_of(failed)] = np.array(list(failed.values()), dtype="S16")
                of_failed[-1] = b""
                has_failed = (of_failed != b"")[column.rows]
                statuses[has_failed] = of_failed[column.rows[has_failed]]
            arrays[f"catalogue/{modality}/row"] = places
            arrays[f"catalogue/{modality}/status"] = statuses
            if contents.spec is not None:
                arrays[f"catalogue/{modality}/spec"] = np.array(contents.spec.to_json().encode())
            if contents.samples:
                arrays[f"catalogue/{modality}/sample_key"] = np.array(list(contents.samples), dtype="S64")
                cells = [content.decode("utf-8", "surrogateescape") for content in contents.samples.values()]
                arrays |= {f"catalogue/{modality}/sample/{n}": array for n, array in encode_strings(cells).items()}
        return arrays
