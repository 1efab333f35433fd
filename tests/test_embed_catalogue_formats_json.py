"""JSON as people have it: lines, lists and objects of many lines, known by the first character, whatever the suffix."""

import gzip
import json
import logging
import shutil
import subprocess
from pathlib import Path

import pytest
from formats import rows_of

from embed import CatalogueError, ExtractSettings
from embed.catalogue.formats import json_lines
from embed.catalogue.formats.json_lines import parse_object
from embed.catalogue.open_table import open_table

PRODUCTS = [
    {"sku": 1000 + n, "name": f"mug {n}, [red] }}", "kinds": [{"id": "a1", "name": "Kitchen"}], "price": 9.5}
    for n in range(5)
]
ROWS = [{"sku": f"{1000 + n}", "name": f"mug {n}, [red] }}", "price": "9.5"} for n in range(5)]
LAYOUTS = {
    "lines": "".join(json.dumps(product) + "\n" for product in PRODUCTS),
    "list on one line": json.dumps(PRODUCTS),
    "list on many lines": json.dumps(PRODUCTS, indent=1),
    "list of lines": "[\n" + ",\n".join(map(json.dumps, PRODUCTS)) + "\n]\n",
    "objects of many lines": "\n".join(json.dumps(product, indent=2) for product in PRODUCTS),
    "empty lines first": "\n\n" + json.dumps(PRODUCTS, indent=1) + "\n\n",
}


def read(content, name="c.json", **settings):
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return rows_of(open_table(path, ExtractSettings(**settings)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["c.json", "c.jsonl", "c.csv", "c.txt", "c", "meta_Beauty.json.gz", "c.csv.gz"])
def test_json_is_read_in_any_layout_under_any_name(layout, name):
    content = LAYOUTS[layout].encode()
    assert read(gzip.compress(content) if name.endswith(".gz") else content, name) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["c.json", "c.csv"])
@pytest.mark.parametrize("layout", ["lines", "list on many lines"])
def test_a_mark_hides_no_json(layout, name, encoding):
    assert read(LAYOUTS[layout].encode(encoding), name) == ROWS


def test_items_longer_than_what_is_read_at_once_are_whole(monkeypatch):
    monkeypatch.setattr("embed.catalogue.formats.json_items.CHUNK", 7)
    for layout in LAYOUTS.values():
        assert read(layout) == ROWS


@pytest.mark.parametrize("content", ["{name},id\nred,1\n", "[id],text\n1,red\n", "{a|b}\n"])
def test_braces_in_the_header_make_no_json_of_a_csv_file(content):
    Path("c.csv").write_text(content)
    assert type(open_table("c.csv")).__name__ == "CsvTable"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": 1}, {"id": 2}', r"item 3 \(line 1\) is none: the file ends before the list does"),
        ('[\n{"id": 1},\n{"id": 2 "text": 3}\n]', r"item 2 \(line 3\) is none: Expecting ',' delimiter"),
        ('[{"id": 1}]\n[{"id": 2}]\n', "goes on behind the list's end"),
        ('{\n"id": 1\n}\n{\n"id"\n', r"item 2 \(line 4\) is none"),
        ("[" * 100_000, "nested too deeply"),
        ('["id", "text"]', "item 1 is no JSON object: it is a text"),
        ("{'id': 1, 'text': 'red'}\n" * 3, r"are Python's, in single quotes: .*json\.dumps\(ast\.literal_eval"),
        ("[{'id': 1, 'text': 'red'}]", r"are Python's, in single quotes: .*json\.dumps\(ast\.literal_eval"),
    ],
)
def test_what_is_no_whole_json_is_a_named_error(content, message):
    with pytest.raises(CatalogueError, match=message):
        read(content)


def test_an_item_that_is_no_object_is_left_out_and_counted():
    Path("c.json").write_text('[{"id": 1}, 7, {"id": 2}, {"id": 3, "id": 4}]')
    table = open_table("c.json")
    assert rows_of(table) == [{"id": "1"}, {"id": "2"}]
    assert table.bad_lines.shown() == (
        "item 2 is no JSON object: it is a text or a number; item 4 is no JSON object: it repeats the name id"
    )
    with pytest.raises(CatalogueError, match="item 2 is no JSON object"):
        read('[{"id": 1}, 7]', bad_lines="error")


def test_a_bad_first_line_is_a_bad_line():
    assert read('{"id": 1\n{"id": 2}\n{"id": 3}\n', "c.jsonl") == [{"id": "2"}, {"id": "3"}]


