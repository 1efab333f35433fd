"""Pages show pictures that stand in Parquet files, as datasets of Hugging Face have them, by their path or row."""

import sys

import pytest
from support import CountingEncoder, image_bytes

from cache import Cache
from embed import ExtractSettings, extract
from heads.reports import folders_below
from heads.reports.picture_folder import find_picture_folder
from heads.reports.thumbnails import Thumbnails

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.slow

PICTURES = [image_bytes((20 * n, 0, 100)) for n in range(10)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LARGE = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])  # as Polars writes them


def write_table(path, pictures, names, *, column="image", kind=STRUCT):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": content, "path": name} for content, name in zip(pictures, names, strict=True)]
    values = pictures if kind == pa.binary() else cells
    table = pa.table({"preview": pa.array([b"no"] * len(cells), pa.binary()), column: pa.array(values, kind)})
    pq.write_table(table, path, row_group_size=3)


@pytest.fixture(params=["by path", "by row", "by row, plain", "large"])
def shop(request, tmp_path):
    """A folder of two tables of five pictures each, and the cache of it beside."""
    for part in range(2):
        names = [f"{part}-{n}.png" if request.param in ("by path", "large") else None for n in range(5)]
        kind = {"by row, plain": pa.binary(), "large": LARGE}.get(request.param, STRUCT)
        write_table(tmp_path / "data" / f"part-{part}.parquet", PICTURES[5 * part :][:5], names, kind=kind)
    settings = ExtractSettings(modalities=("image",), image_column="image")
    extract(tmp_path / "data", tmp_path / "c.h5", settings=settings, encoders=[CountingEncoder("image")])
    return tmp_path


def test_each_product_has_its_own_picture(shop):
    with Cache(shop / "c.h5") as cache:
        cells = cache.column("image")
        thumbnails = Thumbnails(find_picture_folder(cache, cells, shop))
    assert [thumbnails.content(cell) for cell in cells] == PICTURES
    assert thumbnails.url(cells[7]).startswith("data:image/jpeg;base64,")
    assert [thumbnails.content(cell) for cell in ("part-0.parquet#5", "part-2.parquet#0", "x.png")] == [None] * 3


def test_what_names_two_rows_names_none(tmp_path):
    write_table(tmp_path / "a" / "p.parquet", PICTURES[:3], ["0.png", "1.png", "1.png"])
    write_table(tmp_path / "b" / "p.parquet", PICTURES[3:5], ["0.png", "4.png"])
    thumbnails = Thumbnails(tmp_path)
    found = [thumbnails.content(cell) for cell in ("0.png", "1.png", "4.png", "p.parquet#0")]
    assert found == [None, None, PICTURES[4], None]


def test_a_file_that_is_gone_is_not_another_tables_picture(tmp_path):
    write_table(tmp_path / "a.parquet", PICTURES[:2], ["img/0.png", "1.png"])
    odd = pa.table(
        {"image": pa.array([{"bytes": b"x", "path": 1}], pa.struct([("bytes", pa.binary()), ("path", pa.int64())]))}
    )
    pq.write_table(odd, tmp_path / "0.parquet")
    pq.write_table(pa.table({"secret": pa.array([b"a password"])}), tmp_path / "users.parquet")
    thumbnails = Thumbnails(tmp_path)
    cells = ["img/0.png", "users.parquet#0", "1.png"]
    assert [thumbnails.content(cell) for cell in cells] == [None, None, PICTURES[1]]


def test_a_damaged_table_and_one_of_too_many_bytes_hide_no_other(tmp_path, monkeypatch):
    write_table(tmp_path / "a.parquet", PICTURES[:1], ["0.png"])
    write_table(tmp_path / "b.parquet", [PICTURES[1], b"x" * 5000, None], ["1.png", "2.png", "3.png"], column="photo")
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 99)
    monkeypatch.setattr("heads.reports.thumbnails.MAX_BYTES", 4000)
    thumbnails = Thumbnails(tmp_path)
    assert [thumbnails.content(f"{n}.png") for n in range(4)] == [None, PICTURES[1], None, None]


def test_only_so_many_entries_are_looked_at_and_none_without_pyarrow(tmp_path, monkeypatch):
    write_table(tmp_path / "deep" / "a.parquet", PICTURES[:1], ["0.png"])
    assert Thumbnails(tmp_path).content("0.png") == PICTURES[0]
    monkeypatch.setattr(folders_below, "MOST_FOLDERS", 0)
    assert Thumbnails(tmp_path).content("0.png") is None
    assert Thumbnails(tmp_path / "deep").content("0.png") == PICTURES[0]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert Thumbnails(tmp_path / "deep").content("0.png") is None


def test_a_table_elsewhere_is_not_read(tmp_path):
    write_table(tmp_path / "elsewhere" / "a.parquet", PICTURES[:1], ["0.png"])
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.parquet").symlink_to(tmp_path / "elsewhere" / "a.parquet")
    (tmp_path / "shop" / "more").symlink_to(tmp_path / "elsewhere")
    assert Thumbnails(tmp_path / "shop").content("0.png") is None
