"""Equal rows have the first of them, also where rows that differ have one hash."""

import numpy as np
import pytest

from cache.arrays.row_hashes import first_of_equals, row_hashes

CELLS = np.array([[3, -1], [0, 0], [3, -1], [0, 0], [-1, 3]])


@pytest.mark.parametrize("hashes", [row_hashes(CELLS.T, len(CELLS)), np.zeros(5)], ids=["hashes", "one hash"])
def test_equal_rows_have_the_first_of_them(hashes):
    assert first_of_equals(CELLS, hashes).tolist() == [0, 1, 0, 1, 4]


def test_a_hash_is_of_all_columns_in_their_order_and_of_the_start():
    hashes = row_hashes(CELLS.T, len(CELLS))
    assert len(set(hashes.tolist())) == 3
    assert hashes[0] == hashes[2] != row_hashes(CELLS.T, len(CELLS), 1)[0]
