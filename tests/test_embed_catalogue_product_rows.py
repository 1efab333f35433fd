"""Exports of shops: a product is written in several rows, of which the first has the title."""

import logging

import pytest
from formats import rows_of

from embed import CatalogueError, ExtractSettings, read_catalogue
from embed.catalogue.open_table import open_table
from embed.catalogue.pictures.pictured_table import open_pictured

HEADER = "Handle,Title,Vendor,Type,Option,Image Src\n"
EXPORT = HEADER + (
    "cup,A cup,Alba,Mugs,S,cup-0.png\ncup,,,,M,cup-1.png\ncup,,,,L,\n"
    "plate,A plate,,Plates,S,\nplate,,Bo,,M,plate-1.png\n"
    "bowl,A bowl,Alba,Bowls,,bowl-0.png\n"
)
PRODUCTS = [
    ["cup", "A cup", "Alba", "Mugs", "S", '["cup-0.png", "cup-1.png"]'],
    ["plate", "A plate", "Bo", "Plates", "S", "plate-1.png"],
    ["bowl", "A bowl", "Alba", "Bowls", "", "bowl-0.png"],
]


def read(folder, content, **settings):
    path = folder / "export.csv"
    path.write_text(content)
    return [list(row.values()) for row in rows_of(open_table(path, ExtractSettings(**settings)))]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 65_536])
def test_rows_of_one_handle_are_one_product_with_its_first_cells(tmp_path, monkeypatch, caplog, n_rows):
    """However batches cut the rows, as long as the first shows that there is something to join."""
    caplog.set_level(logging.INFO, "embed_once")
    (tmp_path / "export.csv").write_text(EXPORT)
    table = open_table(tmp_path / "export.csv")
    monkeypatch.setattr("embed.catalogue.formats.csv.BATCH_ROWS", n_rows)
    monkeypatch.setattr("embed.catalogue.formats.csv.PIECE_ROWS", n_rows)
    assert [list(row.values()) for row in rows_of(table)] == PRODUCTS
    assert "one Handle and no further Title are one product" in caplog.text
    assert "not empty, and all in Image Src: 6 rows, 3 products." in caplog.text


def test_pictures_of_all_rows_are_the_product_s(tmp_path):
    (tmp_path / "export.csv").write_text(EXPORT)
    first = read_catalogue(tmp_path / "export.csv")
    assert list(first.columns["Image Src"]) == ["cup-0.png", "plate-1.png", "bowl-0.png"]
    rows = read_catalogue(tmp_path / "export.csv", ExtractSettings(pictures="rows"))
    assert list(rows.columns["Image Src"]) == ["cup-0.png", "cup-1.png", "plate-1.png", "bowl-0.png"]
    assert list(rows.ids) == ["cup", "cup#2", "plate", "bowl"]


@pytest.mark.parametrize("template", [(), "images/{image}.png"])
def test_numbers_of_pictures_are_no_list_but_the_first_makes_a_path(tmp_path, caplog, template):
    caplog.set_level(logging.INFO, "embed_once")
    (tmp_path / "images").mkdir()
    for number in range(1, 7):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"x")
    rows = "id,title,image\ncup,A cup,1\ncup,,2\nplate,A plate,3\nplate,,4\nbowl,A bowl,5\nbowl,,6\n"
    (tmp_path / "export.csv").write_text(rows)
    table, settings = open_pictured(tmp_path / "export.csv", ExtractSettings(image_template=template))
    paths = [row[settings.image_column] for row in rows_of(table)]
    assert paths == ["images/1.png", "images/3.png", "images/5.png"]
    assert "with the first cell that is not empty: 6 rows" in caplog.text


def test_a_template_makes_paths_of_products_with_several_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("cup-0", "cup-1", "plate-1", "bowl-0"):
        (tmp_path / "images" / f"{name}.png").write_bytes(b"x")
    (tmp_path / "export.csv").write_text(EXPORT)
    table, settings = open_pictured(tmp_path / "export.csv", ExtractSettings(image_template="images/{Image Src}"))
    paths = [row[settings.image_column] for row in rows_of(table)]
    assert paths == ["images/cup-0.png", "images/plate-1.png", "images/bowl-0.png"]


def test_handles_are_the_ids_then(tmp_path):
    (tmp_path / "export.csv").write_text(EXPORT)
    catalogue = read_catalogue(tmp_path / "export.csv")
    assert catalogue.ids == ["cup", "plate", "bowl"]
    assert catalogue.roles == {"image": "Image Src", "text": "Title"}


def test_columns_that_are_asked_for_serve_so_too(tmp_path):
    content = EXPORT.replace("Handle,Title", "Code,Words")
    assert read(tmp_path, content, id_column="Code", text_column="Words") == PRODUCTS
    assert read(tmp_path, content, id_column="Code", text_columns="Words,Option") != PRODUCTS  # each row has an option


@pytest.mark.parametrize(
    "rows",
    [
        "cup,A cup,,,,\ncup,,,,,\nplate,A plate,,,,\nplate,Another,,,,\n",  # a title of its own
        "cup,,,,,\ncup,,,,,\nplate,,,,,\nplate,A plate,,,,\n",  # hardly any titles
    ],
)
def test_other_repeats_are_repeated_ids(tmp_path, rows):
    (tmp_path / "export.csv").write_text(HEADER.replace("Handle", "id") + rows)
    with pytest.raises(CatalogueError, match="each id to name one product"):
        read_catalogue(tmp_path / "export.csv", ExtractSettings(modalities=("text",)))


def test_a_handle_that_comes_back_later_is_a_repeated_id(tmp_path):
    (tmp_path / "export.csv").write_text(EXPORT + "cup,,,,XL,\n")
    with pytest.raises(CatalogueError, match="Handle of .* has 'cup' 2 times"):
        read_catalogue(tmp_path / "export.csv", ExtractSettings(id_column="Handle"))


def test_rows_without_id_are_never_joined(tmp_path):
    content = HEADER + ",A cup,,,,\n,,,,,\ncup,B,,,,\ncup,,,,,\n"
    assert len(read(tmp_path, content)) == 4
