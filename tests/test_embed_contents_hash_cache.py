"""A second run reads no picture whose path, size, inode and times are as they were; whatever changed is read."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import CountingEncoder, image_bytes, invoke, small_catalogue, vector_of, write_catalogue

import cache.system.file_identity
import embed.commands.extract
import embed.contents.hash_cache
import embed.extraction.source.content_source
from cache import Cache, ContentSpec
from cache.arrays.key_column import KeyColumn
from cache.system.file_identity import identity
from embed import ContentError, ExtractSettings, extract
from embed.contents.hash_cache import MAGIC, Hints
from embed.contents.images import decode, read_image

pytestmark = pytest.mark.slow

CACHE = Path("embeddings.h5")
HINTS = Path("embeddings.h5.hints")


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def soon_settled(monkeypatch):
    """Files that a test has just written are taken for old; tests of young files take that back."""
    monkeypatch.setattr(cache.system.file_identity, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(cache.system.file_identity, "COARSE_SETTLED_NS", -(10**12))


@pytest.fixture
def read(monkeypatch):
    """The names of the pictures that were read and hashed, in any order."""
    names = []

    def noted(path, *, key=None):
        if key is None:
            names.append(path.name)
        return read_image(path, key=key)

    monkeypatch.setattr(embed.extraction.source.content_source, "read_image", noted)
    return names


@pytest.fixture
def shop(read):
    """The folder of a catalogue of 0.png to 5.png, after its first run."""
    catalogue = small_catalogue(Path("shop").absolute())
    assert run() == 6
    assert sorted(read) == [f"{n}.png" for n in range(6)]
    read.clear()
    return catalogue.parent


def run(**settings):
    """Extract, check that each product has the vector of its own picture, and return how many were encoded."""
    encoder = CountingEncoder("image")
    extract("shop/data.csv", CACHE, settings=ExtractSettings(**settings), encoders=[encoder])
    return encoder.n_encoded


def assert_each_picture_has_its_own_vector(shop):
    with Cache(CACHE) as cache:
        for cell, vector in zip(cache.column("image"), cache.matrix("image"), strict=True):
            own = vector_of(decode((shop / cell).read_bytes()).tobytes(), 4)
            np.testing.assert_array_equal(vector, own, err_msg=cell)


def replace_unseen(path, content):
    """Write other bytes of the same size into a file, and set its time of modification back."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def same_size(colour):
    """Return a picture with the size of all others of one size and this kind."""
    return image_bytes(colour, kind="BMP")


# --- what is unchanged is not read


def test_unchanged_picture_is_not_read_again(shop, read):
    assert run() == 0
    assert read == []
    assert_each_picture_has_its_own_vector(shop)


def test_unchanged_picture_is_not_even_opened(shop):
    """Nothing in the pictures' folder is opened, by whatever call."""
    opened = []
    is_on = True

    def note(event, arguments):
        if is_on and event == "open" and "/images/" in str(arguments[0]):
            opened.append(arguments[0])

    sys.addaudithook(note)  # it can never be removed
    try:
        assert run() == 0
        assert opened == []
        assert run(rehash=True) == 0
        assert len(opened) == 6
    finally:
        is_on = False


