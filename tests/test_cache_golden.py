"""Caches of every version of the format are read for ever: version 1, value by value."""

import hashlib
import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache import Cache, EncoderSpec, content_key, verify
from cache.layout import FORMAT_VERSION

GOLDEN = Path(__file__).parent / "golden"
NAN = float("nan")


@pytest.fixture
def cache():
    with Cache(GOLDEN / "cache_v1.h5") as cache:
        yield cache


def keys_of(*contents):
    return [hashlib.sha256(content.encode()).hexdigest() for content in contents]


def spec_of(modality, architecture, **fields):
    return EncoderSpec(
        modality, {"architecture": architecture, "mean": [0.5, 0.25], "antialias": True, "crop": None, **fields}
    )


def test_current_version_has_a_golden_file_and_a_script():
    assert (GOLDEN / f"make_cache_v{FORMAT_VERSION}.py").is_file()
    with h5py.File(GOLDEN / f"cache_v{FORMAT_VERSION}.h5") as file:
        assert file.attrs["format_version"] == FORMAT_VERSION


def test_every_golden_file_is_intact():
    paths = sorted(GOLDEN.glob("cache_v*.h5"))
    assert paths
    assert {path.name: verify(path) for path in paths} == {path.name: [] for path in paths}


def test_products_are_read(cache):
    assert len(cache) == 5
    assert cache.ids() == ["p1", "p2", "p3", "p4", "p5"]
    assert cache.columns() == ["label", "a/b %."]
    assert cache.column("label") == ["scarf", "rug", "rug", "scarf", "rug"]
    assert cache.column("a/b %.") == ["", "NA", "00123", 'é "quoted", 雪', "not Unicode: \udce9"]


def test_modalities_and_encoders_are_read(cache):
    assert cache.modalities == ["image", "text"]
    assert cache.encoders("image") == ["resnet18", "resnet50"]
    assert cache.encoders("text") == ["bert"]
    assert cache.spec("image", "resnet18") == spec_of("image", "resnet18")
    assert cache.spec("image", "resnet50") == spec_of("image", "resnet50")
    assert cache.spec("text", "bert") == spec_of("text", "bert", max_length=32)
    assert [cache.dimension("image", name) for name in ("resnet18", "resnet50")] == [3, 4]
    assert cache.dimension("text", "bert") == 2


def test_fingerprint_of_a_spec_is_the_one_it_had(cache):
    """SHA-256 over each field's name and JSON, both prefixed by their lengths, computed without our code."""
    fingerprint = "45ae293fce70117efa2d104e0c6752fb29d1cfe9f8282484f856f34f37a0498d"
    assert cache.spec("text", "bert").fingerprint == fingerprint


def test_contents_are_read(cache):
    by_key = dict(zip(cache.keys("image").astype(str), cache.content_statuses("image").astype(str), strict=True))
    assert by_key == dict(zip(keys_of("red", "green", "torn"), ["ok", "ok", "truncated"], strict=True))
    assert sorted(cache.keys("text").astype(str)) == sorted(keys_of("a red scarf", "a green rug"))
    assert cache.content_statuses("text").tolist() == [b"ok", b"ok"]
    assert content_key(b"red") in by_key


def test_statuses_are_read(cache):
    assert cache.statuses("image") == ["ok", "ok", "truncated", "ok", "missing"]
    assert cache.statuses("text") == ["ok", "ok", "ok", "absent", "ok"]


@pytest.mark.parametrize(
    ("modality", "encoder", "vectors"),
    [
        ("image", "resnet18", [[0, 1.5, 3], [4.5, 6, 7.5], [NAN] * 3, [4.5, 6, 7.5], [NAN] * 3]),
        ("image", "resnet50", [[NAN] * 4, [0, 1.5, 3, 4.5], [NAN] * 4, [0, 1.5, 3, 4.5], [NAN] * 4]),
        ("text", "bert", [[0, -1.5], [-3, -4.5], [-3, -4.5], [NAN] * 2, [0, -1.5]]),
    ],
)
def test_vectors_are_read(cache, modality, encoder, vectors):
    matrix = cache.matrix(modality, encoder)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, np.array(vectors, dtype=np.float32), equal_nan=True)
    assert cache.present(modality, encoder).tolist() == [row[0] == row[0] for row in vectors]


@pytest.mark.skipif(FORMAT_VERSION != 1, reason="the script was written for version 1")
def test_script_still_makes_the_same_content(cache, tmp_path):
    """Whoever changes what is stored must raise the version: the digest over all values tells."""
    source = importlib.util.spec_from_file_location("make_cache_v1", GOLDEN / "make_cache_v1.py")
    script = importlib.util.module_from_spec(source)
    source.loader.exec_module(script)
    script.main(tmp_path / "again.h5")
    with Cache(tmp_path / "again.h5") as again:
        assert again.digests == cache.digests
        assert again.content_sha256 == cache.content_sha256
