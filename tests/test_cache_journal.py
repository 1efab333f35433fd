"""The journal: a part that was published is kept whatever happens, and one that is not whole is never believed."""

import errno
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import fork_server
import h5py
import numpy as np
import pytest
from support import ROOT

import cache.journal.journal
from cache import (
    CacheError,
    EmbedOnceError,
    EncoderSpec,
    Inventory,
    Journal,
    NotACacheError,
    Part,
    Tokens,
    UnknownVersionError,
    UnreadableError,
    VectorsByKey,
    content_key,
)
from cache.format.layout import PART_FORMAT
from cache.journal.part_file import load_part

SPEC = EncoderSpec("image", {"weights": "drawn"})


def part_of(*names, encoder="drawn", failures=()):
    """Return a part of one vector for each name: its keys and numbers follow from the names."""
    keys = [content_key(name.encode()) for name in names]
    vectors = np.array([[len(name), ord(name[0]), ord(name[-1])] for name in names], dtype=np.float32).reshape(-1, 3)
    return Part(encoder, SPEC, keys, vectors, {content_key(name.encode()): "truncated" for name in failures})


@pytest.fixture
def cache_path(tmp_path):
    return tmp_path / "c.h5"


@pytest.fixture
def journal(cache_path):
    with Journal(cache_path) as journal:
        yield journal