def test_second_run_leaves_the_hints_alone(shop):
    before = HINTS.stat()
    run()
    assert (HINTS.stat().st_ino, HINTS.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_without_the_hints_all_is_read_and_nothing_else_changes(shop, read):
    before = CACHE.read_bytes()
    HINTS.unlink()
    assert run() == 0
    assert len(read) == 6
    assert CACHE.read_bytes() == before
    read.clear()
    assert run() == 0
    assert read == []


def test_hints_outlive_the_cache(shop, read):
    """They say what the files are, and a picture that is encoded is read and checked anyway."""
    CACHE.unlink()
    assert run() == 6
    assert read == []
    assert_each_picture_has_its_own_vector(shop)


def test_another_order_of_products_reads_nothing(shop, read):
    lines = (shop / "data.csv").read_text().splitlines()
    (shop / "data.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert run() == 0
    assert read == []
    assert_each_picture_has_its_own_vector(shop)


def test_text_alone_leaves_the_hints_alone(shop, read):
    before = HINTS.read_bytes()
    extract("shop/data.csv", "other.h5", encoders=[CountingEncoder("text")])
    assert not Path("other.h5.hints").exists()
    extract("shop/data.csv", CACHE, encoders=[CountingEncoder("text")])  # whose pictures are the catalogue's still
    assert (HINTS.read_bytes(), read) == (before, [])


# --- what changed is read


@pytest.mark.parametrize("content", [image_bytes("lime"), image_bytes("lime", size=(9, 9))], ids=["time", "size"])
def test_changed_picture_is_read_and_it_alone(shop, read, content):
    (shop / "images/2.png").write_bytes(content)
    assert run() == 1
    assert read == ["2.png"]
    assert_each_picture_has_its_own_vector(shop)


def test_picture_with_another_time_and_the_same_bytes_is_read_and_not_encoded(shop, read):
    os.utime(shop / "images/2.png", ns=(1, 1))
    assert run() == 0
    assert read == ["2.png"]
    read.clear()
    assert run() == 0
    assert read == []


def test_picture_in_another_inode_is_read(shop, read):
    """Two pictures of one size and time change places: only their inodes and times of change tell."""
    for name in ("2", "3"):
        path = shop / f"images/{name}.png"
        path.write_bytes(same_size((int(name), 0, 0)))
        os.utime(path, ns=(10**18, 10**18))
    run()
    read.clear()
    (shop / "images/2.png").rename(shop / "images/x.png")
    (shop / "images/3.png").rename(shop / "images/2.png")
    (shop / "images/x.png").rename(shop / "images/3.png")
    assert run() == 0
    assert sorted(read) == ["2.png", "3.png"]
    assert_each_picture_has_its_own_vector(shop)


def test_change_behind_a_time_set_back_is_noticed_by_the_time_of_change(shop, read):
    path = shop / "images/2.png"
    path.write_bytes(same_size("red"))
    run()
    read.clear()
    replace_unseen(path, same_size("lime"))
    assert run() == 1
    assert read == ["2.png"]
    assert_each_picture_has_its_own_vector(shop)


def without_the_time_of_change(monkeypatch):
    """Take the file system for one that keeps no time of change, as some network ones do."""
    stat = os.stat

    class Facts:
        def __init__(self, path):
            facts = stat(path)
            self.st_dev, self.st_ino, self.st_size = facts.st_dev, facts.st_ino, facts.st_size
            self.st_mtime_ns = self.st_ctime_ns = facts.st_mtime_ns

    class System:
        fsencode = os.fsencode
        stat = Facts

    monkeypatch.setattr(cache.system.file_identity, "os", System)


def test_rehash_reads_all_and_notices_a_change_that_no_fact_tells(shop, read, monkeypatch):
    without_the_time_of_change(monkeypatch)
    path = shop / "images/2.png"
    path.write_bytes(same_size("red"))
    run()
    replace_unseen(path, same_size("lime"))
    read.clear()
    assert run() == 0
    assert read == []
    assert run(rehash=True) == 1
    assert len(read) == 6
    assert_each_picture_has_its_own_vector(shop)
    read.clear()
    assert run() == 0
    assert read == []


def test_rehash_is_an_option_of_the_command(shop, read, monkeypatch):
    monkeypatch.setattr("embed.extraction.encoding.run_encoders.make_encoders", lambda _: [CountingEncoder("image")])
    for options, n_read in (([], 0), (["--rehash"], 6)):
        result = invoke(embed.commands.extract.extract, "shop/data.csv", *options)
        assert (result.exit_code, result.stderr, len(read)) == (0, "", n_read)


def test_wrong_hint_gives_no_picture_anothers_vector_and_is_forgotten(shop, read, monkeypatch, caplog):
    """A file whose bytes changed behind all its facts is read for encoding, found out, and hashed by the next run."""
    without_the_time_of_change(monkeypatch)
    path = shop / "images/2.png"
    path.write_bytes(same_size("red"))
    run()
    replace_unseen(path, same_size("lime"))
    CACHE.unlink()
    assert run() == 5
    with Cache(CACHE) as cache:
        assert cache.statuses("image") == ["ok", "ok", "changed", "ok", "ok", "ok"]
    assert not HINTS.exists()
    assert [record.getMessage() for record in caplog.records if "2.png" in record.getMessage()]
    assert run() == 1
    assert_each_picture_has_its_own_vector(shop)


def test_picture_that_changes_while_it_is_encoded_leaves_the_hints_alone(shop, read, monkeypatch):
    CACHE.unlink()
    other = image_bytes("lime")

    def changing(path, *, key=None):
        if key is not None and path.name == "2.png":
            path.write_bytes(other)
        return read_image(path, key=key)

    with monkeypatch.context() as patch:
        patch.setattr(embed.extraction.source.content_source, "read_image", changing)
        assert run() == 5
    assert HINTS.exists()
    assert run() == 1
    assert read == ["2.png"]
    assert_each_picture_has_its_own_vector(shop)


# --- files by their names


def test_moved_picture_is_read_and_not_encoded(shop, read):
    (shop / "images/2.png").rename(shop / "images/moved.png")
    catalogue = shop / "data.csv"
    catalogue.write_text(catalogue.read_text().replace("images/2.png", "images/moved.png"))
    assert run() == 0
    assert read == ["moved.png"]
    assert_each_picture_has_its_own_vector(shop)


def test_picture_that_is_gone_is_missing(shop, read):
    (shop / "images/2.png").unlink()
    assert run() == 0
    assert read == []
    with Cache(CACHE) as cache:
        assert cache.statuses("image")[2] == "missing"


def test_linked_picture_is_told_by_the_file_that_the_link_leads_to(shop, read):
    link = shop / "images/2.png"
    link.unlink()
    link.symlink_to("3.png")
    assert run() == 0
    assert read == []  # 3.png is known
    other = shop / "images/other.png"
    other.write_bytes(image_bytes("lime"))
    link.unlink()
    link.symlink_to("other.png")
    assert run() == 1
    assert read == ["other.png"]
    read.clear()
    assert run() == 0
    assert read == []
    other.write_bytes(image_bytes("navy"))
    assert run() == 1
    assert read == ["other.png"]
    assert_each_picture_has_its_own_vector(shop)


def test_known_picture_is_outside_when_its_place_becomes_a_link_that_leaves_the_root(shop, read):
    (shop / "images/2.png").rename("elsewhere.png")
    (shop / "images/2.png").symlink_to(Path("elsewhere.png").absolute())
    assert run() == 0
    assert run(allow_outside=True) == 0
    assert read == ["elsewhere.png"]
    read.clear()
    assert run() == 0
    assert read == []
    with Cache(CACHE) as cache:
        assert cache.statuses("image")[2] == "outside"


def test_folder_that_becomes_a_link_that_leaves_the_root_is_outside(shop):
    shutil.move(shop / "images", "elsewhere")
    (shop / "images").symlink_to(Path("elsewhere").absolute())
    with pytest.raises(embed.CatalogueError, match="outside"):
        run()


@pytest.mark.parametrize("content", [b"", b"x" * 500], ids=["empty", "too_large"])
def test_what_has_no_key_gets_no_hint(shop, read, monkeypatch, content):
    monkeypatch.setattr("embed.contents.file_ranges.MAX_BYTES", 400)
    (shop / "images/2.png").write_bytes(content)
    for _ in range(2):
        read.clear()
        assert run() == 0
        assert read == ["2.png"]


def test_what_is_no_picture_is_known_by_its_key_too(shop, read):
    (shop / "images/2.png").write_bytes(b"<html>")
    assert run() == 0
    assert read == ["2.png"]
    read.clear()
    assert run() == 0
    assert read == []
    with Cache(CACHE) as cache:
        assert cache.statuses("image")[2] == "not_an_image"


# --- files that were written a moment ago


@pytest.mark.parametrize(
    ("settled_ns", "coarse_settled_ns", "mtime_ns", "is_known"),
    [
        (10**12, 0, None, False),
        (0, 10**12, None, True),
        (0, 10**12, 10**18, False),  # whole seconds
        (0, 10**12, 10**18 + 1, True),
        (0, 0, 2**62, False),  # in the future
    ],
)
def test_picture_that_was_written_a_moment_ago_has_no_identity(
    tmp_path, monkeypatch, settled_ns, coarse_settled_ns, mtime_ns, is_known
):
    """`touch` sets the time of modification, and the time of change becomes now."""
    monkeypatch.setattr(cache.system.file_identity, "SETTLED_NS", settled_ns)
    monkeypatch.setattr(cache.system.file_identity, "COARSE_SETTLED_NS", coarse_settled_ns)
    path = tmp_path / "a.png"
    path.write_bytes(b"red")
    os.utime(path, ns=(0, path.stat().st_mtime_ns | 1 if mtime_ns is None else mtime_ns))
    written_ns = path.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: written_ns + 10**9)
    assert bool(identity(path)) == is_known


def test_each_fact_of_a_file_is_in_its_identity(monkeypatch):
    first = {"st_ino": 2**64 - 2, "st_size": 3, "st_mtime_ns": -4, "st_ctime_ns": 5}

    class System:
        fsencode = os.fsencode
        facts = first

        @classmethod
        def stat(cls, _):
            return SimpleNamespace(**cls.facts)

    monkeypatch.setattr(cache.system.file_identity, "os", System)
    identities = {identity(Path("a")), identity(Path("b"))}
    for name in first:
        System.facts = {**first, name: 6}
        identities.add(identity(Path("a")))
    assert len(identities) == 6
    assert {len(of_file) for of_file in identities} == {16}
    System.facts = first
    assert identity(Path("a")) in identities


def test_young_picture_is_read_until_it_is_settled(shop, read, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache.system.file_identity, "SETTLED_NS", 10**12)
        patch.setattr(cache.system.file_identity, "COARSE_SETTLED_NS", 10**12)
        for _ in range(2):
            read.clear()
            assert run() == 0
            assert len(read) == 6
    run()
    read.clear()
    run()
    assert read == []


def test_change_between_the_look_at_a_file_and_its_reading_is_noticed_by_the_next_run(shop, monkeypatch):
    """The facts are those from before the file was read: at worst they are too old, and it is read again."""
    path = shop / "images/2.png"
    path.write_bytes(image_bytes("lime"))

    def changed_before(path, *, key=None):
        if path.name == "2.png":
            path.write_bytes(image_bytes("navy", size=(9, 9)))
        image = read_image(path, key=key)
        if path.name == "2.png":
            path.write_bytes(image_bytes("lime", size=(10, 10)))
        return image

    with monkeypatch.context() as patch:
        patch.setattr(embed.extraction.source.content_source, "read_image", changed_before)
        run()
    assert run() == 1
    assert_each_picture_has_its_own_vector(shop)


# --- the hints' file


def flipped(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:40],
        lambda content: content[:-1],
        lambda content: content[:-48],
        lambda content: content + bytes(48),
        flipped,
        lambda content: b"embed-once hints 0".ljust(32, b"\0") + content[32:],
        lambda content: content[:32] + hashlib.sha256(b"x").digest() + b"x",
        lambda _: b"\x89HDF\r\n\x1a\n" + bytes(1000),
    ],
    ids=["empty", "head", "a byte less", "a row less", "a row more", "a bit", "version", "no rows", "other format"],
)
def test_damaged_hints_are_noted_ignored_and_written_anew(shop, read, caplog, damage):
    whole = HINTS.read_bytes()
    HINTS.write_bytes(damage(whole))
    assert run() == 0
    assert len(read) == 6
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == [str(HINTS)]
    assert HINTS.read_bytes() == whole


