"""Products of several pictures with the mean of these pictures' vectors."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import CountingEncoder, image_bytes, vector_of, write_catalogue

import cache.inventory.means
import embed.extraction.extract_catalogue
import embed.extraction.source.picture_means
from cache import Cache, ContentSpec, content_key, mean_key, verify
from embed import CatalogueError, ExtractSettings, SettingError, extract
from embed.contents.images import decode
from embed.extraction.extract_catalogue import estimate
from heads.data.labels import make_labels
from heads.data.splitting.groups import find_groups
from heads.errors import HeadError
from heads.modules.saving.head_inputs import check_contents

pytestmark = pytest.mark.slow

CACHE = Path("c.h5")
MEAN = ExtractSettings(modalities=("image",), pictures="mean")
PICTURES = {f"{name}.png": image_bytes((n, 0, 0)) for n, name in enumerate("abcdef")} | {"x.png": b"no picture"}
CELLS = ["a.png|b.png", "c.png", "b.png|a.png|b.png", "a.png|x.png|gone.png", "x.png|gone.png", "a.png|d.png|x.png", ""]
SOUND = ["ab", "c", "ab", "a", "", "ad", ""]  # the pictures of each that can be read


def catalogue_of(folder, cells, pictures=PICTURES):
    return write_catalogue(folder, [{"id": f"{n}", "image": cell} for n, cell in enumerate(cells)], pictures)


@pytest.fixture
def catalogue(tmp_path):
    return catalogue_of(tmp_path / "shop", CELLS)


def run(catalogue, settings=MEAN, **fields):
    """Extract with a fresh encoder, and return how many pictures it encoded, and the report."""
    encoder = CountingEncoder("image", **fields)
    report = extract(catalogue, CACHE, settings=settings, encoders=(encoder,))
    return encoder.n_encoded, report


def vectors_of(sound, pictures=PICTURES):
    """Return the mean of some pictures' vectors for each product, one by one; NaN for none."""
    return np.array(
        [
            np.mean([vector_of(decode(pictures[f"{name}.png"]).tobytes(), 4) for name in names], axis=0)
            if names
            else np.full(4, np.nan)
            for names in sound
        ]
    )


def assert_vectors(sound, encoder="counting"):
    with Cache(CACHE) as sealed:
        np.testing.assert_allclose(sealed.matrix("image", encoder), vectors_of(sound), atol=1e-6)
    assert verify(CACHE) == []


def test_a_product_has_the_mean_of_its_sound_pictures_and_each_is_encoded_once(catalogue, caplog):
    n_encoded, report = run(catalogue, replace(MEAN, max_bad="1"))
    assert_vectors(SOUND)
    assert n_encoded == 4
    assert report.statuses["image"] == {"ok": 5, "not_an_image": 1, "absent": 1}
    assert "3 pictures of 2 products could not be read (2 not_an_image, 1 missing): the others" in caplog.text
    with report.failures_path.open(newline="") as file:
        lines = [(line["id"], line["status"], line["cell"]) for line in csv.DictReader(file)]
    assert lines == [
        ("4", "not_an_image", "x.png"),
        ("3", "not_an_image", "x.png"),
        ("3", "missing", "gone.png"),
        ("5", "not_an_image", "x.png"),
    ]


def test_the_pictures_of_a_mean_are_named_by_their_keys(catalogue):
    run(catalogue)
    keys = {name: content_key(PICTURES[f"{name}.png"]) for name in "abd"}
    with Cache(CACHE) as sealed:
        cells = [" ".join(sorted(keys[name] for name in names)) if len(names) > 1 else "" for names in SOUND]
        assert sealed.column("picture_keys") == cells
        assert sealed.column("image")[0] == "a.png"
        assert mean_key([keys["b"], keys["a"], keys["b"]]).encode() in sealed.keys("image")
        assert sealed.content_spec("image").fields == {"columns": ["image"], "pictures": "mean"}


def test_a_second_run_encodes_nothing_and_first_and_mean_share_their_pictures(catalogue):
    assert run(catalogue, replace(MEAN, pictures="first"))[0] == 3  # a, b, c; x is none
    assert run(catalogue)[0] == 1  # d
    assert_vectors(SOUND)
    n_encoded, report = run(catalogue)
    assert (n_encoded, report.was_written) == (0, False)
    assert run(catalogue, replace(MEAN, pictures="first"))[0] == 0
    assert_vectors(["a", "c", "b", "a", "", "a", ""])


