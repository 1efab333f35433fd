"""Lines that are no product are left out, counted and told, in CSV and JSON Lines; unbalanced quotes among them."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

import pytest
from formats import rows_of
from support import CountingEncoder

from cache import Cache
from embed import CatalogueError, ContentError, ExtractSettings, extract, read_catalogue
from embed.catalogue.formats.csv import _Lines
from embed.catalogue.formats.json_lines import _without_repeats
from embed.catalogue.open_table import open_table
from embed.contents.texts import normalise

TEXT = {"modalities": ("text",)}


def read(content, *, name="c.csv", **settings):
    """Return the ids, the bad lines' numbers and reasons, and how many there are."""
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = open_table(path, ExtractSettings(**settings))
    ids = [row["id"] for row in rows_of(table)]
    return ids, table.bad_lines.examples, table.bad_lines.count


# --- CSV


def test_lines_with_other_numbers_of_cells_are_left_out_and_told():
    ids, examples, count = read("id,text\n1,red\n2\n3,blue,wide\n\n4,\n5,lime\n6,grey,\n7,a\n8,b\n")
    assert ids == ["1", "4", "5", "7", "8"]
    assert examples == [
        (3, "has 1 cell and the header 2"),
        (4, "has 3 cells and the header 2"),
        (8, "has 3 cells and the header 2"),
    ]
    assert count == 3


def test_only_the_first_few_are_shown_and_all_are_counted(caplog):
    path = Path("c.csv")
    path.write_text("id,text\n" + "".join(f"{n},red\n{n}\n" for n in range(9)))
    assert len(read_catalogue(path, ExtractSettings(**TEXT)).ids) == 9
    assert "9 bad lines of c.csv left out: line 3 has 1 cell" in caplog.text
    assert "line 11 has 1 cell and the header 2; and 4 more." in caplog.text


def test_bad_lines_are_an_error_where_they_are_asked_to_be():
    with pytest.raises(CatalogueError, match=r"c.csv line 3 has 1 cell and the header 2\. .*--bad-lines skip"):
        read("id,text\n1,red\n2\n3,blue\n", bad_lines="error")


@pytest.mark.parametrize("quoted", ['"two\nlines"', '"a ""big"" one"', '"a,b"', 'a 12" one', '"sloppy" end', '"x"y"z"'])
def test_quotes_that_harm_no_row_are_no_reason_to_leave_it_out(quoted):
    assert read(f"id,text\n1,{quoted}\n2,blue\n")[0] == ["1", "2"]


@pytest.mark.parametrize(
    "row",
    ['1,"red', '"1,red', '1,"red,', '1,"red"",'],
)
@pytest.mark.parametrize(
    "after", ["2,blue\n3,lime\n", '2,"blue"\n3,lime\n', '2,blue\n3,"li\nme"\n', '2,"b",\n3,lime\n4,"x"\n']
)
def test_a_quote_that_is_not_closed_costs_its_own_line_alone(row, after):
    """Wherever the next quote is, the products between are not lost in one cell."""
    expected = [line[0] for line in after.splitlines() if line[0].isdigit() and line != '2,"b",']
    ids, examples, _ = read(f"id,text\n0,x\n{row}\n{after}")
    assert ids == ["0", *expected]
    assert examples[0] == (3, "opens a quote that its row does not close")


def test_lines_after_many_unclosed_quotes_are_all_read():
    rows = [f'{n},"shirt {n}' if n % 3 == 0 else f"{n},shirt {n}" for n in range(300)]
    ids, _, count = read("id,text\n" + "\n".join(rows))
    assert ids == [str(n) for n in range(300) if n % 3]
    assert count == 100


@pytest.mark.parametrize("seed", range(20))
def test_lines_read_together_or_one_by_one_are_the_same_rows(monkeypatch, seed):
    choose = random.Random(seed)
    pieces = ["1", ",", ",", "\n", "\n", "\r\n", '"', '""', " ", "x", '"a,\nb"', "2,blue\n", '3,"red"\n', "\r"]
    content = "id,text\n" + "".join(choose.choices(pieces, k=300)) + "\n" + "7,ok\n" * 400
    found = []
    for n_rows in (1, 2, 7, 1024):
        monkeypatch.setattr("embed.catalogue.formats.csv.PIECE_ROWS", n_rows)
        found.append(read(content))
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0][0][-399:] == ["7"] * 399


