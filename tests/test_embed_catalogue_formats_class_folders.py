"""Folders as catalogues: class folders, and datasets that `save_to_disk` wrote."""

from __future__ import annotations

import gzip
import json
import logging
import os
from pathlib import Path

import pytest
from formats import rows_of, write_class_folders, write_dataset, write_dataset_dict, write_stream
from support import CountingEncoder, image_bytes, invoke

import embed.commands.extract
from embed import CatalogueError
from embed.catalogue.open_table import open_table

CACHE = Path("cache.h5")
PICTURES = {f"images/{n}.png": image_bytes((n, 7, 9)) for n in range(30)}
ROWS = [
    {"id": f"{n:03}", "image": f"images/{n}.png", "text": f"number {n}", "label": f"class {n % 3}"} for n in range(30)
]


# --- class folders


def test_class_folders_give_label_and_relative_path(tmp_path):
    names = ["shirts/b.JPG", "shirts/deep/a.png", "Shirts/c.webp", "hats/d.jpeg"]
    for name in [*names, ".git/e.png", "top.png", "hats/x.txt"]:
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "shop" / "linked").symlink_to(tmp_path / "shop" / "hats")
    rows = rows_of(open_table(tmp_path / "shop"))
    assert [row["id"] for row in rows] == [row["image"] for row in rows] == sorted(names)
    assert [row["label"] for row in rows] == ["Shirts", "hats", "shirts", "shirts"]


def test_folder_that_alone_holds_linked_class_folders_is_no_class(tmp_path):
    for name in ("hats", "shirts"):
        (tmp_path / "elsewhere" / name / "deep").mkdir(parents=True)
        (tmp_path / "elsewhere" / name / "deep" / "a.png").write_bytes(b"x")
    (tmp_path / "shop" / "images").mkdir(parents=True)
    for name in ("hats", "shirts"):
        (tmp_path / "shop" / "images" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "shop" / "latest").mkdir()
    (tmp_path / "shop" / "latest" / "all").symlink_to(tmp_path / "shop" / "images")  # which is not followed
    assert [row["label"] for row in rows_of(open_table(tmp_path / "shop"))] == ["hats", "shirts"]


def test_folders_of_splits_are_no_classes(tmp_path):
    for name in ("train/hats/a.png", "train/shirts/b.png", "test/hats/a.png"):
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    rows = rows_of(open_table(tmp_path / "shop"))
    assert [(row["split"], row["label"], row["id"]) for row in rows] == [
        ("test", "hats", "test/hats/a.png"),
        ("train", "hats", "train/hats/a.png"),
        ("train", "shirts", "train/shirts/b.png"),
    ]


@pytest.mark.parametrize(
    ("paths", "labels", "splits"),
    [
        ("images/hats/1 images/shirts/2 meta/", "hats shirts", None),
        ("food/images/hats/1 food/images/shirts/2", "hats shirts", None),
        ("a/images/train/hats/1 a/images/test/shirts/2", "shirts hats", "test train"),
        ("images/hats/train/1 images/shirts/test/2", "hats shirts", "train test"),
        ("images/train/hats/1 images/test/hats/2", "hats hats", "test train"),
        ("images/hats/1 images/shirts/2 more/3", "images images more", None),
        ("hats/1 hats/old/2", "hats hats", None),
        ("hats/train/1 hats/test/2", "hats hats", "test train"),
        ("hats/a/1", "hats", None),
        ("0 images/hats/1 images/shirts/2", "hats shirts", None),
        ("__MACOSX/images/hats/._1 images/hats/1 images/shirts/2 .thumbs/3", "hats shirts", None),
    ],
)
def test_a_folder_that_alone_holds_the_class_folders_is_no_class(tmp_path, paths, labels, splits):
    for path in paths.split():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            (tmp_path / f"{path}.png").write_bytes(b"x")
    rows = rows_of(open_table(tmp_path))
    assert [row["label"] for row in rows] == labels.split()
    assert [row["split"] for row in rows if "split" in row] == (splits or "").split()


def test_class_folders_encode_pictures_alone_and_say_so(tmp_path, monkeypatch):
    write_class_folders(tmp_path / "shop", ROWS, PICTURES)
    asked = []
    monkeypatch.setattr(
        "embed.extraction.encoding.run_encoders.make_encoders",
        lambda settings: asked.append(settings.modalities) or [CountingEncoder(name) for name in settings.modalities],
    )
    result = invoke(embed.commands.extract.extract, tmp_path / "shop", "-o", CACHE)
    assert (result.exit_code, asked) == (0, [("image",)])
    assert "have no texts: pictures alone are encoded" in result.stderr


