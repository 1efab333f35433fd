"""Files from elsewhere: each that is not a whole, harmless cache is refused by name, before any of it is used."""

import itertools
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from altered import changed, combined, drop, group, put, read_all
from support import ROOT, invoke, synthetic_cache

from cache import (
    Cache,
    CacheError,
    ContentSpec,
    DamagedCacheError,
    Inventory,
    Journal,
    NotACacheError,
    UnknownVersionError,
    UnreadableError,
    UnsafeFileError,
    verify,
)
from cache.commands.info import info as cache_info
from cache.commands.verify import verify as cache_verify
from cache.format.layout import CACHE_FORMAT, FORMAT_VERSION, PART_FORMAT, open_checked
from cache.format.writer import content_sha256

pytestmark = pytest.mark.slow

HERE = Path(__file__)


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """A cache with nothing wrong in it: four products, one without a picture, two that share a text."""
    return synthetic_cache(
        tmp_path_factory.mktemp("sound") / "c.h5",
        {"image": np.arange(12).reshape(4, 3), "text": np.arange(8).reshape(4, 2)},
        {"label": ["a", "b", "a", "b"], "note": ["", "NA", "é", "x"]},
        present={"image": np.array([True, True, False, True])},
        contents={"text": ["same", "other", "same", "third"]},
    )


@pytest.fixture
def path(sound, tmp_path):
    return Path(shutil.copy(sound, tmp_path / "c.h5"))


def take_inventory(path):
    """Look for what there is already, as an extraction does."""
    with Journal(path) as journal:
        Inventory(path, journal)


def ends_well(path, command):
    """Whether the command ends as commands do: no traceback, and one line on stderr if it fails."""
    result = invoke(command, path)
    return result.exit_code in (0, 1) and result.stderr.count("\n") <= 1 and "Traceback" not in result.output


def is_reported(path):
    """Whether `cache-verify` says what is wrong, which is all that `verify` returns, and ends as commands do."""
    result = invoke(cache_verify, path)
    return result.exit_code == 1 and result.stdout.strip() and not result.stderr and "Traceback" not in result.output


def test_sound_cache_is_opened_and_all_of_it_can_be_read(sound):
    read_all(sound)
    assert verify(sound) == []
    with open_checked(sound) as file:
        assert file.mode == "r"


# Storage that is not in the file, or not what the format has.


@pytest.fixture
def canary(tmp_path):
    """A file that nothing may read or write."""
    path = tmp_path / "canary.bin"
    path.write_bytes(b"canary " * 1000)
    os.utime(path, ns=(0, 10**18))
    yield path
    assert path.stat().st_atime_ns == 0
    assert path.stat().st_mtime_ns == 10**18
    assert path.read_bytes() == b"canary " * 1000


def external_storage(file, canary):
    file["image"].create_dataset("other", shape=(7000,), dtype="u1", external=[(str(canary), 0, 7000)])


def external_link_to_a_file(file, canary):
    file["image/other"] = h5py.ExternalLink(canary, "/anything")


def external_link_to_itself(file, canary):
    file["image/other"] = h5py.ExternalLink(file.filename, "/text")


def soft_link(file, canary):
    file["image/other"] = h5py.SoftLink("/text/synthetic")


def soft_link_in_place_of_a_dataset(file, canary):
    del file["image/synthetic/vector"]
    file["image/synthetic/vector"] = h5py.SoftLink("/text/synthetic/vector")


def virtual_dataset(file, canary):
    layout = h5py.VirtualLayout(shape=(100,), dtype="u1")
    layout[:] = h5py.VirtualSource(canary, "anything", shape=(100,))
    file["image"].create_virtual_dataset("other", layout)


def virtual_dataset_over_itself(file, canary):
    layout = h5py.VirtualLayout(shape=(3,), dtype="S64")
    layout[:] = h5py.VirtualSource(file["image/key"])
    del file["image/key"]
    file.create_virtual_dataset("image/key", layout)


def variable_length_text(file, canary):
    file["image"].create_dataset("other", data=["a", "bc"], dtype=h5py.string_dtype())


def variable_length_numbers(file, canary):
    dataset = file["image"].create_dataset("other", shape=(1,), dtype=h5py.vlen_dtype(np.float32))
    dataset[0] = np.arange(3)


def gzip(file, canary):
    file["image"].create_dataset("other", data=np.zeros(10_000), compression="gzip")


def shuffle(file, canary):
    file["image"].create_dataset("other", data=np.zeros(10_000), shuffle=True, fletcher32=True)