def test_a_long_description_is_a_cell_and_the_process_keeps_its_limit():
    limit = csv.field_size_limit()
    ids, _, count = read(f'id,text\n1,"{"word " * 100_000}"\n2,blue\n')
    assert (ids, count, csv.field_size_limit()) == (["1", "2"], 0, limit)


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        ("id;text, long\n1;red\n2;blue\n3;x\n", {"delimiter": ","}, "separated by semicolons: try --delimiter ';'"),
        ("id|text|, c\n1|red|x\n2|blue|y\n", {"delimiter": ","}, "separated by bars: try --delimiter '|'"),
        ("id\ttext, long\n1\tred\n2\tblue\n", {"delimiter": ","}, "separated by tabs: try --delimiter tab"),
        ("id,text\n1,red,x\n2,blue,y\n3,lime\n", {}, "Most have 3 cells where the header has 2"),
        ("id,text\n1,red,x\n2\n", {}, "--delimiter"),
    ],
)
def test_a_file_of_mostly_bad_lines_is_an_error_that_names_the_likely_delimiter(content, settings, words):
    with pytest.raises(CatalogueError) as caught:
        read(content, **settings)
    assert "line 2 has " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("given", ["tab", "\\t", "\t"])
def test_a_delimiter_may_be_named(given):
    assert read("id\ttext, long\n1\tred, blue\n", delimiter=given)[0] == ["1"]
    assert read("id:text,x\n1:red\n", delimiter=":")[0] == ["1"]


def test_bytes_of_another_encoding_harm_their_own_cells_alone():
    content = "id,text\n1,café\n".encode() + "2,café\n3,naïve".encode("latin-1")
    table_ids, _, count = read(content)
    assert (table_ids, count) == (["1", "2", "3"], 0)
    texts = read_catalogue("c.csv", ExtractSettings(**TEXT)).cells("text")
    assert texts[0] == "café"
    for text in texts[1:]:
        with pytest.raises(ContentError, match="not_unicode"):
            normalise(text)


# --- JSON Lines


def test_a_broken_line_of_json_is_left_out_and_told():
    lines = ['{"id": 1, "text": "red"}', '{"id": 2, "text": "bl', "", "[1]", "5", '{"id": 3}', '{"id": 4, "id": 5}']
    content = "\n".join([*lines, '{"id": 6, "text": null}', '{"id": 7}', '{"id": 8}'])
    ids, examples, count = read(content, name="c.jsonl")
    assert ids == ["1", "3", "6", "7", "8"]
    assert count == 4
    assert [number for number, _ in examples] == [2, 4, 5, 7]
    assert [reason for _, reason in examples][1:] == [
        "is no JSON object: it is a list",
        "is no JSON object: it is a text or a number",
        "is no JSON object: it repeats the name id",
    ]


def test_json_values_are_cells_as_written(caplog):
    caplog.set_level("INFO", "embed_once")
    Path("c.ndjson").write_text(
        '{"id": "007", "n": 1.50, "big": 12345678901234567890123, "b": true, "none": null, "nan": NaN, "text": "a"}\n'
        '{"id": "8", "tags": ["x"], "n": -1e5, "text": "half \\ud83d"}\n'
    )
    table = open_table("c.ndjson")
    one, two = rows_of(table)
    assert one == {
        "id": "007", "n": "1.50", "big": "12345678901234567890123", "b": "true", "none": "", "nan": "", "text": "a"
    }  # fmt: skip
    assert (two["n"], two["big"]) == ("-1e5", "")
    assert "Column tags of c.ndjson holds lists or objects" in caplog.text
    extract("c.ndjson", "cache.h5", settings=ExtractSettings(**TEXT), encoders=[CountingEncoder("text")])
    with Cache("cache.h5") as cache:
        assert cache.statuses("text") == ["ok", "not_unicode"]


