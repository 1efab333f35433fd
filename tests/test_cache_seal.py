"""Sealing: old cache and parts become one new file, or nothing changes at all."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import fork_server
import h5py
import numpy as np
import pytest
from support import ROOT, vector_of

from cache import (
    Cache,
    CacheError,
    Contents,
    DamagedCacheError,
    EncoderSpec,
    Inventory,
    Journal,
    MissingEntryError,
    Part,
    Products,
    SpecConflictError,
    Tokens,
    content_key,
    seal,
    verify,
)
from cache.format.source_file import SourceFile
from cache.inventory import sealing
from cache.journal.part_file import PartFile, PartVectors

pytestmark = pytest.mark.slow

DIM = 3


def key(name):
    return content_key(name.encode())


def spec_of(encoder, modality="image", **fields):
    return EncoderSpec(modality, {"weights": encoder, **fields})


def vector(encoder, name):
    return vector_of(f"{encoder} {name}".encode(), DIM)


def publish(cache_path, names, *, encoder="one", failures=(), modality="image", spec=None):
    """Publish one part with a vector for each name, and a failure for each of `failures`; "states" gives tokens too."""
    vectors = np.array([vector(encoder, name) for name in names], dtype=np.float32)
    vectors = vectors.reshape(len(names), DIM if names else 0)  # nobody knows the dimension of no vectors
    keys, failed = [key(name) for name in names], {key(name): "truncated" for name in failures}
    tokens = None
    if encoder == "states":
        tokens = Tokens.of([vector_of(name.encode(), 8 * len(name)).reshape(-1, 8).astype("f2") for name in names])
    with Journal(cache_path) as journal:
        return journal.publish(Part(encoder, spec or spec_of(encoder, modality), keys, vectors, failed, tokens))


def products_of(names, modality="image", **columns):
    """Return a catalogue of one product a name; an empty name stands for no content."""
    contents = Contents([key(name) if name else "" for name in names], ["ok" if name else "absent" for name in names])
    return Products([str(n) for n in range(len(names))], columns, {modality: contents})


def sealed(cache_path, products):
    with Journal(cache_path) as journal:
        return seal(cache_path, journal, products)


def expected(encoder, names, missing=()):
    """Return the matrix of `names`, NaN for those that are missing."""
    rows = [np.full(DIM, np.nan) if name in (*missing, "") else vector(encoder, name) for name in names]
    return np.array(rows, dtype=np.float32)


def read(cache_path):
    """Return everything that the cache holds, for comparison."""
    with Cache(cache_path) as cache:
        return {
            "sha256": cache.content_sha256,
            "ids": cache.ids(),
            "columns": {name: cache.column(name) for name in cache.columns()},
            "statuses": {modality: cache.statuses(modality) for modality in cache.modalities},
            "vectors": {
                (modality, encoder): cache.vectors(modality, encoder).tobytes()
                for modality in cache.modalities
                for encoder in cache.encoders(modality)
            },
            "tokens": {
                (modality, encoder): cache.tokens(modality, encoder).values.tobytes()
                for modality in cache.modalities
                for encoder in cache.encoders(modality)
                if cache.has_tokens(modality, encoder)
            },
        }


def files(folder):
    """Return the bytes of every file below `folder`, by path."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def cache_path(tmp_path):
    return tmp_path / "caches" / "c.h5"


@pytest.fixture
def waiting(cache_path):
    """A sealed cache of two contents and two parts in the journal; return the catalogue that is to be sealed."""
    publish(cache_path, ["a", "b"])
    sealed(cache_path, products_of(["a", "b"]))
    publish(cache_path, ["c"], failures=["torn"])
    publish(cache_path, ["a", "d"], encoder="two")
    return products_of(["a", "b", "c", "d", "torn", ""], label=list("uvwxyz"))


