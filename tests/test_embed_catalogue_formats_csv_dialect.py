"""What separates the cells of a CSV file, and how quotes are written in them: said in it, agreed on, or asked for."""

import csv
import io
import logging
from pathlib import Path

import pytest
from formats import rows_of

from embed import CatalogueError, ExtractSettings, SettingError
from embed.catalogue.formats.csv_dialect import find_dialect
from embed.catalogue.open_table import open_table


def read(content, *, name="c.csv", encoding="utf-8", **settings):
    Path(name).write_bytes(content.encode(encoding))
    table = open_table(name, ExtractSettings(**settings))
    return rows_of(table), table.bad_lines


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;", "\nsep=;"])
def test_excel_s_first_line_names_the_delimiter(line, end):
    rows, bad_lines = read(f"{line}\nid;text\n1;red, 9,90\n2;x;y\n".replace("\n", end))
    assert rows == [{"id": "1", "text": "red, 9,90"}]
    assert [number for number, _ in bad_lines.examples] == [4 + (line[0] == "\n")]


def test_a_tab_may_be_named_so_too():
    assert read("sep=\t\nid\ttext\n1\ta,b\n")[0] == [{"id": "1", "text": "a,b"}]


def test_what_is_asked_for_wins_over_the_first_line():
    assert read("sep=;\nid|text\n1|a;b\n", delimiter="|")[0] == [{"id": "1", "text": "a;b"}]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ('"Price, EUR";id;text\n9,90;1;red\n', ["Price, EUR", "id", "text"]),
        ('id;text;"Price, EUR"\n1;"red; blue";9,90\n2;green, grey, blue;8\n', ["id", "text", "Price, EUR"]),
        ("id;Price, EUR;text\n1;9,90;red\n2;8,90;blue\n", ["id", "Price, EUR", "text"]),
        ("id\tsize, cm\ttext\n1\t9,5\tred, blue\n", ["id", "size, cm", "text"]),
        ('id,a|b,text\n1,c|d,"red, blue"\n2,e|f,x\n', ["id", "a|b", "text"]),
        ('id,"a;b;c;d",text\n1,x,red\n', ["id", "a;b;c;d", "text"]),
        ('id|"text, long"\n1|"two\nlines, here"\n', ["id", "text, long"]),
        ("id,text\n", ["id", "text"]),
        ("text\nred\nblue\n", ["text"]),
    ],
)
def test_the_delimiter_is_what_header_and_lines_agree_on(content, columns):
    Path("c.csv").write_text(content)
    assert open_table("c.csv").columns == columns


def test_one_bad_line_of_many_changes_no_delimiter():
    """Bars agree on all lines, and commas on all but one; commas give more cells."""
    lines = ["id,a|b,text", *(f"{n},c|d,red" for n in range(9)), "9,c|d,red,too many"]
    rows, bad_lines = read("\n".join(lines) + "\n")
    assert len(rows) == 9
    assert bad_lines.count == 1


# Escaped quotes

ESCAPED = 'id,text\n1,"a 12\\" screen, wide"\n2,plain\n3,"\\"quoted\\""\n4,"ends in \\\\"\n'
READ = ['a 12" screen, wide', "plain", '"quoted"', "ends in \\"]


def test_quotes_behind_backslashes_are_found_and_told(caplog):
    caplog.set_level(logging.INFO, "embed_once")
    rows, bad_lines = read(ESCAPED)
    assert [row["text"] for row in rows] == READ
    assert bad_lines.count == 0
    assert 'Quotes in cells of c.csv are written \\"' in caplog.text


def test_what_another_program_writes_is_read_back():
    written = io.StringIO()
    rows = [["id", "text"], ["1", 'a 12" screen, "wide"\nand new'], ["2", "back\\slash"], ["3", 'ends in "']]
    csv.writer(written, escapechar="\\", doublequote=False).writerows(rows)
    found, _ = read(written.getvalue(), escape="\\")
    assert [list(row.values()) for row in found] == rows[1:]


