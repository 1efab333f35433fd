"""Precision: auto is what the hardware has natively, and short numbers stay close to fp32."""

import numpy as np
import pytest
import torch
from test_embed_encoders import PICTURES, TEXTS

from embed import ImageEncoder, SettingError, TextEncoder
from embed.encoders.precision import find_precision


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_is_bf16_where_the_processor_has_it(monkeypatch, capabilities, found):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert find_precision("auto", torch.device("cpu")) == found


@pytest.mark.parametrize(("capability", "found"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_is_bf16_where_the_cuda_device_has_it(monkeypatch, capability, found):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert find_precision("auto", torch.device("cuda")) == found


def test_auto_on_apple_is_fp32():
    assert find_precision("auto", torch.device("mps")) == "fp32"


def test_another_word_is_a_named_error():
    with pytest.raises(SettingError, match="--precision must be auto, fp32, bf16, fp16, however got 'int8'"):
        find_precision("int8", torch.device("cpu"))


def cosines(first, second):
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        ("resnet18", "bf16"),
        ("resnet18", "fp16"),
        ("mobilenet_v3_small", "bf16"),  # untrained, its vectors are too small for fp16
        ("convnext_tiny", "bf16"),
        ("vit_b_16", "bf16"),
    ],
)
def test_pictures_in_short_numbers_stay_close_to_fp32(architecture, precision):
    prepared, found = None, []
    for name in ("fp32", precision):
        encoder = ImageEncoder(architecture, weights="random", precision=name)
        assert encoder.spec.fields["precision"] == name
        prepared = prepared or [encoder.prepare(PICTURES[name]) for name in list(PICTURES)[:4]]
        found.append(encoder.encode(prepared))
        assert found[-1].dtype == np.float32
    assert cosines(*found).min() >= 0.999
    assert not np.array_equal(*found)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_texts_in_short_numbers_stay_close_to_fp32(pooling, precision):
    found = []
    for name in ("fp32", precision):
        encoder = TextEncoder(weights="random", pooling=pooling, precision=name)
        found.append(encoder.encode([encoder.prepare(text) for text in TEXTS]))
    assert cosines(*found).min() >= 0.999
    assert not np.array_equal(*found)