def test_old_cache_and_parts_become_one_file(cache_path, waiting):
    assert sealed(cache_path, waiting)
    assert files(cache_path.parent).keys() == {cache_path}
    with Cache(cache_path) as cache:
        names = ["a", "b", "c", "d", "torn", ""]
        assert np.array_equal(cache.matrix("image", "one"), expected("one", names, {"d", "torn"}), equal_nan=True)
        assert np.array_equal(cache.matrix("image", "two"), expected("two", names, {"b", "c", "torn"}), equal_nan=True)
        assert cache.statuses("image") == ["ok", "ok", "ok", "ok", "truncated", "absent"]
        assert cache.column("label") == list("uvwxyz")
    assert verify(cache_path) == []


def test_sealed_rows_keep_their_order_and_new_ones_follow(cache_path):
    publish(cache_path, ["b", "a"])
    sealed(cache_path, products_of(["b", "a"]))
    publish(cache_path, ["c", "a", "d"])
    sealed(cache_path, products_of(["d", "a", "c", "b"]))
    with Cache(cache_path) as cache:
        assert cache.keys("image").astype(str).tolist() == [key(name) for name in "badc"]
        assert cache.rows("image").tolist() == [2, 1, 3, 0]


def test_same_work_in_other_parts_makes_the_same_cache(tmp_path):
    """However often an extraction was stopped, and in whatever order it encoded, the same is sealed."""
    digests = set()
    for n, parts in enumerate([["abcd"], ["ab", "cd"], ["d", "c", "b", "a"], ["bcd", "abc"]]):
        path = tmp_path / f"{n}.h5"
        for names in parts:
            publish(path, names)
        sealed(path, products_of(list("cadb")))
        digests.add(read(path)["sha256"])
    assert len(digests) == 1


def test_content_that_nobody_encoded_has_no_vector_and_says_so(cache_path):
    publish(cache_path, ["a"])
    sealed(cache_path, products_of(["a", "b"]))
    assert read(cache_path)["statuses"] == {"image": ["ok", "not_encoded"]}
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", ["a", "b"], {"b"}), equal_nan=True)


def test_reordered_catalogue_moves_no_vector(cache_path):
    publish(cache_path, ["a", "b", "c"])
    sealed(cache_path, products_of(["a", "b", "c"]))
    with Cache(cache_path) as cache:
        before = cache.vectors("image", "one")
    assert sealed(cache_path, products_of(["c", "a", "b"]))
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.vectors("image", "one"), before)
        assert np.array_equal(cache.matrix("image"), expected("one", ["c", "a", "b"]))


def test_cache_is_not_written_when_there_is_nothing_to_do(cache_path, waiting):
    assert sealed(cache_path, waiting)
    before = cache_path.stat()
    assert not sealed(cache_path, waiting)
    after = cache_path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "change",
    [
        lambda: products_of(["a", "b"], label=["u", "w"]),
        lambda: products_of(["a", "b"], name=["u", "v"]),
        lambda: products_of(["b", "a"], label=["u", "v"]),
        lambda: products_of(["a"], label=["u"]),
        lambda: products_of(["a", ""], label=["u", "v"]),
    ],
    ids=["cell", "column", "order", "fewer", "absent"],
)
def test_any_change_of_the_catalogue_is_written(cache_path, change):
    publish(cache_path, ["a", "b"])
    sealed(cache_path, products_of(["a", "b"], label=["u", "v"]))
    before = read(cache_path)["sha256"]
    assert sealed(cache_path, change())
    assert read(cache_path)["sha256"] != before


def test_content_no_product_names_any_more_is_kept(cache_path):
    publish(cache_path, ["a", "b"])
    sealed(cache_path, products_of(["a"]))
    sealed(cache_path, products_of(["b"]))
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", ["b"]))
        assert len(cache.keys("image")) == 2


