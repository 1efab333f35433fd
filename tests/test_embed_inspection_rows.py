"""Inspection looks at the rows and texts that extraction would take, and is bounded in bytes, not only in cells."""

from __future__ import annotations

import errno
import logging
import tarfile
from pathlib import Path

import pytest
from browser import opened
from formats import WRITERS, add_member, write_parquet_struct
from support import image_bytes, invoke, write_catalogue

import embed.extraction.extract_catalogue
import embed.inspection.cost_sample
from embed import ExtractSettings, InspectSettings, SettingError, inspect
from embed.catalogue.catalogue import read_catalogue
from embed.commands.inspect import inspect as command
from embed.errors import CatalogueError
from embed.inspection.page import write_page
from embed.inspection.recommendations import list_findings
from embed.inspection.terminal import render_text

ROWS = [
    {
        "id": str(n),
        "title": f"Blue  shirt {n // 4}!",
        "description": ["", "cotton"][n % 2],
        "kind": "ab"[n % 2 or n == 6],
    }
    for n in range(12)
]


def look(path, *, deep=False, estimate=False, n_products=24, label=None, **options):
    settings = InspectSettings(
        extract=ExtractSettings(**options), estimate=estimate, deep=deep, n_products=n_products, label=label
    )
    return inspect(path, settings=settings)


def sentences(inspection):
    return " ".join(finding.text for finding in list_findings(inspection))


# Which rows, and which text


def test_columns_are_those_that_extraction_takes(tmp_path):
    rows = [{"id": str(n), "title": "", "Name": f"cup {n}", "label": "", "category": "ab"[n % 2]} for n in range(4)]
    path = write_catalogue(tmp_path, rows)
    assert look(path).roles == {"id": "id", "text": "Name", "label": "category"}
    assert read_catalogue(path, ExtractSettings(modalities=("text",))).roles["text"] == "Name"


def test_rows_are_those_that_extraction_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("embed.catalogue.formats.csv.BATCH_ROWS", 5)
    monkeypatch.setattr("embed.catalogue.formats.csv.PIECE_ROWS", 5)
    path = write_catalogue(tmp_path, ROWS)
    inspection = look(path, where="kind == 'a'", modalities=("text",))
    taken = read_catalogue(path, ExtractSettings(where="kind == 'a'", modalities=("text",)))
    assert (inspection.n_rows, inspection.n_read) == (5, 12)
    assert sorted(product.id for product in inspection.products) == sorted(taken.ids) == ["0", "10", "2", "4", "8"]
    assert all(product.row == int(product.id) for product in inspection.products)
    assert inspection.columns[3].common == [("a", 5)]
    # Of the rows 0 2 4 8 10 the texts are 0 0 1 2 2; the rows are those of the table, the third pair's first is 8.
    assert [(one.row, one.n_rows) for one in inspection.text.repeats.largest] == [(0, 2), (8, 2)]
    assert "of 12 rows, where kind == 'a'" in render_text(inspection)
    assert (
        "12 rows those where <code>kind == &#39;a&#39;</code>"
        in write_page(inspection, tmp_path / "page.html").read_text()
    )


def test_pictures_are_those_of_the_rows_that_are_taken(tmp_path):
    rows = [{"image": f"{n % 3}.png", "kind": "ab"[n > 3]} for n in range(9)]
    path = write_catalogue(tmp_path, rows, {f"{n}.png": image_bytes((n, 0, 0)) for n in range(3)})
    inspection = look(path, where="kind == 'b'")
    assert inspection.pictures.n_looked_at == 5  # rows 4 to 8, of the pictures 1 2 0 1 2
    assert [(one.row, one.n_rows) for one in inspection.pictures.repeats.largest] == [(4, 2), (5, 2)]
    assert [product.id for product in inspection.products] == [""] * 5


def test_condition_that_leaves_nothing_is_an_error(tmp_path):
    path = write_catalogue(tmp_path, ROWS)
    with pytest.raises(CatalogueError, match="--where to leave products, but of 12 in .* none is left"):
        look(path, where="kind == 'c'")
    with pytest.raises(SettingError, match="colour is none of the columns"):
        look(path, where="colour == 'c'")


