"""The cache as a reader sees it."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from support import synthetic_cache

from cache import Cache, CacheError, MissingEntryError


@pytest.fixture
def cache_path(tmp_path):
    vectors = {"image": np.arange(12).reshape(4, 3), "text": np.arange(8).reshape(4, 2)}
    columns = {"label": ["a", "b", "a", "b"], "a/b": ["NA", "00123", "null", ""]}
    present = {"image": np.array([True, True, False, True])}
    contents = {"text": ["same", "other", "same", "third"]}
    return synthetic_cache(tmp_path / "c.h5", vectors, columns, present=present, contents=contents)


def test_matrix_has_one_row_a_product_and_nan_where_there_is_no_vector(cache_path):
    with Cache(cache_path) as cache:
        matrix = cache.matrix("image")
        assert np.array_equal(matrix[[0, 1, 3]], [[0, 1, 2], [3, 4, 5], [9, 10, 11]])
        assert np.isnan(matrix[2]).all()
        assert cache.present("image", "synthetic").tolist() == [True, True, False, True]


def test_same_content_is_kept_once_and_read_under_every_product(cache_path):
    with Cache(cache_path) as cache:
        assert len(cache.vectors("text", "synthetic")) == 3
        assert np.array_equal(cache.matrix("text")[0], cache.matrix("text")[2])


def test_number_of_contents_is_known_without_reading_their_keys(cache_path, monkeypatch):
    with Cache(cache_path) as cache:
        monkeypatch.setattr(cache.tables, "ascii", lambda path: pytest.fail(f"{path} was read"))
        assert (cache.n_contents("image"), cache.n_contents("text")) == (3, 3)


def test_cells_are_read_as_written(cache_path):
    with Cache(cache_path) as cache:
        assert cache.columns() == ["label", "a/b"]
        assert cache.column("a/b") == ["NA", "00123", "null", ""]
        assert cache.ids() == ["00000", "00001", "00002", "00003"]


def test_missing_modality_names_what_there_is(cache_path):
    with Cache(cache_path) as cache, pytest.raises(MissingEntryError, match=r"'audio', but it holds image, text"):
        cache.matrix("audio")


def test_missing_encoder_names_what_there_is(cache_path):
    with Cache(cache_path) as cache, pytest.raises(MissingEntryError, match="'resnet50', but it holds synthetic"):
        cache.matrix("image", "resnet50")


def test_plain_h5py_reads_the_documented_layout(cache_path):
    with h5py.File(cache_path) as file:
        assert file["image/key"].dtype == "S64"
        assert file["image/synthetic/vector"].shape == (3, 3)
        assert file["image/synthetic/vector"].fletcher32
        assert file["image/synthetic/encoded"][:].all()
        row = file["catalogue/image/row"][:]
        assert row.tolist()[2] == -1
        utf8, offset = file["catalogue/id/utf8"][:].tobytes(), file["catalogue/id/offset"][:]
        assert [utf8[a:b].decode() for a, b in pairwise(offset)][1] == "00001"


def test_a_notebook_shows_the_path_the_products_and_the_encoders(cache_path):
    with Cache(cache_path) as cache:
        assert repr(cache).splitlines() == [
            f"Cache {cache_path}", "4 products", "image/synthetic 3 × 3, text/synthetic 3 × 2",
        ]  # fmt: skip
    assert repr(cache) == f"Cache {cache_path}\nclosed"


def test_a_notebook_shows_tokens_too(tmp_path):
    tokens = {"text": [np.zeros((2, 5))] * 3}
    with Cache(synthetic_cache(tmp_path / "c.h5", {"text": np.eye(3)}, {}, tokens=tokens)) as cache:
        assert repr(cache).endswith("3 products\ntext/synthetic 3 × 3 (tokens of 5)")


def test_a_matrix_that_takes_more_than_memory_permits_is_a_named_error(tmp_path):
    """All products share one content, so that the cache is small and the matrix is not."""
    vectors = np.tile(np.arange(1000), (1000, 1))
    path = synthetic_cache(tmp_path / "c.h5", {"image": vectors}, {}, contents={"image": ["same"] * 1000})
    with Cache(path) as cache:
        with pytest.raises(CacheError, match="at most 4.0 MB of memory, got 1000 rows of 1000 dimensions, 4.0 MB"):
            cache.matrix("image", memory="3.8M")
        assert (cache.matrix("image", memory="4M") == vectors).all()
