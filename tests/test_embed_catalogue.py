"""Catalogues as people have them: every cell stays what is written, and what is no catalogue gets a named error."""

import bz2
import codecs
import csv
import gzip
import io
import logging
import lzma
import os
import sys

import pytest
from support import image_bytes

from cache.columns.column_names import usual_column
from embed import CatalogueError, ContentError, ExtractSettings, read_catalogue
from embed.contents.texts import normalise

HEADER = "id,image,text\n"
AWKWARD = [
    "007", "0.10", "1e5", "12345678901234567890123", "1,299.00", "NA", "N/A", "nan", "null", "None", "True", "",
    "  padded  ", 'a 12" screen', "#1", "=1+1", "two\nlines", "two\r\nlines", "back\\slash", "tab\there", "日本 😀",
]  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads it as a catalogue."""

    def read_content(content, *, name="catalogue.csv", **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_catalogue(path, ExtractSettings(**settings))

    return read_content


def written(rows, *, delimiter=","):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


# Cells


@pytest.mark.parametrize(("name", "delimiter"), [("c.csv", ","), ("c.tsv", "\t"), ("C.TSV", "\t"), ("c.tab", "\t")])
def test_cells_are_the_text_that_was_written(read, name, delimiter):
    rows = [(f"{n:03}", cell, cell, cell) for n, cell in enumerate(AWKWARD)]
    catalogue = read(written([("id", "image", "text", "price"), *rows], delimiter=delimiter), name=name)
    assert catalogue.ids == [f"{n:03}" for n in range(len(AWKWARD))]
    assert catalogue.cells("image") == catalogue.cells("text") == catalogue.columns["price"] == AWKWARD


def test_a_column_of_numbers_stays_text_over_many_rows(read):
    """Long files are read piece by piece, and no piece may have types of its own."""
    rows = "".join(f"{n:06},a.png,{n % 7}\n" for n in range(60_000))
    catalogue = read(HEADER + rows + "last,b.png,word\n")
    assert catalogue.ids[-2:] == ["059999", "last"]
    assert set(catalogue.cells("text")) == {*"0123456", "word"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(read, end):
    catalogue = read((HEADER + "1,a.png,red\n2,b.png,blue").replace("\n", end))
    assert catalogue.ids == ["1", "2"]
    assert catalogue.cells("text") == ["red", "blue"]


def test_nul_bytes_harm_no_other_row(read):
    catalogue = read(HEADER + "1,a.png,re\0d\n2,\0,blue\n3,c.png,green\n")
    assert catalogue.ids == ["1", "2", "3"]
    assert catalogue.cells("text") == ["re\0d", "blue", "green"]


def test_empty_lines_are_no_products(read):
    assert read("\n" + HEADER + "\n1,a.png,red\n\n\n2,b.png,blue\n\n").ids == ["1", "2"]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "mark", "option"),
    [
        ("utf-8", b"", None),
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, None),
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-16-le", codecs.BOM_UTF16_LE, None),
        ("utf-16-be", codecs.BOM_UTF16_BE, None),
        ("utf-16-le", b"", "utf-16-le"),
        ("latin-1", b"", "latin-1"),
        ("cp1252", b"", "cp1252"),
    ],
)
def test_text_is_read_in_its_encoding(read, encoding, mark, option):
    catalogue = read(mark + (HEADER + "1,café.png,crème brûlée\n").encode(encoding), encoding=option)
    assert catalogue.ids == ["1"]
    assert catalogue.cells("image") == ["café.png"]
    assert catalogue.cells("text") == ["crème brûlée"]


def test_cells_in_another_encoding_keep_their_bytes_and_are_not_unicode(read):
    catalogue = read(HEADER.encode() + "1,a.png,café\n".encode("latin-1") + "2,b.png,café\n".encode())
    odd, good = catalogue.cells("text")
    assert odd.encode(errors="surrogateescape") == "café".encode("latin-1")
    assert good == normalise(good) == "café"
    with pytest.raises(ContentError, match=r"^not_unicode$"):
        normalise(odd)


@pytest.mark.parametrize(
    ("content", "option", "message"),
    [
        (b"\xff\xfe" + HEADER.encode("utf-16-le") + b"x", None, "text in utf-16, but .*Name its --encoding"),
        (HEADER.encode(), "utf-16", "text in utf-16, but .*Name its --encoding"),
        ("id,image,text,modèle\n1,a,b,c\n".encode("latin-1"), None, "--encoding cp1252 reads that as 'modèle'"),
        (HEADER.encode(), "klingon", "--encoding: expected one that Python knows, got 'klingon'"),
        (HEADER.encode(), "base64", "--encoding: expected one that Python knows, got 'base64'"),
    ],
)
def test_an_encoding_that_does_not_fit_is_a_named_error(read, content, option, message):
    with pytest.raises(CatalogueError, match=message):
        read(content, encoding=option)


# What is no table


def test_a_row_with_too_many_cells_is_left_out_and_named_by_its_line(read, caplog):
    catalogue = read(HEADER + "1,a.png,red\n2,b.png,blue\n3,c.png,Shirt, green, large\n4,d.png,grey\n")
    assert catalogue.ids == ["1", "2", "4"]
    assert "1 bad line of " in caplog.text
    assert "left out: line 4 has 5 cells and the header 3." in caplog.text


def test_the_named_line_is_the_line_of_the_file(read, caplog):
    """Line breaks inside quotes are lines too: an editor is sent to the named one."""
    read(HEADER + '1,a.png,"two\nlines"\n2,b.png,blue\n3,c.png,Shirt, green\n')
    assert "line 5 has 4 cells" in caplog.text


@pytest.mark.parametrize("rows", ["1,a.png,red,x\n2,b.png,blue,y\n", "1,a.png,red,\n2,b.png,blue,y\n"])
def test_rows_longer_than_the_header_shift_no_column(read, rows):
    """pandas would take the first cells for row names, and the pictures for the ids."""
    with pytest.raises(CatalogueError, match=r"have 4 cells where the header has 3: give each cell a name"):
        read(HEADER + rows)


@pytest.mark.parametrize("content", [b"", b"\n\n", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_an_empty_file_is_a_named_error(read, content):
    with pytest.raises(CatalogueError, match=r"header and rows, but .* is empty"):
        read(content)


@pytest.mark.parametrize("content", [HEADER, HEADER.strip()])
def test_a_header_alone_is_a_named_error(read, content):
    with pytest.raises(CatalogueError, match="to have rows"):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        image_bytes(size=(40, 40)),
        image_bytes(size=(40, 40), kind="JPEG"),
        b"PK\x03\x04" + bytes(range(256)) * 8,
        b"\x1f\x8b\x08\0" + bytes(range(256)) * 8,
        b"<!DOCTYPE html>\n<html><body>404, not found</body></html>\n",
        b"PAR1" + bytes(100) + b"PAR1",
    ],
    ids=["png", "jpeg", "zip", "gzip", "html", "parquet"],
)
def test_another_kind_of_file_is_a_named_error(read, content):
    with pytest.raises(CatalogueError):
        read(content)


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_catalogues_are_read(suffix, compress, read):
    commas, tabs = HEADER + "007,a.png,red\n", HEADER.replace(",", "\t") + "007\ta.png\tred, wide\n"
    assert read(compress(commas.encode()), name="c.csv" + suffix).cells("text") == ["red"]
    assert read(compress(tabs.encode()), name="c.tsv" + suffix).cells("text") == ["red, wide"]


def test_a_row_with_too_many_cells_is_named_by_its_line_in_a_compressed_file(read, caplog):
    """And not by what the compressed bytes would be as text."""
    rows = "".join(f"{n},{n * 7919}.png,{n * n}\n" for n in range(5000))
    read(gzip.compress((HEADER + rows + "x,y.png,Shirt, green\n").encode()), name="c.csv.gz")
    assert "line 5002" in caplog.text


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".csv.zst", ".tar"])
def test_a_name_that_promises_compression_is_a_named_error_where_the_file_has_none(read, suffix):
    """pandas looks at the name alone, and each decompressor raises errors of its own."""
    with pytest.raises(CatalogueError):
        read(b"\x1f\x8b\x08\0 no compressed file", name="catalogue" + suffix)


def test_no_such_file_is_a_named_error(tmp_path):
    with pytest.raises(CatalogueError, match=r"is not there\. Name it after the command"):
        read_catalogue(tmp_path / "none.csv")


def test_a_name_that_no_file_can_have_is_a_named_error(tmp_path):
    with pytest.raises(CatalogueError):
        read_catalogue(tmp_path / ("x" * 300 + ".csv"))


def test_a_folder_or_a_pipe_is_a_named_error(tmp_path):
    with pytest.raises(CatalogueError, match="is a folder"):
        read_catalogue(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(CatalogueError):
        read_catalogue(tmp_path / "pipe.csv")


# Ids


def test_repeated_ids_are_named_with_their_rows(read):
    with pytest.raises(CatalogueError) as caught:
        read(HEADER + "7,a,b\n8,a,b\n7,a,b\n9,a,b\n8,a,b\n7,a,b\n")
    assert "'7' 3 times, '8' 2 times (rows 1 and 3 below the header)" in str(caught.value)
    assert "Remove what is too many (3)" in str(caught.value)
    assert "or name a column of numbers, which you write, with --id-column." in str(caught.value)


def test_columns_that_can_be_ids_are_named_where_ids_repeat(read):
    with pytest.raises(CatalogueError, match=r"or name another column \(image can be one\) with --id-column"):
        read(HEADER + "7,a.png,red\n7,b.png,red\n")


def test_ids_that_differ_as_text_are_different(read):
    assert read(HEADER + "7,a,b\n07,a,b\n7.0,a,b\n").ids == ["7", "07", "7.0"]


def test_rows_are_numbered_where_no_column_holds_ids(read, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    catalogue = read("image,text\na.png,red\nb.png,blue\n")
    assert catalogue.ids == ["0", "1"]
    assert "rows are numbered from 0." in caplog.text
    assert "may be one" not in caplog.text


def test_columns_that_may_be_ids_are_named_where_rows_are_numbered(read, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    read("image,text,Artikelnummer,size\na.png,red,A-17,3\nb.png,red,A-18,3\n")
    assert "rows are numbered from 0. Name it with --id-column (Artikelnummer may be one)." in caplog.text


def test_an_id_column_that_is_asked_for_must_be_there(read):
    with pytest.raises(CatalogueError, match=r"--id-column: expected one of .*\(image, text\), got 'article'"):
        read("image,text\na.png,red\n", id_column="article")


# Columns


@pytest.mark.parametrize(
    "header",
    ["id,image,text", "ID,Image,TEXT", "Product ID,Image-Path,Product Display Name", "SKU, filename ,title",
     "uniq_id,IMG,description", "asin,image_file,productDisplayName"],
)  # fmt: skip
def test_columns_are_found_by_their_usual_names_in_any_spelling(read, header):
    catalogue = read(f"{header}\n7,a.png,red\n")
    assert catalogue.ids == ["7"]
    assert catalogue.cells("image") == ["a.png"]
    assert catalogue.cells("text") == ["red"]


@pytest.mark.parametrize(
    "header",
    ["SKU*,Image URL *,*Title,Category (required)", "#id,Image:,Title [optional],* Label *", "id,img url,Name,class"],
)
def test_marks_around_usual_names_do_not_count(read, header):
    catalogue = read(f"{header}\n1,a.png,red,mug\n2,b.png,blue,rug\n")
    _, image, text, label = header.split(",")
    assert catalogue.ids == ["1", "2"]
    assert catalogue.roles == {"image": image, "text": text}
    assert usual_column("label", header.split(",")) == label


@pytest.mark.parametrize("between", [" > ", " \u203a ", ">"])
def test_paths_of_names_are_no_pictures_whatever_their_column_is_called(read, between):
    content = f"id,path,title\n1,Home{between}Mugs,red\n2,Home{between}Rugs,blue\n"
    assert read(content, modalities=("text",)).roles == {"text": "title"}


def test_a_plain_name_wins_over_one_with_marks(read):
    assert read("Title (old),id,title,image\na,1,red,1.png\nb,2,blue,2.png\n").roles["text"] == "title"


def test_the_most_telling_name_wins_wherever_it_stands(read):
    catalogue = read("name,path,description,title,image,id\nn,p,d,t,i,1\n")
    assert catalogue.roles == {"image": "image", "text": "title"}
    assert catalogue.columns == {"name": ["n"], "path": ["p"], "description": ["d"], "title": ["t"], "image": ["i"]}


@pytest.mark.parametrize(
    "header", ["description,Name", "NAME,Description", "description,item_name", "Description,title"]
)
def test_a_title_wins_over_a_description(read, header):
    catalogue = read(f"id,image,{header}\n1,a.png,x,y\n")
    assert catalogue.roles["text"] not in ("description", "Description")


def test_a_full_column_wins_over_one_that_is_nearly_empty(read):
    """WooCommerce's exports have all columns, most of them empty."""
    rows = "".join(f"{n},,{n}.png,{'rare' if n == 3 else ''},item {n},{'new' if n < 6 else ' '}\n" for n in range(10))
    catalogue = read("ID,Image,File,Title,Name,Label\n" + rows)
    assert catalogue.roles == {"image": "File", "text": "Name"}
    assert catalogue.filled == {"id": {"ID": 1}, "image": {"File": 1}, "text": {"Name": 1}, "label": {"Label": 0.6}}


