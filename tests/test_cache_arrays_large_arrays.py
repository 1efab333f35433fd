"""Large arrays: the same values in memory and on the disk, no more memory than permitted; a full disk is named."""

import errno
import gc
import mmap
import os
import resource
import tempfile
import warnings

import numpy as np
import pytest

import cache.arrays.hash_runs
import cache.arrays.large_arrays
from cache import CacheError, content_key
from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex
from cache.arrays.large_arrays import GrowingArray, arange, empty, full, memory_limit, row_blocks
from cache.arrays.string_column import ColumnGatherer
from embed.extraction.encoding.longest_first import longest_first


@pytest.fixture(params=[0, 10**9], ids=["on the disk", "in memory"], autouse=True)
def limit(request, tmp_path, monkeypatch):
    """All arrays are large, and there is memory for none of them or for all."""
    monkeypatch.setattr(cache.arrays.large_arrays, "SMALL_BYTES", 0)
    monkeypatch.setattr(cache.arrays.large_arrays, "BLOCK_ROWS", 7)
    (folder := tmp_path / "arrays").mkdir()
    with memory_limit(request.param, folder):
        yield cache.arrays.large_arrays._limit.get()
        assert not list(folder.iterdir())  # the files have no names


def test_arrays_hold_what_is_put_into_them(limit):
    array = empty((30, 2), np.int64)
    for rows in row_blocks(30):
        array[rows] = np.arange(60).reshape(30, 2)[rows]
    assert array.tolist() == np.arange(60).reshape(30, 2).tolist()
    assert arange(20, np.int32).tolist() == list(range(20))
    assert full(20, -1, np.int32).tolist() == [-1] * 20
    assert empty(0, np.int32).tolist() == []
    limit.release_pages()
    assert array[29].tolist() == [58, 59]


def test_an_array_grows(limit):
    grown = GrowingArray(np.int32)
    for values in (np.arange(3), np.arange(0), np.arange(50)):
        grown.extend(values.astype(np.int32))
    array = grown.array()
    assert array.tolist() == [*range(3), *range(50)]
    assert GrowingArray(np.int32).array().tolist() == []


def test_arrays_side_by_side_hold_their_own(limit, monkeypatch):
    """Whatever their lengths, in whichever file they lie, and whichever of them have gone; with no descriptor each."""
    monkeypatch.setattr(cache.arrays.large_arrays, "STORE_BYTES", 100_000)
    monkeypatch.setattr(cache.arrays.large_arrays, "BLOCK_ROWS", 5000)
    n_open = len(os.listdir("/dev/fd"))
    arrays = [full(n * 97 + 1, n, np.int64)[1:] for n in range(50)]
    growing_arrays = [GrowingArray(np.uint8) for _ in range(6)]
    for n in range(20):
        for number, growing in enumerate(growing_arrays):
            growing.extend(np.full(100 * n, number, dtype=np.uint8))
    del arrays[::2]
    gc.collect()
    arrays += [growing.array() for growing in growing_arrays]
    limit.release_pages()
    assert [set(array.tolist()) for array in arrays] == [{n} for n in [*range(1, 50, 2), *range(6)]]
    assert [len(array) for array in arrays] == [*(n * 97 for n in range(1, 50, 2)), *6 * [19_000]]
    monkeypatch.setattr(cache.arrays.large_arrays, "STORE_BYTES", 2**20)
    n_before = len(os.listdir("/dev/fd"))
    more = [full(100, n, np.int64) for n in range(60)]
    assert len(os.listdir("/dev/fd")) - n_before <= 4
    assert [array[99] for array in more] == list(range(60))
    del arrays, more, growing_arrays
    gc.collect()
    assert len(os.listdir("/dev/fd")) - n_open <= 4  # what goes is closed


@pytest.mark.skipif(not hasattr(mmap, "MADV_REMOVE"), reason="only Linux gives space back before a file is gone")
def test_space_on_the_disk_is_given_back(limit, monkeypatch):
    files = []
    real_file = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: files.append(real_file(**options)) or files[-1])
    live, freed = full(1000, 1, np.int64), empty(100_000, np.int64)[5:]
    n_bytes = [512 * os.fstat(file.fileno()).st_blocks for file in files]
    del freed
    gc.collect()
    assert live.tolist() == [1] * 1000
    if not limit.most_bytes:
        assert n_bytes[0] >= 800_000
        assert 512 * os.fstat(files[0].fileno()).st_blocks < 100_000


