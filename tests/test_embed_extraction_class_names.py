"""Names of classes are contents of no product, encoded as the products' texts are."""

import pytest
from support import CountingEncoder, write_catalogue

from cache import Cache
from cache.inventory.verification import verify
from cache.keys import text_key
from embed import ExtractSettings, SettingError, extract
from embed.errors import CatalogueError
from embed.extraction.extract_catalogue import extract_shard
from embed.extraction.source.text_contents import find_texts

ROWS = [
    {"id": "1", "title": "blue shirt", "kind": "Shirts", "empty": ""},
    {"id": "2", "title": "Shoes", "kind": "Shoes", "empty": " "},
    {"id": "3", "title": "", "kind": "  Odd\tone ", "empty": ""},
    {"id": "4", "title": "a BLUE hat", "kind": "Shirts", "empty": ""},
]
NAMED = ExtractSettings(modalities=("text",), class_names="kind")


@pytest.fixture
def catalogue(tmp_path):
    return write_catalogue(tmp_path, ROWS)


def encoded_keys(cache_path):
    with Cache(cache_path) as cache:
        return set(cache.keys("text")[cache.encoded("text", "counting")].astype(str).tolist())


def test_names_are_encoded_once_and_belong_to_no_product(catalogue, tmp_path):
    path, encoder = tmp_path / "c.h5", CountingEncoder("text")
    report = extract(catalogue, path, settings=NAMED, encoders=[encoder])
    texts = ["blue shirt", "Shoes", "a BLUE hat", "Shirts", "Odd one"]
    assert encoded_keys(path) == set(map(text_key, texts))
    assert (encoder.n_encoded, report.statuses["text"]) == (5, {"ok": 3, "absent": 1})
    with Cache(path) as cache:
        assert cache.rows("text").tolist() == [0, 1, -1, 2]
        assert set(cache.samples("text").values()) == set(texts[:3])  # on which encoders are tried again
    assert not verify(path)
    again = CountingEncoder("text")
    assert not extract(catalogue, path, settings=NAMED, encoders=[again]).was_written
    assert not extract(catalogue, path, settings=ExtractSettings(modalities=("text",)), encoders=[again]).was_written
    assert again.n_encoded == 0


def test_names_are_as_written_where_texts_are_cleaned(catalogue, tmp_path):
    path = tmp_path / "c.h5"
    settings = ExtractSettings(modalities=("text",), class_names="kind", clean_text=True)
    extract(catalogue, path, settings=settings, encoders=[CountingEncoder("text")])
    assert {text_key("a blue hat"), text_key("Shirts")} <= encoded_keys(path)


def test_shards_share_the_names(catalogue, tmp_path):
    path, encoder = tmp_path / "c.h5", CountingEncoder("text")
    for shard in ("0/2", "1/2"):
        extract_shard(catalogue, path, shard=shard, settings=NAMED, encoders=[encoder])
    assert encoder.n_encoded == 5
    last = CountingEncoder("text")
    extract(catalogue, path, settings=NAMED, encoders=[last])
    assert (last.n_encoded, len(encoded_keys(path))) == (0, 5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("kid", r"--class-names: expected one of the catalogue's columns \(title, kind, empty\), got 'kid'. .*kind"),
        ("id", r"--class-names: expected one of the catalogue's columns \(title, kind, empty\), got 'id'"),
        ("kind,", r"--class-names: expected a name, or several with commas"),
        ("empty", r"--class-names: expected names of classes in empty, but all cells are empty"),
    ],
)
def test_columns_without_names_are_an_error(catalogue, tmp_path, columns, message):
    settings = ExtractSettings(modalities=("text",), class_names=columns)
    with pytest.raises((CatalogueError, SettingError), match=message):
        extract(catalogue, tmp_path / "c.h5", settings=settings, encoders=[CountingEncoder("text")])
    assert not (tmp_path / "c.h5").exists()


def test_names_need_an_encoder_of_texts():
    with pytest.raises(SettingError, match=r"--class-names: expected text among --modalities, got image\."):
        ExtractSettings(modalities=("image",), class_names="kind")


@pytest.mark.parametrize("cell", ["Shirts", "  Odd\tone ", "Cafe\u0301\u2000bar", "\u1fef", "", " \u3000", "\udce9"])
def test_a_name_has_one_key_for_those_who_encode_and_those_who_look_it_up(cell):
    assert text_key(cell) == next(find_texts([cell], is_cleaned=False))[0]
