"""Keys in arrays: rows are those that a dict would give, whatever the keys are, and whatever their hashes."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from support import ROOT

import cache.arrays.key_index
from cache import CacheError, content_key
from cache.arrays.encoded_keys import EncodedKeys
from cache.arrays.key_column import KeyColumn, add_keys
from cache.arrays.key_index import KeyIndex

DIGESTS = [content_key(f"{n}".encode()) for n in range(60)]
ODD = ["k1", "k2", "a" * 64, "a" * 63, "a", "0" * 64, *(f"{'b' * 56}{n:08}" for n in range(20))]


@pytest.fixture(params=["hashes", "few hashes", "one hash"])
def hashes(request, monkeypatch):
    """As they are, and where many keys or all have the same."""
    real_hashes, n_hashes = cache.arrays.key_index._hashes, {"few hashes": 3, "one hash": 1}.get(request.param)
    if n_hashes:
        monkeypatch.setattr(cache.arrays.key_index, "_hashes", lambda keys: real_hashes(keys) % np.uint64(n_hashes))


@pytest.mark.parametrize("block_rows", [7, 2**18])
@pytest.mark.parametrize("keys", [DIGESTS, ODD, DIGESTS + ODD], ids=["digests", "odd", "both"])
def test_rows_are_those_that_a_dict_gives(keys, block_rows, hashes, monkeypatch):
    monkeypatch.setattr(cache.arrays.key_index, "BLOCK_ROWS", block_rows)
    generator = np.random.default_rng(0)
    index, rows = KeyIndex(), {}
    for size in (1, 0, 9, 30, 2, 90):
        batch = generator.choice(keys, size).tolist()
        expected = [rows.setdefault(key, len(rows)) for key in batch]
        assert index.add(batch).tolist() == expected
        assert index.rows_of([*keys, "not there"]).tolist() == [rows.get(key, -1) for key in [*keys, "not there"]]
    assert list(index) == list(rows)
    order = generator.permutation(len(rows))
    new_rows = index.reorder(order)
    assert list(index) == [list(rows)[row] for row in order]
    assert index.rows_of(list(rows)).tolist() == new_rows.tolist()
    assert index.add(["another"]).tolist() == [len(rows)]


def test_keys_that_were_not_looked_up_before_are_found_in_their_new_rows():
    index = KeyIndex(["b", "a"])
    index.add(["c", "d"])
    index.reorder(np.array([3, 2, 1, 0]))
    assert list(index) == ["d", "c", "a", "b"]
    assert index.rows_of(["a", "b", "c", "d"]).tolist() == [2, 3, 1, 0]


def test_a_pickled_index_finds_its_keys_in_another_process():
    index = KeyIndex(["b", "a"])
    index.add(["c"])
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).rows_of(['c', 'b', 'x']).tolist())"
    process = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(index), capture_output=True, cwd=ROOT, check=True
    )
    assert process.stdout.decode().strip() == "[2, 0, -1]"


def test_first_of_the_rows_that_repeat_a_key_is_found(hashes):
    index = KeyIndex(["b", "a", "b", "", "a"])
    assert index.rows_of(["a", "b", "", "c"]).tolist() == [1, 0, 3, -1]
    assert index.add(["c", "a", "c"]).tolist() == [5, 1, 5]
    assert list(index) == ["b", "a", "b", "", "a", "c"]


@pytest.mark.parametrize("key", ["a" * 65, "ä"])
def test_what_cannot_be_a_key_is_named(key):
    with pytest.raises(CacheError, match=f"got '{key}'"):
        KeyIndex(["a", key])


def test_keys_that_were_given_as_an_array_are_left_as_they_are():
    keys = np.array(["b", "a"], dtype="S64")
    index = KeyIndex(keys)
    index.reorder(np.array([1, 0]))
    index.add(["c"])
    assert keys.tolist() == [b"b", b"a"]


def test_column_is_the_sequence_that_it_was_made_of():
    keys = ["b", "", "a", "b", "", "c"]
    column = KeyColumn.of(keys)
    assert column == keys
    assert column != keys[:-1]
    assert column != [*keys[:-1], "d"]
    assert (list(column), len(column), column[0], column[1], column[-1]) == (keys, 6, "b", "", "c")
    assert column[2:5] == keys[2:5] == KeyColumn.of(keys[2:5])
    assert np.asarray(column).tolist() == [key.encode() for key in keys]
    assert repr(column) == repr(keys)
    assert KeyColumn.of(column) is column


def test_contents_of_a_column_come_once_in_their_first_order():
    column = KeyColumn(KeyIndex(["a", "b", "c", "d"]), np.array([3, -1, 1, 3, 0, 1]))
    assert column.distinct_rows.tolist() == [3, 1, 0]
    assert column.rows_in(KeyIndex(["x", "b", "d"])).tolist() == [2, -1, 1, 2, -1, 1]


def test_encoded_keys_follow_their_index():
    index = KeyIndex(["a", "b", "c"])
    keys = EncodedKeys(index, np.array([True, False]))
    keys.add(add_keys(index, ["d", "a"]))
    assert keys == {"a", "d"}
    assert len(keys) == 2
    assert keys.has(["d", "c", "x", "a"]).tolist() == [True, False, False, True]
    keys.move(index.reorder(np.array([3, 2, 1, 0])))
    assert list(keys) == ["d", "a"]
    assert keys.rows_of(["a", "b"]).tolist() == [3, -1]
