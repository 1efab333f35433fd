"""Caches and parts of every version of the format are read for ever, value by value."""

import hashlib
import importlib.util
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache import Cache, Contents, ContentSpec, EncoderSpec, Journal, Part, Products, Tokens, content_key, seal, verify
from cache.arrays.key_index import KeyIndex
from cache.format.layout import FORMAT_VERSION
from cache.sealed.samples import choose_samples, read_samples

GOLDEN = Path(__file__).parent / "golden"
NAN = float("nan")


VERSIONS = (1, 2, 3, 4)
TOKENS = {("image", "resnet18"): "1x3", ("text", "bert"): True}  # since version 2


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def cache(version):
    with Cache(GOLDEN / f"cache_v{version}.h5") as cache:
        yield cache


def keys_of(*contents):
    return [hashlib.sha256(content.encode()).hexdigest() for content in contents]


def spec_of(modality, architecture, version, **fields):
    if version > 1 and (modality, architecture) in TOKENS:
        fields["tokens"] = TOKENS[modality, architecture]
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


def test_modalities_and_encoders_are_read(cache, version):
    assert cache.modalities == ["image", "text"]
    assert cache.encoders("image") == ["resnet18", "resnet50"]
    assert cache.encoders("text") == ["bert"]
    assert cache.spec("image", "resnet18") == spec_of("image", "resnet18", version)
    assert cache.spec("image", "resnet50") == spec_of("image", "resnet50", version)
    assert cache.spec("text", "bert") == spec_of("text", "bert", version, max_length=32)
    assert [cache.dimension("image", name) for name in ("resnet18", "resnet50")] == [3, 4]
    assert cache.dimension("text", "bert") == 2


def test_how_contents_are_made_is_read_where_it_is_known(cache, version):
    fields = {"columns": ["title", "body"], "join": ". ", "clean": True}
    assert cache.content_spec("text") == (ContentSpec("text", fields) if version > 2 else None)
    assert cache.content_spec("image") is None


def test_contents_that_are_kept_as_they_are_are_read(cache, version):
    assert read_samples(cache, "text") == ({keys_of("a red scarf")[0]: b"a red scarf"} if version > 3 else {})
    assert read_samples(cache, "image") == {}


def test_side_notes_are_read_and_tell_no_specs_apart(cache, version):
    notes = {"libraries": {"torch": "2.14.1"}}
    assert cache.spec("text", "bert").side_notes == (notes if version > 3 else {})
    assert cache.spec("image", "resnet50").side_notes == {}


def test_fingerprint_of_a_spec_is_the_one_it_had():
    """SHA-256 over each field's name and JSON, both prefixed by their lengths, computed without our code."""
    fingerprint = "45ae293fce70117efa2d104e0c6752fb29d1cfe9f8282484f856f34f37a0498d"
    with Cache(GOLDEN / "cache_v1.h5") as cache:
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


def rows_of(n_rows, n_dim):
    return (1.5 * np.arange(n_rows * n_dim)).reshape(n_rows, n_dim).tolist()


def test_tokens_are_read(cache, version):
    assert not cache.has_tokens("image", "resnet50")
    if version == 1:
        assert not any(cache.has_tokens(*where) for where in TOKENS)
        return
    expected = {
        ("image", "resnet18"): {"red": rows_of(3, 4), "green": rows_of(3, 4), "torn": []},
        ("text", "bert"): {"a red scarf": rows_of(5, 2), "a green rug": rows_of(1, 2)},
    }
    for (modality, encoder), by_content in expected.items():
        tokens, keys = cache.tokens(modality, encoder), cache.keys(modality).astype(str).tolist()
        assert tokens.values.dtype == np.float16
        assert len(tokens) == len(by_content)
        for content, values in by_content.items():
            assert tokens[keys.index(keys_of(content)[0])].tolist() == values


def test_script_still_makes_the_same_content(cache, version, tmp_path):
    """Whoever changes what is stored must raise the version: the digest over all values tells.

    Each version added something and left what was there as it was, so that the older scripts hold, too.
    """
    source = importlib.util.spec_from_file_location("make_cache", GOLDEN / f"make_cache_v{version}.py")
    script = importlib.util.module_from_spec(source)
    source.loader.exec_module(script)
    script.main(tmp_path / "again.h5")
    with Cache(tmp_path / "again.h5") as again:
        assert again.digests == cache.digests
        assert again.content_sha256 == cache.content_sha256


def test_part_of_every_version_is_sealed(tmp_path, version):
    """An extraction that was stopped before an update goes on after it."""
    shutil.copytree(GOLDEN / f"journal_v{version}", tmp_path / "c.h5.journal")
    products = Products(["p"], {}, {"image": Contents([content_key(b"green")], ["ok"])})
    with Journal(tmp_path / "c.h5") as journal:
        assert seal(tmp_path / "c.h5", journal, products)
    with Cache(tmp_path / "c.h5") as cache:
        assert cache.matrix("image").tolist() == [[4, 5, 6]]
        assert cache.has_tokens("image", "resnet18") == (version > 1)
        if version > 1:
            assert cache.tokens("image")[int(cache.rows("image")[0])].tolist() == [[0, 0, 0, 0]]
    assert verify(tmp_path / "c.h5") == []


def test_cache_of_version_1_becomes_one_of_the_current_version_when_it_is_extended(tmp_path):
    path = Path(shutil.copy(GOLDEN / "cache_v1.h5", tmp_path / "c.h5"))
    blue, spec = content_key(b"blue"), EncoderSpec("image", {"architecture": "resnet18", "tokens": "1x2"})
    with Cache(path) as cache:
        before = {name: cache.digests[name] for name in ("image/resnet18/spec", "text/bert/vector")}
    with Journal(path) as journal:
        tokens = Tokens.of([np.ones((2, 4), np.float16)])
        journal.publish(Part("resnet18-1x2", spec, [blue], np.ones((1, 3), np.float32), {}, tokens))
        assert seal(path, journal, Products(["p"], {}, {"image": Contents([blue], ["ok"])}))
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == FORMAT_VERSION
    with Cache(path) as cache:
        assert {name: cache.digests[name] for name in before} == before
        assert cache.tokens("image", "resnet18-1x2").counts.tolist() == [0, 0, 0, 2]
        assert cache.vectors("image", "resnet18")[:2].tolist() == [[0, 1.5, 3], [4.5, 6, 7.5]]
        assert not cache.has_tokens("image", "resnet18")
    assert verify(path) == []


def test_samples_that_are_kept_are_not_read_again_and_others_fill_up():
    contents = {content_key(f"{n}".encode()): f"{n}".encode() for n in range(9)}
    read = []
    keys = KeyIndex(contents)
    samples = choose_samples(keys, lambda key: read.append(key) or contents[key], kept_samples={})
    assert list(samples) == sorted(contents)[:4]
    assert choose_samples(keys, pytest.fail, kept_samples=samples) == samples
    read.clear()
    excluded_keys = {next(iter(samples))}
    other_samples = choose_samples(
        keys, lambda key: read.append(key) or contents[key], kept_samples=samples, excluded_keys=excluded_keys
    )
    assert other_samples.keys() <= contents.keys() - excluded_keys
    assert len(read) == 1
    assert choose_samples(keys, lambda _: b"x" * 2**19, kept_samples={}) == {}
