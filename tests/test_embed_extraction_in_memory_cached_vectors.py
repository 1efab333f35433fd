"""Vectors of products in memory: known ones are read, new ones encoded once, whoever asks at the same time."""

import os
import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import CountingEncoder, image_bytes, small_catalogue

import embed
from cache import Cache, CacheError, EncoderSpec, Journal, SpecConflictError, verify
from embed.catalogue.data_frame import cell_of, read_frame
from embed.extraction.in_memory import cached_vectors
from embed.extraction.in_memory.product_vectors import product_vectors

pytestmark = pytest.mark.slow


def frame(n=4):
    return pd.DataFrame({"title": [f"text {row}" for row in range(n)], "price": range(n)})


def texts(products, path, encoder, **settings):
    [part], _ = product_vectors(
        products, path, encoders=[encoder], settings=embed.ExtractSettings(device="cpu", **settings)
    )
    return part


def test_what_embed_extract_encoded_is_not_encoded_again(tmp_path):
    """Neither pictures nor texts, in whatever order; and the catalogue stays."""
    catalogue = small_catalogue(tmp_path / "shop")
    path = tmp_path / "c.h5"
    first = [CountingEncoder("image"), CountingEncoder("text")]
    embed.extract(catalogue, path, encoders=first)
    with Cache(path) as cache:
        expected = {name: cache.matrix(name) for name in ("image", "text")}
        catalogue_before = cache.ids()
    products = pd.read_csv(catalogue, dtype=str).iloc[::-1]
    encoders = [CountingEncoder("image"), CountingEncoder("text")]
    parts, _ = product_vectors(
        products, path, encoders=encoders, settings=embed.ExtractSettings(image_root=catalogue.parent)
    )
    assert [encoder.n_encoded for encoder in encoders] == [0, 0]
    assert [part.name for part in parts] == ["image", "text"]
    for part in parts:
        assert np.array_equal(part.vectors, expected[part.name][::-1])
    new = pd.concat([products, pd.DataFrame([{"image": "images/0.png", "text": "a new text"}])])
    product_vectors(new, path, encoders=encoders, settings=embed.ExtractSettings(image_root=catalogue.parent))
    assert [encoder.n_encoded for encoder in encoders] == [0, 1]
    with Cache(path) as cache:
        assert cache.ids() == catalogue_before
        assert np.array_equal(cache.matrix("image"), expected["image"])
    assert verify(path) == []


def test_known_products_take_no_lock_and_read_no_picture(tmp_path, monkeypatch):
    """So they can be had from a cache that cannot be written, and while it is written."""
    catalogue = small_catalogue(tmp_path / "shop")
    past = time.time() - 10
    for picture in (catalogue.parent / "images").iterdir():
        os.utime(picture, (past, past))  # the time of change stays: this moment
    time.sleep(0.15)
    products, settings = pd.read_csv(catalogue, dtype=str), embed.ExtractSettings(image_root=catalogue.parent)
    encoders = [CountingEncoder("image"), CountingEncoder("text")]
    first, _ = product_vectors(products, tmp_path / "c.h5", encoders=encoders, settings=settings)
    assert (tmp_path / "c.h5.hints").is_file()
    monkeypatch.setattr(
        "embed.extraction.source.content_source.read_image", lambda *_, **__: pytest.fail("it was read")
    )
    with Journal(tmp_path / "c.h5"):
        again, _ = product_vectors(products, tmp_path / "c.h5", encoders=encoders, settings=settings)
    assert all(np.array_equal(one.vectors, other.vectors) for one, other in zip(first, again, strict=True))


def test_a_few_new_contents_wait_in_the_journal_and_are_read_from_there(tmp_path):
    path = tmp_path / "c.h5"
    encoder = CountingEncoder("text", dim=64)
    texts(frame(500), path, encoder)
    sealed = path.read_bytes()
    for n in (501, 502, 502):
        assert texts(frame(n), path, encoder).vectors.shape == (n, 64)
    assert encoder.n_encoded == 502
    assert path.read_bytes() == sealed
    assert len(Journal(path).paths()) == 2
    assert texts(frame(1000), path, encoder).vectors.shape == (1000, 64)
    assert Journal(path).paths() == []
    with Cache(path) as cache:
        assert int(cache.encoded("text", "counting").sum()) == 1000