def test_labels_may_stand_in_few_rows(read):
    rows = "".join(f"{n},a.png,x,kind {n % 3},{'a' if n % 5 == 0 else ''}\n" for n in range(20))
    assert read("id,image,text,product_type,label\n" + rows).filled["label"] == {"label": 0.2}
    rows = "".join(f"{n},a.png,x,kind {n % 3},{'a' if n == 0 else ''}\n" for n in range(20))
    assert read("id,image,text,product_type,label\n" + rows).filled["label"] == {"product_type": 1}


def test_what_is_asked_for_is_taken_however_empty(read):
    catalogue = read("id,image,title,name\n1,a.png,,x\n2,b.png,,y\n", text_column="title")
    assert catalogue.filled["text"] == {"title": 0}


def test_how_full_columns_are_is_that_of_the_rows_that_are_taken(read):
    rows = "".join(f"{n},a.png,{'' if n == 7 else 'x'},{n % 2}\n" for n in range(20))
    assert read("id,image,text,odd\n" + rows).filled["text"] == {"text": 0.95}
    catalogue = read("id,image,text,odd\n" + rows, where="odd == '0'", text_columns="text,odd")
    assert catalogue.filled["text"] == {"text": 1, "odd": 1}


def test_handles_that_repeat_are_no_ids(read):
    assert read("handle,image,text\na,a.png,x\nb,b.png,y\n").ids == ["a", "b"]
    assert read("handle,image,text\na,a.png,x\na,b.png,y\n").ids == ["0", "1"]


