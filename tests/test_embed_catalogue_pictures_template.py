"""Pictures that no column names: paths made of cells, said by a template or found beside the table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from formats import rows_of
from support import ROOT, CountingEncoder, image_bytes, invoke, write_catalogue

import embed.commands.extract
import embed.commands.inspect
from cache import Cache
from embed import CatalogueError, ExtractSettings, InspectSettings, SettingError, extract, inspect, read_catalogue
from embed.catalogue.pictures.image_template import ImageTemplate, split_templates
from embed.catalogue.pictures.pictured_table import open_pictured

KAGGLE = ROOT.parent / "shared" / "cases" / "kag"
STYLES = [
    {"id": f"{15970 + n}", "gender": ("Men", "Women")[n % 2], "year": "2012", "productDisplayName": f"Shirt no {n}"}
    for n in range(40)
]


def styles(folder, *, path="images/{id}.jpg", rows=STYLES, without=()):
    """Write a table without a column of pictures, and each row's picture at a path of its cells."""
    template = ImageTemplate(path)
    names = [template.path(row) for n, row in enumerate(rows) if n not in without]
    return write_catalogue(folder, rows, {name: image_bytes((n, 7, 9)) for n, name in enumerate(names)})


def pictures_of(path, **settings):
    table, settings = open_pictured(path, ExtractSettings(**settings))
    return [row[settings.image_column] for row in rows_of(table)]


# --- templates


@pytest.mark.parametrize(
    ("template", "row", "path"),
    [
        ("images/{id}.jpg", {"id": " 7 "}, "images/7.jpg"),
        ("{base colour}/{id}.png", {"id": "7", "base colour": "Navy Blue"}, "Navy Blue/7.png"),
        ("{id:0>6}.jpg", {"id": "7"}, "000007.jpg"),
        ("{id:06d}.jpg", {"id": "7"}, "000007.jpg"),
        ("{id:06d}.jpg", {"id": "x"}, ""),
        ("{id:.3}/{id}.jpg", {"id": "0108775015"}, "010/0108775015.jpg"),
        ("{{x}}/{id}.jpg", {"id": "7"}, "{x}/7.jpg"),
        ("images/{id}.jpg", {"id": " "}, ""),
        ("{id}{suffix}", {"id": "7", "suffix": ""}, ""),
        ("{a.b}.jpg", {"a.b": "7"}, "7.jpg"),
        ("p/{url:name}", {"url": "https://x.example/y/a%20b.jpg?w=1"}, "p/a b.jpg"),
        ("p/{file:stem}.png", {"file": "C:\\Fotos\\7.JPG"}, "p/7.png"),
        ("{file:last2}", {"file": "/home/ana/mugs/7.jpg"}, "mugs/7.jpg"),
        ("p/{url:name}", {"url": "https://x.example/y/"}, ""),
    ],
)
def test_a_template_makes_a_path_of_cells(template, row, path):
    assert ImageTemplate(template).path(row) == path


@pytest.mark.parametrize("template", ["images/1.jpg", "", "images/{}.jpg", "images/{id.jpg", "{id:zz}.jpg"])
def test_what_is_no_template_is_refused(template):
    with pytest.raises(SettingError, match="--image-template: expected a path with columns in braces"):
        ImageTemplate(template)


def test_templates_stand_in_several_options_or_with_commas():
    texts = [one.text for one in split_templates(["{a,b}.jpg, x/{id}.png", "{id}.gif"])]
    assert texts == ["{a,b}.jpg", "x/{id}.png", "{id}.gif"]


def test_a_row_has_the_path_of_the_first_template_that_leads_to_a_file(tmp_path):
    path = styles(tmp_path, rows=STYLES[:4])
    (tmp_path / "images" / "15971.jpg").rename(tmp_path / "15971.png")
    (tmp_path / "images" / "15972.jpg").unlink()
    picture_names = pictures_of(path, image_template=("images/{id}.jpg,{id}.png",))
    assert picture_names == ["images/15970.jpg", "15971.png", "images/15972.jpg", "images/15973.jpg"]


