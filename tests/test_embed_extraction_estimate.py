"""The estimate: bytes and time before anything runs, and a disk that is too small is found in time."""

import json
import os
from collections import namedtuple

import numpy as np
import pytest
from support import CountingEncoder, invoke, small_catalogue, write_catalogue
from test_embed_extraction_tokens import Spelling

import embed.commands.extract
import embed.extraction.disk_space
import embed.extraction.encoding.run_encoders
import embed.extraction.estimate
from cache import Cache, CacheError
from embed import ExtractSettings, estimate, extract

pytestmark = pytest.mark.slow

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def catalogue(tmp_path):
    return small_catalogue(tmp_path / "shop", 40)


def encoders():
    return [CountingEncoder("image", dim=7), Spelling("text", dim=5)]


def test_the_estimate_is_what_the_extraction_then_writes(catalogue, tmp_path):
    costs = estimate(catalogue, tmp_path / "c.h5", settings=ExtractSettings(batch_size=4), encoders=encoders())
    extract(catalogue, tmp_path / "c.h5", encoders=encoders())
    with Cache(tmp_path / "c.h5") as cache:
        image, text = costs.encoders
        assert (image.name, image.n_unique, image.n_missing) == ("image/counting", 40, 40)
        assert image.vector_bytes == cache.vectors("image", "counting").nbytes
        assert image.token_bytes == 0
        assert text.token_bytes == pytest.approx(cache.tokens("text", "counting").values.nbytes, rel=0.05)
    assert costs.n_bytes == image.vector_bytes + text.vector_bytes + text.token_bytes
    assert costs.needed_bytes == 2 * costs.n_bytes


def test_an_estimate_writes_no_vector(catalogue, tmp_path):
    estimate(catalogue, tmp_path / "c.h5", encoders=encoders())
    assert sorted(set(os.listdir(tmp_path)) - {"home"}) == ["c.h5.hints", "shop"]


def test_a_long_job_is_judged_by_a_sample(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(embed.extraction.estimate, "SAMPLE_S", 0.0)
    image = CountingEncoder("image")
    settings = ExtractSettings(batch_size=2, n_workers=1)
    (cost,) = estimate(catalogue, tmp_path / "c.h5", settings=settings, encoders=[image]).encoders
    assert cost.n_sampled < 40
    assert image.n_encoded < 40
    assert cost.vector_bytes == 40 * 16
    assert cost.encode_s > 0


def test_what_is_there_costs_nothing(catalogue, tmp_path):
    extract(catalogue, tmp_path / "c.h5", encoders=encoders())
    costs = estimate(catalogue, tmp_path / "c.h5", encoders=encoders())
    assert [(one.n_missing, one.vector_bytes, one.encode_s) for one in costs.encoders] == [(0, 0, 0.0)] * 2


def test_a_disk_that_is_too_small_is_found_at_the_first_batch(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(embed.extraction.disk_space.shutil, "disk_usage", lambda _: Usage(10**6, 0, 1000))
    image = CountingEncoder("image", dim=100)
    with pytest.raises(CacheError, match=r"needs 0\.0 MB on .* Free some and type .* choose another place with -o"):
        extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(batch_size=2, n_workers=1), encoders=[image])
    assert image.n_encoded < 10
    assert not (tmp_path / "c.h5").exists()


def test_the_command_prints_the_estimate_and_refuses_a_small_disk(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(embed.extraction.encoding.run_encoders, "make_encoders", lambda _: encoders())
    result = invoke(embed.commands.extract.extract, catalogue, "-o", tmp_path / "c.h5", "--estimate")
    assert result.exit_code == 0, result.output
    assert "No vector was written." in result.stdout
    asked = invoke(embed.commands.extract.extract, catalogue, "-o", tmp_path / "c.h5", "--estimate", "--json")
    assert [one["n_missing"] for one in json.loads(asked.stdout)["encoders"]] == [40, 40]
    monkeypatch.setattr(embed.extraction.disk_space.shutil, "disk_usage", lambda _: Usage(10**6, 0, 1000))
    refused = invoke(embed.commands.extract.extract, catalogue, "-o", tmp_path / "c.h5", "--estimate")
    assert refused.exit_code == 1
    assert "MB are free. Free some" in refused.stderr


def test_the_estimate_of_long_and_short_texts_is_that_of_all(tmp_path, monkeypatch):
    """A sample that stops early must not be of the shortest texts, or of the longest."""
    monkeypatch.setattr(embed.extraction.estimate, "SAMPLE_S", 0.0)
    rows = [{"id": str(n), "text": f"{n:03} " + "word " * (n % 50)} for n in range(400)]
    catalogue = write_catalogue(tmp_path / "texts", rows)
    settings = ExtractSettings(batch_size=16, n_workers=1, modalities=("text",))
    costs = estimate(catalogue, tmp_path / "c.h5", settings=settings, encoders=[Spelling("text")])
    extract(catalogue, tmp_path / "c.h5", settings=settings, encoders=[Spelling("text")])
    with Cache(tmp_path / "c.h5") as cache:
        whole = cache.tokens("text", "counting").values.nbytes
    assert costs.encoders[0].n_sampled < 200
    assert costs.encoders[0].token_bytes == pytest.approx(whole, rel=0.5)


def test_the_old_cache_counts_as_it_is_written_once_more(catalogue, tmp_path):
    before = embed.extraction.disk_space.needed_bytes(tmp_path / "c.h5", n_bytes=1000)
    extract(catalogue, tmp_path / "c.h5", encoders=encoders())
    size = (tmp_path / "c.h5").stat().st_size
    assert (before, embed.extraction.disk_space.needed_bytes(tmp_path / "c.h5", n_bytes=1000)) == (2000, 2000 + size)


def test_pictures_that_cannot_be_read_cost_no_bytes(catalogue, tmp_path):
    for n in range(0, 40, 2):
        (catalogue.parent / "images" / f"{n}.png").write_text(f"no picture {n}")
    image = CountingEncoder("image", dim=8)
    (cost,) = estimate(catalogue, tmp_path / "c.h5", encoders=[image]).encoders
    assert (cost.n_missing, cost.vector_bytes) == (40, 20 * 8 * 4)


def test_auto_goes_on_in_the_precision_that_the_cache_has(catalogue, tmp_path):
    settings = {"modalities": ("image",), "image_weights": "random", "image_encoder": "mobilenet_v3_small"}
    for precision in ("fp32", "auto"):
        extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(**settings, precision=precision))
    with Cache(tmp_path / "c.h5") as cache:
        name = "mobilenet_v3_small-random"
        assert cache.encoders("image") == [name]
        assert cache.spec("image", name).fields["precision"] == "fp32"
        assert np.isfinite(cache.matrix("image", name)).all()


def test_a_precision_asked_for_is_not_changed_by_the_cache(catalogue, tmp_path):
    settings = {"modalities": ("image",), "image_weights": "random", "image_encoder": "mobilenet_v3_small"}
    extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(**settings, precision="fp32"))
    with pytest.raises(CacheError, match='precision: "fp32", not "bf16"'):
        extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(**settings, precision="bf16"))