def test_pictures_right_in_a_folder_have_no_labels(tmp_path, caplog):
    """As new pictures that are to be answered, or to be labelled, come."""
    caplog.set_level(logging.INFO, "embed_once")
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert rows_of(open_table(tmp_path)) == [{"id": "a.png", "image": "a.png"}, {"id": "b.JPG", "image": "b.JPG"}]
    assert "holds pictures, and none in class folders: they have no labels." in caplog.text


def test_picture_in_the_place_of_a_catalogue_is_a_named_error(tmp_path):
    (tmp_path / "a.JPG").write_bytes(image_bytes(kind="JPEG"))
    with pytest.raises(CatalogueError, match=r"got a picture, .*a\.JPG\. Name the folder of the pictures\."):
        open_table(tmp_path / "a.JPG")


def test_a_folder_without_class_folders_is_a_named_error(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "split" / "test").mkdir(parents=True)
    (tmp_path / "split" / "test" / "a.png").write_bytes(b"x")
    for name in ("empty", "split"):
        with pytest.raises(CatalogueError, match=f"{name} is a folder without class folders"):
            open_table(tmp_path / name)


# --- saved datasets


def test_class_labels_become_names_and_splits_a_column(tmp_path):
    pytest.importorskip("pyarrow")
    rows = rows_of(open_table(write_dataset_dict(tmp_path, ROWS, PICTURES)))
    assert [row["split"] for row in rows] == ["train"] * 15 + ["test"] * 15
    assert [row["label"] for row in rows] == [row["label"] for row in ROWS]


