"""Pictures and catalogues in a bucket, against a real S3 server: keys, hints, statuses, and what goes wrong."""

import csv
import json

import pytest
from bucket_server import BUCKET
from support import CountingEncoder, image_bytes, invoke, small_catalogue, write_catalogue

import embed.contents.objects
from cache import Cache
from cache.cloud.addresses import StoragePath, address_of
from cache.cloud.buckets import ConflictError, open_bucket
from cache.errors import CloudError
from embed import ExtractSettings, extract
from embed.catalogue.catalogue import read_catalogue
from embed.catalogue.table import folder_of
from embed.commands.extract import extract as extract_command
from embed.contents.images import locate
from embed.errors import CatalogueError, ContentError, SettingError
from embed.inspection.picture_profile import profile_pictures

pytestmark = pytest.mark.slow

IMAGES = {f"images/{n}.png": image_bytes((n, 7, 9)) for n in range(6)}


@pytest.fixture
def folder(proxy, bucket_url, tmp_path):
    """The URL of a folder with six pictures."""
    url = f"{bucket_url}/{tmp_path.name}"
    for name, content in IMAGES.items():
        upload(f"{url}/{name}", content)
    return url


def upload(url, content):
    address = address_of(url)
    bucket = open_bucket(address)
    try:
        bucket.put(address.key, content)
    except ConflictError:
        bucket.delete([address.key])
        bucket.put(address.key, content)


def run(catalogue, cache_path, **settings):
    encoder = CountingEncoder("image")
    report = extract(
        catalogue, cache_path, encoders=[encoder], settings=ExtractSettings(modalities=("image",), **settings)
    )
    return encoder.n_encoded, report.statuses["image"]


def bodies(proxy):
    """The requests for pictures' bytes since the last call."""
    paths = [path for method, path in proxy.requests if method == "GET" and path.endswith(".png")]
    proxy.requests.clear()
    return paths


def keys_of(path):
    with Cache(path) as cache:
        return cache.keys("image").tolist()


@pytest.fixture
def shop(tmp_path):
    return small_catalogue(tmp_path / "shop")


def test_pictures_in_a_bucket_have_the_keys_of_files(folder, shop, tmp_path, proxy):
    run(shop, tmp_path / "files.h5")
    urls = write_catalogue(tmp_path / "urls", [{"id": f"{n}", "image": f"{folder}/images/{n}.png"} for n in range(6)])
    assert run(shop, tmp_path / "root.h5", image_root=StoragePath(folder)) == (6, {"ok": 6})
    assert len(bodies(proxy)) == 6  # read once, to be hashed and to be decoded
    assert run(urls, tmp_path / "urls.h5") == (6, {"ok": 6})
    assert keys_of(tmp_path / "files.h5") == keys_of(tmp_path / "root.h5") == keys_of(tmp_path / "urls.h5")


def test_an_unchanged_run_reads_no_picture_and_asks_for_a_listing_alone(folder, shop, tmp_path, proxy):
    settings = {"image_root": StoragePath(folder)}
    run(shop, tmp_path / "e.h5", **settings)
    proxy.requests.clear()
    assert run(shop, tmp_path / "e.h5", **settings) == (0, {"ok": 6})
    methods = [method for method, _ in proxy.requests]
    assert methods == ["HEAD", "GET"]  # whether the bucket answers, and the listing
    assert not bodies(proxy)
    upload(f"{folder}/images/3.png", image_bytes("red"))
    upload(f"{folder}/images/4.png", IMAGES["images/4.png"])  # the same bytes once more
    proxy.requests.clear()
    assert run(shop, tmp_path / "e.h5", **settings) == (1, {"ok": 6})
    rewritten = ["4.png"] if folder.startswith("az:") else []  # whose tags tell that an object was written, not what
    assert sorted(path[-5:] for path in bodies(proxy)) == ["3.png", *rewritten]
    assert run(shop, tmp_path / "e.h5", rehash=True, **settings) == (0, {"ok": 6})
    assert len(bodies(proxy)) == 6


def test_another_machine_reads_no_picture_that_the_first_one_did(folder, shop, tmp_path, proxy, monkeypatch):
    settings = {"image_root": StoragePath(folder)}
    run(shop, f"{folder}/e.h5", **settings)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    proxy.requests.clear()
    assert run(shop, f"{folder}/e.h5", **settings) == (0, {"ok": 6})
    assert not bodies(proxy)


