"""Tokens: the cells of the map that a picture's vector is the mean of, kept beside it."""

import numpy as np
import pytest
import torch
import transformers
from support import CountingEncoder, image_bytes, invoke, small_catalogue
from test_embed_encoders import PICTURES, TEXTS, write_folder
from torchvision.models import resnet18

import embed.commands.extract
from cache import Cache, Tokens
from embed import Encoded, ExtractSettings, ImageEncoder, SettingError, TextEncoder, extract
from embed.encoders.weights import seeded

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn_once")]


@pytest.fixture(scope="module")
def pictures():
    return list(PICTURES.values())[:3]


def encoded(encoder, contents):
    return encoder.encode([encoder.prepare(content) for content in contents])


@torch.inference_mode()
def test_the_cells_of_the_map_are_the_networks_last_convolutional_states(pictures):
    encoder = ImageEncoder(weights="random", tokens="all")
    output = encoded(encoder, pictures)
    with seeded(0):
        model = resnet18().eval()
    states = {}
    model.layer4.register_forward_hook(lambda *layer: states.update(map=layer[2]))
    pixels = torch.stack([encoder.prepare(content) for content in pictures])
    model(encoder.preprocess.normalise(pixels, torch.float32))
    for number, tokens in enumerate(states["map"].flatten(2).transpose(1, 2)):  # (49, 512)
        np.testing.assert_allclose(output.tokens[number], tokens, rtol=2e-3, atol=2e-4)


def test_the_mean_of_the_cells_is_the_vector(pictures):
    output = encoded(ImageEncoder(weights="random", tokens="all"), pictures)
    assert output.vectors.shape == (3, 512)
    assert output.tokens.counts.tolist() == [49] * 3
    for number, vector in enumerate(output.vectors):
        mean = output.tokens[number].astype(np.float32).mean(axis=0)
        np.testing.assert_allclose(mean, vector, rtol=2e-3, atol=1e-3 * np.abs(vector).max())


@pytest.mark.parametrize(
    ("architecture", "dim"),
    [
        ("resnet50", 2048),
        ("efficientnet_b0", 1280),
        ("mobilenet_v2", 1280),
        ("shufflenet_v2_x0_5", 1024),
        ("regnet_y_400mf", 440),
        ("densenet121", 1024),
    ],
)
@torch.inference_mode()
def test_the_map_is_found_in_every_network_that_averages_one(architecture, dim):
    model = ImageEncoder(architecture, weights="random", tokens="all").model
    vectors, feature_map = model(torch.randn(1, 3, 64, 64))
    assert feature_map.shape == (1, dim, 2, 2)
    np.testing.assert_allclose(feature_map.mean((2, 3)), vectors, rtol=1e-4, atol=1e-5 * float(vectors.abs().max()))


def test_keeping_tokens_leaves_the_vector_as_it_is(pictures):
    plain = encoded(ImageEncoder(weights="random"), pictures)
    assert np.array_equal(encoded(ImageEncoder(weights="random", tokens="3x3"), pictures).vectors, plain)


def test_a_grid_averages_the_map(pictures):
    whole, grid, one = (encoded(ImageEncoder(weights="random", tokens=way), pictures) for way in ("all", "3x3", "1x1"))
    maps = torch.from_numpy(whole.tokens.values.astype(np.float32)).view(3, 7, 7, 512)
    expected = [
        maps[:, top : top + 3, left : left + 3].mean((1, 2)) for top in (0, 2, 4) for left in (0, 2, 4)
    ]  # each (3, 512)
    found = grid.tokens.values.astype(np.float32).reshape(3, 9, 512)
    np.testing.assert_allclose(found, torch.stack(expected, dim=1), rtol=5e-3, atol=1e-3)
    np.testing.assert_allclose(one.tokens.values.astype(np.float32), whole.vectors, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ["vit_b_32", "convnext_tiny"])
def test_a_network_whose_vector_is_no_mean_of_a_map_is_a_named_error(architecture):
    encoder = ImageEncoder(architecture, weights="random", tokens="all")
    with pytest.raises(SettingError, match=f"but that of {architecture} is not"):
        encoded(encoder, [image_bytes()])


