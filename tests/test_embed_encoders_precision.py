"""Precision: auto is what the hardware has natively, and short numbers stay close to fp32."""

import numpy as np
import pytest
import torch
from support import image_bytes
from test_embed_encoders import PICTURES, TEXTS
from tiny_models import write_vision
from transformers import BertConfig

from embed import ImageEncoder, SettingError, TextEncoder, VisionEncoder
from embed.encoders.precision import exact_fp32, find_precision

pytestmark = pytest.mark.slow


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
    with pytest.raises(SettingError, match="--precision: expected auto, fp32, bf16, fp16, got 'int8'"):
        find_precision("int8", torch.device("cpu"))


def cosines(first, second):
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        ("resnet18", "bf16"),
        ("resnet18", "fp16"),
        ("mobilenet_v3_small", "bf16"),  # untrained, its vectors are too small for fp16
        ("convnext_tiny", "bf16"),  # attention is among what texts go through below
    ],
)
def test_pictures_in_short_numbers_stay_close_to_fp32(architecture, precision, drawn_once):
    prepared, found = None, []
    for name in ("fp32", precision):
        encoder = ImageEncoder(architecture, weights="random", precision=name)
        assert encoder.spec.fields["precision"] == name
        prepared = prepared or [encoder.prepare(PICTURES[name]) for name in list(PICTURES)[:1]]
        found.append(encoder.encode(prepared))
        assert found[-1].dtype == np.float32
    assert cosines(*found).min() >= 0.999
    assert not np.array_equal(*found)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_texts_in_short_numbers_stay_close_to_fp32(pooling, precision, tmp_path):
    """Through as many layers as BERT has, which are narrower."""
    sizes = {"hidden_size": 96, "num_attention_heads": 4, "intermediate_size": 192, "vocab_size": 2000}
    BertConfig(**sizes).save_pretrained(tmp_path / "bert")
    found = []
    for name in ("fp32", precision):
        encoder = TextEncoder(str(tmp_path / "bert"), weights="random", pooling=pooling, precision=name)
        found.append(encoder.encode([encoder.prepare(text) for text in TEXTS]))
    assert cosines(*found).min() >= 0.999
    assert not np.array_equal(*found)


PLACES = {
    "cudnn.conv": torch.backends.cudnn.conv,
    "cudnn.rnn": torch.backends.cudnn.rnn,
    "cuda.matmul": torch.backends.cuda.matmul,
    "mkldnn.conv": torch.backends.mkldnn.conv,
    "mkldnn.rnn": torch.backends.mkldnn.rnn,
    "mkldnn.matmul": torch.backends.mkldnn.matmul,
}


def settings():
    """Return what torch says of fp32: what operations compute in, and the older settings where they can be read."""
    found = {name: place.fp32_precision for name, place in PLACES.items()}
    found |= {"all": torch.backends.fp32_precision, "cudnn": torch.backends.cudnn.fp32_precision}
    old = {
        "old products": torch.get_float32_matmul_precision,
        "old cudnn": lambda: torch.backends.cudnn.allow_tf32,
        "old cublas": lambda: torch.backends.cuda.matmul.allow_tf32,
    }
    for name, read in old.items():
        try:
            found[name] = read()
        except RuntimeError:
            found[name] = "a mix of old and new"
    return found


EXACT = dict.fromkeys(PLACES, "ieee") | {"old products": "highest", "old cudnn": False, "old cublas": False}


def everything_by_the_generic_setting():
    torch.backends.fp32_precision = "tf32"


def each_operation_by_its_own():
    for name in ("cudnn.conv", "cudnn.rnn", "cuda.matmul"):
        PLACES[name].fp32_precision = "tf32"
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def the_old_way():
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True


HOSTS = [lambda: None, everything_by_the_generic_setting, each_operation_by_its_own, the_old_way]


@pytest.fixture(params=HOSTS)
def host(request):
    """Set torch as the program around might; afterwards all is as it was."""
    before = settings()
    assert before["all"] == "none"
    request.param()
    yield request.param
    torch.backends.fp32_precision = torch.backends.cudnn.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    for name, place in PLACES.items():
        place.fp32_precision = before[name]
    assert settings() == before


def test_fp32_is_fp32_inside_whatever_the_program_around_asked_for_and_that_comes_back(host):
    before = settings()
    with exact_fp32():
        assert settings().items() >= EXACT.items()
    assert settings() == before


def test_a_setting_that_goes_by_the_one_above_still_does_afterwards():
    try:
        torch.backends.fp32_precision = "tf32"
        with exact_fp32():
            pass
        torch.backends.fp32_precision = "ieee"
        assert torch.backends.mkldnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = "none"


def test_fp32_stays_fp32_until_the_last_thread_has_left():
    before = settings()
    first, second = exact_fp32(), exact_fp32()
    with first:
        second.__enter__()
    assert settings().items() >= EXACT.items()
    second.__exit__(None, None, None)
    assert settings() == before


@pytest.mark.parametrize("kind", ["torchvision", "vision", "text"])
def test_encoders_compute_in_fp32(tmp_path, kind):
    if kind == "torchvision":
        encoder, content = ImageEncoder("squeezenet1_1", weights="random"), image_bytes()
    elif kind == "vision":
        encoder, content = VisionEncoder(str(write_vision(tmp_path, "vit"))), image_bytes()
    else:
        BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=99
        ).save_pretrained(tmp_path)
        encoder, content = TextEncoder(str(tmp_path), weights="random"), "a title"
    found = []
    encoder.model.register_forward_pre_hook(lambda *_: found.append(settings()))
    encoder.encode([encoder.prepare(content)])
    assert found[0].items() >= EXACT.items()