def test_modality_that_the_new_catalogue_lacks_is_kept_for_later(cache_path):
    publish(cache_path, ["a", "b"])
    sealed(cache_path, products_of(["a", "b"]))
    publish(cache_path, ["word"], encoder="words", modality="text")
    sealed(cache_path, products_of(["word"], "text"))
    assert verify(cache_path) == []
    with Cache(cache_path) as cache:
        assert cache.modalities == ["text"]
        with pytest.raises(MissingEntryError, match="image"):
            cache.matrix("image")
    sealed(cache_path, products_of(["b", "a"]))
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", ["b", "a"]))


@pytest.mark.parametrize("block_rows", [1, 2, 3, 5, 100])
def test_blocks_do_not_change_what_is_sealed(cache_path, monkeypatch, block_rows):
    """Two encoders over the same keys, each of which lacks some, with old rows and parts across the blocks' borders."""
    monkeypatch.setattr(sealing, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr("cache.format.writer.BLOCK_ROWS", block_rows)
    monkeypatch.setattr("cache.format.writer.CHUNK_ROWS", 2)
    names = list("abcdefghijk")
    publish(cache_path, names[:5])
    publish(cache_path, names[3:7], encoder="two")
    sealed(cache_path, products_of(names[:7]))
    publish(cache_path, [names[10], names[5]])
    publish(cache_path, [names[7], names[0]], encoder="two", failures=[names[9]])
    publish(cache_path, [names[8]])
    sealed(cache_path, products_of(names))
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image", "one"), expected("one", names, "ghj"), equal_nan=True)
        assert np.array_equal(cache.matrix("image", "two"), expected("two", names, "bcijk"), equal_nan=True)
        assert cache.present("image", "two").tolist() == [name not in "bcijk" for name in names]
        assert cache.statuses("image") == ["truncated" if name == "j" else "ok" for name in names]
    assert verify(cache_path) == []


def test_block_size_is_not_part_of_the_content(tmp_path, monkeypatch):
    digests = set()
    for block_rows in (2, 7, 1000):
        monkeypatch.setattr(sealing, "BLOCK_ROWS", block_rows)
        monkeypatch.setattr("cache.format.writer.BLOCK_ROWS", block_rows)
        path = tmp_path / f"{block_rows}.h5"
        publish(path, list("abcdefgh"))
        sealed(path, products_of(list("abcdefgh")))
        digests.add(read(path)["sha256"])
    assert len(digests) == 1


def test_reader_of_the_old_file_is_not_disturbed(cache_path, waiting, monkeypatch):
    """It reads old data while the new file is put in place, and afterwards, though it had read nothing before."""
    before = read(cache_path)["ids"]
    during = []
    real_replace = os.replace
    with Cache(cache_path) as early, Cache(cache_path) as late:

        def replace(source, target):
            during.append((early.ids(), early.matrix("image")))
            real_replace(source, target)
            during.append((early.ids(), early.matrix("image")))

        monkeypatch.setattr(os, "replace", replace)
        assert sealed(cache_path, waiting)
        during.append((late.ids(), late.matrix("image")))
        for ids, matrix in during:
            assert ids == before
            assert np.array_equal(matrix, expected("one", ["a", "b"]))
        assert late.encoders("image") == ["one"]
    with Cache(cache_path) as cache:
        assert len(cache) == 6
    assert len(during) == 3


def test_failed_content_keeps_its_status_until_it_is_read(cache_path):
    products = products_of(["a", "torn"])
    publish(cache_path, ["a"], failures=["torn"])
    sealed(cache_path, products)
    assert read(cache_path)["statuses"] == {"image": ["ok", "truncated"]}
    publish(cache_path, ["b"])
    sealed(cache_path, products)
    assert read(cache_path)["statuses"] == {"image": ["ok", "truncated"]}
    with Journal(cache_path) as journal:
        assert Inventory(cache_path, journal).failures == {"image": {key("torn"): "truncated"}}
    publish(cache_path, ["torn"])
    sealed(cache_path, products)
    assert read(cache_path)["statuses"] == {"image": ["ok", "ok"]}
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", ["a", "torn"]))


def test_content_that_failed_and_was_read_before_any_seal_is_ok(cache_path):
    publish(cache_path, ["a"], failures=["torn"])
    publish(cache_path, ["torn"])
    sealed(cache_path, products_of(["a", "torn"]))
    assert read(cache_path)["statuses"] == {"image": ["ok", "ok"]}


def test_encoder_whose_first_contents_all_failed_gets_vectors_later(cache_path):
    """The first file knows no dimension of it."""
    products = products_of(["torn", "cut"])
    publish(cache_path, [], failures=["torn", "cut"])
    sealed(cache_path, products)
    assert verify(cache_path) == []
    publish(cache_path, ["cut"])
    sealed(cache_path, products)
    assert read(cache_path)["statuses"] == {"image": ["truncated", "ok"]}
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", ["torn", "cut"], {"torn"}), equal_nan=True)


def test_catalogue_without_any_content_is_sealed(cache_path):
    assert sealed(cache_path, products_of(["", ""], label=["u", "v"]))
    assert read(cache_path)["statuses"] == {"image": ["absent", "absent"]}
    assert verify(cache_path) == []


def test_every_name_that_a_column_can_have_is_kept(cache_path):
    names = [
        "", "\0", " ", ".", "..", "a/b", "/", "%", "%00", "%2F", "a%2Fb", "utf8", "offset", "é", "a\nb", "caf\udce9",
    ]  # fmt: skip
    columns = {name: [f"cell of {name}", "\udcff\0"] for name in names}
    sealed(cache_path, products_of(["", ""], **columns))
    assert read(cache_path)["columns"] == columns
    assert verify(cache_path) == []


@pytest.mark.parametrize(
    ("modality", "encoder"),
    [
        ("catalogue", "one"), ("digests", "one"), ("image", "key"), ("image", "status"),
        ("a/b", "one"), ("image", "a/b"), (".", "one"), ("image", "."), ("", "one"), ("image", ""),
    ],
)  # fmt: skip
def test_name_that_cannot_stand_in_the_file_is_refused_before_it_does_harm(cache_path, waiting, modality, encoder):
    """An encoder of one's own may have any name; what it may not do is to replace the cache by one nobody can open."""
    before = files(cache_path.parent)
    with pytest.raises(CacheError):
        publish(cache_path, ["e"], modality=modality, encoder=encoder)
    assert files(cache_path.parent) == before
    sealed(cache_path, waiting)
    assert verify(cache_path) == []


@pytest.mark.parametrize("where", ["cache", "journal"])
def test_vectors_made_in_another_way_are_a_conflict_that_names_the_field(cache_path, where):
    publish(cache_path, ["a"], spec=spec_of("one", resize=256, crop=224))
    if where == "cache":
        sealed(cache_path, products_of(["a"]))
    publish(cache_path, ["b"], spec=spec_of("one", resize=232, crop=224))
    before = files(cache_path.parent)
    with pytest.raises(SpecConflictError, match=r"image/one .*resize: (256, not 232|232, not 256)") as caught:
        sealed(cache_path, products_of(["a", "b"]))
    assert "crop" not in str(caught.value)
    assert files(cache_path.parent) == before


def test_conflict_is_found_before_any_work(cache_path):
    publish(cache_path, ["a"], spec=spec_of("one", pooling="cls"))
    sealed(cache_path, products_of(["a"]))
    with Journal(cache_path) as journal:
        inventory = Inventory(cache_path, journal)
        with pytest.raises(SpecConflictError, match='pooling: "cls", not "mean"'):
            inventory.entry("image", "one", spec_of("one", pooling="mean"))


def test_part_of_another_dimension_is_set_aside_and_all_else_sealed(cache_path, waiting):
    with Journal(cache_path) as journal:
        stray = journal.publish(Part("one", spec_of("one"), [key("e")], np.ones((1, DIM + 1), np.float32), {}))
    sealed(cache_path, waiting)
    assert [path.name for path in stray.parent.glob("*.h5*")] == [f"{stray.name}.damaged"]
    with Cache(cache_path) as cache:
        assert cache.dimension(spec_of("one").modality, "one") == DIM


def test_new_file_is_on_the_disk_before_its_name_and_parts_go_last(cache_path, waiting, monkeypatch):
    steps = []
    journal_folder = cache_path.with_name("c.h5.journal")
    real_fsync, real_replace = os.fsync, os.replace

    def note(step):
        steps.append((step, len(list(journal_folder.glob("*.part.h5")))))

    def fsync(descriptor):
        facts = os.fstat(descriptor)
        note("folder" if stat.S_ISDIR(facts.st_mode) else ("file", facts.st_ino, facts.st_size))
        real_fsync(descriptor)

    def replace(source, target):
        note("rename")
        real_replace(source, target)

    with Journal(cache_path) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)
        seal(cache_path, journal, waiting)
    facts = cache_path.stat()
    assert steps == [(("file", facts.st_ino, facts.st_size), 2), ("rename", 2), ("folder", 2)]


