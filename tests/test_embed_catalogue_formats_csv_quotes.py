"""Quotes of a CSV file: what encloses cells, with blanks around it, and what is a sign as others are."""

from pathlib import Path

import pytest
from formats import rows_of

from embed import ExtractSettings
from embed.catalogue.open_table import open_table


def read(content, *, name="c.csv", **settings):
    Path(name).write_text(content)
    table = open_table(name, ExtractSettings(**settings))
    return rows_of(table), table.bad_lines


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_blanks_behind_a_closing_quote_are_no_part_of_a_cell(delimiter):
    line = delimiter.join(['"{}" ', '"red, {}; big"  ', "mug "]) + "\n"
    rows, bad_lines = read(f'"id" {delimiter}"text" {delimiter}"label"\n' + line.format(7, 7) + line.format(8, 8))
    assert rows == [{"id": n, "text": f"red, {n}; big", "label": "mug"} for n in "78"]
    assert not bad_lines.count


@pytest.mark.parametrize("delimiter", ["\t", "|"])
def test_quotes_that_enclose_no_cells_are_signs_as_others_are(caplog, delimiter):
    """As exports of tabs have them that know no quotes, also where the first of them stands far below."""
    caplog.set_level("INFO", "embed_once")
    names = ['5" pan', *["cup"] * 300, '"Best" mug', '"Open end', '"Whole"']
    lines = [delimiter.join([str(n), name, "x"]) for n, name in enumerate(names)]
    content = "\n".join([delimiter.join(["id", "name", "label"]), *lines]) + "\n"
    rows, bad_lines = read(content, name="c.tsv" if delimiter == "\t" else "c.csv")
    assert [row["name"] for row in rows] == names
    assert not bad_lines.count
    assert "Quotes in c." in caplog.text
    rows, bad_lines = read(content, name="c.tsv" if delimiter == "\t" else "c.csv", escape="none")
    assert bad_lines.count == 1


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ('id\tname\n1\t"two\nlines"\n2\t"a\ttab"\n3\tcup\n', ["two\nlines", "a\ttab", "cup"]),
        ('id\tname\n1\t"say ""hi"""\n2\t"open\n3\t"cup"\n', ['say "hi"', "cup"]),  # one is not closed
    ],
)
def test_quotes_that_enclose_cells_are_none_of_them(content, names):
    assert [row["name"] for row in read(content, name="c.tsv")[0]] == names


@pytest.mark.parametrize("delimiter", ["\t", "|"])
@pytest.mark.parametrize("behind", ["", " ", "  "])
@pytest.mark.parametrize(
    ("before", "written", "name"),
    [
        ("", "red mug", "red mug"),
        ("", '5"" nail', '5" nail'),
        ("", '5\\" nail', '5" nail'),
        (" ", "red mug", "red mug"),
        (" ", '5"" nail', '5" nail'),
    ],
)
def test_quotes_enclose_cells_whatever_blanks_stand_around_them(before, behind, written, name, delimiter):
    lines = [["id", "name", "label"], *(["7", written, "home"] for _ in range(3))]
    content = "".join(delimiter.join(f'{before}"{cell}"{behind}' for cell in line) + "\n" for line in lines)
    rows, bad_lines = read(content, name="c.tsv" if delimiter == "\t" else "c.csv")
    assert rows == 3 * [{"id": "7", "name": name, "label": "home"}]
    assert not bad_lines.count


def test_backslashed_quotes_far_below_make_none_signs():
    lines = [*(f'{n}\t"mug"' for n in range(300)), *(f'{n}\t"5\\" nail"' for n in range(301))]
    rows, _ = read("\n".join(["id\tname", *lines]) + "\n", name="c.tsv")
    assert [row["name"] for row in rows[:300]] == 300 * ["mug"]


def test_quotes_enclose_delimiters_even_where_each_line_has_one():
    rows, _ = read('"name|title"|id\n"red|mug"|7\n"blue|mug"|8\n')
    assert rows == [{"name|title": "red|mug", "id": "7"}, {"name|title": "blue|mug", "id": "8"}]


def test_a_line_of_blanks_behind_a_quote_is_read_once():
    cell = '"a"' + 200_000 * " " + "x"
    rows, _ = read(f"id,name\n1,{cell}\n2,cup\n")
    assert [row["id"] for row in rows] == ["1", "2"]
