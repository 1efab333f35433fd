"""On a CUDA device: the same vectors as on the CPU, and memory that runs out loses nothing."""

import numpy as np
import pytest
import torch
from support import small_catalogue
from test_embed_encoders import PICTURES, TEXTS
from test_embed_extraction_encoding_replica_pool import extract_in_halves

from cache import Cache
from embed import ExtractSettings, ImageEncoder, TextEncoder, extract

pytestmark = [
    pytest.mark.slow,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def cosines(first, second):
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def encoded(encoder, contents):
    return encoder.encode([encoder.prepare(content) for content in contents])


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999999), ("bf16", 0.999), ("fp16", 0.999)])
def test_pictures_have_the_vectors_that_they_have_on_the_cpu(precision, least):
    contents = list(PICTURES.values())[:6]
    expected = encoded(ImageEncoder(weights="random"), contents)
    output = encoded(ImageEncoder(weights="random", device="cuda", precision=precision), contents)
    assert cosines(output, expected).min() >= least
    if precision == "fp32":
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999999), ("bf16", 0.999), ("fp16", 0.999)])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_texts_have_the_vectors_that_they_have_on_the_cpu(pooling, precision, least):
    expected = encoded(TextEncoder(weights="random", pooling=pooling), TEXTS)
    output = encoded(TextEncoder(weights="random", pooling=pooling, device="cuda", precision=precision), TEXTS)
    assert cosines(output, expected).min() >= least


def test_an_extraction_on_cuda_goes_on_with_what_the_cpu_began(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 20)
    settings = {"image_weights": "random", "text_weights": "random", "precision": "fp32"}
    extract(catalogue, tmp_path / "cpu.h5", settings=ExtractSettings(device="cpu", **settings))
    extract(catalogue, tmp_path / "cuda.h5", settings=ExtractSettings(device="cuda", **settings))
    report = extract(catalogue, tmp_path / "cpu.h5", settings=ExtractSettings(device="cuda", **settings))
    assert [entry.n_encoded for entry in report.encoders] == [0, 0]
    with Cache(tmp_path / "cpu.h5") as cpu, Cache(tmp_path / "cuda.h5") as cuda:
        for modality in ("image", "text"):
            assert cosines(cpu.matrix(modality), cuda.matrix(modality)).min() >= 0.9999


def test_batches_that_do_not_fit_into_the_devices_memory_are_halved(tmp_path, caplog):
    catalogue = small_catalogue(tmp_path / "shop", 300)
    settings = ExtractSettings(
        modalities=("image",), image_weights="random", device="cuda", precision="fp32", batch_size=300
    )
    whole = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(8e8 / whole)
        report = extract_in_halves(catalogue, tmp_path / "c.h5", caplog, settings=settings)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert report.encoders[0].n_encoded == 300
    with Cache(tmp_path / "c.h5") as cache:
        assert np.isfinite(cache.matrix("image")).all()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two CUDA devices")
def test_two_devices_share_the_work(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 40)
    settings = ExtractSettings(modalities=("image",), image_weights="random", device="cuda:0,cuda:1", batch_size=2)
    assert extract(catalogue, tmp_path / "c.h5", settings=settings).encoders[0].n_encoded == 40