def test_a_forked_process_has_arrays_of_its_own(limit):
    """What it makes lies in another place, and what it lets go stays as it is here."""
    parents_array, other_array = full(1000, 1, np.int64), full(1000, 2, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that the child lacks
        child = os.fork()
    if not child:
        del parents_array
        gc.collect()
        full(1000, 3, np.int64)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert full(1000, 4, np.int64).tolist() == [4] * 1000
    assert parents_array.tolist() == [1] * 1000
    assert other_array.tolist() == [2] * 1000


def test_few_open_files_are_enough(limit):
    """Of 64 descriptors the 60th array had none."""
    arrays = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 10,) * 2)
        try:
            arrays = [empty(1000, np.int64) for _ in range(100)]
            growing_arrays = [GrowingArray(np.uint8) for _ in range(100)]
            for growing in growing_arrays:
                growing.extend(np.ones(100, dtype=np.uint8))
            arrays += [growing.array() for growing in growing_arrays]
        finally:
            os._exit(len(arrays))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 200


@pytest.mark.parametrize(
    ("number", "way_out"),
    [(errno.EMFILE, "Permit more open files (ulimit -n)"), (errno.EACCES, "Permit writing there")],
)
def test_another_error_than_a_full_disk_has_another_way_out(number, way_out, limit, monkeypatch):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    if limit.most_bytes:
        return
    with pytest.raises(CacheError) as caught:
        empty(1000, np.int64)
    assert f"{os.strerror(number)}. {way_out}, or permit more with --memory;" in str(caught.value)


def test_memory_is_given_back(limit):
    arrays = [empty(1000, np.int64), GrowingArray(np.uint8)]
    arrays[1].extend(np.zeros(500, dtype=np.uint8))
    arrays[1] = arrays[1].array()[100:]
    is_in_memory = limit.most_bytes > 0
    assert limit.n_bytes == (8500 if is_in_memory else 0)
    del arrays[1]
    gc.collect()
    assert limit.n_bytes == (8000 if is_in_memory else 0)


def test_what_no_longer_fits_goes_to_the_disk_whole(tmp_path):
    with memory_limit(100, tmp_path):
        grown = GrowingArray(np.uint8)
        for _ in range(5):
            grown.extend(np.arange(30, dtype=np.uint8))
        assert cache.arrays.large_arrays._limit.get().n_bytes == 0
        assert grown.array().tolist() == 5 * list(range(30))


@pytest.mark.usefixtures("limit")
def test_keys_are_found_whatever_the_blocks_and_runs(monkeypatch):
    monkeypatch.setattr("cache.arrays.key_index.BLOCK_ROWS", 11)
    monkeypatch.setattr("cache.arrays.key_index.GUESSED_ROWS", 4)
    monkeypatch.setattr(cache.arrays.hash_runs, "PIECE_ROWS", 5)
    keys = [content_key(str(n).encode()) for n in range(200)]
    index = KeyIndex(keys[:100])
    assert index.rows_of(keys[:50]).tolist() == list(range(50))
    assert not index._runs.n_rows  # in their order nothing has to be sorted
    assert index.rows_of(keys[:50]).tolist() == list(range(50))
    assert not index._runs.n_rows  # nor the second time
    shuffled = np.random.default_rng(0).permutation(200)
    assert index.rows_of([keys[n] for n in shuffled]).tolist() == [n if n < 100 else -1 for n in shuffled]
    assert index.rows_of([*keys[90:110], keys[3], *keys[50:70]]).tolist() == [
        *range(90, 100), *[-1] * 10, 3, *range(50, 70),
    ]  # fmt: skip
    assert index.add([*keys[95:], keys[0]]).tolist() == [*range(95, 200), 0]
    assert [keys[row] for row in index.sorted_by_key(np.arange(200))] == sorted(keys)
    column = KeyColumn(index, np.array([5, -1, 7, 5, 199, 0] * 3))
    assert column.distinct_rows.tolist() == [5, 7, 199, 0]
    assert column.rows_in(KeyIndex([keys[0], keys[7]])).tolist() == [-1, -1, 1, -1, -1, 0] * 3


@pytest.mark.usefixtures("limit")
def test_cells_and_lengths_are_the_same():
    cells = [f"{'ü' * (n % 9)}{n}" for n in range(60)]
    gatherer = ColumnGatherer()
    for start in range(0, 60, 13):
        gatherer.extend(cells[start : start + 13])
    assert gatherer.column() == cells
    lengths = np.array([len(cell) for cell in cells])
    assert longest_first(lengths).tolist() == np.argsort(-lengths, kind="stable").tolist()


def test_a_full_disk_is_named(limit, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    if limit.most_bytes:
        assert len(empty(1000, np.int64)) == 1000
    else:
        with pytest.raises(CacheError, match=r"0\.0 MB of space in .* --memory, but: No space left on device"):
            empty(1000, np.int64)