@pytest.fixture
def undisturbed(cache_path, waiting, tmp_path):
    """What a seal that nothing disturbs makes of the waiting parts."""
    copy = shutil.copytree(cache_path.parent, tmp_path / "undisturbed") / "c.h5"
    sealed(copy, waiting)
    return read(copy)


@contextmanager
def failing(monkeypatch, function, step):
    """Let the nth call of a function of `os` fail for want of space; yield a list of one item for each call."""
    calls = []
    real = getattr(os, function)

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        yield calls


@pytest.mark.slow
@pytest.mark.parametrize(("function", "n_steps"), [("fsync", 2), ("replace", 1)])
def test_seal_that_fails_at_any_step_loses_nothing(
    cache_path, waiting, undisturbed, monkeypatch, tmp_path, function, n_steps
):
    """Until the rename the old cache stands as it was; after it the new one stands; the parts are there in any case."""
    for step in range(1, n_steps + 1):
        path = shutil.copytree(cache_path.parent, tmp_path / str(step)) / "c.h5"
        before = files(path.parent)
        with (
            Journal(path) as journal,
            failing(monkeypatch, function, step),
            pytest.raises(CacheError, match=r"No space left .* are kept in"),
        ):
            seal(path, journal, waiting)
        after = files(path.parent)
        assert after[path] == before[path] or read(path) == undisturbed
        assert {**after, path: b""} == {**before, path: b""}
        sealed(path, waiting)
        assert read(path) == undisturbed
    with Journal(cache_path) as journal, failing(monkeypatch, function, n_steps + 1) as calls:
        seal(cache_path, journal, waiting)
    assert len(calls) == n_steps


