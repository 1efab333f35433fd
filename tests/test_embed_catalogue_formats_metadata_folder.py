"""Folders of pictures with metadata files, and which folders are splits, classes or links."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from formats import rows_of
from support import CountingEncoder, image_bytes

from cache import Cache
from embed import CatalogueError, ExtractSettings, InspectSettings, extract, inspect, read_catalogue
from embed.catalogue.open_table import open_table, usual_modalities

CACHE = Path("cache.h5")


def put(folder, *names):
    for n, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_bytes((n, 7, 9)))


def imagefolder(folder, *, splits=("train", "test")):
    """Write the layout of Hugging Face's ImageFolder: metadata.csv beside the pictures of each split."""
    for split in splits:
        names = [f"{split}{n}.png" for n in range(3)]
        put(folder / split, *names)
        lines = "".join(f"{name},mug no {n},mug\n" for n, name in enumerate(names))
        (folder / split / "metadata.csv").write_text("file_name,text,label\n" + lines)
    return folder


def test_metadata_of_each_split_is_one_table(tmp_path):
    rows = rows_of(open_table(imagefolder(tmp_path / "ds")))
    assert len(rows) == 6
    assert rows[3] == {
        "id": "train/train0.png", "file_name": "train/train0.png", "text": "mug no 0", "label": "mug", "split": "train",
    }  # fmt: skip
    assert usual_modalities(tmp_path / "ds") == ("image", "text")


@pytest.mark.parametrize("url", ["https://cdn.example/mugs/1.jpg", "s3://shop/mugs/1.jpg"])
def test_a_url_in_metadata_stays_one(tmp_path, url):
    (tmp_path / "train").mkdir()
    put(tmp_path / "train", "0.png")
    (tmp_path / "train" / "metadata.csv").write_text(f"file_name,text\n0.png,a mug\n{url},another\n")
    assert [row["file_name"] for row in rows_of(open_table(tmp_path))] == ["train/0.png", url]


def test_its_pictures_and_texts_are_encoded(tmp_path):
    encoders = [CountingEncoder("image"), CountingEncoder("text")]
    report = extract(imagefolder(tmp_path / "ds"), CACHE, encoders=encoders)
    assert report.statuses == {"image": {"ok": 6}, "text": {"ok": 6}}
    with Cache(CACHE) as cache:
        assert cache.column("split") == ["test"] * 3 + ["train"] * 3
        assert set(cache.column("label")) == {"mug"}