def test_without_a_listing_each_is_asked_for(folder, shop, tmp_path, proxy):
    settings = {"image_root": StoragePath(folder)}
    run(shop, tmp_path / "e.h5", **settings)
    proxy.requests.clear()
    proxy.fault = lambda _, path: "500" if "list" in path.partition("?")[2] else None
    assert run(shop, tmp_path / "e.h5", **settings) == (0, {"ok": 6})
    assert sum(method == "HEAD" for method, _ in proxy.requests) == 7
    assert not bodies(proxy)


def test_a_picture_is_read_twice_where_memory_does_not_permit_to_keep_it(folder, shop, tmp_path, proxy, monkeypatch):
    monkeypatch.setattr(embed.contents.objects, "MOST_HELD_BYTES", 2 * len(IMAGES["images/0.png"]))
    assert run(shop, tmp_path / "e.h5", image_root=StoragePath(folder)) == (6, {"ok": 6})
    assert len(bodies(proxy)) > 6
    run(shop, tmp_path / "files.h5")
    assert keys_of(tmp_path / "files.h5") == keys_of(tmp_path / "e.h5")


def test_pictures_that_are_not_there_are_missing(folder, tmp_path):
    cells = ["images/0.png", "images/none.png", "images", "", "https://x.org/a.png", f"s3://me:word@{BUCKET}/a.png"]
    cells += [f"{folder}//images/0.png", "stray \udcff.png"]
    catalogue = write_catalogue(tmp_path / "shop", [{"id": f"{n}", "image": cell} for n, cell in enumerate(cells)])
    _, statuses = run(catalogue, tmp_path / "e.h5", image_root=StoragePath(folder))
    assert statuses == {"ok": 1, "missing": 4, "absent": 1, "url": 2}
    with pytest.raises(CatalogueError, match="not one|none of the 1"):
        run(write_catalogue(tmp_path / "b", [{"image": "gone.png"}]), tmp_path / "b.h5", image_root=StoragePath(folder))


@pytest.mark.parametrize(
    ("cell", "root", "key"),
    [
        ("a b/ü#%?.jpg", "s3://b", "a b/ü#%?.jpg"),
        ("../x.jpg", "s3://b/shop", None),
        ("d/../x.jpg", "s3://b/shop", "shop/x.jpg"),
        ("/shop/x.jpg", "s3://b/shop", None),
        ("s3://b/shop/x.jpg", "s3://b/shop", "shop/x.jpg"),
        ("s3://b/shopper/x.jpg", "s3://b/shop", None),
        ("s3://c/x.jpg", "s3://b/shop", None),
        ("s3://c/x.jpg", "/folder", "x.jpg"),
    ],
)
def test_a_root_in_a_bucket_is_a_bound(cell, root, key, tmp_path):
    if key is None:
        with pytest.raises(ContentError, match="outside"):
            locate(cell, StoragePath(root), allow_outside=False)
    else:
        assert locate(cell, StoragePath(root), allow_outside=False).address.key == key


def test_keys_of_any_letters_are_read(folder, tmp_path):
    upload(f"{folder}/a b/ü#%20?&+.png", image_bytes("red"))
    catalogue = write_catalogue(tmp_path / "shop", [{"image": "a b/ü#%20?&+.png"}, {"image": "images/0.png"}])
    assert run(catalogue, tmp_path / "e.h5", image_root=StoragePath(folder)) == (2, {"ok": 2})


@pytest.mark.parametrize("fault", ["503", "half"])
def test_a_picture_that_cannot_be_had_for_now_is_unreadable_and_tried_again(folder, shop, tmp_path, proxy, fault):
    settings = {"image_root": StoragePath(folder)}
    proxy.fault = lambda method, path: fault if method == "GET" and path.endswith("3.png") else None
    assert run(shop, tmp_path / "e.h5", **settings) == (5, {"ok": 5, "unreadable": 1})
    proxy.fault = lambda *_: None
    assert run(shop, tmp_path / "e.h5", **settings) == (1, {"ok": 6})


@pytest.mark.parametrize("fault", ["500", "503", "unsent", "half"])
def test_requests_that_fail_now_and_then_change_no_picture(folder, shop, tmp_path, proxy, fault):
    proxy.requests.clear()
    proxy.fault = lambda *request: fault if proxy.requests.count(request) == 1 else None  # each the first time
    assert run(shop, tmp_path / "e.h5", image_root=StoragePath(folder)) == (6, {"ok": 6})


def test_a_bucket_that_fails_in_the_middle_stops_the_run_and_loses_nothing(folder, shop, tmp_path, proxy, monkeypatch):
    monkeypatch.setattr("cache.cloud.buckets.MOST_FAILED", 2)
    settings = {"image_root": StoragePath(folder), "n_workers": 1}
    n_read = 0

    def fails_after_three(method, path):
        nonlocal n_read
        n_read += method == "GET" and path.endswith(".png")
        return "500" if n_read > 3 else None

    proxy.fault = fails_after_three
    with pytest.raises(CloudError, match="did not answer as it should"):
        run(shop, tmp_path / "e.h5", **settings)
    proxy.fault = lambda *_: None
    assert run(shop, tmp_path / "e.h5", **settings) == (6, {"ok": 6})


