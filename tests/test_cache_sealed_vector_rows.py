"""Vectors of a sealed cache by rows: how many bytes are read for them, and that each chunk is checked once."""

import h5py
import numpy as np
import pytest
import torch
from support import synthetic_cache

from cache import Cache
from cache.errors import DamagedCacheError
from cache.format.plain_rows import PlainRows
from cache.format.source_file import CheckedFile, SourceFile
from cache.sealed.vector_rows import VectorRows
from heads.data.vectors import load_vectors

N_ROWS, DIM = 16 * 1024 - 100, 8
N_BYTES = 4 * N_ROWS * DIM


@pytest.fixture(scope="module")
def matrix():
    return np.random.default_rng(0).standard_normal((N_ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory, matrix):
    """A cache of 16 chunks, whose file must stay as it is."""
    cells = ["x"] * N_ROWS
    return synthetic_cache(tmp_path_factory.mktemp("rows") / "c.h5", {"text": matrix}, {"label": cells})


@pytest.fixture
def n_read(monkeypatch):
    """The numbers of bytes that were read, one a read."""
    sizes = []
    fill = SourceFile._fill
    monkeypatch.setattr(SourceFile, "_fill", lambda file, view, at: sizes.append(len(view)) or fill(file, view, at))
    return sizes


def test_a_shuffled_sample_reads_each_chunk_once(path, matrix, n_read):
    """A hundredth of the rows, a few at a time, read 16 chunks before for each 32 rows."""
    rows = torch.from_numpy(np.random.default_rng(1).permutation(N_ROWS)[:640])
    with Cache(path) as cache:
        vectors = load_vectors(cache, encoders={"text": None}, on_disk=True).inputs["text"]
        n_read.clear()
        for batch in rows.split(32):
            assert np.array_equal(vectors[batch], matrix[batch])
    assert sum(n_read) < 1.2 * N_BYTES


def test_an_epoch_in_any_order_reads_no_more_than_the_rows_four_times_and_the_cache_once(path, matrix, n_read):
    with Cache(path) as cache:
        vectors = VectorRows(cache, "text", "synthetic")
        for n_together in (100, 1000, 5000, N_ROWS):  # a few rows of each chunk, ..., all of them
            order = np.random.default_rng(2).permutation(N_ROWS)
            n_read.clear()
            for start in range(0, N_ROWS, n_together):
                batch = order[start : start + n_together]
                assert np.array_equal(vectors.take(batch), matrix[batch])
            assert sum(n_read) < (2.2 if n_together == 100 else 4.2) * N_BYTES, n_together


def test_rows_may_repeat_and_be_none(path, matrix):
    with Cache(path) as cache:
        vectors = VectorRows(cache, "text", "synthetic")
        for rows in ([5, 5, 3, N_ROWS - 1, 5], [5, 5, 3, N_ROWS - 1, 5], []):
            assert np.array_equal(vectors.take(np.array(rows, dtype=np.int64)), matrix[rows])


def test_a_chunk_that_does_not_match_its_checksum_is_damage_whatever_row_is_wanted(path, tmp_path):
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk_start = file["text/synthetic/vector"].id.get_chunk_info(3).byte_offset
    content[chunk_start + 900 * 4 * DIM] ^= 1  # row 900 of the fourth chunk
    (tmp_path / "flipped.h5").write_bytes(content)
    with Cache(tmp_path / "flipped.h5") as cache:
        vectors = VectorRows(cache, "text", "synthetic")
        vectors.take(np.array([5]))
        with pytest.raises(DamagedCacheError, match="text/synthetic/vector"):
            vectors.take(np.array([3 * 1024 + 7]))


def test_where_chunks_stand_is_asked_for_once(path):
    """HDF5 goes through all chunks to find the n-th, so that asking for each took 25 s of 16,000."""
    with h5py.File(path) as file:
        dataset = file["text/synthetic/vector"]

        class OneAtATime:
            def __getattr__(self, name):
                assert name != "get_chunk_info"
                return getattr(dataset.id, name)

        class Watched:
            shape, dtype, chunks, id = dataset.shape, dataset.dtype, dataset.chunks, OneAtATime()

            def __len__(self):
                return self.shape[0]

        with SourceFile(path) as source:
            assert np.array_equal(PlainRows(Watched(), source).take(np.array([3, 1024])), dataset[[3, 1024]])


@pytest.mark.parametrize("kind", ["compact", "a chunk is missing", "pieces"])
def test_vectors_that_do_not_stand_row_by_row_are_refused(kind, tmp_path):
    """Those within the object's header, which HDF5 gives no place for, were read from the file's first bytes."""
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        if kind == "compact":
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_layout(h5py.h5d.COMPACT)
            h5py.h5d.create(file.id, b"v", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((10, 4)), layout)
        else:
            file.create_dataset("v", (10, 4), "f4", chunks=(4, 4) if kind == "a chunk is missing" else (4, 2))
        file["v"][:4] = 1.0
    source = SourceFile(tmp_path / "odd.h5")
    with CheckedFile(source) as file, pytest.raises(DamagedCacheError, match="row by row"):
        PlainRows(file["v"], source)


def test_no_vectors_stand_anywhere(tmp_path):
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.create_dataset("v", (0, 4), "f4")
    with CheckedFile(source := SourceFile(tmp_path / "none.h5")) as file:
        assert PlainRows(file["v"], source).take(np.zeros(0, dtype=np.int64)).shape == (0, 4)