def test_many_parts_are_sealed_however_small_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(cached_vectors, "MOST_PARTS", 2)
    encoder = CountingEncoder("text", dim=64)
    counts = []
    for n in (300, 301, 302, 303):
        texts(frame(n), tmp_path / "c.h5", encoder)
        counts.append(len(Journal(tmp_path / "c.h5").paths()))
    assert counts == [0, 1, 2, 0]


def test_two_at_once_encode_each_content_once(tmp_path):
    """The second waits for the first one's lock, looks again, and finds nothing left to do."""
    path = tmp_path / "c.h5"
    is_inside, may_go_on = threading.Event(), threading.Event()

    class Slow(CountingEncoder):
        def encode(self, batch):
            is_inside.set()
            assert may_go_on.wait(60)
            return super().encode(batch)

    first, second = Slow("text"), CountingEncoder("text")
    results = {}
    threads = [
        threading.Thread(target=lambda one=one: results.setdefault(id(one), texts(frame(), path, one)))
        for one in (first, second)
    ]
    threads[0].start()
    assert is_inside.wait(60)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    may_go_on.set()
    for thread in threads:
        thread.join(60)
    assert (first.n_encoded, second.n_encoded) == (4, 0)
    assert np.array_equal(results[id(first)].vectors, results[id(second)].vectors)


def test_who_is_killed_while_encoding_leaves_what_is_published(tmp_path):
    class Failing(CountingEncoder):
        batch_size = 2

        def encode(self, batch):
            if self.n_encoded >= 2:
                raise RuntimeError("the power went")
            return super().encode(batch)

    path = tmp_path / "c.h5"
    with pytest.raises(RuntimeError, match="power"):
        texts(frame(), path, Failing("text"), n_workers=1)
    assert not path.exists()
    encoder = CountingEncoder("text")
    assert np.isfinite(texts(frame(), path, encoder).vectors).all()
    assert encoder.n_encoded == 2


def test_another_spec_of_the_same_name_is_an_error_that_names_what_differs(tmp_path):
    path = tmp_path / "c.h5"
    texts(frame(), path, CountingEncoder("text"))
    with pytest.raises(SpecConflictError, match="pooling"):
        texts(frame(), path, CountingEncoder("text", pooling="mean"))


def test_pictures_are_paths_bytes_or_images_and_what_cannot_be_read_has_a_status(tmp_path):
    path = tmp_path / "c.h5"
    (tmp_path / "red.png").write_bytes(image_bytes("red"))
    pictures = [
        tmp_path / "red.png", str(tmp_path / "gone.png"), image_bytes("red"), Image.new("RGB", (8, 8), "red"), None,
        b"no picture", Image.new("F", (4, 4)), Image.new("RGB", (8, 8), "blue"),
    ]  # fmt: skip
    encoder = CountingEncoder("image")
    for n_encoded in (3, 3):
        [part], _ = product_vectors(
            {"picture": pictures}, path, encoders=[encoder],
            settings=embed.ExtractSettings(image_column="picture", allow_outside=True),
        )  # fmt: skip
        assert part.statuses == ["ok", "missing", "ok", "ok", "absent", "not_an_image", "unsupported_mode", "ok"]
        assert encoder.n_encoded == n_encoded  # the file's bytes, two images
    assert np.array_equal(part.vectors[0], part.vectors[2])
    assert np.array_equal(part.vectors[0], part.vectors[3])  # the same pixels, from other bytes
    assert np.isnan(part.vectors[[1, 4, 5, 6]]).all()


def test_products_may_be_rows_dicts_or_texts(tmp_path):
    encoder = CountingEncoder("text")
    expected = texts(frame(2), tmp_path / "c.h5", encoder).vectors
    for products in (
        ["text 0", "text 1"],
        [{"title": "text 0"}, {"title": "text 1"}],
        {"title": ["text 0", "text 1"]},
        pd.Series(["text 0", "text 1"], name="title"),
    ):
        assert np.array_equal(texts(products, tmp_path / "c.h5", encoder).vectors, expected)
    assert encoder.n_encoded == 2
    with pytest.raises(embed.CatalogueError, match=r"list of dicts.*got int"):
        read_frame(7, None)