def object_references(file, canary):
    file["image"].create_dataset("other", data=[file["text"].ref], dtype=h5py.ref_dtype)


def region_references(file, canary):
    file["image"].create_dataset("other", data=[file["text/key"].regionref[:2]], dtype=h5py.regionref_dtype)


def compound(file, canary):
    file["image"].create_dataset("other", data=np.zeros(3, [("a", "i4"), ("b", "f8")]))


def opaque(file, canary):
    file["image"].create_dataset("other", data=np.zeros(3, "V8"))


def arrays_as_cells(file, canary):
    file["image"].create_dataset("other", shape=(3,), dtype=np.dtype((np.float32, (2,))))


def complex_numbers(file, canary):
    file["image"].create_dataset("other", data=np.zeros(3, complex))


def type_in_place_of_a_dataset(file, canary):
    file["image/other"] = np.dtype("f8")


def terabytes(file, canary):
    del file["image/synthetic/vector"]
    file.create_dataset("image/synthetic/vector", shape=(2**40, 3), dtype="f4", chunks=(1024, 3), fletcher32=True)


def more_than_64_bits_can_count(file, canary):
    file.create_dataset("image/other", shape=(2**40, 2**40), dtype="f4", chunks=(1024, 1024))


def deep_nest(file, canary):
    file.create_group("image" + "/deeper" * 200)


def group_that_holds_itself(file, canary):
    file["image/self"] = file["image"]


def group_that_holds_the_root(file, canary):
    file["image/synthetic/root"] = file["/"]


def groups_that_hold_each_other(file, canary):
    file["image/other"] = file["text"]
    file["text/other"] = file["image"]


UNSAFE = [
    external_storage,
    external_link_to_a_file,
    external_link_to_itself,
    soft_link,
    soft_link_in_place_of_a_dataset,
    virtual_dataset,
    virtual_dataset_over_itself,
    variable_length_text,
    variable_length_numbers,
    gzip,
    shuffle,
    object_references,
    region_references,
    compound,
    opaque,
    arrays_as_cells,
    complex_numbers,
    type_in_place_of_a_dataset,
    terabytes,
    more_than_64_bits_can_count,
    deep_nest,
    group_that_holds_itself,
    group_that_holds_the_root,
    groups_that_hold_each_other,
]


@pytest.mark.parametrize("make", UNSAFE, ids=lambda make: make.__name__)
def test_unsafe_file_is_refused_and_nothing_beside_it_is_touched(path, canary, make):
    changed(path, lambda file: make(file, canary))
    before = path.read_bytes()
    with pytest.raises(UnsafeFileError, match=r"not safe to read.*Do not use it"):
        open_checked(path)
    assert "not safe to read" in " ".join(verify(path))
    assert ends_well(path, cache_info)
    assert ends_well(path, cache_verify)
    assert path.read_bytes() == before


@pytest.mark.parametrize("make", [external_storage, virtual_dataset, virtual_dataset_over_itself])
def test_data_of_another_file_is_named_as_such(path, canary, make):
    changed(path, lambda file: make(file, canary))
    with pytest.raises(UnsafeFileError, match="takes its data from another file"):
        open_checked(path)


# Files that are no cache, or no longer one.


def other_format(file):
    file.attrs["format"] = np.bytes_("somebody's format")


def no_format(file):
    del file.attrs["format"]


def no_attributes(file):
    for name in list(file.attrs):
        del file.attrs[name]


def part_format(file):
    file.attrs["format"] = np.bytes_(PART_FORMAT)


def newer_version(file):
    file.attrs["format_version"] = FORMAT_VERSION + 1


def older_version(file):
    file.attrs["format_version"] = 0


def no_version(file):
    del file.attrs["format_version"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (other_format, NotACacheError),
        (no_format, NotACacheError),
        (no_attributes, NotACacheError),
        (part_format, NotACacheError),
        (newer_version, UnknownVersionError),
        (older_version, UnknownVersionError),
        (no_version, (NotACacheError, UnknownVersionError)),
    ],
)
def test_file_of_another_format_or_version_is_refused(path, change, error):
    with pytest.raises(error, match=str(path)):
        open_checked(changed(path, change))


def test_newer_version_is_named_with_the_way_out(path):
    with pytest.raises(UnknownVersionError, match=rf"version {FORMAT_VERSION}, got {FORMAT_VERSION + 1}. Update"):
        open_checked(changed(path, newer_version))


