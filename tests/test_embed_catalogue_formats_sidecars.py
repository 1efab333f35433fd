"""Pictures with a file of their name beside each that tells of it: JSON of its cells, or a text."""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest
from formats import rows_of

from embed import ExtractSettings
from embed.catalogue.formats import sidecars
from embed.catalogue.open_table import open_table, usual_modalities
from embed.catalogue.pictures.pictured_table import open_pictured


@pytest.fixture
def shop(tmp_path):
    """Return a function that writes pictures and the files beside them, {path without suffix: object or text}."""

    def write(products, *, suffix=".json"):
        for name, told in products.items():
            path = tmp_path / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            if told is not None:
                text = told if isinstance(told, str) else json.dumps(told, indent=1)
                (tmp_path / f"{name}{suffix}").write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("suffix", [".json", ".jpg.json"])
def test_each_picture_has_the_cells_of_the_file_beside_it(shop, suffix):
    path = shop(
        {"b": {"title": "red mug", "category": "mug", "price": 1.5}, "a": {"title": "blue rug", "category": "rug"}},
        suffix=suffix,
    )
    assert rows_of(open_table(path)) == [
        {"id": "a.jpg", "image": "a.jpg", "title": "blue rug", "category": "rug", "price": ""},
        {"id": "b.jpg", "image": "b.jpg", "title": "red mug", "category": "mug", "price": "1.5"},
    ]
    assert usual_modalities(path) == ("image", "text")
    assert open_pictured(path, ExtractSettings())[1].image_column == "image"


def test_folders_stay_labels_beside_those_of_sidecars(shop):
    path = shop({"mugs/1": {"title": "red"}, "rugs/2": {"title": "blue"}})
    assert [row["label"] for row in rows_of(open_table(path))] == ["mugs", "rugs"]
    told = {"title": "blue", "category": "mat", "label": "x", "split": "y"}
    rows = rows_of(open_table(shop({"mugs/1": {"title": "red", "category": None}, "rugs/2": told})))
    assert [(row["label"], row["category"]) for row in rows] == [("mugs", ""), ("rugs", "mat")]


def test_splits_of_folders_stay(shop):
    path = shop({f"{split}/mugs/1": {"title": split, "split": "x"} for split in ("train", "test")})
    assert [row["split"] for row in rows_of(open_table(path))] == ["test", "train"]


def test_labels_of_sidecars_are_those_of_pictures_in_one_folder(shop):
    path = shop({"1": {"title": "red", "label": "cup"}, "2": {"title": "blue", "label": "mat"}})
    assert [row["label"] for row in rows_of(open_table(path))] == ["cup", "mat"]


@pytest.mark.parametrize("ids", [("p1", "p1"), ("p1", None), ("p1", " ")], ids=["repeated", "absent", "blank"])
def test_ids_of_sidecars_count_where_each_picture_has_another(shop, caplog, ids):
    caplog.set_level(logging.INFO, "embed_once")
    path = shop({f"mugs/{n}": {"title": f"mug {n}", "id": one} for n, one in enumerate(ids)})
    assert [row["id"] for row in rows_of(open_table(path))] == ["mugs/0.jpg", "mugs/1.jpg"]
    assert "Their id is left out, since not each picture has another." in caplog.text
    path = shop({f"mugs/{n}": {"title": f"mug {n}", "id": f"p{n}"} for n in range(2)})
    assert [row["id"] for row in rows_of(open_table(path))] == ["p0", "p1"]


def test_texts_are_sidecars_too(shop):
    path = shop({"1": "a red mug\n", "2": "a blue rug"}, suffix=".txt")
    assert [row["text"] for row in rows_of(open_table(path))] == ["a red mug", "a blue rug"]


