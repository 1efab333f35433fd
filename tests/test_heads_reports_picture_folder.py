"""Pages find the pictures of catalogues that are folders, below the cache's folder and by their bytes alone."""

import io
import tarfile
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import CountingEncoder, image_bytes

from cache import Cache
from embed import ExtractSettings, extract
from heads.reports import folders_below, picture_folder, shard_pictures
from heads.reports.picture_folder import find_picture_folder, no_pictures_note
from heads.reports.report_settings import ReportSettings
from heads.reports.thumbnails import Thumbnails
from heads.review.review_settings import ReviewSettings
from heads.workflows.review import review_products

pytestmark = pytest.mark.slow

COLOURS = {f"{kind}/{n}.png": (40 * n, 0, 200 * (kind == "mug")) for kind in ("mug", "lamp") for n in range(5)}


@pytest.fixture
def shop(tmp_path):
    """A folder of class folders, and the cache of it beside."""
    for name, colour in COLOURS.items():
        path = tmp_path / "shop/data/photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(colour))
    cache_of(tmp_path / "shop/data/photos", tmp_path / "shop/c.h5")
    return tmp_path / "shop"


def cache_of(catalogue, cache_path):
    settings = ExtractSettings(modalities=("image",))
    extract(catalogue, cache_path, settings=settings, encoders=[CountingEncoder("image")])


def folder_of(cache_path, root=None):
    with Cache(cache_path) as cache:
        return find_picture_folder(cache, cache.column("image"), root or cache_path.parent)


def write_shard(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_class_folders_below_the_caches_folder_are_found(shop):
    assert folder_of(shop / "c.h5") == shop / "data/photos"
    assert folder_of(shop / "c.h5", shop / "data") == shop / "data/photos"
    assert folder_of(shop / "c.h5", shop / "data/photos") == shop / "data/photos"


def test_files_of_the_same_names_with_other_bytes_are_others(shop):
    for name in COLOURS:
        path = shop / "another" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes("white"))
    assert folder_of(shop / "c.h5") == shop / "data/photos"
    (shop / "mug").mkdir()
    (shop / "mug/0.png").write_bytes(image_bytes("white"))
    assert folder_of(shop / "c.h5") == shop / "data/photos"
    (shop / "data/photos").rename(shop / "data/.hidden")
    assert folder_of(shop / "c.h5") == shop


def test_folders_of_names_in_another_form_of_unicode_are_found(shop):
    photos = shop / "data/photos"
    (photos / "mug").rename(photos / unicodedata.normalize("NFD", "größe"))
    (shop / "data/table.csv").write_text("id,image\n" + "".join(f"{n},photos/größe/{n}.png\n" for n in range(5)))
    cache_of(shop / "data/table.csv", shop / "c.h5")
    assert folder_of(shop / "c.h5") == shop / "data"


@pytest.mark.parametrize("cell", ["s3://shop/{}.png", "p.arrow#{}", "../photos/mug/{}.png", "data:image/png;{}", ""])
def test_no_folder_is_listed_for_cells_that_name_no_picture_below_one(shop, monkeypatch, cell):
    monkeypatch.setattr(picture_folder, "folders_below", None)
    with Cache(shop / "c.h5") as cache:
        assert find_picture_folder(cache, [cell.format(n) for n in range(10)], shop) == shop


