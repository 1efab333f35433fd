"""Cells that list several pictures of one product."""

from __future__ import annotations

import pytest
from formats import rows_of
from support import CountingEncoder, image_bytes, invoke, write_catalogue

import embed.commands.extract
from cache import Cache
from embed import ExtractSettings, InspectSettings, SettingError, extract, inspect, read_catalogue
from embed.catalogue.pictures.picture_lists import split_pictures
from embed.catalogue.pictures.pictured_table import open_pictured

LISTS = ['["a.png", "b.png"]', "a.png|b.png", "a.png;b.png", "a.png, b.png", "['a.png', 'b.png']", "a.png\nb.png"]
ROWS = [
    {"id": "1", "image": "a.png, b.png", "text": "one"},
    {"id": "2", "image": "c.png", "text": "two"},
    {"id": "3", "image": "", "text": "three"},
    {"id": "4", "image": "[]", "text": "four"},
]


@pytest.fixture
def catalogue(tmp_path):
    return write_catalogue(tmp_path, ROWS, {f"{name}.png": image_bytes((n, 0, 0)) for n, name in enumerate("abc")})


@pytest.mark.parametrize("cell", [*LISTS, "a.png|b.png|", " a.png ; b.png "])
def test_a_list_is_split(cell):
    assert split_pictures(cell) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("cell", "pictures"),
    [
        ("a.png", None),
        ("", None),
        ("Smith, John.jpg", None),
        ("a;b.png", None),
        ("[1, 2]", None),
        ("[a.png", None),
        ("[" * 100_000 + "]", None),
        ("[]", []),
        ('["a, b.png"]', ["a, b.png"]),
        ("https://x.org/a.jpg?w=1,https://x.org/b.JPG", ["https://x.org/a.jpg?w=1", "https://x.org/b.JPG"]),
    ],
)
def test_what_is_no_list_stays_whole(cell, pictures):
    assert split_pictures(cell) == pictures


@pytest.mark.parametrize("cell", LISTS)
def test_the_first_picture_is_taken_and_that_is_said(tmp_path, caplog, cell):
    caplog.set_level("INFO")
    path = write_catalogue(tmp_path, [{**ROWS[0], "image": cell}, *ROWS[1:]], {"a.png": image_bytes()})
    assert read_catalogue(path).cells("image") == ["a.png", "c.png", "", ""]
    assert f"25 % of the rows of {path} list several pictures in image: the first is taken (--pictures" in caplog.text


def test_a_table_without_lists_says_nothing(tmp_path, caplog):
    caplog.set_level("INFO")
    read_catalogue(write_catalogue(tmp_path, ROWS[1:], {"c.png": image_bytes()}))
    assert "several pictures" not in caplog.text


def test_each_picture_gets_a_row_that_names_its_product(catalogue):
    expanded = read_catalogue(catalogue, ExtractSettings(pictures="rows"))
    assert expanded.ids == ["1", "1#2", "2", "3", "4"]
    assert expanded.columns == {
        "image": ["a.png", "b.png", "c.png", "", ""],
        "text": ["one", "one", "two", "three", "four"],
        "product": ["1", "1", "2", "3", "4"],
    }


def test_rows_without_ids_get_some(tmp_path):
    path = write_catalogue(tmp_path, [{"product": row["text"], "image": row["image"]} for row in ROWS])
    table, settings = open_pictured(path, ExtractSettings(pictures="rows"))
    assert settings.id_column == "id"
    assert [(row["id"], row["product_of_picture"]) for row in rows_of(table)] == [
        ("0", "0"), ("0#2", "0"), ("1", "1"), ("2", "2"), ("3", "3"),
    ]  # fmt: skip


def test_batches_of_many_pictures_are_no_larger_than_others(tmp_path, monkeypatch):
    monkeypatch.setattr("embed.catalogue.pictures.pictured_table.BATCH_ROWS", 2)
    path = write_catalogue(tmp_path, [{"id": "1", "image": "|".join(f"{n}.png" for n in range(5))}])
    table, _ = open_pictured(path, ExtractSettings(pictures="rows"))
    assert [batch["id"] for batch in table.batches()] == [["1", "1#2"], ["1#3", "1#4"], ["1#5"]]


def test_where_sees_the_rows_of_pictures(catalogue):
    settings = ExtractSettings(pictures="rows", where="product == '1' and image != 'a.png'")
    assert read_catalogue(catalogue, settings).ids == ["1#2"]


def test_all_pictures_are_encoded_and_the_first_once(catalogue):
    first, rows = CountingEncoder("image"), CountingEncoder("image")
    extract(catalogue, "c.h5", encoders=[first])
    extract(catalogue, "c.h5", settings=ExtractSettings(pictures="rows"), encoders=[rows])
    assert (first.n_encoded, rows.n_encoded) == (2, 1)
    with Cache("c.h5") as cache:
        assert cache.statuses("image") == ["ok", "ok", "ok", "absent", "absent"]


@pytest.mark.parametrize("has_ids", [True, False])
def test_rows_of_further_pictures_are_no_products_that_left(tmp_path, caplog, has_ids):
    """Nor is the column that says whose they are one of the catalogue's; a product that is gone is told as ever."""
    rows = ROWS if has_ids else [{name: cell for name, cell in row.items() if name != "id"} for row in ROWS]
    pictures = {f"{name}.png": image_bytes((n, 0, 0)) for n, name in enumerate("abc")}
    path, cache_path = write_catalogue(tmp_path, rows, pictures), tmp_path / "c.h5"
    extract(path, cache_path, settings=ExtractSettings(pictures="rows"), encoders=[CountingEncoder("image")])
    caplog.set_level("INFO")
    extract(path, cache_path, settings=ExtractSettings(pictures="mean"), encoders=[CountingEncoder("image")])
    assert "left it" not in caplog.text
    assert "leave the cache" not in caplog.text
    extract(path, cache_path, settings=ExtractSettings(pictures="rows"), encoders=[CountingEncoder("image")])
    write_catalogue(tmp_path, rows[1:-1] if has_ids else rows[:-2], {})
    extract(path, cache_path, settings=ExtractSettings(pictures="mean"), encoders=[CountingEncoder("image")])
    assert f"2 products of the cache are not in {path}: they left it" in caplog.text


def test_an_inspection_counts_the_pictures_of_its_rows(catalogue):
    for pictures, n in (("first", 2), ("rows", 3)):
        settings = InspectSettings(extract=ExtractSettings(pictures=pictures), estimate=False)
        assert inspect(catalogue, settings=settings).pictures.statuses["ok"] == n


def test_a_way_that_is_not_known_is_refused(catalogue):
    with pytest.raises(SettingError, match="--pictures: expected first, mean or rows, got 'median'"):
        ExtractSettings(pictures="median")
    assert invoke(embed.commands.extract.extract, catalogue, "--pictures", "last").exit_code == 2


@pytest.mark.parametrize(
    ("cell", "pictures"),
    [
        ('[{"url": "https://x.y/a.jpg", "path": "a.png"}, {"path": "b.png"}]', ["a.png", "b.png"]),
        ('[{"id": 7, "src": "https://x.y/a.jpg"}]', ["https://x.y/a.jpg"]),
        ("[{'thumb': 't.jpg', 'large': 'a.jpg', 'hi_res': None}]", ["a.jpg"]),
        ('[{"id": 7}]', None),
    ],
)
def test_objects_in_a_list_are_the_pictures_that_they_name(cell, pictures):
    assert split_pictures(cell) == pictures