@pytest.mark.parametrize(
    ("module", "name"),
    [(embed.extraction.extract_catalogue, "add_means"), (embed.extraction.extract_catalogue, "seal")],
)
def test_a_run_stopped_before_or_after_the_means_goes_on_without_encoding(catalogue, monkeypatch, module, name):
    with monkeypatch.context() as patch:
        patch.setattr(module, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(catalogue)
    assert run(catalogue)[0] == 0
    assert_vectors(SOUND)


def test_a_second_encoder_a_new_product_and_a_mended_picture_get_their_means(catalogue, monkeypatch):
    """A mean's key says which pictures it is of, so that none is kept that a picture was missing from."""
    monkeypatch.setattr(cache.inventory.means, "PART_BYTES", 32)  # so that each mean is a part of its own
    run(catalogue)
    assert run(catalogue, name="other", dim=4)[0] == 4
    assert_vectors(SOUND, "other")
    (catalogue.parent / "gone.png").write_bytes(PICTURES["e.png"])
    catalogue_of(catalogue.parent, [*CELLS, "d.png|c.png|f.png"])
    assert run(catalogue)[0] == 2
    sound = ["ab", "c", "ab", "ae", "e", "ad", "", "cdf"]
    assert_vectors(sound)
    assert run(catalogue, name="other", dim=4)[0] == 2
    assert_vectors(sound)
    assert_vectors(sound, "other")


def test_an_estimate_counts_the_means(tmp_path):
    path = catalogue_of(tmp_path / "shop", ["a.png|b.png", "b.png|a.png", "b.png|c.png", "c.png"])
    costs = estimate(path, CACHE, settings=MEAN, encoders=(CountingEncoder("image"),))
    assert costs.encoders[0].vector_bytes == (3 + 2) * 4 * 4


def test_a_picture_that_changes_under_our_hands_is_left_out_until_the_next_run(catalogue, monkeypatch):
    class Changing(CountingEncoder):
        def prepare(self, content):
            (catalogue.parent / "b.png").write_bytes(PICTURES["e.png"])
            return super().prepare(content)

    settings = replace(MEAN, batch_size=1, n_workers=1)
    extract(catalogue, CACHE, settings=settings, encoders=(Changing("image"),))
    assert_vectors(["a", "c", "a", "a", "", "ad", ""])
    assert run(catalogue, settings)[0] == 1
    assert_vectors(["ae", "c", "ae", "a", "", "ad", ""])


def test_what_goes_with_no_mean_is_refused(tmp_path):
    with pytest.raises(SettingError, match="--tokens asks for tokens, which have no mean"):
        replace(MEAN, tokens="all")
    path = write_catalogue(tmp_path, [{"image": "a.png", "picture_keys": "1"}], PICTURES)
    with pytest.raises(CatalogueError, match="Expected no column picture_keys"):
        run(path)


@pytest.mark.parametrize(("one", "other"), [("first", "mean"), ("mean", "first")])
def test_a_head_of_first_pictures_does_not_answer_means(catalogue, one, other):
    run(catalogue, replace(MEAN, pictures=one))
    with Cache(CACHE) as sealed:
        trained = sealed.content_spec("image")
    run(catalogue, replace(MEAN, pictures=other))
    with Cache(CACHE) as sealed, pytest.raises(HeadError, match='made of column image.*; pictures: "mean"'):
        check_contents(sealed, ContentSpec("image", trained.fields), head="early", is_renamed=True)


def groups_of(cells, labels, pictures):
    catalogue = catalogue_of(Path("groups"), cells, pictures)
    run(catalogue)
    with Cache(CACHE) as sealed:
        cells = make_labels("label", labels, usable=np.ones(len(labels), dtype=bool), min_rows=1)
        return find_groups(sealed, cells, encoders={"image": ["counting"]})


def test_products_that_share_one_of_their_pictures_are_one_group():
    copy = {"copy.png": PICTURES["c.png"] + b"more bytes"}  # after the end, so that the pixels are the same
    groups = groups_of(["a.png|b.png", "b.png|c.png", "copy.png", "d.png", "d.png|e.png", "f.png"], [*"121212"],
                       PICTURES | copy).of_rows  # fmt: skip
    assert len({*groups[:3]}) == len({*groups[3:5]}) == 1
    assert len({*groups}) == 3


def test_a_placeholder_among_several_pictures_joins_no_products():
    pictures = {f"{n}.png": image_bytes((n, 7, 9)) for n in range(60)} | {"none.png": image_bytes("white")}
    cells = [f"{n}.png|none.png" for n in range(60)]
    groups = groups_of(cells, [f"{n % 3}" for n in range(60)], pictures)
    assert len({*groups.of_rows}) == 60
    assert not groups.is_placeholder.any()
    assert groups.notes == [
        "one image is among the several of 60 rows of many classes: a placeholder, which makes no copies of them."
    ]


def test_the_column_of_pictures_in_a_mean_is_none_that_the_catalogue_lost(tmp_path, caplog):
    caplog.set_level("INFO", "embed_once")
    catalogue = catalogue_of(tmp_path / "shop", ["a.png|b.png", "c.png"])
    for settings in (MEAN, MEAN, replace(MEAN, pictures="first")):
        run(catalogue, settings)
    with Cache(CACHE) as sealed:
        assert "picture_keys" not in sealed.columns()
    assert "leave the cache" not in caplog.text