SEALS_UNDER_A_LIMIT = """
import resource, shutil, sys, types
sys.path[:0] = sys.argv[3:]
import test_cache_seal as tests
from cache import CacheError
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
else:  # the disk fills up after the look at its free space
    shutil.disk_usage = lambda path: types.SimpleNamespace(free=10**15)
try:
    tests.sealed(tests.Path(sys.argv[1]), tests.many_products())
except CacheError as error:
    print(error)
"""

MANY = [str(n) for n in range(3000)]


def many_products():
    return products_of(MANY, label=["a label of some length"] * len(MANY))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A cache and parts that fill some hundred kilobytes, and what an undisturbed seal makes of them."""
    folder = tmp_path_factory.mktemp("many")
    path = folder / "waiting" / "c.h5"
    publish(path, MANY[:500])
    publish(path, MANY[:300], encoder="states")
    sealed(path, products_of(MANY[:500]))
    publish(path, MANY[1000:1600], encoder="states")
    publish(path, MANY[500:1500])
    publish(path, MANY[1500:], failures=["torn"])
    sealed_path = shutil.copytree(path.parent, folder / "whole") / "c.h5"
    sealed(sealed_path, many_products())
    return path, read(sealed_path), sealed_path.stat().st_size


def seal_elsewhere(path, *, limit):
    """Seal in a process of its own and return what it said: its error's message, and all that went to stderr."""
    command = [sys.executable, "-c", SEALS_UNDER_A_LIMIT, path, str(limit), ROOT, Path(__file__).parent]
    process = fork_server.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.003, 0.1, 0.5, 0.9, 0.999])
