"""One catalogue in every format: the same products, keys and vectors; and pictures that are no files of their own."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from formats import WRITERS, rows_of, write_stream
from support import CountingEncoder, image_bytes, small_catalogue, vector_of

from cache import Cache, content_key, verify
from cache.console.progress import Progress
from embed import CatalogueError, ExtractSettings, SettingError, extract, read_catalogue
from embed.catalogue.open_table import open_table
from embed.contents.file_ranges import PlacedCell
from embed.contents.hash_cache import Hints
from embed.contents.images import decode
from embed.extraction.source.content_source import find_source

pytestmark = pytest.mark.slow

CACHE = Path("cache.h5")
PICTURES = {f"images/{n}.png": image_bytes((n, 7, 9)) for n in range(30)}
ROWS = [
    {
        "id": f"{n:03}", "image": f"images/{n}.png", "text": f"Größe {n} 👕 قميص", "label": f"class {n % 3}",
        "price": f"{n}.50",
    }
    for n in range(30)
]  # fmt: skip
PYARROW = [name for name in WRITERS if name.startswith(("parquet", "dataset"))]


def run(path, *, modalities=("image", "text"), **settings):
    """Extract with fresh encoders, and return how many contents each of them encoded."""
    encoders = [CountingEncoder(modality) for modality in modalities]
    extract(path, CACHE, settings=ExtractSettings(modalities=modalities, **settings), encoders=encoders)
    return [encoder.n_encoded for encoder in encoders]


def written(name, folder, rows=ROWS, pictures=PICTURES):
    if name in PYARROW:
        pytest.importorskip("pyarrow")
    folder.mkdir(exist_ok=True)
    return WRITERS[name](folder, rows, pictures)


# --- every format


@pytest.mark.parametrize("name", WRITERS)
def test_each_product_has_its_own_picture_s_vector_in_every_format(name, tmp_path):
    path = written(name, tmp_path / "shop")
    modalities = ("image",) if name == "class folders" else ("image", "text")
    assert run(path, modalities=modalities) == [30] * len(modalities)
    with Cache(CACHE) as cache:
        order = [int(Path(product_id).stem) for product_id in cache.ids()]
        assert sorted(order) == list(range(30))
        keys = [cache.keys("image")[row].decode() for row in cache.rows("image")]
        assert keys == [content_key(PICTURES[f"images/{n}.png"]) for n in order]
        vectors = [vector_of(decode(PICTURES[f"images/{n}.png"]).tobytes(), 4) for n in order]
        np.testing.assert_array_equal(cache.matrix("image"), vectors)
        assert cache.column("label") == [f"class {n % 3}" for n in order]
        if "text" in modalities:
            texts = [vector_of(ROWS[n]["text"].encode(), 4) for n in order]
            np.testing.assert_array_equal(cache.matrix("text"), texts)
    assert verify(CACHE) == []
    assert run(path, modalities=modalities) == [0] * len(modalities)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """The bytes of the cache of the CSV file."""
    folder = tmp_path_factory.mktemp("csv")
    encoders = [CountingEncoder("image"), CountingEncoder("text")]
    extract(written("csv", folder / "shop"), folder / CACHE, encoders=encoders)
    return (folder / CACHE).read_bytes()


@pytest.mark.parametrize("name", WRITERS)
def test_what_one_format_has_encoded_no_other_encodes_again(name, sealed, tmp_path):
    CACHE.write_bytes(sealed)
    modalities = ("image",) if name == "class folders" else ("image", "text")
    assert run(written(name, tmp_path / "other"), modalities=modalities) == [0] * len(modalities)


@pytest.mark.parametrize("name", ["csv", "json lines", "shards", *PYARROW])
def test_batches_hold_all_columns_of_all_rows_in_order(name, tmp_path):
    table = open_table(written(name, tmp_path / "shop"))
    rows = rows_of(table)
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert {tuple(sorted(row)) for row in rows} == {tuple(sorted(table.columns))}
    assert [row["label"] for row in rows] == [row["label"] for row in ROWS]
    if "dataset" not in name:
        assert [row["price"] for row in rows] == [row["price"] for row in ROWS]
    assert (table.bad_lines.count, table.bad_lines.examples) == (0, [])
    assert rows_of(table) == rows, "a table can be gone through again"


@pytest.mark.parametrize(
    "name", ["csv", "json lines", "shards", "class folders", "parquet", "parquet with bytes", "dataset"]
)
def test_no_batch_has_more_rows_than_it_may(name, tmp_path, monkeypatch):
    path = written(name, tmp_path / "shop")
    table = open_table(path)
    monkeypatch.setattr(f"{type(table).__module__}.BATCH_ROWS", 4)
    monkeypatch.setattr("embed.catalogue.formats.csv.PIECE_ROWS", 3)
    sizes = [len(batch["image"]) for batch in table.batches()]
    assert sum(sizes) == 30
    assert max(sizes) <= 4
    catalogue = read_catalogue(path, ExtractSettings(modalities=("image",)))
    order = sorted(range(30), key=lambda n: n % 3) if name == "class folders" else range(30)
    assert catalogue.columns["label"] == [f"class {n % 3}" for n in order]
    if name in ("shards", "parquet with bytes", "dataset"):
        assert [cell.place.read() for cell in catalogue.cells("image")] == list(PICTURES.values())


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith("dataset")])  # whose files are two
def test_one_product_is_a_catalogue(name, tmp_path):
    path = written(name, tmp_path / "shop", ROWS[:1], {"images/0.png": PICTURES["images/0.png"]})
    assert run(path, modalities=("image",)) == [1]


@pytest.mark.parametrize("name", PYARROW)
def test_pyarrow_is_named_where_it_is_not_there(name, tmp_path, monkeypatch):
    path = written(name, tmp_path / "shop")
    import sys

    for module in [module for module in sys.modules if module.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CatalogueError, match="need the package pyarrow: pip install pyarrow, or use CSV"):
        open_table(path)


# --- pictures inside other files


def sources(path, **settings):
    settings = ExtractSettings(modalities=("image",), **settings)
    folder = path.parent / "hints"
    folder.mkdir(exist_ok=True)
    return find_source("image", read_catalogue(path, settings), settings, hints=Hints(folder / "h", folder=folder))


@pytest.mark.parametrize("name", ["shards", "dataset", "parquet with bytes", "parquet with structs"])
def test_pictures_inside_are_read_in_any_order(name, tmp_path, monkeypatch):
    if name.startswith("parquet"):
        monkeypatch.setattr(
            "embed.catalogue.formats.parquet_pictures.WINDOW_ROWS", 1
        )  # so that those kept are fewer than a row group's
    source = sources(written(name, tmp_path / "shop"))
    keys = list(source.keys.contents)
    numbers = range(len(keys))
    for number in [*reversed(numbers), *numbers[::7], *numbers]:
        assert content_key(source.read(number)) == keys[number]


def test_a_row_group_is_read_window_by_window_and_once(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    import embed.catalogue.formats.parquet_pictures

    monkeypatch.setattr(embed.catalogue.formats.parquet_pictures, "WINDOW_ROWS", 4)
    begun = []
    begin = embed.catalogue.formats.parquet_pictures.ParquetPictures._begin_group
    monkeypatch.setattr(
        embed.catalogue.formats.parquet_pictures.ParquetPictures,
        "_begin_group",
        lambda self, row: begun.append(row) or begin(self, row),
    )
    source = sources(written("parquet with structs", tmp_path / "shop"))
    assert len(begun) == 1  # whichever row a thread asks for first
    window = source.places[0].pictures._windows[-1][1]
    assert len(window) <= 4
    for number in range(len(source.places)):
        source.read(number)
    assert len(begun) <= 2


@pytest.mark.parametrize("name", ["shards", "dataset"])
def test_a_picture_that_changes_after_it_was_hashed_is_not_stored_under_its_key(name, tmp_path):
    path = written(name, tmp_path / "shop")
    source = sources(path)
    place = source.places[0]
    content = bytearray(place.path.read_bytes())
    content[place.offset + place.n_bytes // 2] ^= 1
    place.path.write_bytes(content)
    with pytest.raises(ValueError, match="^changed$"):
        source.read(0)


@pytest.mark.parametrize("name", ["shards", "dataset", "parquet with bytes"])
def test_pictures_inside_have_the_size_limit_of_files(name, tmp_path, monkeypatch):
    import embed.catalogue.formats.parquet_pictures
    import embed.contents.file_ranges

    limit = len(PICTURES["images/0.png"]) + 200
    monkeypatch.setattr(embed.contents.file_ranges, "MAX_BYTES", limit)
    monkeypatch.setattr(embed.catalogue.formats.parquet_pictures, "MAX_BYTES", limit)
    large = PICTURES["images/1.png"] + bytes(300)
    source = sources(written(name, tmp_path / "shop", pictures={**PICTURES, "images/1.png": large}))
    assert source.statuses.count("too_large") == 1
    assert source.statuses[1] == "too_large"


def test_bytes_that_are_none_or_empty_have_a_status_and_harm_no_other_row(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    red, blue = image_bytes("red"), image_bytes("blue")
    pq.write_table(pa.table({"image": [red, None, b"", b"<html>", blue]}), "p.parquet")
    rows = [{"id": f"{n}", "image": f"{n}", "text": "", "label": "a"} for n in range(5)]
    write_stream(Path("d/data.arrow"), rows, dict(zip("01234", [red, None, b"", b"<html>", blue], strict=True)), ["a"])
    for path in ("p.parquet", "d/data.arrow"):
        source = sources(Path(path))
        assert source.statuses == ["ok", "absent", "empty", "ok", "ok"]
        run(path, modalities=("image",))
        with Cache(CACHE) as cache:
            assert cache.statuses("image") == ["ok", "absent", "empty", "not_an_image", "ok"]
            expected = vector_of(decode(blue).tobytes(), 4)
            np.testing.assert_array_equal(cache.matrix("image")[4], expected)
            np.testing.assert_array_equal(np.isnan(cache.matrix("image")[:, 0]), [False, True, True, True, False])
        CACHE.unlink()


def test_pictures_without_bytes_are_the_files_at_their_paths(tmp_path):
    pa = pytest.importorskip("pyarrow")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.png").write_bytes(image_bytes("red"))
    (tmp_path / "out.png").write_bytes(image_bytes("blue"))
    cells = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "../out.png"}, None]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(cells, kind), "id": ["1", "2", "3"]})
    with pa.OSFile(str(tmp_path / "shop" / "d.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert sources(tmp_path / "shop" / "d.arrow").statuses == ["ok", "outside", "absent"]


def test_compressed_arrow_pictures_are_a_named_error(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"image": [image_bytes("red", size=(n, 50)) for n in range(1, 40)]})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile("d.arrow", "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as writer:
        writer.write_table(table)
    with pytest.raises(CatalogueError, match="not to be compressed"):
        read_catalogue("d.arrow", ExtractSettings(modalities=("image",)))


def test_bytes_that_are_text_are_read_as_text_beside_pictures(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": ["a.png"], "text": [b"caf\xc3\xa9"], "id": ["1"]}), "p.parquet")
    assert read_catalogue("p.parquet").cells("text") == ["café"]


def test_parquet_texts_that_are_not_unicode_keep_their_bytes(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    texts = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"ok"]).buffers())
    pq.write_table(pa.table({"image": ["a.png", ""], "text": texts}), "p.parquet")
    assert read_catalogue("p.parquet").cells("text") == ["caf\udce9", "ok"]


# --- pictures elsewhere


@pytest.mark.parametrize("name", ["csv", "json lines", "parquet"])
def test_image_root_and_outside_hold_in_every_table_of_paths(name, tmp_path):
    (tmp_path / "0.png").write_bytes(image_bytes("red"))
    rows = [{"id": f"{n}", "image": f"{n}.png", "text": "a", "label": "a"} for n in range(2)]
    rows.append({**rows[0], "id": "2", "image": "../0.png"})
    path = written(name, tmp_path / "shop", rows, {"0.png": image_bytes("blue"), "images/1.png": image_bytes("lime")})
    assert sources(path).statuses == ["ok", "missing", "outside"]
    assert sources(path, allow_outside=True).statuses == ["ok", "missing", "ok"]
    assert sources(path, image_root=tmp_path / "shop" / "images").statuses == ["missing", "ok", "outside"]
    root = sources(path, image_root=tmp_path)
    assert root.statuses == ["ok", "missing", "outside"]
    assert root.read(0) == image_bytes("red")


def test_urls_are_not_fetched_and_say_so_in_the_list_of_failures(tmp_path):
    path = small_catalogue(tmp_path / "shop", 4)
    text = path.read_text()
    for n, url in enumerate(("https://example.org/0.png", "ftp://host/1.png", "http://b/x")):
        text = text.replace(f"images/{n}.png", url)
    path.write_text(text)
    run(path)
    with Cache(CACHE) as cache:
        assert cache.statuses("image") == ["url", "url", "url", "ok"]
    with open(f"{CACHE}.failures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["status"], row["cell"]) for row in rows][1] == ("url", "ftp://host/1.png")
    assert "nothing is fetched" in rows[0]["meaning"]


def test_a_catalogue_of_nothing_but_urls_is_an_error_that_says_so(tmp_path):
    path = small_catalogue(tmp_path / "shop", 3)
    path.write_text(re.sub(r"images/", "https://example.org/x", path.read_text()))  # names that no file has
    with pytest.raises(CatalogueError, match="'https://example.org/x0.png' is url.*fetch what is a URL"):
        run(path)


# --- wrong settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delimiter": "::"}, "--delimiter: expected one character, or tab, got '::'"),
        ({"delimiter": '"'}, "--delimiter"),
        ({"bad_lines": "fill"}, "--bad-lines: expected error or skip"),
        ({"per_class": 3}, "--per-class needs the column of the classes.*--label"),
        ({"per_class": 0, "label": "x"}, "--per-class: expected at least 1"),
        ({"sample": 0}, "--sample: expected at least 1"),
        ({"text_column": "a", "text_columns": "b,c"}, "--text-columns"),
        ({"text_columns": "a,,b"}, "--text-columns"),
        ({"text_columns": "a,a"}, "--text-columns: expected each column once"),
    ],
)
def test_settings_that_make_no_sense_are_named_errors(settings, message):
    with pytest.raises(SettingError, match=message):
        ExtractSettings(**settings)


@pytest.mark.parametrize("is_kept", [True, False])
def test_parquet_paths_without_bytes_are_files(tmp_path, is_kept):
    """Hugging Face's `Dataset.to_parquet` leaves the bytes of pictures in files out; statistics need not be there."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(PICTURES["images/1.png"])
    inside = PICTURES["images/2.png"]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = [
        {"bytes": None, "path": "a.png"}, {"bytes": None, "path": "b.png"},
        {"bytes": inside, "path": "c.png"}, {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": None}, {"bytes": inside, "path": None},
        None, {"bytes": None, "path": "gone.png"},
    ]  # fmt: skip
    table = pa.table({"id": list("abcdefgh"), "image": pa.array(images, kind)})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=2, write_statistics=is_kept)
    cells = [row["image"] for row in rows_of(open_table(path))]
    assert cells == ["a.png", "b.png", "c.png", "a.png", "", "t.parquet#5", "", "gone.png"]
    assert [isinstance(cell, PlacedCell) for cell in cells] == [n in (2, 5) for n in range(8)]
    source = sources(path)
    assert source.statuses == ["ok", "ok", "ok", "ok", "absent", "ok", "absent", "missing"]
    one, two = content_key(PICTURES["images/1.png"]), content_key(inside)
    assert source.keys == [one, one, two, one, "", two, "", ""]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_lists_of_labels_and_pictures_are_cells_as_in_json(tmp_path, caplog, kind):
    pa = pytest.importorskip("pyarrow")
    caplog.set_level("INFO", "embed_once")
    columns = {
        "id": ["a", "b", "c"],
        "images": [["a.png", "b.png"], [], None],
        "category": [["Küche", "Tassen"], ["Küche"], None],
        "kinds": pa.array(
            [[{"name": "mug", "level": 1}], [], None], pa.list_(pa.struct({"name": pa.string(), "level": pa.int8()}))
        ),
        "sizes": pa.array([[1.5], [2], []], pa.list_(pa.float32())),
        "labels": pa.array([[b"x"], [], []], pa.list_(pa.binary())),
    }
    table = pa.table(columns)
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    first = {"id": "a", "images": '["a.png", "b.png"]', "category": '["Küche", "Tassen"]'}
    assert list(rows_of(open_table(path))) == [
        first, {"id": "b", "images": "", "category": '["Küche"]'}, {"id": "c", "images": "", "category": ""}
    ]  # fmt: skip
    assert caplog.text.count("which is no plain cell: it is left out") == 3
    assert caplog.text.count("it is left out (lists that --label or --image-column name stay)") == 1  # kinds
    rows = list(rows_of(open_table(path, ExtractSettings(label="kinds"))))
    assert [row["kinds"] for row in rows] == ['[{"name": "mug", "level": 1}]', "", ""]
    catalogue = read_catalogue(path, ExtractSettings(modalities=("image",)))
    assert catalogue.roles["image"] == "images"
    assert catalogue.columns["images"][:3] == ["a.png", "", ""]


