"""Which keys have a vector: those of the sealed cache by a bit each, and a set of those that came since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import chain, compress

import numpy as np

__all__ = ["EncodedKeys"]


class EncodedKeys(Set[str]):
    """A set of keys that takes a byte for each that is sealed.

    Args:
        rows: key -> row, the sealed ones first and in their order; keys may be added to it, and others put in order.

    Shape:
        encoded: (U,) bool, which of the sealed ones have a vector
    """

    def __init__(self, rows: Mapping[str, int], encoded: np.ndarray) -> None:
        self._rows = rows
        self._encoded = encoded.astype(np.uint8).tobytes()
        self._n_sealed = int(encoded.sum())
        self._others: set[str] = set()

    def __contains__(self, key: object) -> bool:
        row = self._rows.get(key, -1)  # type: ignore[call-overload]
        return (0 <= row < len(self._encoded) and bool(self._encoded[row])) or key in self._others

    def __iter__(self) -> Iterator[str]:
        return chain(compress(self._rows, self._encoded), self._others)

    def __len__(self) -> int:
        return self._n_sealed + len(self._others)

    @classmethod
    def _from_iterable(cls, keys: Iterable[str]) -> set[str]:  # type: ignore[override]
        return set(keys)  # what `&` and `-` give

    def update(self, keys: Iterable[str]) -> None:
        """Add keys."""
        self._others.update(key for key in keys if key not in self)

    def issuperset(self, keys: Iterable[str]) -> bool:
        """Return whether all of the keys are in it."""
        return all(key in self for key in keys)