@pytest.mark.parametrize(
    ("told", "suffix"),
    [
        ({"shapes": [], "imagePath": "{n}.jpg"}, ".json"),
        ({"id": "{n}", "width": 8, "source": "camera"}, ".json"),
        ({"category": "mug {n}", "title": ""}, ".json"),
        ({"title": "{n}.jpg"}, ".json"),
        ({"name": "{n}"}, ".json"),
        ({"name": "https://x.example/{n}"}, ".json"),
        ({"name": "mugs"}, ".json"),
        ("0 0.5 0.5 9.5e-05 0.{n}\n", ".txt"),
        ("10 20 30 20 30 40 10 4{n} mugs 0\n", ".txt"),
        ("10,20,30,20,30,40,10,4{n},a mug\n", ".txt"),
        ("mugs\n", ".txt"),
    ],
    ids=[
        "LabelMe", "width", "label", "file", "stem", "URL", "class", "YOLO", "DOTA", "commas", "class's name",
    ],
)  # fmt: skip
def test_what_tells_no_text_is_no_sidecar(shop, told, suffix):
    names = {n: f"{'mugs' if n < 6 else 'rugs'}/{n}" for n in range(8)}
    written = told if isinstance(told, str) else json.dumps(told)
    path = shop({name: written.replace("{n}", str(n)) for n, name in names.items()}, suffix=suffix)
    rows = rows_of(open_table(path))
    assert rows == [{"id": f"{name}.jpg", "image": f"{name}.jpg", "label": name[:4]} for name in names.values()]
    assert usual_modalities(path) == ("image",)


@pytest.mark.parametrize(
    ("told", "id_column"),
    [
        ({"sku": "7{n}", "filename": "0{n}.jpg"}, "sku"),
        ({"id": "{n}"}, "id"),
        ({"images": ["0{n}.jpg", "x.jpg"]}, None),
        ({"image": "https://x.example/0{n}.jpg?v=1"}, None),
    ],
)
def test_objects_in_one_folder_that_name_their_pictures_stay_a_table(shop, told, id_column):
    """Products without a picture are in it."""
    written = json.dumps(told | {"title": "mug {n}"})
    path = shop({f"0{n}": written.replace("{n}", str(n)) for n in range(1, 4)})
    (path / "03.jpg").unlink()
    table, settings = open_pictured(path, ExtractSettings())
    rows = rows_of(table)
    assert [row["title"] for row in rows] == ["mug 1", "mug 2", "mug 3"]
    assert [row[settings.image_column] for row in rows] == ["01.jpg", "02.jpg", "03.jpg"]
    assert settings.id_column == id_column


def test_objects_of_other_names_each_are_no_table(shop):
    path = shop({"1": {"id": "1", "title": "mug", "price": 1}, "2": {"id": "2", "title": "cup"}})
    assert [(row["image"], row["price"]) for row in rows_of(open_table(path))] == [("1.jpg", "1"), ("2.jpg", "")]


def test_what_cannot_be_read_or_has_no_other_is_told_and_loses_no_row(shop, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    named = {f"mugs/{n}": {"id": f"p{n}", "title": f"mug {n}"} for n in range(6)}
    path = shop(named | {"mugs/6": "{broken", "mugs/7": None})
    (path / "mugs" / "8.json").write_text('{"title": "without a picture"}')
    rows = rows_of(open_table(path))
    assert [row["id"] for row in rows] == [f"mugs/{n}.jpg" for n in range(8)]
    assert [row["title"] for row in rows][5:] == ["mug 5", "", ""]
    assert "2 pictures of" in caplog.text
    assert "have no .json beside it that can be read, such as mugs/6.jpg" in caplog.text
    assert "mugs/8.json. They are not read" in caplog.text


def test_each_sidecar_is_read_once_however_often_the_rows_are_asked_for(shop, monkeypatch):
    path = shop({f"{n}": {"title": f"mug {n}"} for n in range(30)})
    read = Counter()
    text_of = sidecars._text_of
    monkeypatch.setattr(sidecars, "_text_of", lambda path: read.update([path.name]) or text_of(path))
    table = open_table(path)
    assert rows_of(table) == rows_of(table)
    assert (len(read), min(read.values())) == (30, 1)  # more often where they are looked at first
    assert sum(n == 1 for n in read.values()) == 30 - sidecars.N_LOOKED_AT