def test_class_labels_need_no_metadata_beside_dataset_info(tmp_path):
    pa = pytest.importorskip("pyarrow")
    info = {"features": {"label": {"names": ["hat", "shirt"], "_type": "ClassLabel"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    table = pa.table({"label": pa.array([1, 0, -1, None, 7]), "text": list("abcde")})
    with pa.OSFile(str(tmp_path / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    assert [row["label"] for row in rows_of(open_table(tmp_path))] == ["shirt", "hat", "", "", "7"]


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "", "..", 5, None])
def test_a_dataset_names_no_file_outside_its_folder(tmp_path, name):
    pytest.importorskip("pyarrow")
    folder = tmp_path / "d"
    folder.mkdir()
    write_dataset(folder, ROWS, PICTURES)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(CatalogueError, match="to lie in its folder"):
        open_table(folder)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97, 0.9999])
def test_a_cut_arrow_file_is_a_named_error(tmp_path, share):
    pytest.importorskip("pyarrow")
    write_dataset(tmp_path, ROWS, PICTURES)
    path = tmp_path / "data-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CatalogueError, match="data-00001-of-00002.arrow to be"):
        rows_of(open_table(tmp_path))


def test_a_stream_cut_between_two_batches_is_a_named_error(tmp_path):
    """What is left of it reads well, and is not all."""
    pa = pytest.importorskip("pyarrow")
    write_dataset(tmp_path, ROWS, PICTURES)
    path = tmp_path / "data-00001-of-00002.arrow"
    with path.open("rb") as file:
        reader = pa.ipc.open_stream(file)
        reader.read_next_batch()
        end = file.tell()
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(CatalogueError, match="its end is missing"):
        rows_of(open_table(tmp_path))


def test_files_of_other_columns_are_a_named_error(tmp_path):
    pa = pytest.importorskip("pyarrow")
    write_dataset(tmp_path, ROWS, PICTURES)
    table = pa.table({"id": ["1"], "image": ["a.png"], "text": ["a"], "label": [1]})
    path = str(tmp_path / "data-00001-of-00002.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CatalogueError, match=r"same columns, but .*image \(string\).*image \(struct<"):
        open_table(tmp_path)


def test_damaged_offsets_are_a_named_error(tmp_path):
    """They would lead to other bytes of the file, or outside."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"image": [b"abc", b"defgh", b"ij"]})
    with pa.OSFile(str(tmp_path / "d.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    content = (tmp_path / "d.arrow").read_bytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 3, 8, 10))
    assert content.count(offsets) == 1
    for wrong in (2**30, 1):
        damaged = offsets[:8] + wrong.to_bytes(4, "little") + offsets[12:]
        (tmp_path / "d.arrow").write_bytes(content.replace(offsets, damaged))
        with pytest.raises(CatalogueError, match=r"d\.arrow to be an Arrow file, but"):
            rows_of(open_table(tmp_path / "d.arrow"))


@pytest.mark.parametrize("content", ["", "[", "{}", "[1]"])
def test_a_dataset_without_files_is_a_named_error(tmp_path, content):
    pytest.importorskip("pyarrow")
    (tmp_path / "dataset_dict.json").write_text(content)
    with pytest.raises(CatalogueError):
        open_table(tmp_path)


def test_each_split_has_its_own_names_of_classes(tmp_path):
    """Two splits may number their classes each in its own order."""
    pytest.importorskip("pyarrow")
    write_dataset_dict(tmp_path, ROWS, PICTURES)
    write_stream(
        tmp_path / "test" / "data-00000-of-00002.arrow", ROWS[15:22], PICTURES, ["class 2", "class 0", "class 1"]
    )
    rows = rows_of(open_table(tmp_path))
    assert [row["label"] for row in rows] == [row["label"] for row in ROWS]


def test_each_split_s_own_folder_names_its_classes(tmp_path):
    pa = pytest.importorskip("pyarrow")
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    for split, names in (("train", ["hat", "shirt"]), ("test", ["shirt", "hat"])):
        (tmp_path / split).mkdir()
        info = {"features": {"label": {"names": names, "_type": "ClassLabel"}}}
        (tmp_path / split / "dataset_info.json").write_text(json.dumps(info))
        table = pa.table({"label": [0, 1]})
        with (
            pa.OSFile(str(tmp_path / split / "data.arrow"), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table)
    assert [row["label"] for row in rows_of(open_table(tmp_path))] == ["hat", "shirt", "shirt", "hat"]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_a_column_s_damaged_name_is_a_named_error(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"columnname": ["a"]})
    path = tmp_path / f"d.{kind}"
    if kind == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"columnname", b"column\xff\xfeme"))
    with pytest.raises(CatalogueError, match="to be an? (Arrow|Parquet) file, but"):
        open_table(path)


# --- folders of more than one kind


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_flat_pictures_of_a_split_are_left_out_and_told(tmp_path, caplog):
    """Kaggle's test sets have no labels."""
    caplog.set_level("INFO")
    put(tmp_path / "shop", "train/cat/1.png", "train/dog/2.png", "test/3.png", "test/4.png")
    rows = rows_of(open_table(tmp_path / "shop"))
    assert [(row["split"], row["label"]) for row in rows] == [("train", "cat"), ("train", "dog")]
    assert "pictures outside of class folders (2)" in caplog.text


@pytest.mark.parametrize("name", ["hats", "hats/deep", "train"])
def test_a_class_folder_that_cannot_be_read_is_a_named_error(tmp_path, monkeypatch, name):
    """Its pictures would be missing without a word."""
    put(tmp_path, *(["train/hats/1.png"] if name == "train" else ["hats/deep/1.png", "shirts/2.png"]))
    scan = os.scandir

    def refuse(folder):
        if Path(folder) == tmp_path / name:
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CatalogueError, match=f"to be readable, but .*{name} is not: Permission denied"):
        rows_of(open_table(tmp_path))


@pytest.mark.parametrize("file", ["pictures.tar", "data.csv", "data.jsonl.gz", "data.parquet"])
def test_a_catalogue_file_beside_folders_of_pictures_is_a_named_error(tmp_path, file):
    put(tmp_path, "images/deep/1.png", file)
    with pytest.raises(CatalogueError, match=f"to be one catalogue, but .* holds {file} beside pictures in images"):
        open_table(tmp_path)


def test_other_files_beside_class_folders_do_no_harm(tmp_path):
    put(tmp_path, "hats/1.png", "README.md", "embeddings.h5", "embeddings.h5.failures.csv")
    assert [row["label"] for row in rows_of(open_table(tmp_path))] == ["hats"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl.csv", "CsvTable"), ("a.csv.jsonl", "JsonLinesTable"), ("a.jsonl", "JsonLinesTable"),
        ("a.parquet.csv", "CsvTable"), ("a.1.csv", "CsvTable"), ("a", "CsvTable"),
    ],
)  # fmt: skip
def test_the_last_suffix_says_what_a_file_is(tmp_path, name, kind):
    (tmp_path / name).write_text("id,text\n1,a\n" if kind == "CsvTable" else '{"id": 1}\n')
    assert type(open_table(tmp_path / name)).__name__ == kind


def test_compression_hides_no_suffix(tmp_path):
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('{"id": 1}\n')
    assert rows_of(open_table(tmp_path / "a.jsonl.gz")) == [{"id": "1"}]
