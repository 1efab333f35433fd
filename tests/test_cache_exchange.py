"""Vectors that go out and come back: what a reader gets, what an import refuses, and the same scores after both."""

import json

import numpy as np
import pytest
from small_caches import cache_content, key_of, part_of, shop_cache
from support import class_vectors, invoke, synthetic_cache

from cache import (
    Cache,
    CacheError,
    EncoderSpec,
    ImportSettings,
    Journal,
    SpecConflictError,
    export_vectors,
    import_vectors,
    verify,
)
from cache.commands.export import export
from cache.commands.import_ import import_
from cache.errors import SettingError
from cache.exchange.formats import registry
from cache.exchange.import_settings import parse_fields

SETTINGS = {"weights": "drawn"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A cache of four products in an order of their own, of which one has no picture, and one a broken one."""
    return shop_cache(
        tmp_path_factory.mktemp("shop") / "c.h5",
        {"2": "red", "1": "blue", "4": "", "3": "torn", "5": "red"},
        columns={"label": ["a", "b", "a", "", "b"], "title": ["tea", "caf\udce9", "\x00", "ü", ""]},
        failures={"torn": "truncated"},
        others=["old"],
    )


@pytest.fixture
def vectors_path(tmp_path):
    """The vectors of three products."""
    path = tmp_path / "v.npy"
    np.save(path, np.arange(9, dtype="f4").reshape(3, 3))
    return path


@pytest.fixture
def ids_path(tmp_path):
    """A CSV file of these products."""
    path = tmp_path / "ids.csv"
    path.write_text("sku,label\nx,a\ny,b\nz,a\n")
    return path


def settings(ids_path=None, **changes):
    return ImportSettings(**{"fields": SETTINGS, "modality": "image", "name": "mine", "ids_path": ids_path, **changes})


def test_a_cell_that_would_fill_the_memory_of_who_loads_npz_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("cache.exchange.formats.npz.MOST_BYTES", 4000)
    monkeypatch.setattr("cache.exchange.formats.npz.BLOCK_LETTERS", 100)
    path = synthetic_cache(
        tmp_path / "c.h5", {"text": np.eye(40)}, {"short": ["ab"] * 40, "html": ["x" * 300] + ["y"] * 39}
    )
    with pytest.raises(CacheError, match=r"html has one of 300 letters \(row 1\).*--columns, or write .parquet"):
        export_vectors(path, tmp_path / "v.npz")
    assert not (tmp_path / "v.npz").exists()
    export_vectors(path, tmp_path / "v.npz", columns=["short"])
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert arrays["short"].tolist() == ["ab"] * 40


def test_npz_has_the_products_in_order_with_nan_where_there_is_no_vector(shop, tmp_path):
    report = export_vectors(shop, tmp_path / "v.npz", columns=["label"])
    assert report.dims == {"image/net": 3}
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays, Cache(shop) as cache:
        assert sorted(arrays) == ["id", "image/key", "image/net", "image/status", "label"]
        assert arrays["id"].tolist() == ["2", "1", "4", "3", "5"]
        assert arrays["label"].tolist() == ["a", "b", "a", "", "b"]
        assert arrays["image/status"].tolist() == ["ok", "ok", "absent", "truncated", "ok"]
        assert arrays["image/key"].tolist() == [key_of(word) for word in ("red", "blue", "", "torn", "red")]
        np.testing.assert_array_equal(arrays["image/net"], cache.matrix("image"))
        assert np.isnan(arrays["image/net"]).all(axis=1).tolist() == [False, False, True, True, False]


def test_parquet_and_folder_have_lists_and_nulls(shop, tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    export_vectors(shop, tmp_path / "v.parquet")
    monkeypatch.setattr("cache.exchange.product_table.BLOCK_BYTES", 24)  # two rows
    monkeypatch.setattr("cache.exchange.formats.huggingface.FILE_BYTES", 36)  # three
    export_vectors(shop, tmp_path / "folder")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.field("image/net").type == pa.list_(pa.float32())  # of a fixed size few can read
    with Cache(shop) as cache:
        vectors = cache.matrix("image")
    assert table["image/net"].to_pylist() == [None if np.isnan(row).any() else row.tolist() for row in vectors]
    assert table["title"].to_pylist() == ["tea", "caf\\xe9", "\x00", "ü", ""]
    names = [f"data/train-{n:05}-of-00002.parquet" for n in range(2)]
    assert sorted(str(path.relative_to(tmp_path / "folder")) for path in (tmp_path / "folder").rglob("*.*")) == names
    assert pa.concat_tables([pq.read_table(tmp_path / "folder" / name) for name in names]).equals(table)
    with pytest.raises(CacheError, match="to be new or empty"):
        export_vectors(shop, tmp_path / "folder")


def test_export_names_what_it_cannot_do(shop, tmp_path, monkeypatch):
    with pytest.raises(CacheError, match=r"ends in .npz, .parquet, or a folder for the export"):
        export_vectors(shop, tmp_path / "v.csv")
    with pytest.raises(CacheError, match="image encoder 'other'"):
        export_vectors(shop, tmp_path / "v.npz", encoders=[("image", "other")])
    with pytest.raises(CacheError, match="the column 'price'"):
        export_vectors(shop, tmp_path / "v.npz", columns=["price"])
    named = shop_cache(tmp_path / "named.h5", {"1": "red"}, columns={"id": ["x"]})
    with pytest.raises(CacheError, match="id would be there twice"):
        export_vectors(named, tmp_path / "v.npz")
    with pytest.raises(CacheError, match="to have vectors of products, got none"):
        export_vectors(shop_cache(tmp_path / "none.h5", {"1": ""}), tmp_path / "v.npz")
    assert not list(tmp_path.glob("v.*"))
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CacheError, match=r"Expected pyarrow to be installed.*embed-once\[parquet\]"):
        export_vectors(shop, tmp_path / "v.parquet")


def test_commands_tell_in_a_line_what_they_did(shop, vectors_path, ids_path, tmp_path):
    result = invoke(export, shop, "-o", tmp_path / "v.npz", "--encoder", "image=net", "--columns", "")
    assert (result.exit_code, result.stderr) == (0, "")
    assert " ".join(result.stdout.split()).endswith("v.npz: 5 products with image/net (3).")
    assert json.loads(invoke(export, shop, "-o", tmp_path / "v.npz", "--json").stdout)["n_products"] == 5
    assert "expected MODALITY=NAME" in invoke(export, shop, "-o", tmp_path / "v.npz", "--encoder", "net").stderr
    new_path = tmp_path / "new.h5"
    line = [vectors_path, "--ids", ids_path, "-o", new_path, "--modality", "image", "--name", "mine"]
    assert "--spec: expected what made the vectors" in invoke(import_, *line).stderr
    result = invoke(import_, *line, "--spec", "weights=drawn")
    assert (result.exit_code, result.stderr) == (0, "")
    assert " ".join(result.stdout.split()).endswith("3 vectors of 3 rows are in image/mine (3 new); 3 products.")
    assert json.loads(invoke(import_, *line, "--spec", "weights=drawn", "--json").stdout)["n_new"] == 0


def test_what_was_exported_comes_back_as_it_was(shop, tmp_path):
    pytest.importorskip("pyarrow")
    clean = shop_cache(
        tmp_path / "c.h5", {"2": "red", "1": "", "3": "torn", "5": "red"}, columns={"label": list("abab")},
        failures={"torn": "truncated"},
    )  # fmt: skip
    export_vectors(clean, tmp_path / "v.parquet")
    import_vectors(tmp_path / "v.parquet", tmp_path / "back.h5", ImportSettings(SETTINGS))
    assert cache_content(tmp_path / "back.h5") == cache_content(clean)
    with Cache(tmp_path / "back.h5") as cache:
        assert cache.spec("image", "net") == EncoderSpec("image", SETTINGS)
    assert verify(tmp_path / "back.h5") == []


@pytest.mark.slow
def test_heads_trained_on_what_came_back_have_the_same_scores(tmp_path):
    pytest.importorskip("pyarrow")
    import heads

    targets = np.arange(60) % 2
    vectors = {"image": class_vectors(targets, 4), "text": class_vectors(targets, 3, seed=1)}
    path = synthetic_cache(
        tmp_path / "c.h5", vectors, {"label": [f"class {target}" for target in targets]},
        present={"image": np.arange(60) != 7}, contents={"text": [f"text {n // 2}" for n in range(60)]},
    )  # fmt: skip
    export_vectors(path, tmp_path / "v.parquet")
    for column in ("image/synthetic", "text/synthetic"):
        import_settings = ImportSettings({"weights": "synthetic"}, vector_column=column)
        import_vectors(tmp_path / "v.parquet", tmp_path / "back.h5", import_settings)
    chosen = heads.TrainSettings(fusions=("early",), max_epochs=3, n_resamples=100)
    runs = [
        heads.train(cache_path, settings=chosen, runs_path=tmp_path / "runs")
        for cache_path in (path, tmp_path / "back.h5")
    ]
    assert runs[0].metrics.keys() == {"image", "text", "early"}
    for name in ("accuracy", "macro_f1", "log_loss"):
        scores_before, scores_after = ({head: scores[name] for head, scores in run.metrics.items()} for run in runs)
        assert scores_before == scores_after


def test_ids_that_a_cache_has_give_their_vectors_its_contents(shop, tmp_path):
    path = shop_cache(tmp_path / "c.h5", {"1": "red", "2": "blue"}, columns={"label": ["a", "b"]})
    np.save(tmp_path / "v.npy", np.array([[1, 2], [np.nan, np.nan], [3, 4]], dtype="f8"))
    (tmp_path / "ids.csv").write_text("id,price\n2,7\n1,8\n3,9\n")
    report = import_vectors(tmp_path / "v.npy", path, settings(tmp_path / "ids.csv"))
    assert (report.n_vectors, report.n_new, report.n_products) == (2, 2, 3)
    with Cache(path) as cache:
        assert cache.ids() == ["1", "2", "3"]
        assert (cache.column("label"), cache.column("price")) == (["a", "b", ""], ["8", "7", "9"])
        np.testing.assert_array_equal(cache.matrix("image", "mine"), [[np.nan, np.nan], [1, 2], [3, 4]])
        assert cache.present("image", "net").tolist() == [True, True, False]
    assert verify(path) == []


def test_two_encoders_of_the_same_ids_stand_beside_each_other(vectors_path, ids_path, tmp_path):
    for name, weights in (("one", "first"), ("two", "second")):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path, name=name, fields={"weights": weights}))
    with Cache(tmp_path / "c.h5") as cache:
        np.testing.assert_array_equal(cache.matrix("image", "one"), cache.matrix("image", "two"))
        assert len(cache.keys("image")) == len(cache) == 3


def test_other_vectors_under_the_same_spec_are_refused(vectors_path, ids_path, tmp_path):
    import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path))
    np.save(vectors_path, np.arange(9, dtype="f2").reshape(3, 3) + np.float16(0.001))
    assert import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path)).n_new == 0
    np.save(vectors_path, np.arange(9, dtype="f4").reshape(3, 3)[::-1])
    before = (tmp_path / "c.h5").read_bytes()
    with pytest.raises(CacheError, match="but that of 'x' is another one"):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path))
    with pytest.raises(SpecConflictError, match=r"image/mine to be made in one way.*another --name"):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path, fields={"weights": "others"}))
    np.save(vectors_path, np.ones((3, 2), dtype="f4"))
    with pytest.raises(CacheError, match="vectors of 3 numbers, and those of .* have 2"):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path))
    assert (tmp_path / "c.h5").read_bytes() == before
    assert not Journal(tmp_path / "c.h5").folder.exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("sku\nx\ny\n", "a row of .*ids.csv for each of the 3 vectors of .*v.npy, got 2"),
        ("sku\nx\ny\nx\n", "ids of their own in .*ids.csv, got 'x' more than once"),
        ('sku,a\nx,1\ny,2\n"",3\n', "got an empty one"),
        ("colour\nx\ny\nz\n", "a column of ids, got colour"),
        ("sku,a\nx,1\ny\nz,3\n", "line 3 of .*ids.csv to have 2 cells as the header, got 1"),
        ("", "to begin with different names of columns"),
        (
            "sku,image/key\nx,1\ny,2\nz,3\n",
            "image/key to hold SHA-256 digests of 64 hexadecimal digits, got '1' in row 1",
        ),
        ("sku,image/key\nx,\ny,\nz,\n", "a key for each vector, but 'x' has none"),
        (
            f"sku,image/key\nx,{key_of('a')}\ny,{key_of('a')}\nz,{key_of('b')}\n",
            "'x' and 'y' have the same key and diff",
        ),
        ("sku,image/status\nx,Not ok!\ny,\nz,\n", "image/status to hold words"),
    ],
)
def test_bad_ids_are_named_and_nothing_is_written(lines, message, vectors_path, ids_path, tmp_path):
    ids_path.write_text(lines)
    with pytest.raises(CacheError, match=message):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path))
    assert not list(tmp_path.glob("c.h5*"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3, "f4"), r"a row of floats for each product, got float32 of shape \(3,\)"),
        (np.ones((3, 2), "i8"), "got int64 of shape"),
        (np.array([[object()]] * 3), "to be a whole .npy file of numbers"),
        (np.array([[1, 2], [3, np.nan], [1, 1]], "f4"), "row 2 of .*v.npy has NaN, infinity or too large numbers"),
        (np.array([[1, 2], [3, 4], [1e300, 1]], "f8"), "row 3 of"),
    ],
)
def test_bad_vectors_are_named_and_nothing_is_written(array, message, vectors_path, ids_path, tmp_path):
    np.save(vectors_path, array, allow_pickle=True)
    with pytest.raises(CacheError, match=message):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path))
    assert not list(tmp_path.glob("c.h5*"))


def test_bad_files_and_names_are_named(vectors_path, ids_path, tmp_path):
    for path, message in ((tmp_path / "none.npy", "no such file"), (tmp_path / "v.csv", "ends in .npy, .parquet for")):
        with pytest.raises(CacheError, match=message):
            import_vectors(path, tmp_path / "c.h5", settings(ids_path))
    with pytest.raises(CacheError, match="names of modalities and encoders to be made of letters"):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path, name="key"))
    with pytest.raises(SettingError, match="--modality, --name"):
        import_vectors(vectors_path, tmp_path / "c.h5", settings(ids_path, name=None))
    for text in ("weights", "=3", "a=", "modality=image"):
        with pytest.raises(SettingError, match="expected name=value"):
            parse_fields([text])
    with pytest.raises(SettingError, match="each name once"):
        parse_fields(["a=1", "a=2"])


def test_parquet_of_another_program_is_read(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "v.parquet"
    columns = {
        "id": [7, 8, 9],
        "price": [1.5, None, 2.0],
        "emb": [[1.0, 2.0], None, [3.0, 4.0]],
        "tags": [["a"], [], []],
    }
    pq.write_table(pa.table(columns), path)
    import_vectors(path, tmp_path / "c.h5", settings())
    with Cache(tmp_path / "c.h5") as cache:
        assert (cache.ids(), cache.columns(), cache.column("price")) == (["7", "8", "9"], ["price"], ["1.5", "", "2"])
        assert cache.statuses("image") == ["ok", "absent", "ok"]
        assert cache.matrix("image")[2].tolist() == [3, 4]
    pairs = pa.array([[1.0, 2.0], [5.0, 6.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({**columns, "emb": pairs}), path)
    import_vectors(path, tmp_path / "fixed.h5", settings())
    with Cache(tmp_path / "fixed.h5") as cache:
        assert cache.matrix("image").tolist() == [[1, 2], [5, 6], [3, 4]]
    pq.write_table(pa.table({**columns, "emb": [[1.0, 2.0], [1.0], [3.0, 4.0]]}), path)
    with pytest.raises(CacheError, match="to have 2 numbers each, as the first has, got one of 1"):
        import_vectors(path, tmp_path / "d.h5", settings())
    pq.write_table(pa.table({**columns, "other": columns["emb"]}), path)
    with pytest.raises(
        CacheError, match="one column of lists of numbers, got emb, other. Name one with --vector-column"
    ):
        import_vectors(path, tmp_path / "d.h5", settings())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CacheError, match="to be a whole Parquet file, got one that cannot be read"):
        import_vectors(path, tmp_path / "d.h5", settings())
    assert not list(tmp_path.glob("d.h5*"))


def test_parts_that_wait_are_sealed_with_an_import(vectors_path, ids_path, tmp_path):
    path = shop_cache(tmp_path / "c.h5", {"1": "red"})
    with Journal(path) as journal:
        journal.publish(part_of(["new"]))
    import_vectors(vectors_path, path, settings(ids_path))
    with Cache(path) as cache:
        assert key_of("new") in cache.keys("image").astype(str)
        assert len(cache) == 4