def test_hints_that_cannot_be_written_are_noted_and_no_error(shop, read, caplog):
    before = CACHE.read_bytes()
    HINTS.unlink()
    HINTS.mkdir()
    assert run() == 0
    assert len(read) == 6
    assert "embeddings.h5.hints could not be written" in caplog.text
    assert CACHE.read_bytes() == before
    assert not Path("embeddings.h5.journal").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_hints_that_cannot_be_read_are_noted_and_written_anew(shop, read, caplog):
    HINTS.chmod(0)
    assert run() == 0
    assert len(read) == 6
    assert "embeddings.h5.hints cannot be read" in caplog.text
    read.clear()
    assert run() == 0
    assert read == []


def test_hints_are_those_of_the_last_catalogue(shop, read):
    """Files that left the catalogue do not fill the disk."""
    n_bytes = HINTS.stat().st_size
    whole = (shop / "data.csv").read_text()
    (shop / "data.csv").write_text("".join(whole.splitlines(keepends=True)[:3]))
    run()
    assert HINTS.stat().st_size == n_bytes - 4 * 48
    (shop / "data.csv").write_text(whole)
    assert run() == 0
    assert len(read) == 4


def test_run_that_finds_no_picture_leaves_the_hints_alone(shop, read):
    """A wrong --image-root is no reason to hash everything again."""
    before = HINTS.read_bytes()
    Path("empty").mkdir()
    with pytest.raises(embed.CatalogueError):
        run(image_root=Path("empty"))
    assert HINTS.read_bytes() == before


