"""Tar shards as catalogues: members of one stem make a product, and nothing is unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from formats import add_member, rows_of
from support import CountingEncoder, image_bytes

from cache import Cache
from embed import CatalogueError, ContentError, ExtractSettings, extract, read_catalogue
from embed.catalogue.open_table import open_table
from embed.contents.file_ranges import FilePart

CACHE = Path("cache.h5")
IMAGES = ExtractSettings(modalities=("image",))


# --- shards


def make_shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            add_member(tar, name, content)
    return Path(path)


def test_members_of_one_stem_make_a_product(tmp_path):
    picture = image_bytes("red")
    make_shard(
        "s.tar",
        {
            "./a/1.PNG": picture, "2.txt": b"two\n", "a/1.txt": b" one ", "a/1.cls": b"7\n", "a/1.seg.png": b"no",
            "a/1.json": b'{"id": "X", "price": 1.50, "tags": [1], "brand": null}', "2.json": b'{"size": "XL"}',
            "a/1.npy": b"no", ".hidden.png": b"no", "README": b"no",
        },
    )  # fmt: skip
    table = open_table("s.tar")
    assert table.columns == ["id", "image", "text", "label", "json.id", "price", "brand", "size"]
    one, two = rows_of(table)
    assert list(one.values()) == ["a/1", "s.tar/a/1.PNG", " one ", "7", "X", "1.50", "", ""]
    assert list(two.values()) == ["2", "", "two\n", "", "", "", "", "XL"]
    assert one["image"].place.read() == picture


def test_lists_that_are_asked_for_stay_as_json(tmp_path):
    make_shard("s.tar", {"1.jpg": image_bytes("red"), "1.json": b'{"tags": ["a"], "categories": [1], "kind": "mug"}'})
    [row] = rows_of(open_table("s.tar"))
    assert row == {"id": "1", "image": "s.tar/1.jpg", "kind": "mug"}
    [row] = rows_of(open_table("s.tar", ExtractSettings(label="tags")))
    assert row["tags"] == '["a"]'


@pytest.mark.parametrize(
    ("pattern", "n_shards"),
    [("s-{000..002}.tar", 3), ("s-{000,002}.tar", 2), ("s-00?.tar", 3), ("s-*.tar", 3), (".", 3), ("s-001.tar", 1)],
)
def test_shards_are_named_by_pattern_or_folder(tmp_path, monkeypatch, pattern, n_shards):
    monkeypatch.chdir(tmp_path)
    for n in range(3):
        make_shard(f"s-{n:03}.tar", {f"{n}.txt": b"x"})
    assert len(rows_of(open_table(pattern))) == n_shards


def test_shards_below_a_folder_without_any_are_its_own(tmp_path):
    for n, folder in enumerate(("data/train", "data/test", ".git/large")):
        (tmp_path / folder).mkdir(parents=True)
        make_shard(tmp_path / folder / "s.tar", {f"{n}.txt": b"x"})
    assert sorted(row["id"] for row in rows_of(open_table(tmp_path))) == ["0", "1"]


@pytest.mark.parametrize("pattern", ["s-{000..009}.tar", "t-*.tar", "s-{0..999999999999}.tar"])
def test_a_shard_that_is_not_there_is_named(pattern):
    make_shard("s-000.tar", {"1.txt": b"x"})
    with pytest.raises(CatalogueError, match="to name files that are there, but there is no"):
        open_table(pattern)


def test_names_that_lead_elsewhere_are_names_and_nothing_is_unpacked(tmp_path, monkeypatch):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in" / "deep")
    picture = image_bytes("red")
    path = make_shard("s.tar", {"../../evil.png": picture, "/abs/evil.png": picture})
    before = sorted(tmp_path.rglob("*"))
    extract(path, CACHE, settings=IMAGES, encoders=[CountingEncoder("image")])
    assert set(tmp_path.rglob("*")) - set(before) == {Path.cwd() / CACHE, Path.cwd() / f"{CACHE}.hints"}
    with Cache(CACHE) as cache:
        assert cache.ids() == ["../../evil", "/abs/evil"]


def test_links_and_second_members_are_bad_and_told(tmp_path, caplog):
    (tmp_path / "secret.png").write_bytes(image_bytes("red"))
    with tarfile.open("s.tar", "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "1.png"), (tarfile.LNKTYPE, "2.png"), (tarfile.FIFOTYPE, "3.png")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(member)
        add_member(tar, "4.png", image_bytes("blue"))
        add_member(tar, "4.jpg", image_bytes("lime"))
        add_member(tar, "5.json", b"[1]")
    table = open_table("s.tar")
    (row,) = rows_of(table)
    assert row["image"].place.read() == image_bytes("blue")
    assert table.bad_lines.count == 5
    assert [number for number, _ in table.bad_lines.examples] == [1, 2, 3, 5, 6]
    assert [reason.partition(") ")[2] for _, reason in table.bad_lines.examples][:4] == [
        "is no regular file", "is no regular file", "is no regular file", "is the second image of 4",
    ]  # fmt: skip
    read_catalogue("s.tar", IMAGES)
    assert "5 bad members of s.tar left out: member 1 of s.tar (1.png) is no regular file" in caplog.text
    with pytest.raises(CatalogueError, match="member 1 of s.tar .*--bad-lines skip"):
        open_table("s.tar", ExtractSettings(bad_lines="error"))


def test_a_stem_in_two_shards_is_two_products_of_one_id(tmp_path):
    for n in range(2):
        make_shard(f"s-{n}.tar", {"1.png": image_bytes((n, 0, 0))})
    with pytest.raises(CatalogueError, match="each id to name one product"):
        read_catalogue("s-{0..1}.tar", IMAGES)


def test_an_empty_tar_is_a_named_error():
    make_shard("s.tar", {})
    with pytest.raises(CatalogueError, match="s.tar"):
        read_catalogue("s.tar")
    Path("s.tar").write_bytes(b"")
    with pytest.raises(CatalogueError, match="to be a whole tar file"):
        open_table("s.tar")


@pytest.mark.parametrize("n_bytes", [100, 512, 700, 1024, 1024 + 512 + 100, 3 * 1024, 3 * 1024 + 512])
def test_a_cut_tar_is_a_named_error(n_bytes):
    """Wherever it is cut, between two members too: each has a block of 512 for its name and two of data."""
    make_shard("s.tar", {f"{n}.txt": bytes(600) for n in range(3)})
    content = Path("s.tar").read_bytes()
    assert content[: 9 * 512].rstrip(b"\0") == content.rstrip(b"\0")
    Path("s.tar").write_bytes(content[:n_bytes])
    with pytest.raises(CatalogueError, match="to be a whole tar file"):
        open_table("s.tar")


def test_a_tar_damaged_in_the_middle_is_a_named_error():
    make_shard("s.tar", {f"{n}.txt": bytes(600) for n in range(3)})
    content = bytearray(Path("s.tar").read_bytes())
    content[3 * 512 + 10 : 3 * 512 + 300] = b"\xff" * 290
    Path("s.tar").write_bytes(content)
    with pytest.raises(CatalogueError, match="damaged"):
        open_table("s.tar")


def sized(name, size, kind):
    """A member's header that says it has `size` bytes, in the header itself or in a pax record before it."""
    member = tarfile.TarInfo(name)
    if kind == "pax":
        member.pax_headers = {"size": str(size)}
        return member.tobuf(tarfile.PAX_FORMAT)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("pax", size) for size in (-512, -1536, -(10**6), -(10**30), 10**30)]
    + [("gnu", size) for size in (-512, -1536, -(10**6), 2**62)],  # the last is a place that no file has
)
def test_a_member_of_negative_or_absurd_size_is_a_named_error(kind, size):
    """It would be read for ever, or have the bytes of other members."""
    Path("s.tar").write_bytes(
        sized("1.txt", 3, "gnu") + b"abc".ljust(512, b"\0") + sized("2.txt", size, kind) + bytes(1024)
    )
    with pytest.raises(CatalogueError, match="to be a whole tar file"):
        open_table("s.tar")