@pytest.mark.parametrize("content", [b"", b"id,text\n1,a\n", b"\x89HDF", b"\x89HDF\r\n\x1a", b"\0" * 5000], ids=repr)
def test_file_that_is_not_hdf5_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(NotACacheError, match="to be an HDF5 file"):
        open_checked(path)
    assert ends_well(path, cache_info)


@pytest.mark.parametrize("n_left", [8, 9, 48, 96, 500, 0.25, 0.5, 0.75, 0.99, -100, -1])
def test_truncated_file_is_damaged(path, n_left):
    """Bytes left, a share of them, or bytes cut off."""
    size = path.stat().st_size
    os.truncate(path, int(n_left * size) if isinstance(n_left, float) else n_left % size)
    with pytest.raises(DamagedCacheError, match=r"is damaged.*embed-extract again"):
        open_checked(path)
    assert verify(path) != []


def test_folder_and_missing_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a cache, but .* is a folder"):
        open_checked(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"not there\. Make one with embed-extract"):
        open_checked(tmp_path / "none.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(path):
    path.chmod(0)
    with pytest.raises(UnreadableError, match=rf"{path}: Permission denied"):
        open_checked(path)


@pytest.mark.parametrize("name", ["format", "format_version", "content_sha256"])
@pytest.mark.parametrize(
    "value",
    [
        5.5,
        np.nan,
        np.arange(3),
        np.array([], dtype="S3"),
        h5py.Empty("S4"),
        h5py.Empty("i4"),
        np.zeros(1, [("a", "i4")]),
        np.array(["a", "b"], dtype=h5py.string_dtype()),
        np.array(b"\xff\xfe"),
        np.void(b"\0\1"),
        "reference",
        None,
    ],
    ids=str,
)
def test_attribute_of_an_odd_type_is_a_named_error(path, name, value):
    def change(file):
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = file["image"].ref if isinstance(value, str) else value

    changed(path, change)
    assert is_reported(path)
    assert ends_well(path, cache_info)
    if name != "content_sha256":
        with pytest.raises(CacheError):
            Cache(path)


# Files of the right format whose tables do not fit each other. None is a reason for a traceback.


INCOHERENT = {
    "digests missing": drop("digests"),
    "digests no JSON": put("digests", np.bytes_(b"{")),
    "digests a list": put("digests", np.bytes_(b"[1]")),
    "digests a number": put("digests", 3),
    "digests an array": put("digests", np.zeros(3)),
    "digests nested without end": put("digests", np.bytes_(b"[" * 50_000)),
    "digests a group": group("digests"),
    "image an array": put("image", np.zeros(3)),
    "image a number": put("image", 3),
    "image empty": group("image"),
    "encoder an array": put("image/synthetic", np.zeros(3)),
    "encoder empty": group("image/synthetic"),
    "catalogue missing": drop("catalogue"),
    "catalogue an array": put("catalogue", np.zeros(3)),
    "id missing": drop("catalogue/id"),
    "id an array": put("catalogue/id", np.zeros(3)),
    "columns missing": drop("catalogue/columns"),
    "column missing": drop("catalogue/column/label"),
    "every column missing": drop("catalogue/column"),
    "column too many": combined(
        put("catalogue/columns/offset", np.array([0, 5, 9, 10])),
        put("catalogue/columns/utf8", np.frombuffer(b"labelnotex", np.uint8)),
    ),
    "row missing": drop("catalogue/image/row"),
    "product status missing": drop("catalogue/image/status"),
    "key missing": drop("image/key"),
    "content status missing": drop("image/status"),
    "vector missing": drop("image/synthetic/vector"),
    "vector a group": group("image/synthetic/vector"),
    "vector a number": put("image/synthetic/vector", np.float32(1)),
    "vector a row": put("image/synthetic/vector", np.zeros(3, "f4")),
    "vector too short": put("image/synthetic/vector", np.zeros((2, 3), "f4")),
    "vector of bytes": put("image/synthetic/vector", np.zeros((3, 3), "S4")),
    "vector without space": put("image/synthetic/vector", h5py.Empty("f4")),
    "encoded missing": drop("image/synthetic/encoded"),
    "encoded too short": put("image/synthetic/encoded", np.ones(2, bool)),
    "encoded numbers": put("image/synthetic/encoded", np.arange(3)),
    "encoded bytes": put("image/synthetic/encoded", np.array([b"x"] * 3)),
    "spec missing": drop("image/synthetic/spec"),
    "spec a list": put("image/synthetic/spec", np.bytes_(b"[]")),
    "spec a number": put("image/synthetic/spec", np.bytes_(b"5")),
    "spec no JSON": put("image/synthetic/spec", np.bytes_(b"\xff\xfe")),
    "spec without modality": put("image/synthetic/spec", np.bytes_(b"{}")),
    "spec of an odd modality": put("image/synthetic/spec", np.bytes_(b'{"modality": [1]}')),
    "spec without space": put("image/synthetic/spec", h5py.Empty("S3")),
    "row too large": put("catalogue/image/row", np.array([0, 1, -1, 3])),
    "row too small": put("catalogue/image/row", np.array([0, 1, -2, 2])),
    "row of floats": put("catalogue/image/row", np.array([0, 1, -1, 2.5])),
    "row of bytes": put("catalogue/image/row", np.array([b"0"] * 4)),
    "row a table": put("catalogue/image/row", np.zeros((4, 2), "i8")),
    "row a number": put("catalogue/image/row", 1),
    "row too short": put("catalogue/image/row", np.zeros(3, "i8")),
    "product status not ASCII": put("catalogue/image/status", np.array([b"\xff"] * 4, "S16")),
    "product status too short": put("catalogue/image/status", np.array([b"ok"] * 3, "S16")),
    "product status numbers": put("catalogue/image/status", np.zeros(4, "i8")),
    "content status too short": put("image/status", np.array([b"ok"], "S16")),
    "key a number": put("image/key", np.bytes_(b"x")),
    "key too short": put("image/key", np.array([b"x"] * 2, "S64")),
    "key not ASCII": put("image/key", np.array([b"\xff", b"\xfe", b"\xfd"], "S64")),
    "offsets out of order": put("catalogue/id/offset", np.array([0, 10, 5, 15, 20])),
    "offsets beyond the text": put("catalogue/id/offset", np.array([0, 5, 10, 15, 25])),
    "offsets that begin late": put("catalogue/id/offset", np.array([5, 5, 10, 15, 20])),
    "offsets none": put("catalogue/id/offset", np.zeros(0, "i8")),
    "offsets a number": put("catalogue/id/offset", 0),
    "offsets of floats": put("catalogue/id/offset", np.arange(0, 25, 5.0)),
    "offsets of bytes": put("catalogue/id/offset", np.array([b"0", b"20"])),
    "offsets a table": put("catalogue/id/offset", np.zeros((2, 2), "i8")),
    "text of numbers": put("catalogue/id/utf8", np.zeros(20, "i4")),
    "fewer ids than products": combined(
        put("catalogue/id/offset", np.array([0, 5])), put("catalogue/id/utf8", np.zeros(5, "u1"))
    ),
    "column out of order": put("catalogue/column/label/offset", np.array([0, 2, 1, 3, 4])),
    "unknown group": group("unknown"),
    "unknown array": put("unknown", np.zeros(3)),
    "unknown encoder": group("image/unknown"),
    "unknown array in the catalogue": put("catalogue/unknown", np.zeros(3)),
}
BAD_DIGESTS = {name for name in INCOHERENT if name.startswith("digests")}
READABLE = {name for name in INCOHERENT if name.startswith("unknown") or name.endswith("ASCII")}  # with a shrug

UNTOLD = {name for name in INCOHERENT if name.endswith(("space", "ASCII"))}  # no digest exists, or only bytes are odd


@pytest.mark.parametrize("name", INCOHERENT)
def test_incoherent_tables_are_reported_and_never_a_reason_for_a_traceback(path, name):
    changed(path, INCOHERENT[name])
    assert is_reported(path)
    assert ends_well(path, cache_info)
    with suppress(CacheError):
        take_inventory(path)
    with suppress(CacheError) if name in READABLE else pytest.raises(CacheError):  # the others cannot be used
        read_all(path)


@pytest.mark.parametrize("name", sorted(INCOHERENT.keys() - BAD_DIGESTS - UNTOLD))
def test_verify_finds_incoherent_tables_even_where_the_digests_fit(path, name):
    changed(path, INCOHERENT[name], digests_fit=True)
    assert is_reported(path)


@pytest.mark.parametrize("name", ["row too large", "row too small", "offsets out of order", "offsets beyond the text"])
def test_reference_that_leads_nowhere_is_damage(path, name):
    with pytest.raises(DamagedCacheError, match="is damaged"):
        read_all(changed(path, INCOHERENT[name], digests_fit=True))


# Files that would keep HDF5 or us busy for ever, or fill the memory: opened in a process of its own, which the system
# stops when it has computed for long.


def heap_without_end(path):
    """A string attribute of variable length, with a free piece of no bytes in the heap that holds it."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = CACHE_FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["content_sha256"] = "0" * 64
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL")
    free = start + 16  # behind signature, version and size; each object has a header of 16 bytes
    while struct.unpack_from("<H", content, free)[0]:
        size = struct.unpack_from("<Q", content, free + 8)[0]
        free += 16 + (size + 7) // 8 * 8
    struct.pack_into("<Q", content, free + 8, 0)
    path.write_bytes(content)


def web_of_groups(path):
    """Four layers of groups, each with 200 names for each of the next: 1.6 billion ways through a few kilobytes."""
    with h5py.File(path, "r+") as file:
        layers = [file.create_group("image/web"), *(file.create_group(f"image/layer{n}") for n in range(3))]
        for (above, below), n in itertools.product(itertools.pairwise(layers), range(200)):
            above[str(n)] = below
        for n in range(3):
            del file[f"image/layer{n}"]
        for n in range(200):
            file[str(n)] = layers[0]


def sparse_terabytes(path):
    with h5py.File(path, "r+") as file:
        terabytes(file, None)


@pytest.mark.slow
@pytest.mark.parametrize("make", [heap_without_end, web_of_groups, sparse_terabytes], ids=lambda make: make.__name__)
def test_bomb_is_refused_in_moderate_time_and_memory(path, make):
    make(path)
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE.parent)])}
    process = subprocess.run(
        [sys.executable, HERE, path], env={**os.environ, **paths}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, f"it was stopped: {process.stderr[-500:]}"
    error, n_bytes = process.stdout.split()
    assert error in ("UnsafeFileError", "DamagedCacheError", "NotACacheError")
    assert int(n_bytes) < 100 * 2**20


def main(path):
    """Open the file with twenty seconds of computing at most; print the error's name and the bytes that it took."""
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    kib_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        open_checked(path).close()
        name = "none"
    except CacheError as error:
        name = type(error).__name__
    n_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kib_before) * 1024
    sys.stdout.write(f"{name} {n_bytes}")