def test_columns_that_are_asked_for_are_taken(read):
    settings = {"id_column": "code", "image_column": "front", "text_column": "words"}
    catalogue = read("id,code,image,front,text,words\n1,c,a.png,f.png,red,blue\n", **settings)
    assert catalogue.ids == ["c"]
    assert catalogue.cells("image") == ["f.png"]
    assert catalogue.cells("text") == ["blue"]
    assert catalogue.columns["id"] == ["1"]


@pytest.mark.parametrize(("role", "header"), [("image", "id,front,text"), ("text", "id,image,words")])
def test_a_column_that_is_not_found_is_an_error_with_the_columns_and_the_option(read, role, header):
    with pytest.raises(CatalogueError) as caught:
        read(f"{header}\n1,a,b\n")
    assert header.replace(",", ", ") in str(caught.value)
    assert f"--{role}-column" in str(caught.value)
    assert f"--modalities {'text' if role == 'image' else 'image'}" in str(caught.value)


@pytest.mark.parametrize("role", ["image", "text"])
def test_a_column_that_is_asked_for_and_not_there_is_an_error_with_the_columns(read, role):
    with pytest.raises(CatalogueError, match=rf"--{role}-column: expected .*\(id, image, text\), got 'picture'"):
        read(HEADER + "1,a,b\n", **{f"{role}_column": "picture"})


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_modality_that_is_not_asked_for_needs_no_column(read, modality):
    catalogue = read(f"id,{modality}\n1,a\n", modalities=(modality,))
    assert catalogue.roles == {modality: modality}