def test_lists_in_parquet_take_no_other_column_s_place(tmp_path):
    """Those of numbers are vectors, and where another column is called as pictures or labels are it is taken."""
    pa = pytest.importorskip("pyarrow")
    pictures = pa.array([{"bytes": image_bytes(), "path": "1.png"}])
    categories = pa.array([["mug", "cup"]], pa.list_(pa.dictionary(pa.int32(), pa.string())))
    columns = {
        "id": ["a"], "image_path": [["https://x.test/1.png"]], "photo": pictures, "target": [[0.5, 1.5]],
        "image": [[[1, 2], [3, 4]]], "labels": pa.array([[]], pa.list_(pa.string())), "product_type": ["mug"],
    }  # fmt: skip
    path = tmp_path / "t.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), path)
    assert list(rows_of(open_table(path))) == [{"id": "a", "photo": "1.png", "product_type": "mug"}]
    [row] = rows_of(open_table(path, ExtractSettings(image_column="image_path", label="target")))
    assert row == {"id": "a", "image_path": '["https://x.test/1.png"]', "product_type": "mug"}
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"categories": categories}), path)
    assert list(rows_of(open_table(path))) == [{"categories": '["mug", "cup"]'}]


def test_columns_of_odd_types_are_left_out_and_told(tmp_path, caplog):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    caplog.set_level("INFO")
    table = pa.table(
        {
            "id": ["1"],
            "zone": pa.array([0], pa.timestamp("us", "Nowhere/Town")),
            "codes": pa.array([b"\xff"], pa.dictionary(pa.int8(), pa.binary())),
            "view": pa.array([b"\xff"], pa.binary_view()),
            "season": pa.array(["Fall"], pa.dictionary(pa.int8(), pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert rows_of(open_table(tmp_path / "t.parquet")) == [{"id": "1", "season": "Fall"}]
    assert all(f"Column {name} holds" in caplog.text for name in ("zone", "codes", "view"))


@pytest.mark.parametrize("n_workers", [1, 4])
def test_workers_begin_each_row_group_once(tmp_path, monkeypatch, n_workers):
    pytest.importorskip("pyarrow")
    from embed.catalogue.formats.parquet_pictures import ParquetPictures

    monkeypatch.setattr("embed.catalogue.formats.parquet_pictures.WINDOW_BYTES", 1)  # so that each window has one row
    rows = [{**ROWS[n % 30], "id": str(n)} for n in range(280)]
    path = written("parquet with bytes", tmp_path / "shop", rows)
    begun = []
    begin = ParquetPictures._begin_group
    monkeypatch.setattr(ParquetPictures, "_begin_group", lambda self, row: (begun.append(row), begin(self, row)))
    assert sources(path, n_workers=n_workers).statuses == ["ok"] * 280
    assert len(begun) == 40


@pytest.mark.parametrize(("n_items", "said"), [(1, "1 of 1 file,"), (2, "1 of 2 files,"), (None, "1 file,")])
def test_one_file_is_no_files(monkeypatch, capsys, n_items, said):
    monkeypatch.setattr("cache.console.progress.LINE_EVERY_S", 0.0)
    with Progress("Hashing pictures", n_items, unit="file") as progress:
        progress.advance(1)
    assert f"Hashing pictures: {said}" in capsys.readouterr().err