if __name__ == "__main__":
    main(sys.argv[1])


# More claimed than stored.


def in_the_oldest_layout(path, change):
    """Copy a cache into HDF5's oldest layout, whose index has no checksums, with a change; return the copy's path."""
    copy_path = path.with_name("other.h5")
    with h5py.File(path) as file, h5py.File(copy_path, "w", libver=("earliest", "v108")) as copy:
        copy.attrs.update(file.attrs)
        file.visititems(lambda name, item: put(name, item[()])(copy) if isinstance(item, h5py.Dataset) else None)
        change(copy)
    return copy_path


def sharing_blocks(path):
    """Make all rows of the pictures' vectors one block of the file, 64 times in the index, and cut off the others."""
    offsets = []

    def change(shared):
        put("image/key", np.array([b"%064d" % n for n in range(64)]))(shared)
        put("image/status", np.full(64, b"ok", dtype="S16"))(shared)
        put("image/synthetic/encoded", np.ones(64, dtype=bool))(shared)
        del shared["image/synthetic/vector"]
        shared.create_dataset("image/synthetic/vector", (64, 4096), "f4", chunks=(1, 4096))
        shared.flush()
        vectors = shared["image/synthetic/vector"]
        for n in range(64):
            vectors[n] = n
        offsets.extend(vectors.id.get_chunk_info(n).byte_offset for n in range(64))

    content = in_the_oldest_layout(path, change).read_bytes()
    end = min(offsets) + 4 * 4096
    assert sorted(offsets) == [min(offsets) + n * 4 * 4096 for n in range(64)]
    assert len(content) == end + 63 * 4 * 4096
    for offset in offsets:
        content = content.replace(struct.pack("<Q", offset), struct.pack("<Q", min(offsets)))
    path.write_bytes(content[:40] + struct.pack("<Q", end) + content[48:end])  # where the superblock has the end
    with h5py.File(path) as file:
        assert (file["image/synthetic/vector"][[0, 63]] == 0).all()  # HDF5 has no objection