def test_columns_stay_those_that_were_found_first():
    first = pd.DataFrame({"title": ["a", "b"], "description": ["c", "d"]})
    catalogue, settings = read_frame(first, None)
    assert settings.text_column == "title"
    assert settings.modalities == ("text",)
    later = pd.DataFrame({"title": ["", ""], "description": ["c", "d"]})
    assert read_frame(later, settings)[0].cells("text") == ["", ""]
    assert read_frame(later, None)[1].text_column == "description"
    assert catalogue.cells("text") == ["a", "b"]
    with pytest.raises(embed.CatalogueError, match="title"):
        read_frame(later[["description"]], settings)


def test_a_template_that_is_found_makes_the_paths_of_later_rows(tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(3):
        (tmp_path / "images" / f"{n}.png").write_bytes(image_bytes((n, 1, 2)))
    settings = embed.ExtractSettings(modalities=("image",), image_root=tmp_path)
    _, found = read_frame(pd.DataFrame({"id": [0, 1], "price": [5, 6]}), settings)
    assert found.image_template == ("images/{id}.png",)
    assert read_frame(pd.DataFrame({"id": [2]}), found)[0].cells("image") == ["images/2.png"]


def test_settings_that_would_change_the_rows_are_refused():
    for setting in ({"where": "price > 1"}, {"sample": 2}, {"pictures": "rows"}):
        with pytest.raises(embed.SettingError, match=next(iter(setting))):
            read_frame(frame(), embed.ExtractSettings(modalities=("text",), **setting))


def test_missing_values_are_empty_cells():
    assert [cell_of(value) for value in (None, float("nan"), pd.NA, pd.NaT, 3, "x")] == ["", "", "", "", "3", "x"]


def test_arrays_have_the_cells_of_lists_in_files():
    """Pandas makes arrays of lists in Parquet; lists in memory stay what Python writes."""
    names = np.array([np.str_("Küche"), np.array(["a"])], dtype=object)
    values = (names, np.array([]), np.array(np.nan), np.array([[1, 2]]), [np.str_("a")], ["a"])
    expected = ['["Küche", ["a"]]', "", "", "[[1, 2]]", "['a']", "['a']"]
    assert [cell_of(value) for value in values] == expected


def test_vectors_of_another_cache_are_taken_and_one_that_is_not_there_is_named(tmp_path, caplog):
    catalogue = small_catalogue(tmp_path / "shop")
    encoders = [CountingEncoder("image"), CountingEncoder("text")]
    embed.extract(catalogue, tmp_path / "a.h5", encoders=encoders)
    n_encoded = [encoder.n_encoded for encoder in encoders]
    reusing = embed.ExtractSettings(reuse=(tmp_path / "a.h5",))
    embed.extract(catalogue, tmp_path / "b.h5", settings=reusing, encoders=encoders)
    assert [encoder.n_encoded for encoder in encoders] == n_encoded
    with Cache(tmp_path / "a.h5") as one, Cache(tmp_path / "b.h5") as other:
        assert all(np.array_equal(one.matrix(name), other.matrix(name)) for name in ("image", "text"))
    others = [CountingEncoder("image", name="another"), CountingEncoder("text", name="another")]
    for encoder in others:
        encoder.spec = EncoderSpec(encoder.spec.modality, {"weights": "another"})
    with caplog.at_level("INFO"):
        embed.extract(catalogue, tmp_path / "b.h5", settings=reusing, encoders=others)
    assert f"text/another: no vectors are taken from {tmp_path / 'a.h5'}: it has none made in this way." in caplog.text
    gone = embed.ExtractSettings(reuse=(tmp_path / "none.h5",))
    with pytest.raises(CacheError, match=r"--reuse: expected a cache at .*none\.h5, got nothing there"):
        embed.extract(catalogue, tmp_path / "b.h5", settings=gone, encoders=encoders)


def test_a_mean_of_pictures_is_refused_and_not_taken_for_the_first(tmp_path):
    products = pd.DataFrame({"image": ["a.png|b.png"]})
    settings = embed.ExtractSettings(pictures="mean")
    with pytest.raises(embed.SettingError, match="Expected pictures=first for products in memory, got mean"):
        product_vectors(products, tmp_path / "c.h5", settings=settings, encoders=[CountingEncoder("image")])