def test_json_lines_may_be_compressed():
    assert read(gzip.compress(b'{"id": 1, "text": "red"}\n'), name="c.jsonl.gz")[0] == ["1"]


@pytest.mark.parametrize("content", ['{"id": 1}\n{]\n[\n', "[" * 100_000, "[1, 2]"])
def test_what_is_no_json_lines_is_a_named_error(content):
    with pytest.raises(CatalogueError, match="Make each line one JSON object"):
        read(content, name="c.jsonl")


def test_an_empty_json_lines_file_is_a_named_error():
    Path("c.jsonl").write_text("\n")
    with pytest.raises(CatalogueError):
        read_catalogue("c.jsonl")


def test_json_bad_lines_are_an_error_where_they_are_asked_to_be():
    with pytest.raises(CatalogueError, match="line 2 is no JSON object"):
        read('{"id": 1}\n{\n{"id": 2}\n', name="c.jsonl", bad_lines="error")


# --- catalogues of little or strange content


def test_texts_of_nothing_are_absent_and_no_failure():
    Path("c.csv").write_text("id,text\n1,\n2, \n3,\u3000\n")
    report = extract("c.csv", "cache.h5", settings=ExtractSettings(**TEXT), encoders=[CountingEncoder("text")])
    assert (report.statuses, report.failures_path) == ({"text": {"absent": 3}}, None)


def test_nan_in_a_table_is_nothing(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [1, 2], "text": pa.array([float("nan")] * 2), "none": pa.nulls(2)}), "c.parquet")
    catalogue = read_catalogue("c.parquet", ExtractSettings(**TEXT))
    assert (catalogue.cells("text"), catalogue.columns["none"]) == (["", ""], ["", ""])