def test_chunks_that_share_a_block_are_refused(path):
    """Each table alone looks whole, and all of them together are larger than the file."""
    sharing_blocks(path)
    with pytest.raises(UnsafeFileError, match="its datasets claim 10.* bytes together, and it has"):
        Cache(path)
    assert ends_well(path, cache_verify)


@pytest.mark.parametrize("dim", [1, 10**8, 2**60])
def test_dimensions_of_no_contents_are_refused(path, dim):
    def change(file):
        for name, kind, shape in (("key", "S64", (0,)), ("status", "S16", (0,)), ("synthetic/encoded", "?", (0,))):
            del file[f"image/{name}"]
            file.create_dataset(f"image/{name}", shape, kind)
        del file["image/synthetic/vector"]
        file.create_dataset("image/synthetic/vector", (0, dim), "f4")
        file["catalogue/image/row"][:] = -1

    changed(path, change, digests_fit=True)
    with pytest.raises(DamagedCacheError, match=f"image/synthetic/vector has {dim} dimensions of no rows"):
        Cache(path)
    assert verify(path)


def test_filters_are_known_by_their_number_whatever_name_they_have(path):
    def change(file):
        del file["catalogue/image/row"]
        file.create_dataset("catalogue/image/row", data=np.arange(4), chunks=(4,), scaleoffset=0)

    copy_path = in_the_oldest_layout(path, change)
    content = copy_path.read_bytes()
    assert content.count(b"scaleoffset\0") == 1
    copy_path.write_bytes(content.replace(b"scaleoffset\0", b"fletcher32\0\0"))
    with pytest.raises(UnsafeFileError, match="is filtered by HDF5's 6"):
        Cache(copy_path)


