"""Strings in two arrays: what comes out is what went in, in any order and however it is cut into batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.arrays.string_column import ColumnGatherer, StringColumn, take_cells
from cache.format.writer import encode_strings

WORDS = ["", "red", "Grüße", "日本", "\x00", "a\nb", "👕"]


def column_of(*batches):
    gatherer = ColumnGatherer()
    for batch in batches:
        gatherer.extend(batch)
    return gatherer.column()


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=4), max_size=4), st.slices(8))
@settings(max_examples=60, deadline=None)
def test_a_column_is_the_cells_it_was_made_of(batches, piece):
    cells = [cell for batch in batches for cell in batch]
    column = column_of(*batches)
    assert isinstance(column, StringColumn)
    assert list(column) == cells
    assert column == cells
    assert column[piece] == cells[piece]
    assert [column[n] for n in range(-len(cells), len(cells))] == cells + cells
    for name, array in encode_strings(column).items():
        assert np.array_equal(array, encode_strings(cells)[name])


@pytest.mark.parametrize("odd", ["caf\udce9", type("Cell", (str,), {"names": ["a", "b"]})("a, b")])
def test_what_is_not_unicode_or_more_than_a_string_stays_what_it_is(odd):
    column = column_of(["a", "ü"], ["b", odd], ["c"])
    assert column == ["a", "ü", "b", odd, "c"]
    assert column[3] is odd


def test_a_column_of_other_strings_is_another():
    column = column_of(["a", "b"])
    assert column != column_of(["ab", ""])
    assert column != ["a"]
    assert column != [1, 2]  # `str.__eq__` has no answer to them, which counts as true
    assert column != 3
    with pytest.raises(IndexError):
        column[2]
    assert take_cells(column, [1, 1]) == ["b", "b"]
    assert take_cells(["a", "b"], [0]) == ["a"]