def test_hashing_that_is_stopped_keeps_what_is_hashed_and_the_old_hints(shop, read, monkeypatch):
    names = [f"images/{n}.png" for n in range(200)]
    rows = [{"id": str(n), "image": name, "text": ""} for n, name in enumerate(reversed(names))]
    write_catalogue(shop, rows, {name: image_bytes((n, 8, 8)) for n, name in enumerate(names[6:])})

    def stopped(path, *, key=None):
        if path.name == "20.png":
            raise KeyboardInterrupt
        return read_image(path, key=key)

    with monkeypatch.context() as patch:
        patch.setattr(embed.extraction.source.content_source, "read_image", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(n_workers=1)
    run()
    assert "20.png" in read
    assert not {"199.png", "100.png", "0.png", "5.png"} & set(read)


def test_hints_are_saved_while_hashing_goes_on(tmp_path, monkeypatch):
    """A kill, which runs no `finally`, loses no more than what was hashed since they were last saved."""
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    pairs = [(identity(path), hashlib.sha256(path.name.encode()).hexdigest()) for path in paths]
    with Hints(tmp_path / "hints", folder=tmp_path) as hints:
        hints.remember(pairs[:1])
        assert not (tmp_path / "hints").exists()
        monkeypatch.setattr(embed.contents.hash_cache, "SAVE_EVERY_S", 0.0)
        hints.remember(pairs[1:2])
        killed = Hints(tmp_path / "hints", folder=tmp_path)
        assert killed.find([of_file for of_file, _ in pairs]) == [pairs[0][1], pairs[1][1], ""]
        hints.remember(pairs[2:])
    after = Hints(tmp_path / "hints", folder=tmp_path)
    assert after.find([of_file for of_file, _ in pairs]) == [key for _, key in pairs]


def test_each_of_many_identities_finds_its_own_key(tmp_path):
    """Identities and keys that end in NUL, begin alike or are asked twice are found as any other."""
    pairs = [
        (hashlib.blake2b(n.to_bytes(4, "big"), digest_size=16).digest()[:14] + bytes(2), f"{n:062x}00")
        for n in range(5000)
    ]
    with Hints(tmp_path / "hints", folder=tmp_path) as hints:
        hints.remember([*pairs, *pairs[:10], (b"", "f" * 64), (b"x" * 16, "")])
    assert (tmp_path / "hints").stat().st_size == 64 + 48 * len(pairs)
    hints = Hints(tmp_path / "hints", folder=tmp_path)
    asked = [pairs[4999], (b"", ""), pairs[0], pairs[0], (b"\xff" * 16, ""), (b"\0" * 16, ""), (b"x" * 16, "")]
    assert hints.find([of_file for of_file, _ in asked]) == [key for _, key in asked]
    assert hints.find([of_file for of_file, _ in pairs]) == [key for _, key in pairs]
    assert hints.find([]) == []


def test_file_without_an_identity_is_never_found_whatever_the_hints_hold(tmp_path):
    """NumPy takes 16 NULs for an empty string, which whoever gave the file away may have written into it."""
    content = bytes(16) + bytes.fromhex("ab" * 32)
    (tmp_path / "e.h5.hints").write_bytes(MAGIC + hashlib.sha256(content).digest() + content)
    assert Hints(tmp_path / "e.h5.hints", folder=tmp_path).find([b"", b"x" * 16]) == ["", ""]


def test_source_without_a_hint_says_what_changed(tmp_path):
    """A picture that is gone when it is to be encoded is told as changed, and doubts no hint."""
    with Hints(tmp_path / "hints", folder=tmp_path) as hints:
        hints.remember([])
    source = embed.extraction.source.content_source.Source(
        "image", KeyColumn.of(["0" * 64]), ["ok"], [tmp_path / "gone.png"], ContentSpec("image", {}), hints
    )
    with pytest.raises(ContentError, match="changed"):
        source.read(0)
    assert (tmp_path / "hints").exists()


def test_a_table_replaced_while_keys_are_looked_up_gives_no_other_files_key(tmp_path, monkeypatch):
    """Threads look keys up while another puts a longer table in place, in which all rows have moved."""
    hints = Hints(tmp_path / "c.h5.hints", folder=tmp_path)
    pairs = [(bytes([n]) * 16, f"{n:02x}" * 32) for n in range(1, 200)]
    hints.remember(pairs[100:])
    hints._save(is_finished=True)

    def searchsorted(*arguments, search=np.searchsorted):
        found = search(*arguments)
        monkeypatch.undo()
        hints.remember(pairs[:100])
        hints._save(is_finished=False)
        return found

    monkeypatch.setattr(np, "searchsorted", searchsorted)
    assert hints.find([of_file for of_file, _ in pairs[100:]]) == [key for _, key in pairs[100:]]
    assert hints.find([of_file for of_file, _ in pairs]) == [key for _, key in pairs]