def test_pictures_that_are_refused_do_not_stop_a_run_whose_bucket_answers(folder, shop, tmp_path, proxy, monkeypatch):
    monkeypatch.setattr("cache.cloud.buckets.MOST_FAILED", 2)
    proxy.fault = lambda method, path: "500" if method == "GET" and path[-5] in "2345" else None
    settings = {"image_root": StoragePath(folder), "n_workers": 1}
    assert run(shop, tmp_path / "e.h5", **settings) == (2, {"ok": 2, "unreadable": 4})


def test_a_wrong_secret_is_no_bad_picture(folder, shop, tmp_path, monkeypatch):
    name = "AZURE_STORAGE_ACCOUNT_KEY" if folder.startswith("az:") else "AWS_SECRET_ACCESS_KEY"
    monkeypatch.setenv(name, "a+wrong+word")  # base64, as Azure's are
    with pytest.raises(CloudError, match="refuses access to .*403") as refused:
        run(shop, tmp_path / "e.h5", image_root=StoragePath(folder))
    assert "a+wrong+word" not in str(refused.value)
    assert not (tmp_path / "e.h5").exists()


def test_a_bucket_of_pictures_that_is_not_there_is_named(shop, bucket_url, tmp_path, proxy):
    url = bucket_url.replace(BUCKET, "no-such-bucket")
    with pytest.raises(CloudError, match=f"Expected a bucket at {url}"):
        run(shop, tmp_path / "e.h5", image_root=StoragePath(url))


def test_a_catalogue_in_a_bucket_has_its_pictures_beside_it(folder, shop, tmp_path):
    upload(f"{folder}/data.csv", shop.read_bytes())
    assert run(f"{folder}/data.csv", f"{folder}/e.h5") == (6, {"ok": 6})
    run(shop, tmp_path / "files.h5")
    with Cache(f"{folder}/e.h5") as there, Cache(tmp_path / "files.h5") as here:
        assert there.content_sha256 == here.content_sha256
    root = folder_of(StoragePath(f"{folder}/data.csv"))
    named = [(row, (str(row), name)) for row, name in enumerate(IMAGES)]
    pictures = profile_pictures("image", named, n_rows=6, root=root, allow_outside=False, deep=False, n_workers=2)
    assert (pictures.root, pictures.statuses) == (folder, {"ok": 6})
    with pytest.raises(CatalogueError, match=f"there is no object {folder}/none.csv"):
        read_catalogue(f"{folder}/none.csv")


def test_templates_are_of_one_kind_where_pictures_are_in_a_bucket(folder, tmp_path, proxy):
    catalogue = write_catalogue(tmp_path / "shop", [{"id": f"{n}"} for n in range(6)])
    template = "images/{id}.png"
    assert run(catalogue, tmp_path / "e.h5", image_root=StoragePath(folder), image_template=template)[1] == {"ok": 6}
    with pytest.raises(SettingError, match="expected one where the pictures are in a bucket"):
        run(catalogue, tmp_path / "e.h5", image_root=StoragePath(folder), image_template=f"{template},{{id}}.jpg")


def test_the_command_says_where_the_cache_is_and_lists_what_failed(folder, shop, tmp_path, monkeypatch):
    rows = [{"id": f"{n}", "image": f"images/{n}.png"} for n in range(7)]
    catalogue = write_catalogue(tmp_path / "seven", rows)
    monkeypatch.setattr("embed.extraction.encoding.run_encoders.make_encoders", lambda _: [CountingEncoder("image")])
    done = invoke(
        extract_command, catalogue, "--image-root", folder, "-o", f"{folder}/e.h5", "--modalities", "image", "--json"
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["cache_path"] == f"{folder}/e.h5"
    with open(report["failures_path"], newline="") as file:
        assert [row["cell"] for row in csv.DictReader(file)] == ["images/6.png"]
    key = f"{address_of(folder).key}/e.h5.failures.csv"
    bucket = open_bucket(address_of(folder))
    assert b"images/6.png" in bucket.get(key)[1]
    upload(f"{folder}/images/6.png", image_bytes("red"))
    invoke(extract_command, catalogue, "--image-root", folder, "-o", f"{folder}/e.h5", "--modalities", "image")
    with pytest.raises(FileNotFoundError):
        bucket.get(key)