def test_texts_are_joined_and_cleaned_as_extraction_does(tmp_path):
    path = write_catalogue(tmp_path, ROWS)
    inspection = look(path, text_columns="title,description", clean_text=True)
    assert inspection.roles["text"] == "title, description"
    assert inspection.text.column == "title, description"
    assert inspection.text.repeats.n_distinct == 6  # three titles, with and without the description
    # "blue shirt 0" and "blue shirt 0 cotton", with two special tokens; uncleaned the signs would count
    assert inspection.text.lengths == {5: 6, 6: 6}
    assert [(column.name, column.role) for column in inspection.columns] == [
        ("id", "id"), ("title", "text"), ("description", "text"), ("kind", "")
    ]  # fmt: skip
    assert {product.title for product in inspection.products} >= {"Blue  shirt 0!", "Blue  shirt 0!. cotton"}


def test_column_of_texts_that_is_named_alone_stays_as_it_is_written(tmp_path):
    rows = [{"id": str(n), "title": " padded "} for n in range(3)]
    inspection = look(write_catalogue(tmp_path, rows), text_columns="title")
    assert (inspection.roles["text"], inspection.columns[1].n_padded) == ("title", 3)
    assert inspection.text.repeats.n_distinct == 1


def test_text_column_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CatalogueError, match=r"--text-columns: expected one of .*got 'name'"):
        look(write_catalogue(tmp_path, ROWS), text_columns="title,name")


@pytest.mark.parametrize("asked", [{"sample": 5}, {"per_class": 2, "label": "kind"}])
def test_so_many_products_are_refused(asked):
    with pytest.raises(SettingError, match="to be None for an inspection, .*where takes some"):
        InspectSettings(extract=ExtractSettings(**asked))


