"""Pictures that cells name by URLs, paths of other machines and other suffixes, and what guesses do beside them."""

from __future__ import annotations

import pytest
from formats import rows_of
from support import image_bytes, write_catalogue

from embed import ExtractSettings
from embed.catalogue.pictures.pictured_table import open_pictured


def pictures_of(path):
    table, settings = open_pictured(path, ExtractSettings())
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