def test_lists_of_labels_and_pictures_stay_as_json(caplog):
    """So that a level of the label, or one of several pictures, can be chosen."""
    caplog.set_level("INFO", "embed_once")
    product = {"id": 1, "Category": [{"id": "a1", "name": "Küche"}], "image": ["a.png", 7], "kinds": [["a", "b"]]}
    content = json.dumps([product, {**product, "id": 2, "Category": "plain", "kinds": None}])
    first = {"id": "1", "Category": '[{"id": "a1", "name": "Küche"}]', "image": '["a.png", "7"]'}
    assert read(content) == [first, {**first, "id": "2", "Category": "plain"}]
    assert "Column kinds of c.json holds lists or objects" in caplog.text
    rows = read(content, label="kinds")
    assert [row["kinds"] for row in rows] == ['[["a", "b"]]', ""]
    assert read('{"id": 1, "label": []}\n{"id": 2, "label": ["a"]}\n')[0] == {"id": "1", "label": ""}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"products": PRODUCTS},
            r"lists or objects. If the 5 objects in its products .* take them out: jq '\.\[\"products\"\]' c.json >",
        ),
        (
            {str(n): one for n, one in enumerate(PRODUCTS)},
            r"lists or objects. If the 5 objects in it .*: jq '\[to_entries\[\] \| {id: .key} \+ .value\]' c.json >",
        ),
        (
            {"data": {"products": PRODUCTS}},
            r"If the 5 objects in its data.products .*: jq '\.\[\"data\"\]\[\"products\"\]' c.json >",
        ),
        (
            {"mug": ["mug/1", "mug/2"], "rug": ["rug/3"]},
            r"If its 2 names are classes.*: jq '\[.* \| \.value\[\] \| {image: \., category: \$class}\]' c.json >",
        ),
    ],
    ids=["a list in it", "by their ids", "in an object", "by class"],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_of_one_object_that_holds_all_products_says_how_to_take_them_out(value, message, indent):
    with pytest.raises(CatalogueError, match=message):
        read(json.dumps(value, indent=indent))


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_coco_s_lists_are_told_how_to_become_a_list_of_pictures_with_their_classes():
    value = {
        "info": {"year": 2024},
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "c.jpg"}],
        "annotations": [{"image_id": 2, "category_id": 7}, {"image_id": 1, "category_id": 5}],
        "categories": [{"id": 5, "name": "shoe"}, {"id": 7, "name": "cup"}],
    }
    with pytest.raises(CatalogueError, match=r"got COCO's lists of pictures, .* > products\.json\.$") as told:
        read(json.dumps(value))
    line = str(told.value)[str(told.value).index("jq ") : -1]
    subprocess.run(["/bin/sh", "-c", line], check=True)
    rows = rows_of(open_table(Path("products.json")))
    assert [(row["file_name"], row["category"]) for row in rows] == [("a.jpg", "shoe"), ("b.jpg", "cup"), ("c.jpg", "")]


@pytest.mark.parametrize("value", [{"shop": [{"id": 1}] * 5}, {str(n): {"title": "x"} for n in range(5)}])
def test_the_list_that_is_to_be_made_is_not_written_over_the_file_itself(value):
    Path("products.json").write_text(json.dumps(value))
    with pytest.raises(CatalogueError, match=r"products\.json > new-products\.json\.$"):
        open_table(Path("products.json"))


def test_one_object_of_unknown_names_is_a_product_and_told(caplog):
    value = {"headline": "red mug", "picture_file": "a.png", "variants": [{"size": 1}, {"size": 2}]}
    assert read(json.dumps(value)) == [{"headline": "red mug", "picture_file": "a.png"}]
    assert "c.json is read as one product. If the 2 objects in its variants are the products" in caplog.text


def test_objects_without_a_plain_value_are_a_named_error():
    with pytest.raises(CatalogueError, match="to have plain values, which are cells, but all are lists or objects"):
        read('{"a": {"b": 1}}\n{"a": [1]}\n')


def test_one_product_with_a_list_of_pictures_is_a_product():
    pictures = [{"path": "a.png"}, {"path": "b.png"}]
    assert len(read(json.dumps({"id": 1, "images": pictures}))) == 1
    assert len(read(json.dumps({"title": "cup", "variants": pictures}))) == 1
    assert len(read(json.dumps({"id": 1, "title": "cup", "shots": pictures}), image_column="shots")) == 1


@pytest.mark.parametrize(
    ("texts", "cell"),
    [
        ([("de_DE", "Tasse"), ("en_GB", "mug"), ("en_US", "cup")], "mug"),
        ([("fr_FR", "tasse"), ("de_DE", "Tasse"), ("fr_FR", "rouge")], "tasse. rouge"),
    ],
)
def test_of_texts_in_several_languages_those_of_one_are_the_cell(texts, cell):
    value = [{"language_tag": language, "value": text} for language, text in texts]
    assert parse_object(json.dumps({"name": value, "node": [{"value": "x"}]})) == {"name": cell, "node": None}


def test_whether_lists_of_a_column_stay_is_asked_once_a_table(monkeypatch):
    """Each cell asked, which took a third of the time that a table of lists takes to read."""
    asked = []
    monkeypatch.setattr(json_lines, "keeps_lists", lambda name, **_: asked.append(name) or name == "labels")
    rows = read("".join(json.dumps({"id": n, "tags": ["a"], "labels": ["b"]}) + "\n" for n in range(9)))
    assert rows[8] == {"id": "8", "labels": '["b"]'}
    assert asked == ["tags", "labels"]


def test_a_list_without_a_language_is_an_empty_cell_among_texts_with_one_and_no_bad_line(caplog):
    caplog.set_level(logging.INFO, "embed_once")
    texts = [[{"language_tag": "en_US", "value": "red"}]] * 3 + [[{"value": "blue"}], {"value": "x"}]
    rows = read("\n".join(json.dumps({"id": n, "color": value}) for n, value in enumerate(texts)))
    assert [row["color"] for row in rows] == ["red", "red", "red", "", ""]
    assert "holds 2 lists without a language: these cells are empty" in caplog.text


def test_a_list_among_plain_texts_is_a_bad_line_though_one_has_a_language():
    values = ["red", "red", "red", [{"language_tag": "en_US", "value": "blue"}], ["x"]]
    rows = read("\n".join(json.dumps({"id": n, "color": value}) for n, value in enumerate(values)))
    assert [row["color"] for row in rows] == ["red", "red", "red", "blue"]