def test_one_column_may_be_id_and_text_at_once(read):
    catalogue = read("text,image\nred,a.png\nblue,b.png\n", id_column="text")
    assert catalogue.ids == catalogue.cells("text") == ["red", "blue"]


def test_columns_of_one_name_are_a_named_error(read):
    with pytest.raises(CatalogueError, match=r"names of their own, but the header of .* repeats text, brand\."):
        read("id,image,text, text,brand,brand \n1,a.png,red,blue,A,B\n")


def test_header_cells_lose_their_blanks_and_nameless_ones_are_numbered(read):
    catalogue = read(" id , image,text\t,\n1,a.png,red,x\n")
    assert list(catalogue.columns) == ["image", "text", "Unnamed: 3"]


# Parquet


@pytest.fixture
def read_table(tmp_path):
    """Return a function that writes a Parquet file of given columns and reads it as a catalogue."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def read_columns(columns, *, folder=".", **settings):
        path = tmp_path / folder / "catalogue.parquet"
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pyarrow.table(columns), path)
        return read_catalogue(path, ExtractSettings(**settings))

    return read_columns


def table(**columns):
    return {"id": [101, 102], "image": ["a.png", "b.png"], "text": ["red", None], **columns}


def test_parquet_cells_read_as_one_would_write_them(read_table):
    catalogue = read_table(table(year=[2012, None], price=[0.1, 2012.0], sold=[True, None], size=["007", "NA"]))
    assert catalogue.ids == ["101", "102"]
    assert catalogue.cells("text") == ["red", ""]
    assert catalogue.columns["year"] == ["2012", ""]
    assert catalogue.columns["price"] == ["0.1", "2012"]
    assert catalogue.columns["sold"] == ["true", ""]
    assert catalogue.columns["size"] == ["007", "NA"]


def test_parquet_categories_read_as_their_names(read_table):
    pyarrow = pytest.importorskip("pyarrow")
    labels = pyarrow.array(["shirt", None]).dictionary_encode()
    assert read_table(table(label=labels)).columns["label"] == ["shirt", ""]


def test_a_parquet_column_of_no_plain_cells_is_left_out_with_a_note(read_table, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    catalogue = read_table(table(tags=[["a"], ["b"]], pixels=[b"\xff\xd8", b"\xff"], box=[{"x": 1}, {"x": 2}]))
    assert list(catalogue.columns) == ["image", "text"]
    for name in ("tags", "pixels", "box"):
        assert f"Column {name} holds" in caplog.text


def test_a_parquet_file_has_no_columns_from_its_folders_name(read_table):
    assert list(read_table(table(), folder="split=train").columns) == ["image", "text"]


def test_parquet_columns_of_one_name_are_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    twice = pyarrow.table([["1"], ["a.png"], ["red"], ["blue"]], names=["id", "image", "text", "text"])
    parquet.write_table(twice, tmp_path / "c.parquet")
    with pytest.raises(CatalogueError, match="text") as caught:
        read_catalogue(tmp_path / "c.parquet")
    assert "to be a Parquet file" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", HEADER.encode() + b"1,a,b\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file_is_a_named_error(read, content):
    pytest.importorskip("pyarrow")
    with pytest.raises(CatalogueError, match="to be a Parquet file"):
        read(content, name="c.parquet")


def test_a_cut_parquet_file_is_a_named_error(read_table, tmp_path):
    read_table(table())
    path = tmp_path / "catalogue.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CatalogueError, match="to be a Parquet file"):
        read_catalogue(path)


def test_a_parquet_file_without_pyarrow_names_the_package_and_csv(read, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CatalogueError, match=r"package pyarrow: pip install pyarrow, or use CSV"):
        read(b"PAR1", name="c.parquet")


def test_real_products_are_read_as_their_file_has_them(fashion):
    catalogue = read_catalogue(fashion / "styles.csv")
    with (fashion / "styles.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert catalogue.ids == [row["id"] for row in rows]
    assert catalogue.roles == {"image": "image", "text": "productDisplayName"}
    for name, cells in catalogue.columns.items():
        assert cells == [row[name] for row in rows]