def test_write_that_fails_midway_loses_nothing_and_shows_no_traceback(many, tmp_path, share):
    """A limit on the size of files makes HDF5's own writes fail, at the start, in the vectors, or at the very end."""
    source, undisturbed, size = many
    path = shutil.copytree(source.parent, tmp_path / "limited") / "c.h5"
    before = files(path.parent)
    output, errors = seal_elsewhere(path, limit=int(share * size) + 1)
    assert "could not be written" in output
    assert "File too large" in output
    assert errors == ""
    assert files(path.parent) == before
    sealed(path, many_products())
    assert read(path) == undisturbed


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or not mount or not umount:
        pytest.skip("mounting a small disk takes root")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=2M", "small", folder], check=False).returncode:
        pytest.skip("this system lets nobody mount a disk")
    yield folder
    subprocess.run([umount, "-l", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("n_free", [0, 4096, 50_000, 200_000])
def test_full_disk_loses_nothing(many, small_disk, n_free):
    source, undisturbed, _ = many
    path = shutil.copytree(source.parent, small_disk / "caches") / "c.h5"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - n_free))
    before = files(path.parent)
    with pytest.raises(CacheError, match=r"Expected .+ MB of free space beside the cache to seal it, got"):
        sealed(path, many_products())
    output, errors = seal_elsewhere(path, limit=0)
    assert "No space left on device" in output
    assert errors == ""
    assert files(path.parent) == before
    filler.unlink()
    sealed(path, many_products())
    assert read(path) == undisturbed


def test_part_that_a_full_disk_refuses_leaves_the_others(many, small_disk):
    path = shutil.copytree(many[0].parent, small_disk / "caches") / "c.h5"
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    before = files(path.parent)
    with pytest.raises(CacheError, match=r"1000 vectors could not be written .*No space left on device"):
        publish(path, [f"new {n}" for n in range(1000)])
    assert files(path.parent) == before


def part_file_of(path):
    """Return the part's file as it is now."""
    with SourceFile(path) as source:
        return PartFile(path, source.identity)


def rows_part(cache_path, n_rows):
    """Publish a part of n rows whose vectors tell their numbers; return its path and the vectors."""
    vectors = np.arange(2 * n_rows, dtype=np.float32).reshape(n_rows, 2)
    with Journal(cache_path) as journal:
        return journal.publish(Part("one", spec_of("one"), [key(str(n)) for n in range(n_rows)], vectors, {})), vectors


def test_a_few_vectors_of_a_part_are_read_across_its_chunks(cache_path):
    path, vectors = rows_part(cache_path, 2500)
    part = PartVectors(part_file_of(path))
    for rows in ([], [0], [2499], [1022, 1023, 1024, 1025, 2048], list(range(2500))):
        assert part.take(np.array(rows, dtype=np.int64)).tolist() == vectors[rows].tolist()


def test_vectors_of_a_part_may_stand_in_one_piece_and_not_in_pieces_of_rows(cache_path):
    path, vectors = rows_part(cache_path, 9)
    for chunks in (None, (3, 1)):
        with h5py.File(path, "r+") as file:
            del file["vector"]
            file.create_dataset("vector", data=vectors, chunks=chunks)
        if chunks is None:
            assert PartVectors(part_file_of(path)).take(np.array([1, 7])).tolist() == vectors[[1, 7]].tolist()
        else:
            with pytest.raises(DamagedCacheError, match="row by row"):
                PartVectors(part_file_of(path))


