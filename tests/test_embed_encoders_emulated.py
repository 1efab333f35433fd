"""Encoders on an emulated accelerator: the CPU's vectors, and no tensor of theirs on the wrong side."""

import json

import emulated_embed
import pytest
from support import write_catalogue
from tiny_models import VISION, write_two_towers, write_vision

pytestmark = pytest.mark.slow

MOST = 1e-5
MOST_OF_HALVES = 1e-3  # tokens are kept in half precision, whose last digit may be another
BERT = {
    "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 2000, "max_position_embeddings": 64,
}  # fmt: skip


@pytest.fixture
def bert(tmp_path):
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BERT))
    return folder


@pytest.mark.parametrize("options", [{}, {"tokens": "3x3"}, {"decode": "fast"}, {"precision": "bf16"}], ids=str)
def test_torchvisions_models_give_the_vectors_of_the_cpu(options, emulated):
    most = MOST_OF_HALVES if "tokens" in options else MOST
    assert emulated(emulated_embed.difference_of_encoders, "image", "resnet18", **options) < most


def test_pictures_that_the_device_resizes_have_the_pixels_of_the_host(emulated):
    """All but the one that is too large for it."""
    assert emulated(emulated_embed.differing_pixels) == {"resized": 3, "refused": 0, "differing": 0}


@pytest.mark.parametrize("keep_tokens", [False, True], ids=["vectors", "tokens"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_bert_gives_the_vectors_of_the_cpu(pooling, keep_tokens, bert, emulated):
    options = {"pooling": pooling, "keep_tokens": keep_tokens}
    found = emulated(emulated_embed.difference_of_encoders, "text", str(bert), **options)
    assert found < (MOST_OF_HALVES if keep_tokens else MOST)


@pytest.mark.parametrize("kind", VISION)
def test_hugging_faces_vision_models_give_the_vectors_of_the_cpu(kind, emulated, tmp_path):
    folder = write_vision(tmp_path / "model", kind)
    assert emulated(emulated_embed.difference_of_encoders, "vision", str(folder)) < MOST


@pytest.mark.parametrize("side", ["text", "vision"])
@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "chinese_clip"])
def test_both_towers_give_the_vectors_of_the_cpu(kind, side, emulated, tmp_path):
    folder = write_two_towers(tmp_path / "model", kind)
    options = {"max_length": 24} if side == "text" else {}
    assert emulated(emulated_embed.difference_of_encoders, side, str(folder), **options) < MOST


def test_an_extraction_gives_the_cache_of_the_cpu(bert, emulated, tmp_path):
    """With tokens of both kinds, and one picture that is scaled while it is decoded."""
    names = [f"{n}.jpg" for n in range(len(emulated_embed.PICTURES))]
    rows = [{"id": name, "image": name, "text": text} for name, text in zip(names, emulated_embed.TEXTS, strict=False)]
    catalogue = write_catalogue(tmp_path / "shop", rows, dict(zip(names, emulated_embed.PICTURES, strict=True)))
    assert emulated(emulated_embed.difference_of_extractions, catalogue, tmp_path, bert) < MOST_OF_HALVES


def test_a_network_that_makes_a_tensor_on_the_cpu_is_found(emulated):
    """The emulation can fail."""
    assert "must have all tensors on emulated:0" in emulated(emulated_embed.error_of_a_lost_network)
