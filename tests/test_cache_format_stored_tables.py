"""What an open file is known to store, and that no table is read as another."""

import h5py
import numpy as np
import pytest

from cache.format.stored_tables import StoredTable, read_whole, stored_items


@pytest.fixture
def file():
    with h5py.File("tables.h5", "w", driver="core", backing_store=False) as file:
        file.create_dataset("b/cells", data=np.arange(6.0).reshape(2, 3), chunks=(1, 3), fletcher32=True)
        file["b/name"] = np.bytes_(b"plain")
        file.create_group("a")
        yield file


def test_items_stand_by_path_in_the_order_of_their_names(file):
    items = stored_items(file)
    assert list(items) == ["", "a", "b", "b/cells", "b/name"]
    assert (items[""], items["a"], items["b"]) == (["a", "b"], [], ["cells", "name"])
    assert items["b/cells"] == StoredTable((2, 3), np.dtype("f8"), 2 * (24 + 4), True)  # each chunk has a checksum
    assert items["b/name"] == StoredTable((), np.dtype("S5"), 5, False)


def test_a_table_is_read_whole(file):
    items = stored_items(file)
    assert read_whole(file, "b/cells", items["b/cells"]).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert bytes(read_whole(file, "b/name", items["b/name"])) == b"plain"


@pytest.mark.parametrize("shape", [(2, 2), (6,), (), (3, 3)])
def test_a_table_of_another_shape_than_it_had_is_not_read(file, shape):
    """HDF5 fills as much memory as the file says, whatever the array has."""
    with pytest.raises(ValueError, match=r"got \(2, 3\)"):
        read_whole(file, "b/cells", stored_items(file)["b/cells"]._replace(shape=shape))
