"""The texts of a catalogue's cells: their keys, and each text made again when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import overload

import numpy as np

from cache import content_key
from embed.contents.statuses import OK
from embed.contents.texts import clean, normalise
from embed.errors import ContentError

__all__ = ["Texts", "find_texts", "texts_by_row"]


class Texts(Sequence[str]):
    """U texts, each made of its cell when it is asked for: all of them would take as much memory as the cells.

    Names, which are as they are written also where cells are cleaned, stand behind the cells.

    Shape:
        rows: (U,) int32, a cell of each text
    """

    def __init__(self, cells: Sequence[str], rows: np.ndarray, *, is_cleaned: bool, names: Sequence[str] = ()) -> None:
        self._cells, self._rows, self._is_cleaned, self._names = cells, rows, is_cleaned, names

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[n] for n in range(len(self))[number]]
        row = int(self._rows[number])
        if row >= len(self._cells):
            return normalise(self._names[row - len(self._cells)])
        return _text(self._cells[row], is_cleaned=self._is_cleaned)

    def __len__(self) -> int:
        return len(self._rows)


def find_texts(cells: Iterable[str], *, is_cleaned: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the key, the status and the text of each cell; key and text are "" where it has none."""
    for cell in cells:
        try:
            text = _text(cell, is_cleaned=is_cleaned)
        except ContentError as error:
            yield "", str(error), ""
        else:
            yield content_key(text.encode()), OK, text


def texts_by_row(
    cells: Iterable[str], *, is_cleaned: bool, names: Iterable[str] = ()
) -> Iterator[tuple[str, str, int]]:
    """Yield the key and the status of each cell, and its row; then of each name, likewise."""
    texts = chain(find_texts(cells, is_cleaned=is_cleaned), find_texts(names, is_cleaned=False))
    for row, (key, status, _) in enumerate(texts):
        yield key, status, row


def _text(cell: str, *, is_cleaned: bool) -> str:
    return normalise(clean(normalise(cell))) if is_cleaned else normalise(cell)