def test_a_template_of_a_column_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(CatalogueError, match=r"--image-template: expected one of the catalogue's columns \(id, gender"):
        pictures_of(styles(tmp_path), image_template="images/{idd}.jpg")


def test_a_template_and_a_column_are_one_too_many():
    with pytest.raises(SettingError, match="but both are given"):
        ExtractSettings(image_template="{id}.jpg", image_column="image")


def test_a_template_goes_before_a_column_of_a_usual_name(tmp_path):
    rows = [{**row, "image": "https://example.org/x.jpg"} for row in STYLES]
    path = styles(tmp_path, rows=rows)
    table, settings = open_pictured(path, ExtractSettings(image_template="images/{id}.jpg"))
    assert (settings.image_column, table.columns[-1]) == ("image_path", "image_path")
    assert rows_of(table)[0]["image"] == "https://example.org/x.jpg"


def test_a_template_that_leads_out_of_the_folder_reads_nothing(tmp_path):
    path = styles(tmp_path / "in", rows=STYLES[:2])
    (tmp_path / "15970.jpg").write_bytes(image_bytes())
    settings = ExtractSettings(image_template="../{id}.jpg,images/{id}.jpg", modalities=("image",))
    report = extract(path, "c.h5", settings=settings, encoders=[CountingEncoder("image")])
    assert report.statuses["image"] == {"outside": 1, "ok": 1}


# --- templates that are found


@pytest.mark.parametrize(
    "template",
    [
        "images/{id}.jpg",
        "{id}.png",
        "a/b/c/{id}.JPG",
        "images/product_{id}.jpg",
        "images/{id}-main.jpg",
        "{gender}/{id}.jpg",
        "images/{id:.4}/{id}.jpg",
        "images/{id:0>10}.jpg",
        "photos/{id}/front.jpg",
    ],
)
def test_the_template_that_explains_the_rows_is_found(tmp_path, caplog, template):
    caplog.set_level("INFO")
    path = styles(tmp_path, path=template)
    assert pictures_of(path) == [ImageTemplate(template).path(row) for row in STYLES]
    assert f"--image-template '{template}' does, for 40 of 40 rows looked at." in caplog.text


def test_a_column_of_file_names_in_another_folder_is_found(tmp_path):
    rows = [{**row, "picture_file": f"p{n}.jpg"} for n, row in enumerate(STYLES)]
    assert pictures_of(styles(tmp_path, rows=rows, path="images/{picture_file}"))[3] == "images/p3.jpg"


def test_pictures_of_two_suffixes_take_two_templates(tmp_path):
    path = styles(tmp_path)
    for n in range(0, 40, 2):
        (tmp_path / "images" / f"{15970 + n}.jpg").rename(tmp_path / "images" / f"{15970 + n}.png")
    assert pictures_of(path)[:2] == ["images/15970.png", "images/15971.jpg"]


def test_a_column_of_a_usual_name_that_leads_nowhere_does_not_stand_in_the_way(tmp_path):
    rows = [{**row, "image": f"https://example.org/{n}"} for n, row in enumerate(STYLES)]
    assert pictures_of(styles(tmp_path, rows=rows))[0] == "images/15970.jpg"


def test_a_column_that_leads_to_one_picture_is_taken_as_it_is(tmp_path):
    rows = [{**row, "image": f"images/{15970 + n if n == 5 else 'none'}.jpg"} for n, row in enumerate(STYLES)]
    assert pictures_of(styles(tmp_path, rows=rows))[:1] == ["images/none.jpg"]


def test_a_template_that_explains_too_few_rows_is_not_taken(tmp_path):
    assert pictures_of(styles(tmp_path / "a", without={3}))[3] == "images/15973.jpg"  # 39 of 40
    path = styles(tmp_path / "b", without=set(range(10)))
    with pytest.raises(CatalogueError, match="--image-template 'images/{id}.jpg', or do without"):
        read_catalogue(path)


