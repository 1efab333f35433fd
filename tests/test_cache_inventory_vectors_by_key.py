"""Vectors by content key: sealed or waiting, by one spec, and the catalogue that a seal leaves as it is."""

import numpy as np
import pytest
from support import synthetic_cache

from cache import Cache, Contents, EncoderSpec, Journal, Part, Products, VectorsByKey, content_key, seal, verify

SPEC = EncoderSpec("text", {"weights": "synthetic"})


def keys_of(*names):
    return [content_key(name.encode()) for name in names]


def publish(path, names, vectors, *, failures=(), is_sealed=False):
    with Journal(path) as journal:
        failed = dict.fromkeys(keys_of(*failures), "truncated")
        journal.publish(Part("synthetic", SPEC, keys_of(*names), np.asarray(vectors, dtype=np.float32), failed))
        if is_sealed:
            seal(path, journal, None)


@pytest.fixture
def path(tmp_path):
    """A cache of two products, whose texts have vectors."""
    matrix = {"text": np.array([[1, 2], [3, 4]])}
    return synthetic_cache(tmp_path / "c.h5", matrix, {"label": ["x", "y"]}, contents={"text": ["a", "b"]})


def test_vectors_come_in_the_order_of_the_keys_from_the_cache_and_from_parts(path):
    reader = VectorsByKey(path, "synthetic", SPEC)
    publish(path, ["c"], [[5, 6]], failures=["d"])
    keys = [*keys_of("b", "c", "d", "e", "b"), ""]
    for is_sealed in (False, True):
        vectors, is_found, failures = reader.find(keys)
        assert np.array_equal(vectors[:2], [[3, 4], [5, 6]])
        assert np.array_equal(vectors[4], [3, 4])
        assert is_found.tolist() == [True, True, False, False, True, False]
        assert np.isnan(vectors[[2, 3, 5]]).all()
        assert failures == {keys[2]: "truncated"}
        if not is_sealed:
            with Journal(path) as journal:
                assert seal(path, journal, None)


def test_what_another_encoder_could_not_read_is_known_before_it_is_sealed(path):
    publish(path, ["c"], [[5, 6]], failures=["d"])
    _, is_found, failures = VectorsByKey(path, "other", EncoderSpec("text", {"weights": "others"})).find(keys_of("d"))
    assert not is_found.any()
    assert failures == {keys_of("d")[0]: "truncated"}


def test_a_cache_that_is_not_there_or_of_another_spec_holds_nothing(path, tmp_path):
    for reader in (
        VectorsByKey(tmp_path / "none.h5", "synthetic", SPEC),
        VectorsByKey(path, "other", SPEC),
        VectorsByKey(path, "synthetic", EncoderSpec("text", {"weights": "others"})),
        VectorsByKey(path, "synthetic", EncoderSpec("image", {"weights": "synthetic"})),
    ):
        vectors, is_found, failures = reader.find(keys_of("a"))
        assert vectors.shape == (1, 0)
        assert not is_found.any()
        assert not failures


def test_a_seal_without_products_keeps_the_catalogue(path):
    with Cache(path) as cache:
        before = {name: digest for name, digest in cache.digests.items() if name.startswith("catalogue/")}
    publish(path, ["0", "c"], [[7, 8], [5, 6]], is_sealed=True)
    with Cache(path) as cache:
        assert {name: digest for name, digest in cache.digests.items() if name.startswith("catalogue/")} == before
        assert np.array_equal(cache.matrix("text"), [[1, 2], [3, 4]])
        assert len(cache.keys("text")) == 4
    assert verify(path) == []


def test_a_content_that_is_read_at_last_is_ok_in_the_catalogue_that_is_kept(tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.eye(2)}, {}, contents={"text": ["a", "b"]})
    publish(path, [], np.zeros((0, 0)), failures=["new"], is_sealed=True)
    keys = keys_of("a", "new")
    with Journal(path) as journal:
        seal(path, journal, Products(["1", "2"], {}, {"text": Contents(keys, ["ok", "ok"])}))
    with Cache(path) as cache:
        assert cache.statuses("text") == ["ok", "truncated"]
    publish(path, ["new"], [[5, 6]], is_sealed=True)
    with Cache(path) as cache:
        assert cache.statuses("text") == ["ok", "ok"]
        assert cache.present("text", "synthetic").all()


def test_a_new_cache_without_products_is_whole_and_has_no_rows(tmp_path):
    path = tmp_path / "c.h5"
    publish(path, ["a"], [[1, 2]], is_sealed=True)
    assert verify(path) == []
    with Cache(path) as cache:
        assert len(cache) == 0
        assert cache.modalities == []
        assert cache.content_modalities == ["text"]


def test_one_row_of_a_large_table_is_read_from_its_chunk(tmp_path):
    matrix = np.arange(5000, dtype=np.float32).reshape(2500, 2)
    names = [str(n) for n in range(2500)]
    publish(tmp_path / "c.h5", names, matrix, is_sealed=True)
    reader = VectorsByKey(tmp_path / "c.h5", "synthetic", SPEC)
    chosen_names = ["2499", "0", "1024", "1023", "2048", "0"]
    assert np.array_equal(reader.find(keys_of(*chosen_names))[0], matrix[[int(name) for name in chosen_names]])


def test_a_part_s_keys_are_gone_through_once_and_not_for_each_look_up(path):
    """Else looking up N keys, some at a time, takes the square of N while they wait in the journal."""
    reader = VectorsByKey(path, "synthetic", SPEC)
    publish(path, ["c", "e"], [[5, 6], [7, 8]], failures=["d"])
    reader.find(keys_of("c"))

    class Once(list):
        def __iter__(self):
            pytest.fail("all keys of a part were gone through")

        def __contains__(self, key):
            pytest.fail("all keys of a part were gone through")

    for part, _ in reader._parts.values():
        object.__setattr__(part, "keys", Once(part.keys))
    vectors, is_found, failures = reader.find(keys_of("e", "d"))
    assert vectors[0].tolist() == [7, 8]
    assert is_found.tolist() == [True, False]
    assert failures == dict.fromkeys(keys_of("d"), "truncated")
    assert reader.knows(keys_of("c")[0])
