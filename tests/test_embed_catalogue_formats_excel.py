"""Excel's workbooks: the cells as one would write them, and named errors for what is none."""

import datetime
import logging
import sys
from pathlib import Path

import pytest
from formats import rows_of

from embed import CatalogueError, ExtractSettings, read_catalogue
from embed.catalogue.open_table import open_table

OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def write(rows, path="c.xlsx", *, sheets=()):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name in sheets:
        book.create_sheet(name).append(["other"])
    book.save(path)
    return Path(path)


def test_cells_are_read_as_one_would_write_them():
    day, minute = datetime.date(2020, 12, 31), datetime.datetime(2020, 12, 31, 10, 30)
    path = write(
        [
            [None, None], ["id", "text", "price", "day", "at", "sold", "note"],
            ["007", "red\n 12\" cup", 9.5, day, minute, True, None], [8, "NA", 2012.0, None, None, False, "x"],
            [None, None], [9, "=1+1", 12345678901],
        ]
    )  # fmt: skip
    one, two, three = rows_of(open_table(path))
    assert one == {
        "id": "007", "text": 'red\n 12" cup', "price": "9.5", "day": "2020-12-31", "at": "2020-12-31 10:30:00",
        "sold": "true", "note": "",
    }  # fmt: skip
    assert list(two.values()) == ["8", "NA", "2012", "", "", "false", "x"]
    assert (three["text"], three["price"]) == ("", "12345678901"), "a formula nobody computed has no result"


def test_an_excel_file_is_known_by_its_bytes_too():
    path = write([["id", "text"], [1, "red"]])
    assert rows_of(open_table(path.rename("c.csv"))) == [{"id": "1", "text": "red"}]


def test_the_first_sheet_is_read_and_the_others_are_told(caplog):
    caplog.set_level(logging.INFO, "embed_once")
    path = write([["id", "text"], [1, "red"]], sheets=["Old", "Notes"])
    assert len(rows_of(open_table(path))) == 1
    assert "the first sheet is read, Sheet; it has Old, Notes, too." in caplog.text


@pytest.mark.parametrize("first", [[], [["This file lists our products"]]], ids=["empty", "a title"])
def test_a_first_sheet_without_rows_is_passed_over(caplog, first):
    caplog.set_level(logging.INFO, "embed_once")
    path = write(first)
    book = pytest.importorskip("openpyxl").load_workbook(path)
    for row in [["id", "text"], [1, "red"]]:
        (book["Products"] if "Products" in book.sheetnames else book.create_sheet("Products")).append(row)
    book.save(path)
    assert rows_of(open_table(path)) == [{"id": "1", "text": "red"}]
    assert "the first sheet with rows is read, Products; it has Sheet, too." in caplog.text


def test_a_first_sheet_with_a_header_alone_is_read():
    path = write([["sku", "title", "price"]])
    book = pytest.importorskip("openpyxl").load_workbook(path)
    for row in [["code", "name"], ["1", "mug"]]:
        (book["Categories"] if "Categories" in book.sheetnames else book.create_sheet("Categories")).append(row)
    book.save(path)
    assert open_table(path).columns == ["sku", "title", "price"]


def test_rows_longer_than_the_header_are_bad():
    path = write([["id", "text"], [1, "red"], [2, "b", "c"], [3, "blue"]])
    table = open_table(path)
    assert [row["id"] for row in rows_of(table)] == ["1", "3"]
    assert table.bad_lines.shown() == "row 3 has 3 cells and the header 2"
    with pytest.raises(CatalogueError, match="row 3 has 3 cells"):
        rows_of(open_table(path, ExtractSettings(bad_lines="error")))


def test_rows_above_the_header_are_left_out_and_told(caplog):
    caplog.set_level(logging.INFO, "embed_once")
    products = [[n, f"cup {n}", 9.5, "mug"] for n in range(5)]
    path = write([["Export of May"], [None], ["by", "Ann"], ["SKU", "Title", "Price", "Category"], *products])
    table = open_table(path)
    assert table.columns == ["SKU", "Title", "Price", "Category"]
    assert [row["SKU"] for row in rows_of(table)] == list("01234")
    assert "What stands above the header of c.xlsx is left out, 2 rows: Export of May, by Ann." in caplog.text


def test_a_shop_s_rows_are_joined_here_too():
    path = write([["Handle", "Title", "Image Src"], ["a", "Cup", "1.png"], ["a", None, "2.png"], ["b", "Bowl", None]])
    assert read_catalogue(path).ids == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "its first sheet is empty"), ([["id", "id"], [1, 2]], "repeats id"), ([["id", "text"]], "to have rows")],
)
def test_a_sheet_without_products_is_a_named_error(rows, message):
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(write(rows), ExtractSettings(modalities=("text",)))


def test_a_cut_workbook_is_a_named_error():
    path = write([["id", "text"], [1, "red"]])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CatalogueError, match="to be an Excel workbook, but it is not, or not whole"):
        open_table(path)


@pytest.mark.parametrize("name", ["c.xls", "c.xlsx", "c.csv"])
def test_the_old_format_and_one_with_a_password_say_what_they_are(name):
    Path(name).write_bytes(OLD)
    with pytest.raises(CatalogueError, match=r"Excel's old format \(\.xls\), or has a password"):
        open_table(name)


def test_a_table_of_text_called_xls_is_read():
    Path("c.xls").write_text("id\ttext\n1\tred\n")
    assert rows_of(open_table("c.xls")) == [{"id": "1", "text": "red"}]


def test_without_openpyxl_the_package_is_named(monkeypatch):
    Path("c.xlsx").write_bytes(b"PK\x03\x04")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(CatalogueError, match="Excel catalogues need the package openpyxl: pip install openpyxl"):
        open_table("c.xlsx")