@pytest.mark.parametrize(
    "content",
    [
        'id,text\n1,"images\\"\n2,"b\\"\n',  # a backslash that ends a cell, in the usual way
        'id,text\n1,"a ""12\\"" screen"\n2,b\n',
        'id,text\n1,"a 12\\" screen, wide"\n2,images\\b.png\n',  # a path, whose backslashes an escape would take
    ],
)
def test_backslashes_that_may_be_others_are_left_alone(content, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    read(content)
    assert "Quotes in cells" not in caplog.text


def test_a_line_that_an_escape_would_mend_says_so():
    rows, bad_lines = read('id,text\n1,"a 12\\" screen, wide"\n2,images\\b.png\n')
    assert [row["id"] for row in rows] == ["2"]
    assert "--escape '\\' reads it so" in bad_lines.shown()
    rows, _ = read('id,text\n1,"a 12\\" screen, wide"\n2,b\n', escape="\\")
    assert [row["text"] for row in rows] == ['a 12" screen, wide', "b"]


def test_another_sign_may_escape_and_none_turns_it_off():
    assert read('id,text\n1,"a ~"b~", c"\n', escape="~")[0] == [{"id": "1", "text": 'a "b", c'}]
    assert read(ESCAPED + "5,e\n6,f\n", escape="none")[1].count == 1


@pytest.mark.parametrize(("escape", "delimiter"), [("", None), ("ab", None), ('"', None), ("\n", None), ("|", "|")])
def test_what_cannot_escape_is_a_named_error(escape, delimiter):
    with pytest.raises(SettingError, match="--escape: expected one character, or none"):
        ExtractSettings(escape=escape, delimiter=delimiter)


PRODUCTS = "".join(f"{n};cup no {n}, blue;{n},50;mug\n" for n in range(1, 9))


@pytest.mark.parametrize(
    "titles",
    [
        "Product export 2026-11-01\n\n",
        "Product export, as of May;;;\n;;;\n",
        '"Export ""all"""\nShop;Berlin\n\n',
        "sep=;\nExport of all\n",
        "Product export, as of May\n\n",
    ],
    ids=["a line", "padded", "quoted", "behind sep", "with a comma"],
)
def test_lines_above_the_header_are_left_out_and_told(tmp_path, caplog, titles):
    caplog.set_level("INFO", "embed_once")
    path = tmp_path / "c.csv"
    path.write_text(f"{titles}id;title;price;label\n{PRODUCTS}9;too few\n")
    table = open_table(path)
    rows = rows_of(table)
    assert table.columns == ["id", "title", "price", "label"]
    assert rows[0] == {"id": "1", "title": "cup no 1, blue", "price": "1,50", "label": "mug"}
    assert len(rows) == 8
    n_lines = titles.count("\n") + 10
    assert table.bad_lines.shown() == f"line {n_lines} has 2 cells and the header 4"
    assert "What stands above the header of" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "text;n\nTasse, rot, gross;5\nBecher, blau, klein;6\nTeller, gelb, fein;7\n",
        "id;text;label\n1;cup;mug\n2;bowl;mug\n",
        "id;;\n1;cup;mug\n2;bowl;mug\n3;bowl;mug\n",
        "A\n\nid;text;label\n1;cup;mug;x\n2;bowl;mug;x\n",
        "sku;title;;\nA1;cup a;blue;small\nB2;cup b;red;small\nC3;cup c;blue;tall\n",
        "code;what;;\nA1;cup a;blue;small\nB2;cup b;red;small\nC3;cup c;blue;tall\n",
        "text,label\nred mug, big, shiny,mug\nred mug, small, shiny,mug\nred mug, tall, shiny,mug\n",
        "Preis;\nname;label\n",
    ],
    ids=[
        "commas in texts",
        "plain",
        "numbers",
        "longer rows",
        "nameless columns",
        "other names",
        "unquoted commas",
        "one product",
    ],
)
def test_a_header_is_no_title(tmp_path, content):
    path = tmp_path / "c.csv"
    path.write_text(content)
    assert find_dialect(path, "utf-8", ExtractSettings()).n_titles == 0


@pytest.mark.parametrize(
    "header", ["No;title;label", ";title;label", "2024;title;label", "title;label"], ids=["No", "index", "year", "two"]
)
def test_a_header_below_a_title_need_not_be_words_alone(tmp_path, header):
    path = tmp_path / "c.csv"
    path.write_text(f"Product export\n\n{header}\n" + ("7;cup, red;mug" if header.count(";") > 1 else "cup;mug") + "\n")
    assert find_dialect(path, "utf-8", ExtractSettings()).n_titles == 1
    assert rows_of(open_table(path))[0]["label"] == "mug"


@pytest.mark.parametrize(
    "content",
    [
        'id, "text", label\n1, "red, blue", mug\n2, "green", cup\n',
        '"id", "text", "label"\n"1", "red, blue", "mug"\n"2", "green", "cup"\n',
    ],
)
def test_blanks_before_quotes_are_none_of_the_cell(content):
    assert read(content)[0] == [
        {"id": "1", "text": "red, blue", "label": "mug"}, {"id": "2", "text": "green", "label": "cup"}
    ]  # fmt: skip