def test_one_file_may_name_pictures_of_all_splits(tmp_path):
    put(tmp_path, "train/0.png", "test/1.png")
    lines = [{"file_name": "train/0.png", "text": "a"}, {"file_name": "test/1.png", "text": "b"}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = rows_of(open_table(tmp_path))
    assert [(row["file_name"], row["split"]) for row in rows] == [("train/0.png", "train"), ("test/1.png", "test")]


def test_parquet_is_read_and_columns_that_a_split_lacks_are_empty(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    imagefolder(tmp_path, splits=("train",))
    put(tmp_path / "test", "1.png")
    pq.write_table(pa.table({"file_name": ["1.png"], "sku": ["A1"]}), tmp_path / "test" / "metadata.parquet")
    first, second, *_ = rows_of(open_table(tmp_path))
    assert (first["id"], first["label"], first["sku"], first["split"]) == ("test/1.png", "", "A1", "test")
    assert (second["label"], second["sku"]) == ("mug", "")


def test_ids_and_splits_of_its_own_stay(tmp_path):
    put(tmp_path, "train/0.png")
    (tmp_path / "train" / "metadata.csv").write_text("id,file_name,split\n7,0.png,other\n")
    assert rows_of(open_table(tmp_path)) == [{"id": "7", "file_name": "train/0.png", "split": "other"}]


def test_pictures_without_metadata_are_counted(tmp_path, caplog):
    put(imagefolder(tmp_path), "train/x.png", "new/y.png")
    assert len(rows_of(open_table(tmp_path))) == 6
    assert "2 pictures of" in caplog.text
    assert "stand in no metadata file, and are left out" in caplog.text


def test_bad_lines_of_all_files_are_counted(tmp_path):
    imagefolder(tmp_path)
    for split in ("train", "test"):
        with (tmp_path / split / "metadata.csv").open("a") as file:
            file.write("too,many,cells,here\n")
    inspection = inspect(tmp_path, settings=InspectSettings(estimate=False))
    assert inspection.n_bad_lines == 2
    assert "line 5 of train/metadata.csv has 4 cells" in inspection.bad_lines[1]


def test_metadata_that_names_no_pictures_is_a_named_error(tmp_path):
    put(tmp_path, "hats/1.png")
    (tmp_path / "metadata.csv").write_text("picture,text\nhats/1.png,a\n")
    with pytest.raises(CatalogueError, match=r"metadata.csv to have a column file_name .* columns are picture, text"):
        open_table(tmp_path)
    assert len(rows_of(open_table(tmp_path, ExtractSettings(image_column="picture")))) == 1


def test_two_metadata_files_in_one_folder_are_a_named_error(tmp_path):
    imagefolder(tmp_path)
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "1.png"}\n')
    with pytest.raises(CatalogueError, match="Expected one metadata file in a folder"):
        open_table(tmp_path)


# --- splits are no classes, and no table is passed over in silence


@pytest.mark.parametrize(
    ("names", "labels", "splits"),
    [
        (["train/cat/1.png", "test/dog/2.png", "extra/cat/3.png"], "cat dog cat", "extra test train"),
        (["cat/train/1.png", "cat/test/2.png", "dog/train/3.png"], "cat cat dog", "test train train"),
        (["data/train/cat/1.png", "data/test/dog/2.png"], "dog cat", "test train"),
        (["train/1.png", "bus/2.png", "car/3.png"], "bus car train", ""),
    ],
)
def test_splits_are_told_from_classes(tmp_path, names, labels, splits):
    put(tmp_path / "shop", *names)
    rows = rows_of(open_table(tmp_path / "shop"))
    assert sorted(row["label"] for row in rows) == sorted(labels.split())
    assert sorted(row["split"] for row in rows if "split" in row) == splits.split()


def test_flat_splits_are_no_classes(tmp_path):
    put(tmp_path / "ds", "train/1.png", "test/2.png")
    (tmp_path / "ds" / "train" / "labels.csv").write_text("file,label\n1.png,a\n")
    with pytest.raises(CatalogueError, match=r"splits are no classes\. .* tables among its pictures: train/labels.csv"):
        open_table(tmp_path / "ds")


def test_a_table_below_class_folders_is_told(tmp_path, caplog):
    put(tmp_path / "shop", "hats/1.png", "shirts/2.png")
    for name in ("hats/a.csv", "hats/b.json", "shirts/c.parquet", "shirts/d.tsv.gz", "README.md"):
        (tmp_path / "shop" / name).write_text("x")
    assert len(rows_of(open_table(tmp_path / "shop"))) == 2
    assert "holds tables among its pictures: hats/a.csv, hats/b.json, shirts/c.parquet and 1 more." in caplog.text


# --- links


def test_linked_class_folders_are_followed(tmp_path):
    put(tmp_path / "all", "cats/1.png", "cats/deep/2.png", "dogs/3.png")
    put(tmp_path / "shop", "birds/4.png")
    for name in ("cats", "dogs"):
        (tmp_path / "shop" / name).symlink_to(tmp_path / "all" / name)
    settings = ExtractSettings(modalities=("image",))
    report = extract(tmp_path / "shop", CACHE, settings=settings, encoders=[CountingEncoder("image")])
    assert report.statuses["image"] == {"ok": 4}
    with Cache(CACHE) as cache:
        assert cache.ids() == ["birds/4.png", "cats/1.png", "cats/deep/2.png", "dogs/3.png"]
        assert cache.column("label") == ["birds", "cats", "cats", "dogs"]
    again = CountingEncoder("image")
    extract(tmp_path / "shop", CACHE, settings=settings, encoders=[again])
    assert again.n_encoded == 0
    inspection = inspect(tmp_path / "shop", settings=InspectSettings(estimate=False))
    assert inspection.pictures.statuses == {"ok": 4}
    assert inspection.not_in_rows == ["id"]


def test_a_linked_split_is_a_split(tmp_path):
    put(tmp_path / "all", "train/cat/1.png")
    put(tmp_path / "shop", "test/cat/2.png")
    (tmp_path / "shop" / "train").symlink_to(tmp_path / "all" / "train")
    assert [row["split"] for row in rows_of(open_table(tmp_path / "shop"))] == ["test", "train"]


def test_links_in_circles_end(tmp_path, caplog):
    caplog.set_level("INFO")
    put(tmp_path / "all", "cats/1.png")
    put(tmp_path / "shop", "birds/4.png")
    (tmp_path / "all" / "cats" / "self").symlink_to(tmp_path / "all" / "cats")
    (tmp_path / "all" / "cats" / "up").symlink_to(tmp_path)
    (tmp_path / "all" / "cats" / "back").symlink_to(tmp_path / "shop")
    (tmp_path / "shop" / "birds" / "here").symlink_to(".")
    for name in ("cats", "pets"):
        (tmp_path / "shop" / name).symlink_to(tmp_path / "all" / "cats")
    assert [row["id"] for row in rows_of(open_table(tmp_path / "shop"))] == ["birds/4.png", "cats/1.png"]
    assert "links to folders of its own (2)" in caplog.text
    assert "links to folders that were followed before (3)" in caplog.text


def test_behind_a_link_a_pipe_is_no_picture(tmp_path):
    put(tmp_path / "all", "cats/1.png")
    os.mkfifo(tmp_path / "all" / "cats" / "2.png")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "cats").symlink_to(tmp_path / "all" / "cats")
    settings = ExtractSettings(modalities=("image",))
    report = extract(tmp_path / "shop", CACHE, settings=settings, encoders=[CountingEncoder("image")])
    assert report.statuses["image"] == {"ok": 1, "not_a_file": 1}


def test_a_table_beside_a_linked_folder_of_pictures_is_not_passed_over(tmp_path):
    put(tmp_path / "all", "1.png")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "data.csv").write_text("id,text\n1,a\n")
    (tmp_path / "shop" / "images").symlink_to(tmp_path / "all")
    with pytest.raises(CatalogueError, match="holds data.csv beside pictures in images"):
        read_catalogue(tmp_path / "shop")
