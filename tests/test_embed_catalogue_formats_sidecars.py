"""Pictures with a file of their name beside each that tells of it: JSON of its cells, or a text."""

from __future__ import annotations

import json
import logging

import pytest
from formats import rows_of

from embed import ExtractSettings
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


def test_folders_stay_labels_unless_sidecars_have_some(shop):
    path = shop({"mugs/1": {"title": "red"}, "rugs/2": {"title": "blue"}})
    assert [row["label"] for row in rows_of(open_table(path))] == ["mugs", "rugs"]
    path = shop({"mugs/1": {"title": "red", "category": "cup"}, "rugs/2": {"title": "blue", "category": "mat"}})
    rows = rows_of(open_table(path))
    assert [(row["category"], row["folder"]) for row in rows] == [("cup", "mugs"), ("mat", "rugs")]
    assert "label" not in rows[0]


def test_texts_are_sidecars_too(shop):
    path = shop({"1": "a red mug\n", "2": "a blue rug"}, suffix=".txt")
    assert [row["text"] for row in rows_of(open_table(path))] == ["a red mug", "a blue rug"]


@pytest.mark.parametrize(
    ("told", "suffix"), [({"shapes": [], "imagePath": "1.jpg"}, ".json"), ("0 0.5 0.5 0.1 0.1\n", ".txt")]
)
def test_annotations_of_places_are_no_sidecars(shop, told, suffix):
    path = shop({"mugs/1": told, "rugs/2": told}, suffix=suffix)
    assert open_table(path).columns == ["id", "image", "label"]
    assert usual_modalities(path) == ("image",)


def test_what_cannot_be_read_or_has_no_other_is_told_and_loses_no_row(shop, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    named = {f"mugs/{n}": {"id": f"p{n}", "title": f"mug {n}"} for n in range(6)}
    path = shop(named | {"mugs/6": "{broken", "mugs/7": None})
    (path / "mugs" / "8.json").write_text('{"title": "without a picture"}')
    rows = rows_of(open_table(path))
    assert [row["id"] for row in rows] == [*(f"p{n}" for n in range(6)), "mugs/6.jpg", "mugs/7.jpg"]
    assert [row["title"] for row in rows][5:] == ["mug 5", "", ""]
    assert "2 pictures of" in caplog.text
    assert "have no .json beside it that can be read, such as mugs/6.jpg" in caplog.text
    assert "mugs/8.json. They are not read" in caplog.text