def test_command_takes_texts_and_a_condition(tmp_path):
    path = write_catalogue(tmp_path, ROWS)
    options = ["--text-columns", "title,description", "--clean-text", "--where", "kind == 'b'", "--no-estimate"]
    done = invoke(command, path, "--no-html", *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("7 rows, 4 columns")
    assert "text: title, description" in done.stdout


# Pictures inside other files


def write_shard(folder, rows):
    """Write products of (id, colour, text), each with its picture, into a shard."""
    with tarfile.open(folder / "shard-000.tar", "w") as tar:
        for name, colour, text in rows:
            add_member(tar, f"{name}.png", image_bytes(colour))
            add_member(tar, f"{name}.txt", text.encode())
    return folder / "shard-000.tar"


def test_names_of_pictures_in_a_shard_make_no_rows_unlike(tmp_path):
    path = write_shard(tmp_path, [("a", "red", "shoe"), ("b", "red", "shoe"), ("c", "blue", "hat")])
    inspection = look(path)
    assert (inspection.repeated_rows.n_surplus, inspection.not_in_rows) == (1, ["id", "image"])
    assert "the same in every column, but for the id and the picture" in sentences(inspection)
    assert "compared apart" in sentences(inspection)
    assert "rows, but for the id and the picture" in render_text(inspection)
    assert "pictures stand inside other files" in write_page(inspection, tmp_path / "page.html").read_text()


def test_names_of_pictures_in_a_table_make_no_rows_alike(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    rows = [{"id": str(n), "image": "same.png", "text": f"shoe {n}", "label": "x"} for n in range(3)]
    inspection = look(write_parquet_struct(tmp_path, rows, {"same.png": image_bytes()}))
    assert (inspection.repeated_rows.n_surplus, inspection.not_in_rows) == (0, ["id", "image"])


def test_rows_of_nothing_but_pictures_are_not_compared(tmp_path):
    with tarfile.open(tmp_path / "shard-000.tar", "w") as tar:
        for name in "ab":
            add_member(tar, f"{name}.png", image_bytes("red"))
    inspection = look(tmp_path / "shard-000.tar")
    assert (inspection.repeated_rows.n_rows, inspection.pictures.repeats.n_surplus) == (0, 1)


def test_rows_of_a_catalogue_of_files_are_compared_with_their_pictures(tmp_path):
    rows = [{"image": f"{n}.png", "text": "shoe"} for n in range(3)]
    inspection = look(write_catalogue(tmp_path, rows))
    assert (inspection.repeated_rows.n_surplus, inspection.not_in_rows) == (0, [])
    assert "\nrows " in render_text(inspection)


def test_pictures_of_a_table_are_read_row_by_row(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from embed.catalogue.formats.parquet_pictures import ParquetPictures

    rows = [{"id": f"{n:03}", "image": f"{n}.png", "text": "", "label": f"c{n % 3}"} for n in range(300)]
    path = WRITERS["parquet with structs"](
        tmp_path, rows, {f"{n}.png": image_bytes((n % 256, n // 256, 0)) for n in range(300)}
    )
    tasks = []

    def in_turn(function, blocks, **_):
        for block in blocks:
            tasks.append(len(block))
            yield function(block)

    monkeypatch.setattr("embed.extraction.thread_map.ordered_map", in_turn)
    inspection = look(path)
    assert set(tasks) == {1}
    read = []
    value = ParquetPictures.value
    monkeypatch.setattr(ParquetPictures, "value", lambda self, row: read.append(row) or value(self, row))
    page = write_page(inspection, tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 24
    assert len(read) == 24
    assert read == sorted(read)  # the cards' pictures, too, are read in the table's order
    labels = [product.label for product in inspection.products]
    assert labels == sorted(labels)  # and shown by their labels


# Notes and lines


def test_notes_are_said_once(tmp_path, caplog):
    path = tmp_path / "data.csv"
    path.write_text("id;title\n1;a\n2;a\n3;a;b\n4;c\n")
    with caplog.at_level(logging.INFO, logger="embed_once"):
        inspection = look(path)
    assert inspection.text.repeats.n_surplus == 1  # so that rows are read a second time
    assert len(caplog.messages) == len(set(caplog.messages)) == 1
    assert inspection.n_bad_lines == 1
    assert "1 line could not be read: line 4 has 3 cells" in sentences(inspection)


def test_members_of_a_shard_are_called_members(tmp_path):
    with tarfile.open(tmp_path / "shard-000.tar", "w") as tar:
        for _ in range(3):
            add_member(tar, "a.txt", b"shoe")
    inspection = look(tmp_path / "shard-000.tar")
    assert (inspection.n_bad_lines, inspection.bad_unit) == (2, "member")
    assert "2 members could not be read: member 2 of shard-000.tar" in sentences(inspection)


# Cost


@pytest.fixture
def samples(monkeypatch):
    """The settings and the texts, pictures and bytes of samples whose estimate was asked for; it has none."""
    asked = []

    def estimate(path, cache_path, *, settings):
        catalogue = read_catalogue(path, settings)
        pictures = [Path(cell) for cell in catalogue.cells("image") if cell] if "image" in catalogue.roles else []
        asked.append((settings, catalogue.cells("text"), sum(picture.stat().st_size for picture in pictures)))
        return embed.extraction.estimate.Estimate(cache_path, 0, [], 0, 0, 0)

    monkeypatch.setattr(embed.extraction.extract_catalogue, "estimate", estimate)
    return asked


def test_sample_is_read_whatever_the_catalogue_is_read_with(tmp_path, samples):
    path = tmp_path / "data.csv"
    path.write_text("sku;name;more\n1;A shirt!;red\n2;hat;\n3;shoe;\n")
    inspection = look(
        path, estimate=True, delimiter=";", where="sku != 3", id_column="sku", text_columns="name,more",
        clean_text=True, bad_lines="error",
    )  # fmt: skip
    assert inspection.cost.reason == "no content of the sample could be read"  # which is all that this estimate finds
    [(settings, texts, _)] = samples
    assert texts == ["A shirt!. red", "hat"]
    assert settings.clean_text
    assert inspection.text.repeats.n_distinct == 2


def test_sample_of_pictures_inside_other_files_has_so_many_bytes(tmp_path, samples, monkeypatch):
    path = write_shard(tmp_path, [(f"{n}", (n, 0, 0), f"shoe {n}") for n in range(20)])
    size = len(image_bytes((7, 0, 0)))
    monkeypatch.setattr(embed.inspection.cost_sample, "SAMPLE_BYTES", 3 * size)
    look(path, estimate=True)
    [(_, texts, n_bytes)] = samples
    assert len(texts) == 20
    assert 3 * size <= n_bytes <= 5 * size


def test_full_temporary_folder_is_a_reason_and_no_crash(tmp_path, monkeypatch):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(embed.inspection.cost_sample, "_write_sample", write)
    inspection = look(write_catalogue(tmp_path, ROWS), estimate=True)
    assert "No space left on device" in inspection.cost.reason
    assert "TMPDIR" in inspection.cost.reason


# The page


@pytest.mark.slow
def test_table_of_columns_fits_a_window(tmp_path):
    rows = [
        {"id": str(n), "base colour": "x" * 39 + "abcdefghij"[n % 10], "season": f"season of the year {n % 5}",
         "a name of a column that is long": "y" * 200 + str(n), "price": f" {n}.50"}
        for n in range(40)
    ]  # fmt: skip
    path = write_page(look(write_catalogue(tmp_path, rows)), tmp_path / "page.html")
    with opened(path, width=1200) as page:
        table = page.locator("#columns ~ .wide").first
        assert "commonest" in table.inner_text()
        assert table.evaluate("box => box.scrollWidth - box.clientWidth") == 0
