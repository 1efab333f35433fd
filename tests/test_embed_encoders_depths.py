"""Several depths of a network come from one forward pass, and leave the last one's vectors as they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import image_bytes, write_catalogue
from test_embed_encoders import write_folder
from tiny_models import write_two_towers, write_vision
from torchvision.models import resnet18

from cache import Cache
from embed import ExtractSettings, ImageEncoder, SettingError, TextEncoder, VisionEncoder, extract, make_encoders
from embed.encoders.factory import rebuild
from embed.encoders.precision import keep_precision
from embed.encoders.weights import seeded
from heads import Run, TrainSettings, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn_once")]

TEXTS = ["red shirt", "blue shoes of cotton, a long text that says red and blue", "a", "cotton shirt blue"]
PICTURES = [image_bytes((60 * n, 9, 200), size=(40 + n, 50)) for n in range(4)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    bert = write_folder(root / "bert")
    return {"bert": bert, "vit": write_vision(root / "vit", "vit"), "clip": write_two_towers(root / "clip", "clip")}


def encoded(encoder, contents):
    return encoder.encode([encoder.prepare(content) for content in contents])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_text_encoder_gives_the_pooled_states_of_its_blocks(models, pooling):
    """As transformers gives them; the last ones are bit for bit those without depths."""
    whole = TextEncoder(str(models["bert"]), pooling=pooling, layers=2)
    alone = TextEncoder(str(models["bert"]), pooling=pooling)
    output = encoded(whole, TEXTS)
    assert (whole.spec, whole.name) == (alone.spec, alone.name)
    np.testing.assert_array_equal(output.vectors, encoded(alone, TEXTS))
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([alone.prepare(text)])
        with torch.inference_mode():
            states = alone.checkpoint.load(needs_pooler=lambda _: False)(ids, output_hidden_states=True).hidden_states
        expected = states[1][0].mean(0) if pooling == "mean" else states[1][0, 0]
        np.testing.assert_allclose(output.beside["1"][row], expected, atol=1e-5)


def test_a_vision_transformer_gives_the_class_tokens_of_its_blocks(models):
    whole, alone = (VisionEncoder(str(models["vit"]), layers=layers) for layers in (2, 1))
    output = encoded(whole, PICTURES)
    np.testing.assert_array_equal(output.vectors, encoded(alone, PICTURES))
    pixels = torch.stack([alone.prepare(picture)["pixel_values"] for picture in PICTURES])
    inputs = alone.processor.finish({"pixel_values": pixels}, torch.float32)
    with torch.inference_mode():
        states = alone.model(**inputs, output_hidden_states=True).hidden_states[1]
    np.testing.assert_allclose(output.beside["1"], states[:, 0], atol=1e-5)


def test_a_resnet_gives_the_means_of_its_stages_maps():
    whole, alone = (ImageEncoder(weights="random", layers=layers, tokens="all") for layers in (4, 1))
    found, plain = encoded(whole, PICTURES[:2]), encoded(alone, PICTURES[:2])
    np.testing.assert_array_equal(found.vectors, plain.vectors)
    np.testing.assert_array_equal(found.tokens.values, plain.tokens.values)
    assert {depth: vectors.shape for depth, vectors in found.beside.items()} == {
        "layer1": (2, 64), "layer2": (2, 128), "layer3": (2, 256)
    }  # fmt: skip
    with seeded(0):
        network = resnet18().eval()  # as torchvision has it, no batch norm fused
    with torch.inference_mode():
        pixels = torch.stack([alone.prepare(picture) for picture in PICTURES[:2]])
        first = network.relu(network.bn1(network.conv1(alone.preprocess.normalise(pixels, torch.float32))))
        maps = {"layer1": network.layer1(network.maxpool(first))}
        maps["layer2"] = network.layer2(maps["layer1"])
        maps["layer3"] = network.layer3(maps["layer2"])
    for depth in found.beside:
        np.testing.assert_allclose(found.beside[depth], maps[depth].mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image_encoder": "mobilenet_v3_small"},
            "--layers: expected 1 for mobilenet_v3_small, got 2: .* ResNets alone",
        ),
        ({"image_encoder": "clip"}, "--layers: expected 1 for .*clip, got 2: it has two towers"),
        ({"text_encoder": "clip"}, "--layers: expected 1 for .*clip, whose own pooling"),
    ],
)
def test_a_network_without_depths_is_a_named_error(models, options, message):
    options = {name: str(models.get(value, value)) for name, value in options.items()}
    modality = next(iter(options)).partition("_")[0]
    weights = "random" if options.get("image_encoder") == "mobilenet_v3_small" else "pretrained"
    settings = ExtractSettings(modalities=(modality,), layers=2, max_length=20, image_weights=weights, **options)
    with pytest.raises(SettingError, match=message):
        make_encoders(settings)


@pytest.fixture(scope="module")
def shop(models, tmp_path_factory):
    """Texts and two depths of a small network in a cache that had the last alone before, and a run over both."""
    folder = tmp_path_factory.mktemp("shop")
    words = [
        f"{('blue', 'red')[n % 2]} word{n % 7} {'shirt' if n % 3 else 'cotton shoes'} word{n // 7}" for n in range(40)
    ]
    rows = [{"id": str(n), "text": text, "label": text.split()[0]} for n, text in enumerate(words)]
    catalogue = write_catalogue(folder, rows)
    options = {"modalities": ("text",), "text_encoder": str(models["bert"]), "device": "cpu", "precision": "fp32"}
    extract(catalogue, folder / "c.h5", settings=ExtractSettings(**options))
    with Cache(folder / "c.h5") as cache:
        before = cache.matrix("text", "bert")
    report = extract(catalogue, folder / "c.h5", settings=ExtractSettings(**options, layers=2))
    both = {"text": "bert.1+bert"}
    settings = TrainSettings(
        fusions=(), controls=(), encoders=both, max_epochs=1, hidden_dim=8, n_resamples=100, device="cpu"
    )
    train(folder / "c.h5", settings=settings, runs_path=folder / "runs", name="run")
    return folder, before, report


def test_a_depth_is_an_entry_of_its_own_and_the_last_stays_as_it_was(shop):
    folder, before, report = shop
    assert [(one.name, one.n_cached, one.n_encoded) for one in report.encoders] == [
        ("text/bert", 40, 0),
        ("text/bert.1", 0, 40),
    ]
    with Cache(folder / "c.h5") as cache:
        np.testing.assert_array_equal(cache.matrix("text", "bert"), before)
        assert cache.spec("text", "bert.1").differences(cache.spec("text", "bert")) == ['depth: "1", not nothing']


def test_a_pass_over_several_depths_is_one(models, tmp_path, monkeypatch):
    calls = []
    encode = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, batch: calls.append(len(batch)) or encode(self, batch))
    rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    settings = ExtractSettings(
        modalities=("text",), text_encoder=str(models["bert"]), device="cpu", precision="fp32", layers=2, n_workers=1
    )
    extract(write_catalogue(tmp_path, rows), tmp_path / "c.h5", settings=settings)
    assert sum(calls) == len(TEXTS)
    with Cache(tmp_path / "c.h5") as cache:
        together = {name: cache.matrix("text", name) for name in ("bert", "bert.1")}
    output = encoded(TextEncoder(str(models["bert"]), layers=2), TEXTS)
    np.testing.assert_allclose(together["bert"], output.vectors, atol=1e-5)
    np.testing.assert_allclose(together["bert.1"], output.beside["1"], atol=1e-5)


def test_raw_texts_go_through_the_network_once_for_all_depths(shop, monkeypatch):
    folder, *_ = shop
    run = Run.load(folder / "runs/run", cache_path=folder / "nothing.h5", device="cpu")
    first, second = run.encoders["text"].parts
    assert first.encoder.whole is second.encoder  # one network for both
    head = run.heads["text"]
    with Cache(folder / "c.h5") as cache:
        known = head.probabilities(head.vectors_of(cache))[0]
    assert run.predict(text="blue word0 cotton shoes word0").probability == pytest.approx(known.max(), abs=1e-5)
    calls = []
    encode = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, batch: calls.append(len(batch)) or encode(self, batch))
    run.predict(text="red word5")
    assert calls == [1]


def test_a_depth_that_a_network_lacks_is_a_named_error(models):
    settings = ExtractSettings(modalities=("text",), text_encoder=str(models["bert"]), device="cpu")
    whole, depth = make_encoders(replace(settings, layers=2))
    assert (whole.name, depth.name, depth.depth) == ("bert", "bert.1", "1")
    other = type(depth.spec)("text", {**depth.spec.fields, "depth": "9"})
    with pytest.raises(SettingError, match="Expected bert to have the depth '9', but it has 1"):
        rebuild([(other, settings)])


def test_a_depth_alone_in_the_cache_keeps_its_precision(models):
    """The attribute of a depth was its network's and could not be set."""
    settings = ExtractSettings(modalities=("text",), text_encoder=str(models["bert"]), device="cpu", layers=2)
    of_cache = make_encoders(replace(settings, precision="bf16"))[1]
    whole, depth = make_encoders(replace(settings, precision="fp32"))
    keep_precision([whole, depth], {("text", depth.name): of_cache.spec})
    assert whole.precision == depth.precision == "bf16"
    assert depth.spec == of_cache.spec
