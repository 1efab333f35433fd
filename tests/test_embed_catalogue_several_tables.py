"""Several files of one kind as one catalogue: a pattern, braces, or a folder."""

import gzip
import json
import os

import pytest
from formats import rows_of
from support import image_bytes

from embed import CatalogueError, ExtractSettings, read_catalogue
from embed.catalogue.open_table import open_table, usual_modalities

TEXT = ExtractSettings(modalities=("text",))


def put(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    return folder


@pytest.fixture
def parts(tmp_path):
    """A folder of three tables: of another order of columns, compressed, and JSON; and of what is none."""
    return put(
        tmp_path / "parts",
        b_csv="text,id\nblue,2\n", a_csv="id,text\n1,red\n", c_csv_gz="id,text\n3,green\n",
        d_json=json.dumps([{"id": 4, "text": "grey"}]), README_md="read me", e_h5_failures_csv="id,status\n1,empty\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("", "1234"), ("*.csv", "12!"), ("[ab].csv", "12"), ("{b,a}.csv", "21"), ("?.csv*", "123"), ("a.cs?", "1"),
    ],
)  # fmt: skip
def test_equal_tables_are_one_catalogue_in_the_order_of_their_names(parts, pattern, ids):
    if "!" in ids:
        (parts / "e.h5.failures.csv").unlink()
    catalogue = read_catalogue(parts / pattern, TEXT)
    assert "".join(catalogue.ids) == ids.strip("!")
    assert catalogue.columns["text"] == [["", "red", "blue", "green", "grey"][int(one)] for one in catalogue.ids]


def test_numbered_braces_count_up(tmp_path):
    put(tmp_path, **{f"part-{n:02}_csv": f"id,text\n{n},x\n" for n in range(12)})
    assert read_catalogue(tmp_path / "part-{02..11}.csv", TEXT).ids == [str(n) for n in range(2, 12)]
    with pytest.raises(CatalogueError, match=r"there is no .*part-12\.csv"):
        open_table(tmp_path / "part-{00..12}.csv")
    with pytest.raises(CatalogueError, match="there is no"):
        open_table(tmp_path / "none-*.csv")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,text,price", r"b\.csv has price too, other than .*a\.csv"),
        ("id,words", r"b\.csv lacks text and has words too"),
        ("id", r"b\.csv lacks text, other"),
    ],
)
def test_other_columns_are_a_named_error(tmp_path, header, message):
    put(tmp_path, a_csv="id,text\n1,red\n", b_csv=f"{header}\n{header}\n")
    with pytest.raises(CatalogueError, match=message):
        open_table(tmp_path)


def test_one_id_in_two_tables_is_a_named_error(tmp_path):
    put(tmp_path, a_csv="id,text\n1,red\n", b_csv="id,text\n1,red\n")
    with pytest.raises(CatalogueError, match="each id to name one product"):
        read_catalogue(tmp_path, TEXT)


def test_bad_lines_are_named_with_their_file(tmp_path):
    put(tmp_path, a_csv="id,text\n1,red\n2,b,c\n", b_csv="id,text\n3\n4,red\n")
    table = open_table(tmp_path)
    assert [row["id"] for row in rows_of(table)] == ["1", "4"]
    assert (table.bad_lines.count, table.bad_lines.examples) == (
        2, [(3, "of a.csv has 3 cells and the header 2"), (2, "of b.csv has 1 cell and the header 2")],
    )  # fmt: skip


@pytest.mark.parametrize("pattern", ["", "*.csv", "{a,b}.csv", "../[s]hop/*.csv"])
def test_pictures_are_relative_to_what_is_fixed_of_the_path(tmp_path, pattern):
    shop = put(tmp_path / "shop", a_csv="id,image\n1,x.png\n", b_csv="id,image\n2,x.png\n")
    (shop / "x.png").write_bytes(image_bytes())
    folder = read_catalogue(shop / pattern, ExtractSettings(modalities=("image",))).folder
    assert (folder / ("shop" if "[s]" in pattern else "") / "x.png").resolve() == (shop / "x.png").resolve()