def test_name_of_a_part_holds_the_digest_of_its_bytes(journal):
    path = journal.publish(part_of("red", "green"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"image.drawn.{digest}.part.h5"
    assert journal.paths() == [path]


def test_part_comes_back_as_it_was_published(journal):
    part = part_of("red", "green", failures=["torn", "cut"])
    back = load_part(journal.publish(part))
    assert (back.encoder, back.spec, back.keys, back.failures) == (part.encoder, part.spec, part.keys, part.failures)
    assert back.vectors.dtype == np.float32
    assert back.vectors.tobytes() == part.vectors.tobytes()


def test_part_may_hold_failures_alone(journal):
    part = Part("drawn", SPEC, [], np.zeros((0, 0), dtype=np.float32), {content_key(b"torn"): "truncated"})
    back = load_part(journal.publish(part))
    assert (back.keys, back.failures) == ([], part.failures)


def test_same_work_published_twice_is_one_part(journal):
    assert journal.publish(part_of("red")) == journal.publish(part_of("red"))
    assert len(journal.paths()) == 1


def cut_last_byte(path):
    os.truncate(path, path.stat().st_size - 1)


def cut_half(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def add_a_byte(path):
    path.write_bytes(path.read_bytes() + b"\0")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = pytest.mark.parametrize("damage", [cut_last_byte, cut_half, empty, add_a_byte, flip_a_bit])


@DAMAGES
def test_damaged_part_is_set_aside_and_only_its_work_is_to_be_redone(cache_path, journal, damage, caplog):
    intact, damaged = journal.publish(part_of("red", "green")), journal.publish(part_of("blue", failures=["torn"]))
    damage(damaged)
    content = damaged.read_bytes()
    inventory = Inventory(cache_path, journal)
    assert inventory.entry("image", "drawn", SPEC).keys == set(part_of("red", "green").keys)
    assert inventory.failures["image"] == {}
    assert journal.paths() == [intact]
    assert damaged.with_name(f"{damaged.name}.damaged").read_bytes() == content
    assert damaged.name in caplog.text
    assert "set aside" in caplog.text
    assert "encoded again" in caplog.text


@DAMAGES
def test_work_of_a_damaged_part_can_be_published_again(cache_path, journal, damage):
    for _ in range(2):  # what is set aside never takes the place of what was before
        damage(journal.publish(part_of("red")))
        Inventory(cache_path, journal)
    journal.publish(part_of("red"))
    assert Inventory(cache_path, journal).entry("image", "drawn", SPEC).keys == set(part_of("red").keys)
    assert len(list(journal.folder.glob("*.damaged"))) == 2


def test_part_under_another_digest_is_not_believed(cache_path, journal):
    path = journal.publish(part_of("red"))
    path.rename(path.with_name(f"image.drawn.{'0' * 64}.part.h5"))
    assert Inventory(cache_path, journal).entries == {}


def test_whole_part_of_a_newer_version_is_refused_and_kept(cache_path, journal, monkeypatch):
    """It is somebody's work: only what does not match its digest is thrown away."""
    with monkeypatch.context() as patch:
        patch.setattr("cache.format.writer.FORMAT_VERSION", 99)
        path = journal.publish(part_of("red"))
    with pytest.raises(UnknownVersionError, match="99"):
        Inventory(cache_path, journal)
    assert journal.paths() == [path]


@pytest.mark.parametrize("content", [b"", b"no HDF5", "an HDF5 file of another kind"], ids=["empty", "text", "HDF5"])
def test_whole_bytes_that_are_no_part_are_refused_and_kept(cache_path, journal, content):
    if isinstance(content, str):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.attrs["format"] = np.bytes_(PART_FORMAT)
            file.attrs["format_version"] = 2
        content = buffer.getvalue()
    path = journal.folder / f"image.drawn.{hashlib.sha256(content).hexdigest()}.part.h5"
    path.write_bytes(content)
    with pytest.raises(NotACacheError, match=r"whole bytes that cannot be read as one .* move it elsewhere"):
        Inventory(cache_path, journal)
    assert journal.paths() == [path]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vector_that_is_not_finite_is_refused_and_its_content_named(value):
    part = part_of("red", "green", "blue")
    vectors = part.vectors.copy()
    vectors[1, 2] = value
    with pytest.raises(CacheError, match=f"finite.*image/drawn.*{part.keys[1][:12]}"):
        Part("drawn", SPEC, part.keys, vectors, {})


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((3, 4), np.float32),
        np.zeros((1, 4), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(2, np.float32),
        np.zeros((2, 4, 1), np.float32),
        np.zeros((2, 4), np.float64),
        np.zeros((2, 4), np.float16),
        np.zeros((2, 4), np.int32),
    ],
    ids=lambda vectors: f"{vectors.dtype}{vectors.shape}",
)
def test_anything_but_one_float32_row_a_key_is_refused(vectors):
    with pytest.raises(CacheError, match="one float32 row per key, got 2 keys"):
        Part("drawn", SPEC, part_of("red", "green").keys, vectors, {})


def test_leftovers_of_a_killed_writer_are_removed_and_its_parts_are_kept(cache_path):
    with Journal(cache_path) as journal:
        path = journal.publish(part_of("red"))
    leftover = journal.folder / f"123-{path.name}.tmp"
    leftover.write_bytes(b"half a part")
    with Journal(cache_path) as journal:
        assert not leftover.exists()
        assert journal.paths() == [path]


def test_journal_folder_vanishes_when_it_is_empty(cache_path):
    with Journal(cache_path) as journal:
        assert journal.folder.is_dir()
    assert list(cache_path.parent.glob("c.h5*")) == []


def test_journal_folder_with_parts_stays_and_holds_nothing_else(cache_path):
    with Journal(cache_path) as journal:
        path = journal.publish(part_of("red"))
    assert list(journal.folder.iterdir()) == [path]


def test_journal_that_is_not_there_has_no_parts_and_is_not_made(cache_path):
    journal = Journal(cache_path)
    assert journal.paths() == []
    assert list(journal.parts()) == []
    assert not journal.folder.exists()


def test_work_is_acknowledged_after_file_rename_and_folder_are_on_the_disk(journal, monkeypatch):
    steps = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        facts = os.fstat(descriptor)
        steps.append("folder" if stat.S_ISDIR(facts.st_mode) else ("file", facts.st_ino, facts.st_size))
        real_fsync(descriptor)

    def replace(source, target):
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    path = journal.publish(part_of("red"))
    # The first part of a journal makes the journal's own name last, too.
    assert steps == ["folder", ("file", path.stat().st_ino, path.stat().st_size), "rename", "folder"]


@pytest.mark.parametrize("step", [1, 2])
def test_failing_disk_is_a_named_error_and_earlier_parts_are_kept(journal, monkeypatch, step):
    """Step 1 is the file's way to the disk, step 2 the folder's."""
    earlier_path = journal.publish(part_of("red"))
    n_calls = 0

    def fsync(descriptor):
        nonlocal n_calls
        n_calls += 1
        if n_calls == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(CacheError, match=r"1 vectors could not be written .*No space left on device.*same line"):
            journal.publish(part_of("blue"))
    assert load_part(earlier_path).keys == part_of("red").keys
    assert list(journal.folder.glob("*.tmp")) == []
    journal.publish(part_of("blue"))
    assert len(journal.paths()) == 2


def test_folder_that_could_not_be_synced_is_not_believed_to_be_the_second_time(journal, monkeypatch):
    """A system tells of a failed fsync once, and says of the next that all is well."""
    n_failed = 0

    def fsync(_):
        nonlocal n_failed
        n_failed += 1
        if n_failed == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        with pytest.raises(CacheError, match="Input/output error"):
            journal.publish(part_of("red"))
    assert journal.paths() == []


@pytest.mark.parametrize("error", [MemoryError(), OSError("memory allocation failed for raw data chunk")], ids=repr)
def test_a_want_of_memory_says_nothing_of_a_part(journal, monkeypatch, error):
    """HDF5 says it without an errno."""
    path = journal.publish(part_of("red"))

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("cache.journal.part_file.decode_part", fail)
    with pytest.raises(UnreadableError, match="Free some memory"):
        load_part(path)
    assert journal.paths() == [path]


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
from test_cache_journal import part_of
from cache import Journal
with Journal(sys.argv[1]) as journal:
    journal.publish(part_of("red", "green"))
    journal.publish(part_of("blue"))
    (journal.folder / "1-half.part.h5.tmp").write_bytes(b"half")
    print("published", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_parts_of_a_killed_writer_are_still_there(cache_path):
    command = [sys.executable, "-c", KILLED, cache_path, ROOT, Path(__file__).parent]
    with fork_server.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "published\n"
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    with Journal(cache_path) as journal:
        inventory = Inventory(cache_path, journal)
        assert inventory.entry("image", "drawn", SPEC).keys == set(part_of("red", "green", "blue").keys)
        names = {path.name for path in journal.folder.iterdir()}
        assert names == {"lock", *(path.name for path in journal.paths())}


def publish_and_merge(journal, *names, **options):
    path = journal.publish(part_of(*names, **options))
    journal.merge("image", "drawn")
    return path


def test_parts_are_merged_as_they_grow_in_number_and_nothing_is_lost(cache_path, journal):
    other_path = journal.publish(part_of("red", encoder="other"))
    counts = []
    for n in range(30):
        publish_and_merge(journal, f"{n}a", f"{n}b", failures=[f"{n}c"])
        counts.append(len(journal.paths()) - 1)
    assert max(counts) <= 7 + 7
    inventory = Inventory(cache_path, journal)
    expected = part_of(*(f"{n}{letter}" for n in range(30) for letter in "ab"))
    entry = inventory.entries["image", "drawn"]
    assert entry.keys == set(expected.keys)
    assert inventory.failures["image"].keys() == {content_key(f"{n}c".encode()) for n in range(30)}
    vectors, is_found, _ = VectorsByKey(cache_path, "drawn", SPEC).find(expected.keys)
    assert is_found.all()
    assert np.array_equal(vectors, expected.vectors)
    assert load_part(other_path).keys == part_of("red").keys


def test_a_large_part_is_never_merged(journal, monkeypatch):
    monkeypatch.setattr("cache.journal.journal.LARGE_PART_BYTES", 1)
    for n in range(9):
        publish_and_merge(journal, str(n))
    assert len(journal.paths()) == 9


def test_what_counts_as_large_grows_with_the_journal(journal, monkeypatch):
    """Else their number grew with the bytes: here each published part is as large as a part needs to be at first."""
    monkeypatch.setattr("cache.journal.journal.LARGE_PART_BYTES", 1)
    monkeypatch.setattr("cache.journal.journal.LARGE_PARTS", 8)
    monkeypatch.setattr("cache.journal.journal.MERGED_PARTS", 3)
    counts, n_written = [], []
    real_write = Journal._write
    monkeypatch.setattr(
        Journal, "_write", lambda self, part: n_written.append(len(part.keys)) or real_write(self, part)
    )
    for n in range(40):
        publish_and_merge(journal, str(n))
        counts.append(len(journal.paths()))
    assert max(counts) <= 8 + 2 * 2
    assert sum(n_written) <= 40 * 4  # each vector at most as often as the logarithm of their number to the base of 3


def test_parts_that_are_small_all_at_once_are_not_merged_into_one(journal, monkeypatch):
    """What is large grows with all that waits; a part, and its merge, are made in memory."""
    large_bytes = round(2.5 * max(journal.publish(part_of(str(n))).stat().st_size for n in range(20)))
    for name in ("LARGE_PART_BYTES", "MOST_LARGE_PART_BYTES"):
        monkeypatch.setattr(f"cache.journal.journal.{name}", large_bytes)
    n_together: list[int] = []
    real_merged_part = cache.journal.journal.merged_part
    monkeypatch.setattr(
        "cache.journal.journal.merged_part", lambda parts: n_together.append(len(parts)) or real_merged_part(parts)
    )
    journal.merge("image", "drawn")
    assert n_together
    assert max(n_together) <= 3
    assert sum(len(load_part(path).keys) for path in journal.paths()) == 20


def test_parts_of_failures_alone_and_with_tokens_are_merged(journal):
    parts = [Part("drawn", SPEC, [], np.zeros((0, 0), np.float32), {content_key(b"torn"): "truncated"})]
    for n in range(7):
        vectors = part_of(f"{n}a", f"{n}b")
        tokens = Tokens.of([np.full((rows, 2), n, np.float16) for rows in (1 + n, 2)])
        parts.append(Part("drawn", SPEC, vectors.keys, vectors.vectors, {}, tokens))
    for part in parts:
        journal.publish(part)
    journal.merge("image", "drawn")
    merged = load_part(journal.paths()[0])
    assert len(journal.paths()) == 1
    assert merged.failures == parts[0].failures
    assert len(merged.keys) == 14
    for part in parts[1:]:
        for row, key in enumerate(part.keys):
            assert merged.tokens[merged.keys.index(key)].tolist() == part.tokens[row].tolist()


def test_damaged_part_is_set_aside_by_a_merge_and_the_others_are_kept(cache_path, journal):
    paths = [journal.publish(part_of(str(n))) for n in range(8)]
    flip_a_bit(paths[3])
    journal.merge("image", "drawn")
    assert paths[3].with_name(f"{paths[3].name}.damaged").exists()
    assert len(journal.paths()) == 1
    assert Inventory(cache_path, journal).entries["image", "drawn"].keys == set(part_of(*"0124567").keys)


def test_parts_of_other_dimensions_or_specs_are_not_merged(cache_path, journal):
    for n in range(7):
        journal.publish(part_of(str(n)))
    for strange in (
        Part("drawn", SPEC, part_of("x").keys, np.ones((1, 4), np.float32), {}),
        Part("drawn", EncoderSpec("image", {"weights": "others"}), part_of("x").keys, np.ones((1, 3), np.float32), {}),
    ):
        path = journal.publish(strange)
        journal.merge("image", "drawn")
        assert len(journal.paths()) == 8
        if strange.spec == SPEC:
            Inventory(cache_path, journal)
            assert path.with_name(f"{path.name}.damaged").exists()
        else:
            with pytest.raises(EmbedOnceError):
                Inventory(cache_path, journal)
            path.unlink()


def test_a_merge_that_the_disk_refuses_leaves_all_parts(journal, monkeypatch):
    parts = [journal.publish(part_of(str(n))) for n in range(8)]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(CacheError, match="same line"):
            journal.merge("image", "drawn")
    assert journal.paths() == sorted(parts)


def test_whoever_reads_while_parts_are_merged_finds_all(cache_path, journal, monkeypatch):
    """The parts go between the reader's list of them and their reading."""
    for n in range(8):
        journal.publish(part_of(str(n)))

    def merging(path):
        journal.merge("image", "drawn")
        return load_part(path)

    monkeypatch.setattr("cache.inventory.vectors_by_key.load_part", merging)
    expected = part_of(*"01234567")
    vectors, is_found, _ = VectorsByKey(cache_path, "drawn", SPEC).find(expected.keys)
    assert is_found.all()
    assert np.array_equal(vectors, expected.vectors)


def test_a_reader_beside_a_writer_finds_all_that_was_acknowledged(cache_path, journal):
    names, is_done = [], threading.Event()

    def write():
        for n in range(25):
            publish_and_merge(journal, str(n))
            names.append(str(n))
        is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reader = VectorsByKey(cache_path, "drawn", SPEC)
    while not is_done.is_set():
        acknowledged = list(names)
        assert reader.find(part_of(*acknowledged).keys)[1].all()
    writer.join()
    assert reader.find(part_of(*names).keys)[1].all()


def refilled(file, name, value):
    del file[name]
    file[name] = value


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.pop("key"),
        lambda file: file.pop("spec"),
        lambda file: refilled(file, "spec", 7),
        lambda file: refilled(file, "spec", np.bytes_(b"\xff")),
        lambda file: refilled(file, "spec", np.bytes_(b"[" * 10_000)),
        lambda file: refilled(file, "encoder", np.bytes_(b"\xff")),
        lambda file: refilled(file, "encoder", np.bytes_(b"../drawn")),
        lambda file: refilled(file, "failed_status", np.array([], "S16")),
        lambda file: refilled(file, "failed_key", np.array([b"\xff"], "S64")),
        lambda file: refilled(file, "key", np.zeros((1, 1), "S64")),
        lambda file: refilled(file, "vector", np.zeros((1, 3), "f8")),
        lambda file: refilled(file, "vector", np.zeros((2, 3), "f4")),
        lambda file: refilled(file, "vector", np.full((1, 3), np.nan, "f4")),
        lambda file: file.create_dataset("token", (1, 3), "f2"),
        lambda file: file.move("key", "keys"),
        lambda file: file.create_group("more"),
    ],
)
def test_part_of_another_structure_is_refused_by_name_and_kept(cache_path, journal, change):
    """Its digest is right, so that it may be the work of a version to come."""
    path = journal.publish(part_of("red", failures=["torn"]))
    with h5py.File(path, "r+") as file:
        change(file)
    path = path.rename(path.with_name(f"image.drawn.{hashlib.sha256(path.read_bytes()).hexdigest()}.part.h5"))
    for use in (lambda: Inventory(cache_path, journal), lambda: load_part(path)):
        with pytest.raises(NotACacheError, match=rf"{path.name} to be a part .* move it elsewhere"):
            use()
    assert journal.paths() == [path]