def test_no_vector_of_a_part_is_read_for_more_than_one_block(cache_path, monkeypatch):
    """Texts are encoded by length and sealed in another order: else the bytes read grow with the square."""
    names = [str(n) for n in range(40)]
    for start in (0, 20):
        publish(cache_path, names[start : start + 20])
    n_rows = []
    real_take = PartVectors.take
    monkeypatch.setattr(
        PartVectors, "take", lambda part, rows, *others: n_rows.append(len(rows)) or real_take(part, rows, *others)
    )
    monkeypatch.setattr(sealing, "BLOCK_ROWS", 4)
    shuffled = [names[n] for n in np.random.default_rng(0).permutation(40)]
    sealed(cache_path, products_of(shuffled))
    assert sum(n_rows) == 40
    assert max(n_rows) <= 4
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", shuffled))


@pytest.mark.parametrize(("most_open", "n_opened"), [(128, 5), (3, 3 + 2 * 10)])
def test_a_part_is_opened_once_however_many_blocks_it_is_in(cache_path, monkeypatch, most_open, n_opened):
    """As long as so many files may be open; ten blocks opened five parts fifty times before."""
    names = [str(n) for n in range(40)]
    for start in range(0, 40, 8):
        publish(cache_path, names[start : start + 8])
    opened = []
    open_part = PartFile.open
    monkeypatch.setattr(PartFile, "open", lambda file: opened.append(file.path) or open_part(file))
    monkeypatch.setattr("cache.journal.part_file.MOST_OPEN", most_open)
    monkeypatch.setattr(sealing, "BLOCK_ROWS", 4)
    shuffled = [name for n in range(8) for name in names[n::8]]
    sealed(cache_path, products_of(shuffled))
    assert len(opened) <= 5 + n_opened  # once to learn where the vectors stand
    with Cache(cache_path) as cache:
        assert np.array_equal(cache.matrix("image"), expected("one", shuffled))


def test_an_inventory_that_is_brought_up_to_date_seals_what_a_new_one_does(cache_path, waiting, tmp_path, monkeypatch):
    """Parts that are published, damaged and removed after it was made; the cache's own keys are read once."""
    publish(cache_path, ["e"], failures=["d"])
    expected_path = tmp_path / "expected" / "c.h5"
    with Journal(cache_path) as journal:
        inventory = Inventory(cache_path, journal)
        inventory.entry("image", "never used", spec_of("never used"))
        journal.publish(Part("one", spec_of("one"), [key("torn")], np.array([vector("one", "torn")]), {}))
        shutil.copytree(cache_path.parent, expected_path.parent)
        with monkeypatch.context() as patch:
            patch.setattr(Cache, "keys", lambda *_: pytest.fail("they were read again"))
            inventory.update()
        assert seal(cache_path, journal, waiting, inventory=inventory)
    with Journal(expected_path) as journal:
        seal(expected_path, journal, waiting)
    assert read(cache_path) == read(expected_path)


@pytest.mark.parametrize("loss", ["damaged", "gone"])
def test_an_inventory_forgets_what_a_lost_part_held(cache_path, waiting, loss):
    with Journal(cache_path) as journal:
        inventory = Inventory(cache_path, journal)
        path = inventory.entries["image", "one"].parts[0].file.path
        if loss == "gone":
            path.unlink()
        else:
            path.rename(path.with_name(path.name + ".damaged"))
        assert seal(cache_path, journal, waiting, inventory=inventory)
    with Cache(cache_path) as cache:
        assert cache.statuses("image") == ["ok", "ok", "not_encoded", "ok", "not_encoded", "absent"]
    assert verify(cache_path) == []