def test_blanks_before_cells_without_quotes_stay():
    assert read("id, text\n1, red\n")[0] == [{"id": "1", "text": " red"}]


def test_a_delimiter_behind_the_last_cell_of_each_row_makes_an_empty_column():
    rows, bad_lines = read("id;text;\n1;red;\n")
    assert read("id;text\n1;red;\n2;blue;\n\n") == ([*rows, {"id": "2", "text": "blue", "Unnamed: 2": ""}], bad_lines)
    with pytest.raises(CatalogueError, match="Most have 3 cells where the header has 2"):
        read("id;text\n1;red;9\n2;blue;8\n")


SETTINGS = ["TemplateType=fptcustom", "Version=2023.1234"]
FOR_PEOPLE = ["Seller SKU", "Product Name", "Product Type", "Main Image URL", "Standard Price"]
FIELDS = ["item_sku", "item_name", "feed_product_type", "main_image_url", "standard_price"]
ITEMS = [[f"{n}", f"cup no {n}", "mug", f"https://x.y/{n}.jpg", "1.50"] for n in range(1, 9)]


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize(
    "above", [[SETTINGS, FOR_PEOPLE], [FOR_PEOPLE], [SETTINGS, ["SKU", "Produktname", "Art", "Bild", "Preis"]]]
)
def test_field_names_below_names_for_people_are_the_header(caplog, above, delimiter):
    """As marketplaces have templates: names for people were a header, and field names a product."""
    caplog.set_level("INFO", "embed_once")
    with Path("c.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([*above, FIELDS, *ITEMS])
    table = open_table("c.csv")
    assert table.columns == FIELDS
    assert [row["item_sku"] for row in rows_of(table)] == [item[0] for item in ITEMS]
    assert "is left out" in caplog.text


def test_a_name_with_a_colon_above_the_header_is_no_column_s():
    rows, _ = read("Category:,Shoes\nSKU,Title,Image,Price\n1,red,1.jpg,5\n2,blue,2.jpg,6\n")
    assert [row["Title"] for row in rows] == ["red", "blue"]


def test_a_first_product_is_no_row_of_field_names():
    rows, _ = read("id,text,category\nA_1,photo,label\nA_2,photo,photo\nA_3,mug,mug\n")
    assert [row["id"] for row in rows] == ["A_1", "A_2", "A_3"]


def test_lists_of_pictures_are_separated_by_blanks(caplog):
    """As Stanford Online Products and DeepFashion write them, the latter with a count above the header."""
    caplog.set_level("INFO", "embed_once")
    rows, _ = read("image_id class_id path\n1 7 mug_final/1.JPG\n2 7 mug_final/2.JPG\n", name="train.txt")
    assert rows == [
        {"image_id": "1", "class_id": "7", "path": "mug_final/1.JPG"},
        {"image_id": "2", "class_id": "7", "path": "mug_final/2.JPG"},
    ]
    assert "The cells of train.txt are separated by blanks." in caplog.text
    lines = [f"{name:<20}{number}  \n" for number, name in enumerate(("img/a/1.jpg", "img/longer/2.jpg"))]
    rows, bad_lines = read(f"2\nimage_name  category_label\n{''.join(lines)}", name="list.txt")
    assert rows == [
        {"image_name": "img/a/1.jpg", "category_label": "0"},
        {"image_name": "img/longer/2.jpg", "category_label": "1"},
    ]
    assert not bad_lines.count


@pytest.mark.parametrize(
    "content",
    [
        "product title\nred mug\nblue mug\n",
        "file name\nred 1.jpg\nred 2.jpg\n",
        "image title\n1.jpg red mug\n2.jpg mug\n",
        "bild name\nmy mug.jpg\nmy cup.jpg\n",
        "product image\nmug 1.jpg\ncup 2.jpg\n",
    ],
)
def test_texts_of_several_words_are_not_separated_by_blanks(content):
    assert len(read(content)[0][0]) == 1


def test_blanks_that_are_asked_for_are_separators_each():
    rows, bad_lines = read(
        'id title note label\n7 cup  home\n8 mug "x y" home\n9 bowl  \n', name="c.txt", delimiter=" "
    )
    assert [list(row.values()) for row in rows] == [
        ["7", "cup", "", "home"],
        ["8", "mug", "x y", "home"],
        ["9", "bowl", "", ""],
    ]
    assert not bad_lines.count