def test_nothing_outside_of_the_root_is_found(shop, monkeypatch):
    (shop / "data").rename(shop.parent / "data")
    assert folder_of(shop / "c.h5") == shop
    (shop / "link").symlink_to(shop.parent / "data")
    assert folder_of(shop / "c.h5") == shop
    (shop.parent / "data").rename(shop / "data")
    for bound, most in (("MOST_FOLDERS", 1), ("MOST_ENTRIES", 1), ("MOST_DEPTH", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(folders_below, bound, most)
            assert folder_of(shop / "c.h5") == shop
    assert folder_of(shop / "c.h5") == shop / "data/photos"


def test_a_review_shows_them_and_says_so_where_it_cannot(shop, caplog):
    caplog.set_level("INFO", logger="embed_once")

    def page():
        settings = ReviewSettings(label="kind", count=4)
        return review_products(shop / "c.h5", shop / "review.html", settings=settings, report=ReportSettings())

    assert page().page_path.read_text().count("data:image/jpeg") == 4
    assert "no pictures" not in caplog.text
    (shop / "data").rename(shop.parent / "elsewhere")
    (shop / "review.html").unlink()
    (shop / "review.csv").unlink(missing_ok=True)
    page()
    assert "The page shows no pictures. None of the pictures that image names was found" in caplog.text
    assert "below the folder of --image-root" in caplog.text


def test_pictures_in_shards_are_shown(shop):
    shards = shop.parent / "shards"
    pictures = {f"{n}.png": image_bytes((n, 0, 0)) for n in range(6)}
    for number in range(2):
        names = list(pictures)[3 * number :][:3]
        texts = {name.replace("png", "txt"): b"a mug" for name in names}
        write_shard(shards / f"kept/a-{number}.tar", {f"./{name}": pictures[name] for name in names} | texts)
    cache_of(shards / "kept", shards / "c.h5")
    folder = folder_of(shards / "c.h5")
    assert folder == shards / "kept"
    thumbnails = Thumbnails(folder)
    assert [thumbnails.content(f"a-{n // 3}.tar/{n}.png") for n in range(6)] == list(pictures.values())
    assert thumbnails.url("a-0.tar/1.png") == Thumbnails(shards).url("kept/a-0.tar/1.png") is not None
    for cell in ("a-0.tar/9.png", "a-0.tar", "a-2.tar/0.png", "../kept/none.tar/0.png", "a-0.tar/../a-1.tar/4.png"):
        assert thumbnails.url(cell) is None


def test_a_shard_outside_of_the_root_or_that_is_none_shows_nothing(tmp_path):
    root = tmp_path / "root"
    write_shard(tmp_path / "secret.tar", {"a.png": image_bytes("red")})
    write_shard(root / "near.tar", {"a.png": image_bytes("red")})
    (root / "link.tar").symlink_to(tmp_path / "secret.tar")
    (root / "odd.tar").write_bytes(b"no shard" * 999)
    with tarfile.open(root / "links.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("b.png")
            member.type, member.linkname = kind, str(root / "near.tar")
            tar.addfile(member)
    thumbnails = Thumbnails(root)
    assert thumbnails.url("near.tar/a.png") is not None
    for cell in (
        "../secret.tar/a.png",
        "link.tar/a.png",
        "odd.tar/a.png",
        "links.tar/b.png",
        f"{tmp_path}/secret.tar/a.png",
    ):
        assert thumbnails.url(cell) is None


def test_pictures_in_tables_are_said_to_be_there():
    assert "stand inside Arrow files" in no_pictures_note("image", ["p.arrow#3"])
    assert "behind URLs" in no_pictures_note("image", ["", "https://shop/1.jpg", "s3://shop/1.jpg"])
    assert "--image-root" in no_pictures_note("image", ["a#3.jpg", "https://shop/1.jpg"])


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("n_bytes", [2**40, 2**70, -(2**20)])
def test_a_header_that_says_it_is_huge_is_not_read(tmp_path, kind, n_bytes):
    """Such a shard, damaged or made so, may lie where pages look for pictures."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, n_bytes
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + b"x" * 2**11)
    assert Thumbnails(tmp_path).content("a.tar/x.png") is None


def test_no_more_is_read_of_a_header_than_a_bound(tmp_path, monkeypatch):
    write_shard(tmp_path / "a.tar", {"long/" * 500: b"", "x.png": image_bytes("red")})
    assert Thumbnails(tmp_path).content("a.tar/x.png") == image_bytes("red")
    monkeypatch.setattr(shard_pictures, "MOST_HEADER_BYTES", 2048)
    assert Thumbnails(tmp_path).content("a.tar/x.png") is None


def test_few_shards_are_looked_through_to_find_a_folder_and_none_waits_for_another(tmp_path, monkeypatch):
    for n in range(6):
        write_shard(tmp_path / f"kept/{n}.tar", {f"{n}.png": image_bytes((n, 0, 0))})
    cache_of(tmp_path / "kept", tmp_path / "c.h5")
    members, shards, both = shard_pictures._members, [], threading.Barrier(2, timeout=60)

    def noted(file):
        shards.append(file.name)
        return members(file)

    def waiting(file):
        both.wait()
        return members(file)

    with monkeypatch.context() as patch:
        patch.setattr(shard_pictures, "_members", noted)
        assert folder_of(tmp_path / "c.h5") == tmp_path / "kept"
    assert set(shards) == {str(tmp_path / f"kept/{n}.tar") for n in (0, 1)}
    monkeypatch.setattr(shard_pictures, "_members", waiting)
    thumbnails = Thumbnails(tmp_path / "kept")
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(thumbnails.content, ["0.tar/0.png", "1.tar/1.png"]))
