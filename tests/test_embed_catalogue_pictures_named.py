"""Pictures that cells name by URLs, paths of other machines and other suffixes, and what guesses do beside them."""

from __future__ import annotations

import pytest
from formats import rows_of
from support import image_bytes, write_catalogue

from embed import CatalogueError, ExtractSettings, read_catalogue
from embed.catalogue.pictures.pictured_table import open_pictured


def pictures_of(path, **settings):
    table, settings = open_pictured(path, ExtractSettings(**settings))
    return [row[settings.image_column] for row in rows_of(table)]


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        ("image", "https://cdn.example/pics/{}.jpg?w=90", "imgs/{}.jpg"),
        ("photo link", "https://cdn.example/pics/{}.jpg", "imgs/{}.jpg"),
        ("image", "D:\\shop\\pics\\{}.jpg", "imgs/{}.jpg"),
        ("image", "pics/{}.png", "imgs/{}.jpg"),
        ("image", "file:///home/ana/imgs/{}.jpg", "imgs/{}.jpg"),
    ],
)
def test_no_product_has_the_picture_that_another_one_s_cell_names(tmp_path, name, written, found):
    """Ids and pictures are both numbered, each in its own way, so that ``imgs/{id}.jpg`` is there for all."""
    rows = [{"id": str(n), "title": f"mug {n}", name: written.format((7 * n) % 40)} for n in range(40)]
    path = write_catalogue(tmp_path, rows, {f"imgs/{n}.jpg": image_bytes((n, 7, 9)) for n in range(40)})
    assert pictures_of(path) == [found.format((7 * n) % 40) for n in range(40)]


def test_pictures_numbered_below_each_product_s_address_name_none(tmp_path):
    rows = [{"id": str(n), "title": f"mug {n}", "image": f"https://x.example/{n}/1.jpg"} for n in range(40)]
    path = write_catalogue(tmp_path, rows, {f"imgs/{n}.jpg": image_bytes((n, 7, 9)) for n in range(40)})
    assert pictures_of(path) == [f"imgs/{n}.jpg" for n in range(40)]


def test_paths_of_another_machine_lead_to_pictures_by_their_last_names(tmp_path):
    rows = [{"id": str(n), "title": f"mug {n}", "image": f"C:\\Fotos\\{n // 2}\\front{n % 2}.jpg"} for n in range(40)]
    names = [f"data/Fotos/{n // 2}/front{n % 2}.jpg" for n in range(40)]
    path = write_catalogue(tmp_path, rows, {name: image_bytes((n, 7, 9)) for n, name in enumerate(names)})
    assert pictures_of(path) == names


@pytest.mark.parametrize(("table", "folder"), [("train.csv", "train"), ("test.csv", "test"), ("all.csv", "train")])
def test_of_a_folder_a_split_the_table_s_own_is_taken(tmp_path, table, folder):
    pictures = {f"{split}/{n}.jpg": image_bytes((n, 7, len(split))) for n in range(40) for split in ("test", "train")}
    path = write_catalogue(tmp_path, [{"id": str(n), "title": f"mug {n}"} for n in range(40)], pictures)
    assert pictures_of(path.rename(tmp_path / table)) == [f"{folder}/{n}.jpg" for n in range(40)]


@pytest.mark.parametrize("name", ["{}.jpg", "https://shop.example/mug-{}"])
def test_names_of_picture_files_and_addresses_are_no_texts(tmp_path, name):
    """Products-10K calls its column of files ``name``, which is a usual name of texts, too."""
    rows = [{"id": f"{n}", "name": name.format(n), "caption": f"mug {n}"} for n in range(40)]
    path = write_catalogue(tmp_path, rows, {f"train/{n}.jpg": image_bytes((n, 7, 9)) for n in range(40)})
    assert read_catalogue(path).roles == {"image": "image", "text": "caption"}
    with pytest.raises(CatalogueError, match="a column of texts"):
        read_catalogue(write_catalogue(tmp_path / "b", [{"image": "1.jpg", "name": "1.jpg"}]))


@pytest.mark.parametrize(
    "written",
    [
        "https://x.example/{0}.jpg|https://x.example/{0}b.jpg",
        '[{{"large": "https://x.example/{0}.jpg"}}, "u/{0}b.jpg"]',
    ],
)
def test_lists_of_addresses_lead_to_pictures_by_their_last_names(tmp_path, caplog, written):
    rows = [{"id": str(n), "title": f"mug {n}", "images": written.format(40 - n)} for n in range(40)]
    names = {f"imgs/{n}{side}.jpg": image_bytes((n, 7, len(side))) for n in range(1, 41) for side in ("", "b")}
    path = write_catalogue(tmp_path, rows, names)
    assert pictures_of(path) == [f"imgs/{40 - n}.jpg" for n in range(40)]
    both = pictures_of(path, pictures="rows")
    assert both == [f"imgs/{40 - n}{side}.jpg" for n in range(40) for side in ("", "b")]
    with caplog.at_level("INFO", logger="embed_once"):
        pictures_of(path)
    assert "100 % of the rows" in caplog.text


def test_of_two_columns_of_addresses_the_first_is_taken(tmp_path):
    sides = ("front", "back")
    rows = [
        {"id": f"A{n}", "title": f"mug {n}"} | {f"image {one}": f"https://x.example/{one}{n}.jpg" for one in sides}
        for n in range(40)
    ]
    pictures = {f"imgs/{one}{n}.jpg": image_bytes((n, 7, len(one))) for n in range(40) for one in sides}
    assert pictures_of(write_catalogue(tmp_path, rows, pictures)) == [f"imgs/front{n}.jpg" for n in range(40)]


def test_of_equal_templates_the_first_is_taken_whatever_the_order_of_the_files(tmp_path):
    rows = [{"id": f"A{n}", "title": f"mug {n}"} for n in range(40)]
    pictures = {f"imgs/A{n}_{side}.jpg": image_bytes((n, 7, int(side))) for side in "3214" for n in range(40)}
    assert pictures_of(write_catalogue(tmp_path, rows, pictures)) == [f"imgs/A{n}_1.jpg" for n in range(40)]