@pytest.mark.parametrize("tokens", ["3", "0x3", "3x", "all cells", "999x1", ""])
def test_another_word_for_tokens_is_a_named_error(tokens):
    for make in (lambda: ImageEncoder(weights="random", tokens=tokens), lambda: ExtractSettings(tokens=tokens)):
        with pytest.raises(SettingError, match="--tokens: expected all, or rows and columns such as 3x3, got"):
            make()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.inference_mode()
def test_a_texts_tokens_are_the_models_last_hidden_states(pooling, tmp_path):
    text_folder = write_folder(tmp_path / "tiny")
    encoder = TextEncoder(str(text_folder), pooling=pooling, keep_tokens=True)
    output = encoded(encoder, TEXTS)
    plain = encoded(TextEncoder(str(text_folder), pooling=pooling), TEXTS)
    np.testing.assert_allclose(output.vectors, plain, rtol=1e-4, atol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_folder)
    model = transformers.AutoModel.from_pretrained(text_folder).eval()
    for number, text in enumerate(TEXTS):
        inputs = tokenizer(" ".join(text.split()), truncation=True, max_length=32, return_tensors="pt")
        states = model(**inputs).last_hidden_state[0]  # (L, D)
        np.testing.assert_allclose(output.tokens[number], states, rtol=2e-3, atol=2e-3)
        pooled = output.tokens[number][0] if pooling == "cls" else output.tokens[number].astype(np.float32).mean(0)
        np.testing.assert_allclose(pooled, output.vectors[number], rtol=2e-3, atol=2e-3)


def test_vectors_with_and_without_tokens_stand_side_by_side(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 5)
    for tokens in (None, "all", "3x3"):
        settings = ExtractSettings(modalities=("image",), image_weights="random", tokens=tokens, part_bytes=1)
        extract(catalogue, tmp_path / "c.h5", settings=settings)
    with Cache(tmp_path / "c.h5") as cache:
        names = ["resnet18-random", "resnet18-random-3x3", "resnet18-random-tokens"]
        assert cache.encoders("image") == names
        assert [cache.has_tokens("image", name) for name in names] == [False, True, True]
        assert [len(cache.tokens("image", name).values) for name in names[1:]] == [5 * 9, 5 * 49]
        for name in names[1:]:
            assert np.array_equal(cache.vectors("image", name), cache.vectors("image", names[0]))


class Spelling(CountingEncoder):
    """Gives each text its letters as tokens."""

    def encode(self, batch):
        return Encoded(
            super().encode(batch), Tokens.of([np.array([[letter] for letter in item], np.float16) for item in batch])
        )


@pytest.mark.parametrize("part_bytes", [1, 2**20])
def test_each_product_keeps_its_own_tokens_although_some_fail_and_one_is_halved(tmp_path, part_bytes):
    catalogue = small_catalogue(tmp_path / "shop", 12)
    lines = catalogue.read_text().splitlines()
    catalogue.write_text("\n".join([*lines[:4], lines[4].replace("product number 3", " "), *lines[5:]]))

    class Small(Spelling):
        def encode(self, batch):
            if len(batch) > 2:
                raise MemoryError
            return super().encode(batch)

    settings = ExtractSettings(batch_size=5, part_bytes=part_bytes)
    extract(catalogue, tmp_path / "c.h5", settings=settings, encoders=[Small("text")])
    with Cache(tmp_path / "c.h5") as cache:
        tokens = cache.tokens("text", "counting")
        for row, text in zip(cache.rows("text").tolist(), cache.column("text"), strict=True):
            assert row < 0 or bytes(tokens[row].astype(np.uint8).ravel().tolist()).decode() == text


def test_the_command_keeps_tokens(tmp_path, monkeypatch):
    catalogue = small_catalogue(tmp_path / "shop", 3)
    monkeypatch.chdir(tmp_path)
    arguments = ["--modalities", "image", "--image-weights", "random", "-o", "c.h5"]
    result = invoke(embed.commands.extract.extract, catalogue, *arguments, "--tokens")
    assert result.exit_code == 0, result.output
    assert "image/resnet18-random-tokens" in result.stdout