def test_pictures_of_a_column_with_few_values_are_no_products(tmp_path):
    write_catalogue(tmp_path, STYLES, {f"banners/{name}.jpg": image_bytes() for name in ("Men", "Women", "2012")})
    with pytest.raises(CatalogueError, match="to have a column of images"):
        read_catalogue(tmp_path / "data.csv")


def test_pictures_go_before_thumbnails_and_the_others_are_named(tmp_path, caplog):
    caplog.set_level("INFO")
    path = styles(tmp_path)
    shutil.copytree(tmp_path / "images", tmp_path / "a_thumbs")
    assert pictures_of(path)[0] == "images/15970.jpg"
    assert "So would a_thumbs/{id}.jpg: --image-template names the one to take." in caplog.text


def test_the_pictures_are_looked_for_below_the_image_root(tmp_path):
    path = styles(tmp_path / "table")
    shutil.move(tmp_path / "table" / "images", tmp_path / "elsewhere")
    assert pictures_of(path, image_root=tmp_path / "elsewhere")[0] == "15970.jpg"


def test_a_linked_folder_of_pictures_is_looked_into_where_pictures_outside_are_allowed(tmp_path):
    path = styles(tmp_path / "table")
    shutil.move(tmp_path / "table" / "images", tmp_path / "elsewhere")
    (tmp_path / "table" / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "table")
    assert pictures_of(path, allow_outside=True)[0] == "images/15970.jpg"
    with pytest.raises(CatalogueError, match="to have a column of images"):
        read_catalogue(path)


def test_rows_without_pictures_are_read_as_before(tmp_path):
    path = write_catalogue(tmp_path, STYLES)
    assert read_catalogue(path, ExtractSettings(modalities=("text",))).roles == {"text": "productDisplayName"}


def test_pictures_stay_with_the_products_when_texts_alone_are_encoded(tmp_path):
    path = styles(tmp_path)
    extract(path, "c.h5", encoders=[CountingEncoder("image"), CountingEncoder("text")])
    extract(path, "c.h5", settings=ExtractSettings(modalities=("text",)), encoders=[CountingEncoder("text")])
    with Cache("c.h5") as cache:
        assert set(cache.statuses("image")) == {"ok"}
        assert cache.column("image")[0] == "images/15970.jpg"


def test_an_inspection_finds_the_template_too(tmp_path):
    inspection = inspect(styles(tmp_path), settings=InspectSettings(estimate=False))
    assert inspection.roles["image"] == "image"
    assert inspection.pictures.statuses == {"ok": 40}


def test_the_commands_take_several_templates(tmp_path):
    path = styles(tmp_path, path="{id}.png")
    arguments = (path, "--image-template", "images/{id}.jpg", "--image-template", "{id}.png")
    done = invoke(embed.commands.inspect.inspect, *arguments, "--no-estimate", "--no-html")
    assert "Pictures: 40 can be read, 0 cannot" in done.stdout


@pytest.mark.skipif(not KAGGLE.is_dir(), reason="the shared cases are not here")
def test_kaggle_s_styles_are_read_without_an_option(tmp_path):
    folder = Path(shutil.copytree(KAGGLE, tmp_path / "kag"))
    extract(folder / "styles.csv", "c.h5", encoders=[CountingEncoder("image"), CountingEncoder("text")])
    with Cache("c.h5") as cache:
        assert cache.statuses("image") == ["ok"] * 60


# --- a column that names pictures, whatever it is called