def test_no_bytes_are_read_of_a_part_of_negative_size():
    Path("f").write_bytes(b"secret")
    with pytest.raises(ContentError, match="unreadable"):
        FilePart(Path("f"), 0, -1).read()


@pytest.mark.parametrize("error", [ValueError("a number"), OverflowError("a number")])
def test_a_header_that_python_cannot_take_is_a_named_error(monkeypatch, error):
    make_shard("s.tar", {"1.txt": b"x"})

    def fail(_):
        raise error

    monkeypatch.setattr(tarfile.TarFile, "next", fail)
    with pytest.raises(CatalogueError, match=r"to be a whole tar file, not compressed, but s\.tar is not: a number"):
        open_table("s.tar")


def test_two_tar_files_in_one_are_a_named_error():
    """tarfile ends at the first one's end mark."""
    make_shard("a.tar", {"1.txt": b"x"})
    make_shard("b.tar", {"2.txt": b"x"})
    content = Path("a.tar").read_bytes()
    Path("padded.tar").write_bytes(content + bytes(5 * 2**20))
    assert len(rows_of(open_table("padded.tar"))) == 1
    Path("s.tar").write_bytes(content + bytes(2**20) + Path("b.tar").read_bytes())
    with pytest.raises(CatalogueError, match=r"one tar file, but s\.tar goes on behind the end mark at byte 1024"):
        open_table("s.tar")