def test_of_a_folder_of_tables_texts_are_encoded_too(parts):
    assert usual_modalities(parts) == ("image", "text")


def test_json_beside_folders_of_pictures_is_no_catalogue(tmp_path):
    (tmp_path / "cups").mkdir()
    (tmp_path / "cups" / "1.png").write_bytes(image_bytes())
    (tmp_path / "classes.json").write_text('{"cups": 0}')
    assert [row["label"] for row in rows_of(open_table(tmp_path))] == ["cups"]


# --- tables in folders below, and splits


def test_tables_below_a_folder_without_any_are_its_catalogue(tmp_path, caplog):
    """As a repository of a dataset has them: a text about it, and the tables in a folder or one a split."""
    put(tmp_path, README_md="read me")
    (tmp_path / "dataset_infos.json").write_text("{}")
    put(tmp_path / ".cache", z_csv="id,text\n9,x\n")
    put(tmp_path / "data", a_csv="id,text\n1,red\n", settings_json="{}")
    put(tmp_path / "data" / "more", b_csv="text,id\nblue,2\n")
    with caplog.at_level("INFO"):
        catalogue = read_catalogue(tmp_path, TEXT)
    assert (catalogue.ids, catalogue.columns["text"]) == (["1", "2"], ["red", "blue"])
    assert f"holds tables in folders below it: 2 are read, the first {tmp_path}/data/a.csv." in caplog.text
    put(tmp_path, c_csv="id,text\n3,green\n")
    assert read_catalogue(tmp_path, TEXT).ids == ["3"]


def test_pictures_below_keep_tables_below_from_being_the_catalogue(tmp_path):
    put(tmp_path / "hats", a_csv="id,text\n1,red\n")
    (tmp_path / "hats" / "1.png").write_bytes(image_bytes())
    assert [row["label"] for row in rows_of(open_table(tmp_path))] == ["hats"]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train-00000-of-00001", "test-00000-of-00001"], "train test"),
        (["shop_TRAIN", "shop_val", "shop_test"], "TRAIN val test"),
        (["default/train/0000", "default/partial-test/0000"], "train test"),
        (["train/a/0", "test/a/0"], "train test"),
        (["train-0", "train-1"], ""), (["train", "more"], ""), (["train-test", "test"], ""), (["trainers", "test"], ""),
    ],
)  # fmt: skip
def test_names_of_tables_that_say_a_split_are_a_column(tmp_path, files, splits):
    for number, file in enumerate(files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{file}.csv").write_text(f"id,text\n{number},red\n")
    rows = rows_of(open_table(tmp_path))
    assert len(rows) == len(files)
    assert {row["id"]: row.get("split", "") for row in rows} == {
        str(number): splits.lower().split()[number] if splits else "" for number in range(len(files))
    }


def test_a_column_split_of_the_tables_own_is_kept(tmp_path):
    put(tmp_path, train_csv="id,text,split\n1,red,a\n", test_csv="id,text,split\n2,red,b\n")
    assert {row["id"]: row["split"] for row in rows_of(open_table(tmp_path))} == {"1": "a", "2": "b"}


def test_a_folder_below_that_cannot_be_read_is_a_named_error(tmp_path, monkeypatch):
    for name in ("train", "test"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "0.csv").write_text("id,text\n1,red\n")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("test"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CatalogueError, match="to be readable, but .*test is not: Permission denied"):
        open_table(tmp_path)


def test_notes_on_several_tables_are_said_once(tmp_path, caplog):
    put(tmp_path, **{f"{n}_jsonl": f'{{"id": "{n}", "title": "x", "tags": ["a"]}}\n' for n in range(5)})
    with caplog.at_level("INFO", logger="embed_once"):
        read_catalogue(tmp_path / "*.jsonl", TEXT)
    assert caplog.text.count("no plain cells") == 1
    assert "The same is so of other tables: 4 notes more." in caplog.text