@pytest.mark.parametrize("named", ["Bild", "image_1", "local path"])
def test_a_column_whose_cells_are_pictures_is_taken_whatever_its_name(tmp_path, caplog, named):
    caplog.set_level("INFO", "embed_once")
    rows = [{"id": f"{n}", named: f"images/{n}.jpg", "title": f"Shirt {n}"} for n in range(20)]
    path = write_catalogue(tmp_path, rows, {f"images/{n}.jpg": image_bytes((n, 7, 9)) for n in range(20)})
    assert pictures_of(path) == [row[named] for row in rows]
    assert f"No column of {path} has a usual name for pictures; {named} does by its cells, and is taken." in caplog.text


def test_of_several_columns_of_pictures_the_fullest_is_taken_and_the_others_are_named(tmp_path, caplog):
    caplog.set_level("INFO", "embed_once")
    rows = [{"image_0": f"{n}.jpg" if n % 2 else "", "image_1": f"{n}.jpg", "image_2": f"{n}.jpg"} for n in range(20)]
    path = write_catalogue(tmp_path, rows, {f"{n}.jpg": image_bytes((n, 7, 9)) for n in range(20)})
    assert pictures_of(path) == [row["image_1"] for row in rows]
    assert "So do image_2, image_0: --image-column names the one to take." in caplog.text


def test_a_column_that_leads_to_files_wins_over_one_of_a_usual_name_that_does_not(tmp_path, caplog):
    caplog.set_level("INFO", "embed_once")
    rows = [{"image": f"https://x.y/{n}.jpg", "local": f"{n}.jpg"} for n in range(20)]
    path = write_catalogue(tmp_path, rows, {f"{n}.jpg": image_bytes((n, 7, 9)) for n in range(20)})
    assert pictures_of(path) == [row["local"] for row in rows]
    assert "image names no picture that is there; local does by its cells" in caplog.text


def test_files_of_other_kinds_are_no_pictures(tmp_path):
    rows = [{"id": f"{n}", "sheet": f"docs/{n}.pdf"} for n in range(20)]
    files = {f"images/{n}.jpg": image_bytes((n, 7, 9)) for n in range(20)}
    path = write_catalogue(tmp_path, rows, files | {f"docs/{n}.pdf": b"%PDF" for n in range(20)})
    assert pictures_of(path) == [f"images/{n}.jpg" for n in range(20)]


@pytest.mark.parametrize("gone", [0, 7])
def test_a_column_of_pictures_may_lack_a_few_also_the_first(tmp_path, gone):
    rows = [{"id": f"{n}", "Bild": f"images/{n}.jpg"} for n in range(40)]
    files = {f"images/{n}.jpg": image_bytes((n, 7, 9)) for n in range(40) if n != gone}
    assert pictures_of(write_catalogue(tmp_path, rows, files)) == [row["Bild"] for row in rows]


def test_one_picture_under_all_rows_makes_no_column_of_pictures(tmp_path):
    rows = [{"id": f"{n}", "logo": "logo.png"} for n in range(20)]
    path = write_catalogue(tmp_path, rows, {"logo.png": image_bytes((1, 7, 9))})
    _, settings = open_pictured(path, ExtractSettings())
    assert settings.image_column is None


@pytest.mark.parametrize("named", ["", "split", "Split", "SPLIT_"])
def test_folders_of_splits_make_a_column_where_pictures_lie_in_several_and_no_column_says_them(tmp_path, named):
    for n in range(8):
        path = tmp_path / ("test" if n % 4 == 0 else "train") / f"{n}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image_bytes((n, 0, 0)))
    header, cell = (f"id,title,{named}", ",mine") if named else ("id,title", "")
    (tmp_path / "data.csv").write_text(f"{header}\n" + "".join(f"{n},thing {n}{cell}\n" for n in range(8)))
    columns = read_catalogue(tmp_path / "data.csv").columns
    assert list(columns["image"])[3:5] == ["train/3.jpg", "test/4.jpg"]
    expected = ["mine"] * 8 if named else ["test", *["train"] * 3] * 2
    assert [list(cells) for name, cells in columns.items() if "split" in name.lower()] == [expected]
