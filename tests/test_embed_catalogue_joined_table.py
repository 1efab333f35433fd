"""A second table beside the catalogue, joined by id: `--labels`."""

import logging
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from formats import rows_of
from support import write_catalogue

from embed import CatalogueError, ExtractSettings, InspectSettings, inspect, read_catalogue
from embed.catalogue.open_table import open_table
from embed.contents.file_ranges import PlacedCell

ROWS = [{"id": f"{n:03}", "image": f"{n}.png", "text": f"cup {n}"} for n in range(5)]
LABELS = "id,label\n003,red\n000,blue\n001,red\n777,red\n"


@pytest.fixture
def join(tmp_path):
    """Return a function that joins a table of labels to a catalogue, and returns the rows."""

    def rows(labels, catalogue=ROWS, *, name="y.csv", **settings):
        path = write_catalogue(tmp_path, catalogue)
        (tmp_path / name).write_text(labels)
        return rows_of(open_table(path, ExtractSettings(labels=tmp_path / name, **settings)))

    return rows


def test_each_product_has_the_cell_of_its_own_id_and_the_others_are_empty(join, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    rows = join(LABELS)
    assert [row["label"] for row in rows] == ["blue", "red", "", "red", ""]
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert caplog.text.count("y.csv is joined by id: 2 of 5 products have no row in it") == 1
    assert "1 of its 4 ids are not in the catalogue." in caplog.text


ATTRIBUTES = """\
id,Attribute Name,value
003,color,red
001,color,blue
001,size,5
001,color,green
003,rare,x
999,size,
"""


def test_a_row_for_each_attribute_becomes_a_column_for_each(join, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    rows = join(ATTRIBUTES)
    assert [row["color"] for row in rows] == ["", "blue. green", "", "red", ""]
    assert [row["size"] for row in rows] == ["", "5", "", "", ""]
    assert "Attribute Name" not in rows[0]
    assert "y.csv has a row for each attribute of a product: 3 attributes, each with a column." in caplog.text


def test_attributes_that_few_products_have_are_columns_where_an_option_names_them(join, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    others = "".join(f"{n},color,red\n" for n in range(1000, 1250))
    rows = join(ATTRIBUTES + others, label="rare")
    assert set(rows[0]) - set(ROWS[0]) == {"color", "rare"}
    assert rows[3]["rare"] == "x"
    assert "2 attributes, each with a column; 1 that less than 1 % of its products have are left out." in caplog.text


@pytest.mark.parametrize("options", [{"where": "rare == 'x'"}, {"image_template": "images/{rare}.png"}])
def test_conditions_and_templates_name_attributes(join, options):
    others = "".join(f"{n},color,red\n" for n in range(1000, 1250))
    assert [row["rare"] for row in join(ATTRIBUTES + others, **options)] == ["", "", "", "x", ""]


def test_several_values_of_an_attribute_are_one_cell(join, caplog):
    """Pictures and labels are lists, as in JSON: joined to one text they named no file."""
    caplog.set_level(logging.INFO, "embed_once")
    rows = join(
        "id,attribute,value\n001,shot,a.jpg\n001,shot,b.jpg\n003,shot,c.jpg\n001,category,Mugs\n001,category,Cups\n"
        "001,tag,red\n001,tag, \n001,tag,red\n001,,nothing\n",
        [{"id": "001"}, {"id": "003"}],
        image_column="shot",
    )
    assert rows == [
        {"id": "001", "shot": '["a.jpg", "b.jpg"]', "category": '["Mugs", "Cups"]', "tag": "red"},
        {"id": "003", "shot": "c.jpg", "category": "", "tag": ""},
    ]
    assert "3 attributes, each with a column." in caplog.text


def test_attributes_are_joined_by_a_column_of_any_name(join):
    rows = join(ATTRIBUTES.replace("id,", "number,"), [{"number": "001", "text": "cup"}], id_column="number")
    assert rows == [{"number": "001", "text": "cup", "color": "blue. green", "size": "5", "rare": ""}]
    assert join("number,name,value\n001,size,1\n001,height,2\n", [{"number": "001", "text": "cup"}])[0]["height"] == "2"


def test_a_name_and_a_value_of_each_product_stay_columns(join):
    assert join("id,name,value\n001,cup,5\n")[1]["value"] == "5"
    with pytest.raises(CatalogueError, match="each id to stand once"):
        join("key,label,value\n001,a,5\n001,b,5\n", [{"key": "001", "text": "cup"}], id_column="key")


def test_lists_in_the_second_table_stay_where_an_option_names_them(join):
    labels = '[{"id": "003", "kinds": ["a", "b"], "shots": ["1.png"]}, {"id": "001", "kinds": ["c"], "shots": []}]'
    rows = join(labels, name="y.json", label="kinds", image_column="shots")
    assert [row["kinds"] for row in rows] == ["", '["c"]', "", '["a", "b"]', ""]
    assert [row["shots"] for row in rows] == ["", "", "", '["1.png"]', ""]
    assert "shots" not in join(labels, name="y.json", label="kinds", image_column="image")[0]


def test_extraction_and_inspection_see_the_joined_columns(join, tmp_path):
    join(LABELS)
    settings = ExtractSettings(labels=tmp_path / "y.csv", where="label == 'red'")
    catalogue = read_catalogue(tmp_path / "data.csv", settings)
    assert (catalogue.ids, catalogue.columns["label"]) == (["001", "003"], ["red", "red"])
    inspection = inspect(tmp_path / "data.csv", settings=InspectSettings(extract=settings, estimate=False))
    assert (inspection.roles["label"], inspection.n_rows) == ("label", 2)


@pytest.mark.parametrize(
    ("catalogue", "labels", "settings"),
    [
        (ROWS, "label,sku\nred,001\n", {}),
        (ROWS, "label,ID\nred,001\n", {}),
        ([{"code": row["id"], **row} for row in ROWS], "code,label\n001,red\n", {"id_column": "code"}),
        ([{"": row["id"], "product_id": "1", "text": row["text"]} for row in ROWS], ",label\n001,red\n", {}),
        ([{"file": row["image"], "text": row["text"]} for row in ROWS], "file,label\n1.png,red\n", {}),
    ],
    ids=["usual names", "another case", "asked for", "nameless in both", "a file's name"],
)
def test_the_columns_of_ids_are_found(join, catalogue, labels, settings):
    assert [row["label"] for row in join(labels, catalogue, **settings)] == ["", "red", "", "", ""]


def test_the_second_table_may_be_of_any_format(join):
    assert join('[{"id": "001", "label": "red"}]', name="y.json")[1]["label"] == "red"
    assert join("id;label\n001;red\n")[1]["label"] == "red"


def test_an_empty_cell_of_a_column_that_both_have_is_filled(join):
    catalogue = [{**row, "label": ["", "red"][n % 2]} for n, row in enumerate(ROWS)]
    assert [row["label"] for row in join(LABELS, catalogue)] == ["blue", "red", "", "red", ""]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("id,label\n001,red\n002,x\n001,blue\n", "each id to stand once in .*, but id has '001' 2 times"),
        ("id,label\n1,red\n2,blue\n", "ids of the catalogue's id, but none of its 2 is one: '1'"),
        ("code,label\n001,red\n", "a column of ids, but their columns are code, label and id, image, text"),
        ("id,text\n001,red\n", "text of .* to be the catalogue's, but of '001' they are 'red' and 'cup 1'"),
    ],
)
def test_what_cannot_be_joined_is_a_named_error(join, labels, message):
    with pytest.raises(CatalogueError, match=message):
        join(labels)


def test_a_second_table_that_is_not_there_is_named(tmp_path):
    path = write_catalogue(tmp_path, ROWS)
    with pytest.raises(CatalogueError, match=r"but no\.csv is not there"):
        open_table(path, ExtractSettings(labels=Path("no.csv")))


@pytest.mark.parametrize("rows", ["000,1,a.png\n001,1,b.png\n000,2,c.png\n", "001,1,b.png\n000,1,a.png\n000,2,c.png\n"])
def test_several_pictures_of_a_product_in_a_second_table_are_a_list(join, caplog, rows):
    caplog.set_level(logging.INFO, "embed_once")
    products = [{"id": f"{n:03}", "text": f"cup {n}"} for n in range(3)]
    joined = join(f"id,position,image_url\n{rows}", products)
    assert [row["image_url"] for row in joined] == ['["a.png", "c.png"]', "b.png", ""]
    assert [row["position"] for row in joined] == ["1", "1", ""]
    assert "has several rows of 1 of its 2 ids: their pictures in image_url are one product's" in caplog.text


@pytest.mark.parametrize(
    "labels",
    [
        "id,image,label\n001,a.png,red\n001,b.png,blue\n",
        "id,image,kind\n001,a.png,mug\n001,b.png,vase\n",
        "id,image,kind\n001,a.png,mug\n001,b.png,\n",
        "id,image,kind\n001,a.png,mug\n001,a.png,mug\n",
        "id,image,kind\n001,,mug\n001,,mug\n",
        "id,image,kind\n001,1,mug\n001,2,mug\n",
    ],
    ids=["labels", "another column", "an empty cell", "the same pictures", "no pictures", "numbers"],
)
def test_rows_of_an_id_that_differ_in_more_than_pictures_are_an_error(join, labels):
    with pytest.raises(CatalogueError, match="each id to stand once in .*, but id has '001' 2 times"):
        join(labels, [{"id": "001", "text": "cup"}])


def test_rows_without_an_id_are_not_one_product(join):
    with pytest.raises(CatalogueError, match="each id to stand once in .*, but id has '' 2 times"):
        join("id,image\n001,c.png\n,a.png\n,b.png\n", [{"id": "001", "text": "cup"}])


def test_pictures_inside_the_second_table_stay_where_they_are(tmp_path):
    def pictures(ids):
        image = [{"bytes": b"x", "path": f"{n}.png"} for n in range(len(ids))]
        pyarrow.parquet.write_table(pyarrow.table({"id": ids, "image": image}), tmp_path / "y.parquet")
        path = write_catalogue(tmp_path, [{"id": "001", "text": "cup"}, {"id": "002", "text": "mug"}])
        return rows_of(open_table(path, ExtractSettings(labels=tmp_path / "y.parquet")))

    assert all(isinstance(row["image"], PlacedCell) for row in pictures(["001", "002"]))
    with pytest.raises(CatalogueError, match="each id to stand once in .*, but id has '001' 2 times"):
        pictures(["001", "001", "002"])
