"""What is said of a catalogue that is not there, is several files, or lacks what is to be encoded."""

from __future__ import annotations

import zipfile

import pytest
from support import image_bytes, write_catalogue

from embed import CatalogueError, ExtractSettings, extract, inspect, read_catalogue
from embed.inspection.inspection_settings import InspectSettings
from embed.inspection.recommendations import list_findings


def test_where_a_catalogue_is_not_there_the_tables_beside_it_are_named(tmp_path):
    (tmp_path / "train.csv").write_text("id\n1\n")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CatalogueError, match=r"data.csv is not there. Name it after the command. There is train.csv."):
        read_catalogue(tmp_path / "data.csv", ExtractSettings())
    with pytest.raises(CatalogueError, match=r"Name it after the command.$"):
        read_catalogue(tmp_path / "no" / "data.csv", ExtractSettings())


def test_an_archive_of_several_files_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("data.csv", "id\n1\n")
        file.writestr("1.jpg", "")
    with pytest.raises(CatalogueError, match=r"holds several files. Unpack it, and name the table in it, or the"):
        read_catalogue(tmp_path / "all.zip", ExtractSettings())


def test_what_a_mac_puts_beside_a_table_in_an_archive_is_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.csv.zip", "w") as file:
        file.writestr("shop/data.csv", "id,title\n1,Tässe\n")
        file.writestr("__MACOSX/shop/._data.csv", b"\0\5\x16\7")
        file.writestr("shop/.DS_Store", b"\0")
    catalogue = read_catalogue(tmp_path / "data.csv.zip", ExtractSettings(modalities=("text",)))
    assert (catalogue.ids, list(catalogue.cells("text"))) == (["1"], ["Tässe"])


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("cp1252", r"'T\\xeftulo'. Of a CSV or JSON file, --encoding cp1252 reads that"), ("cp1251", "Name the encoding")],
)
def test_a_header_that_is_not_unicode_names_the_likely_encoding(tmp_path, encoding, said):
    name = {"cp1252": "Tïtulo", "cp1251": "Наименование"}[encoding]
    (tmp_path / "data.csv").write_bytes(f"id,{name}\n1,x\n".encode(encoding))
    with pytest.raises(CatalogueError, match=said):
        read_catalogue(tmp_path / "data.csv", ExtractSettings())


def test_pictures_that_are_addresses_alone_are_not_asked_for_in_a_folder(tmp_path):
    rows = [{"id": f"{n}", "title": "a mug", "image": f"https://x.example/{n}.jpg"} for n in range(20)]
    findings = list_findings(inspect(write_catalogue(tmp_path, rows), settings=InspectSettings(estimate=False)))
    assert any("20 url. Nothing is fetched" in one.text for one in findings)


def test_a_column_with_blanks_in_its_name_is_quoted_for_the_shell(tmp_path):
    rows = [
        {"id": f"{n}", "title": f"mug {n}", "item group id": f"{n // 2}", "label": f"{n // 2 % 3}"} for n in range(80)
    ]
    findings = list_findings(inspect(write_catalogue(tmp_path, rows), settings=InspectSettings(estimate=False)))
    assert any("--group-column 'item group id' to heads-train" in one.text for one in findings)


def test_a_catalogue_of_neither_pictures_nor_texts_is_not_told_to_do_without_one(tmp_path):
    path = write_catalogue(tmp_path, [{"id": "1", "price": "5"}, {"id": "2", "price": "6"}])
    with pytest.raises(CatalogueError, match=r"or name the texts: --text-column."):
        extract(path, tmp_path / "c.h5")
    path = write_catalogue(tmp_path, [{"id": "1", "title": "a mug"}, {"id": "2", "title": "a rug"}])
    with pytest.raises(CatalogueError, match=r"or do without: --modalities text."):
        extract(path, tmp_path / "c.h5")
    findings = list_findings(inspect(path, settings=InspectSettings(estimate=False)))
    assert any(
        "--image-column names it, --modalities text of embed-extract does without." in one.text for one in findings
    )


def test_columns_that_may_be_texts_are_named_where_none_has_a_usual_name(tmp_path):
    rows = [{"id": f"{n}", "image": f"{n}.png", "Bezeichnung": f"red mug {n}"} for n in range(20)]
    path = write_catalogue(tmp_path, rows, {f"{n}.png": image_bytes((n, 7, 9)) for n in range(20)})
    with pytest.raises(CatalogueError, match=r"Name it with --text-column \(Bezeichnung may be one\), or do without"):
        extract(path, tmp_path / "c.h5")
    findings = list_findings(inspect(path, settings=InspectSettings(estimate=False)))
    assert any("does without. Bezeichnung may be one." in one.text for one in findings)


def test_columns_of_lists_and_objects_are_named_in_one_line(tmp_path, caplog):
    caplog.set_level("INFO", "embed_once")
    (tmp_path / "data.jsonl").write_text('{"id": "1", "title": "a", "tags": ["b"], "size": {"cm": 5}}\n' * 2)
    inspect(tmp_path / "data.jsonl", settings=InspectSettings(estimate=False))
    assert caplog.text.count("no plain cells") == 1
    assert "Columns tags, size of" in caplog.text


@pytest.mark.parametrize(
    "content", ["<html><table><tr><td>id", "\n<?xml version='1.0'?>\n<html><body/></html>", "<!DOCTYPE html>\n"]
)
def test_pages_that_are_called_tables_are_told_apart(tmp_path, content):
    (tmp_path / "export.xls").write_text(content)
    with pytest.raises(CatalogueError, match="is (a page of )?HTML, whatever its name says"):
        read_catalogue(tmp_path / "export.xls")


def test_ids_that_a_spreadsheet_cut_are_told(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("sku,text\n4.00638E+12,a\n4.00638E+12,b\n")
    with pytest.raises(CatalogueError, match=r"has cut them to 4.00638E\+12: export the column as text\.$"):
        read_catalogue(path, ExtractSettings(modalities=("text",)))
    (finding,) = [
        one for one in list_findings(inspect(path, settings=InspectSettings(estimate=False))) if "repeated" in one.text
    ]
    assert finding.text.endswith("export the column as text.")


def test_a_table_without_a_header_is_told_by_its_first_picture(tmp_path):
    path = tmp_path / "data.csv"
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(image_bytes())
    path.write_text("1,red mug,1.png\n2,blue mug,2.png\n")
    with pytest.raises(CatalogueError, match=r"1.png is a picture that is there.* Write a line of names above it"):
        read_catalogue(path)
    path.write_text("id,text,1.png\n2,blue mug,2.png\n")
    (tmp_path / "1.png").unlink()
    assert read_catalogue(path, ExtractSettings(image_column="1.png")).roles["image"] == "1.png"


@pytest.mark.parametrize("content", ["1 mug/1.jpg\n2 mug/2.jpg\n", "mug/1.jpg,4\nrug/2.jpg,5\n"])
def test_a_table_without_a_header_is_told_by_pictures_below_one_wherever_they_are(tmp_path, content):
    path = tmp_path / "images.txt"
    path.write_text(content)
    with pytest.raises(CatalogueError, match=r"mug/1.jpg is a picture's name, as [mr]ug/2.jpg below it is"):
        read_catalogue(path)