def test_braces_that_count_downwards_are_a_named_error():
    make_shard("s-0.tar", {"1.txt": b"x"})
    with pytest.raises(CatalogueError, match=r"to count upwards, got \{1\.\.0\} in .*: write \{0\.\.1\}"):
        open_table("s-{1..0}.tar")


def test_lists_in_a_column_of_plain_values_are_empty_cells_and_told(caplog):
    objects = [b'{"size": "XL"}', b'{"size": ["S", "M"]}', b'{"size": "L", "tags": ["new"]}']
    make_shard("s.tar", {f"{n}.json": content for n, content in enumerate(objects)})
    assert [row["size"] for row in rows_of(open_table("s.tar"))] == ["XL", "", "L"]
    assert open_table("s.tar").columns == ["id", "size"]
    assert "Of column size of s.tar, lists or objects are left out, and these cells empty: 1" in caplog.text


# --- several pictures a sample, and names with dots


def make_views(*, n=4):
    members = {}
    for product in range(n):
        members[f"{product}.front.png"] = image_bytes((product, 0, 0))
        if product:
            members[f"{product}.back.PNG"] = image_bytes((product, 9, 9))
        members[f"{product}.json"] = b'{"title": "a"}'
    return make_shard("s.tar", members)


def test_the_commonest_of_several_pictures_is_taken_and_said(caplog):
    caplog.set_level("INFO")
    rows = rows_of(open_table(make_views()))
    assert [row["image"].place.read() for row in rows] == [image_bytes((n, 0, 0)) for n in range(4)]
    assert "several pictures a sample (4 .front.png, 3 .back.png): .front.png is taken (--image-column" in caplog.text


def test_the_image_column_chooses_a_picture_and_samples_without_it_stay_and_are_counted(caplog):
    settings = ExtractSettings(image_column="back.png", modalities=("image",))
    catalogue = read_catalogue(make_views(), settings)
    assert catalogue.ids == ["0", "1", "2", "3"]
    assert catalogue.cells("image")[0] == ""
    assert catalogue.cells("image")[1].place.read() == image_bytes((1, 9, 9))
    assert "1 of 4 samples of s.tar have no back.png: they stay, without a picture." in caplog.text
    report = extract("s.tar", CACHE, settings=settings, encoders=[CountingEncoder("image")])
    assert report.statuses["image"] == {"absent": 1, "ok": 3}


def test_a_sample_of_other_pictures_alone_is_not_lost(caplog):
    make_shard("s.tar", {"1.front.png": image_bytes("red"), "2.front.png": image_bytes("red"), "3.back.png": b"x"})
    assert [(row["id"], bool(row["image"])) for row in rows_of(open_table("s.tar"))] == [
        ("1", True), ("2", True), ("3", False),
    ]  # fmt: skip
    assert "1 of 3 samples of s.tar have no front.png" in caplog.text


def test_one_of_two_plain_pictures_can_be_chosen():
    make_shard("s.tar", {"1.jpg": image_bytes("red"), "1.png": image_bytes("blue")})
    catalogue = read_catalogue("s.tar", ExtractSettings(image_column="png", modalities=("image",)))
    assert catalogue.cells("image")[0].place.read() == image_bytes("blue")
    assert catalogue.columns["image"][0].place.read() == image_bytes("red")


def test_a_plain_picture_goes_before_others_which_are_named(caplog):
    caplog.set_level("INFO")
    make_shard("s.tar", {"1.jpg": image_bytes("red"), "1.seg.png": image_bytes("blue")})
    assert rows_of(open_table("s.tar"))[0]["image"] == "s.tar/1.jpg"
    assert "left out: 1 .seg.png. --image-column seg.png takes its pictures." in caplog.text


def test_names_with_dots_are_whole(caplog):
    caplog.set_level("INFO")
    members = {}
    for n in range(12):
        members[f"shirt.v1.{n}.jpg"] = image_bytes((n, 0, 0))
        members[f"shirt.v1.{n}.txt"] = f"shirt {n}".encode()
    rows = rows_of(open_table(make_shard("s.tar", members)))
    assert [row["id"] for row in rows] == [f"shirt.v1.{n}" for n in range(12)]
    assert rows[7]["text"] == "shirt 7"
    assert rows[7]["image"].place.read() == image_bytes((7, 0, 0))
    assert "names have dots, so that a sample's name ends at the last one" in caplog.text