# What is read is checked: checksums are of chunks alone, and a spec has none.


@pytest.mark.parametrize("name", ["image/synthetic/spec", "catalogue/text/spec", "digests"])
def test_a_flip_in_what_has_no_checksum_is_found_when_it_is_read(tmp_path, name):
    made_of = {"text": ContentSpec("text", {"columns": ["label"]})}
    vectors = {"image": np.zeros((2, 3)), "text": np.zeros((2, 3))}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": ["a", "b"]}, made_of=made_of)
    with h5py.File(path) as file:
        offset, text = file[name].id.get_offset(), bytes(file[name][()])
    content = bytearray(path.read_bytes())
    content[offset + text.index(b"synthetic" if b"synthetic" in text else b"label") + 2] ^= 1
    path.write_bytes(content)
    with Cache(path) as cache, pytest.raises(DamagedCacheError, match="does not match"):  # noqa: PT012 - any of them
        cache.spec("image", "synthetic")
        cache.content_spec("text")
    assert verify(path)


def test_a_digest_that_is_empty_matches_nothing(path):
    """Whoever changes a file can write any digests: an empty one was taken for one that is checked already."""

    def blank(file):
        digests = json.loads(bytes(file["digests"][()])) | {"image/synthetic/spec": ""}
        put("digests", np.bytes_(json.dumps(digests, sort_keys=True, indent=1).encode()))(file)
        file.attrs["content_sha256"] = np.bytes_(content_sha256(digests))

    with Cache(changed(path, blank)) as cache, pytest.raises(DamagedCacheError, match="does not match its digest"):
        cache.spec("image", "synthetic")


def test_a_large_table_is_left_to_the_checksums_of_its_chunks(path, monkeypatch):
    monkeypatch.setattr("cache.format.checked_tables.MOST_HASHED_BYTES", 0)
    monkeypatch.setattr(
        "cache.format.checked_tables.array_digest", lambda array: pytest.fail("hashed") if array.ndim else ""
    )
    with Cache(path) as cache:
        assert cache.matrix("image").shape == (4, 3)


def test_what_was_read_once_is_not_hashed_again(path, monkeypatch):
    with Cache(path) as cache:
        cache.ids()
        monkeypatch.setattr("cache.format.checked_tables.array_digest", lambda _: pytest.fail("hashed"))
        assert len(cache.ids()) == 4


@pytest.mark.parametrize(
    "change",
    [
        put("catalogue/image/status", np.array([b"ok", b"\xff", b"ok", b"ok"], "S16")),
        put("image/status", np.array([b"ok", b"\xff", b"ok"], "S16")),
        put("catalogue/image/spec", np.bytes_(b'{"modality": "image", "columns": 3}')),
        put("catalogue/image/spec", np.bytes_(b'{"modality": "image", "columns": [3]}')),
        lambda file: file.move("image/synthetic", "image/a\x1b[2Jb"),
        lambda file: file.move("image", "im age"),
        put("catalogue/columns/utf8", np.frombuffer(b"labelmore", np.uint8)),
    ],
)
def test_what_cannot_be_read_is_not_said_to_be_intact(path, change):
    """All digests are right."""
    changed(path, change, digests_fit=True)
    assert verify(path)
    assert ends_well(path, cache_info)