def test_labels_that_differ_in_case_and_texts_of_any_script_stay_as_they_are():
    texts = ["قميص أزرق", "חולצה כחולה", "👕🏽👖", "e\u0301", "日本", "\u202eRTL"]
    labels = ["shirt", "Shirt", "SHIRT", "shirt ", "ß", "SS"]
    with Path("c.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "text", "label"), *zip("123456", texts, labels, strict=True)])
    extract("c.csv", "cache.h5", settings=ExtractSettings(**TEXT), encoders=[CountingEncoder("text")])
    with Cache("cache.h5") as cache:
        assert cache.column("text") == texts
        assert cache.column("label") == labels
        assert cache.statuses("text") == ["ok"] * 6


# --- what is too long, too many or in another encoding


def test_a_cell_beyond_the_limit_makes_a_bad_line(monkeypatch):
    monkeypatch.setattr("embed.catalogue.formats.csv.MAX_CELL", 200)
    content = f'id,text\n1,red\n2,{"x" * 201}\n3,blue\n4,{"x" * 200}\n5,"{"x" * 201}"\n6,{"x" * 201},\n7,lime\n'
    ids, examples, count = read(content)
    assert (ids, count) == (["1", "3", "4", "7"], 3)
    assert [number for number, _ in examples] == [3, 6, 7]
    assert all("has more than 16,777,216 characters in a cell" in reason for _, reason in examples)


@pytest.mark.parametrize("cell", ["x" * 1000, '"' + "x" * 1000 + '"', "x" * 90 + '",' + "x" * 900, "x" * 93])
def test_no_more_of_a_line_is_read_than_may_be_in_one(monkeypatch, cell):
    """A small file can be compressed from a line that fills all memory."""
    monkeypatch.setattr("embed.catalogue.formats.csv.MAX_LINE", 100)
    monkeypatch.setattr("embed.catalogue.text_file.MAX_LINE", 100)
    longest = []
    taken = _Lines.take

    def take(lines, n_lines):
        taken(lines, n_lines)
        longest.append(max(map(len, lines.taken), default=0))

    monkeypatch.setattr(_Lines, "take", take)
    content = f"id,text\n1,red\n2,blue{cell}\n3,lime\n4,grey\n".encode()
    ids, _, count = read(gzip.compress(content), name="c.csv.gz")
    assert (ids, count) == (["1", "3", "4"], 1)
    assert max(longest) == 100


def test_no_more_of_a_line_of_json_is_read_than_may_be_in_one(monkeypatch):
    monkeypatch.setattr("embed.catalogue.text_file.MAX_LINE", 100)
    content = '{"id": 1}\n{"id": 2, "text": "' + "x" * 1000 + '"}\n{"id": 3}\n'
    ids, ((number, _),), count = read(content, name="c.jsonl")
    assert (ids, number, count) == (["1", "3"], 2, 1)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_told(encoding):
    content = "id,text\n1,red\n".encode(encoding)
    with pytest.raises(CatalogueError, match=r"holds NUL characters.*Name its --encoding"):
        read(content)
    assert read(content, encoding=encoding)[0] == ["1"]


def test_one_list_drops_its_line_and_not_the_column():
    content = '{"id": 1, "text": "red"}\n{"id": 2, "text": ["red"]}\n{"id": 3, "text": "blue", "tags": ["a"]}\n'
    ids, examples, count = read(content, name="c.jsonl")
    assert (ids, count) == (["1", "3"], 1)
    assert examples == [(2, "has a list or an object as text, which is plain elsewhere")]
    assert open_table("c.jsonl").columns == ["id", "text"]
    with pytest.raises(CatalogueError, match="line 2 has a list"):
        read(content, name="c.jsonl", bad_lines="error")


def test_empty_values_of_json_say_nothing_of_a_column():
    """A column of lists in few of the lines is one of lists."""
    read('{"id": 1, "tags": null}\n{"id": 2, "tags": ""}\n{"id": 3}\n{"id": 4, "tags": ["a"]}\n', name="c.jsonl")
    assert open_table("c.jsonl").columns == ["id"]


def test_repeated_names_are_found_in_one_pass():
    """A name is looked at once, however many there are before it."""
    n_looked_at = 0

    class Name(str):
        __slots__ = ()

        def __hash__(self):
            nonlocal n_looked_at
            n_looked_at += 1
            return super().__hash__()

    pairs = [(Name(f"n{n}"), "1") for n in range(1000)] + [(Name("n999"), "2")]
    with pytest.raises(ValueError, match="it repeats the name n999"):
        _without_repeats(pairs)
    assert n_looked_at < 10 * len(pairs)


def test_objects_that_share_no_names_are_a_named_error():
    lines = [f'{{"id": {n}, "name {n}": 1}}\n' for n in range(1001)]
    assert len(read("".join(lines[:999]), name="c.jsonl")[0]) == 999
    with pytest.raises(CatalogueError, match=r"but those of c\.jsonl have more than 1,000: .*name 999, …"):
        read("".join(lines), name="c.jsonl")


def test_few_long_lines_are_at_hand_at_once(monkeypatch):
    monkeypatch.setattr("embed.catalogue.formats.csv.MAX_LINE", 100)
    monkeypatch.setattr("embed.catalogue.text_file.MAX_LINE", 100)
    n_characters = []
    taken = _Lines.take
    monkeypatch.setattr(_Lines, "take", lambda *args: (taken(*args), n_characters.append(sum(map(len, args[0].taken)))))
    content = "id,text\n" + "".join(f"{n},{'x' * 80}{'' if n % 5 else ','}\n" for n in range(100))
    ids, examples, count = read(content)
    assert ids == [str(n) for n in range(100) if n % 5]
    assert (count, [number for number, _ in examples]) == (20, [2, 7, 12, 17, 22])
    assert max(n_characters) < 200


@pytest.mark.parametrize("quoted", ["red", '"red, blue"'])
def test_the_header_again_is_no_product(quoted):
    """As where files were joined by ``cat``; it is left out among plain lines and among others."""
    rows = "".join(f"{n},{quoted},mug\n" for n in range(3))
    assert read("id,text,label\n" + rows + "id,text,label\n3,x,mug\n") == (
        ["0", "1", "2", "3"], [(5, "is the header again")], 1
    )  # fmt: skip


def test_a_table_of_one_column_may_have_a_product_that_is_called_so():
    assert read("id\n1\nid\n") == (["1", "id"], [], 0)
