"""Hugging Face's vision models and models with two towers: their vectors are those of plain transformers."""

import functools
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from test_embed_encoders import PICTURES, assert_close, found_on_hub, hub_snapshot, plain_rgb, vectors_of
from test_embed_encoders_precision import cosines
from tiny_models import SIZE, VISION, WORDS, write_two_towers, write_vision

from embed import SettingError, TextEncoder, VisionEncoder, WeightsError

pytestmark = pytest.mark.slow

CONTENTS = [PICTURES[name] for name in ("RGB png", "L jpeg", "turned jpeg", "wide png", "tiny png", "RGBA png")]
TOWERS = ("clip", "clip of old", "siglip", "siglip2", "chinese_clip")
TEXTS = [
    "red",
    "blue shirt",
    "a cotton shirt",
    " ".join(WORDS),
    "red shoes",
    "unknown things",
    "shirt blue",
    *WORDS[6:16],
]
CLASS_TOKEN = {"vit", "vit normalised twice", "vit_mae", "dinov2"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind, written when it is first asked for."""
    root, written = tmp_path_factory.mktemp("models"), {}

    def folder_of(kind):
        if kind not in written:
            write = write_vision if kind in VISION else write_two_towers
            written[kind] = str(write(root / kind.replace(" ", "-"), kind))
        return written[kind]

    return folder_of


@pytest.fixture(scope="module")
def encoders(folders):
    """An encoder of each kind, made when it is first asked for."""
    return functools.cache(lambda kind: VisionEncoder(folders(kind), precision="fp32"))


@pytest.fixture(scope="module")
def fp32_vectors(encoders):
    """The vectors of all contents in a batch by each kind of network, made when they are first asked for."""
    return functools.cache(lambda kind: vectors_of(encoders(kind), CONTENTS))


@pytest.fixture
def spoilt(folders, tmp_path):
    """A copy of a folder, to be spoilt."""

    def copy(kind):
        return Path(shutil.copytree(folders(kind), tmp_path / "copy"))

    return copy


plain_processor = functools.cache(hf.AutoImageProcessor.from_pretrained)


def plain_inputs(folder, content):
    return plain_processor(folder)(images=plain_rgb(content), return_tensors="pt")


@torch.inference_mode()
def plain_vectors(folder, kind):
    """One picture at a time, eager, fp32."""
    options = {"mask_ratio": 0.0} if kind == "vit_mae" else {}
    model = hf.AutoModel.from_pretrained(folder, attn_implementation="eager", **options).eval()
    vectors = []
    for content in CONTENTS:
        inputs = plain_inputs(folder, content)
        if kind in TOWERS:
            vectors.append(model.get_image_features(**inputs).pooler_output[0])
            continue
        output = model(**inputs)
        if kind in CLASS_TOKEN:
            vectors.append(output.last_hidden_state[0, 0])
        elif kind == "segformer":
            vectors.append(output.last_hidden_state[0].mean((1, 2)))
        else:
            vectors.append(output.pooler_output[0].flatten())
    return torch.stack(vectors).numpy()


@pytest.mark.filterwarnings("ignore")  # of transformers' own
@pytest.mark.parametrize("kind", [*VISION, *TOWERS])
def test_a_pictures_vector_is_that_of_plain_transformers(kind, folders, encoders, fp32_vectors):
    expected = plain_vectors(folders(kind), kind)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * np.abs(expected[0]).max(), "the comparison says nothing"
    assert_close(fp32_vectors(kind), expected, tolerance=1e-4)
    alone = np.concatenate([vectors_of(encoders(kind), [content]) for content in CONTENTS])
    assert_close(alone, expected, tolerance=1e-4)


@pytest.mark.parametrize("kind", [*VISION, *TOWERS])
def test_pictures_in_bf16_stay_close_to_fp32(kind, folders, fp32_vectors):
    found = [fp32_vectors(kind), vectors_of(VisionEncoder(folders(kind), precision="bf16"), CONTENTS)]
    assert found[1].dtype == np.float32
    assert cosines(*found).min() >= 0.999
    assert not np.array_equal(*found)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("vit", torch.uint8), ("convnextv2", torch.uint8), ("clip", torch.uint8), ("vit normalised twice", torch.float32),
     ("siglip2", torch.float32)],
)  # fmt: skip
def test_pictures_stay_bytes_where_the_processor_normalises_last(kind, dtype, folders):
    processor = VisionEncoder(folders(kind)).processor
    for content in CONTENTS:
        prepared = processor.prepare(plain_rgb(content))
        assert prepared["pixel_values"].dtype == dtype
        finished = processor.finish({name: values[None] for name, values in prepared.items()}, torch.float32)
        expected = plain_inputs(folders(kind), content)
        assert finished.keys() == expected.keys()
        assert all(torch.equal(finished[name], expected[name]) for name in expected)


class Recentred:
    """A processor that moves the numbers once they are normalised."""

    do_rescale = do_normalize = rescale_factor = image_mean = image_std = None

    def __call__(self, images, return_tensors, **steps):
        assert return_tensors == "pt"
        pixels = torch.from_numpy(np.array(images.resize((SIZE, SIZE)))).permute(2, 0, 1)[None]
        return {"pixel_values": pixels if steps else self.rescale_and_normalize(pixels) - 0.5}

    def rescale_and_normalize(self, pixels, *_):
        return pixels / 255


def test_pictures_are_numbers_where_normalising_is_not_the_last_step(folders):
    encoder = VisionEncoder(folders("vit"))
    expected = Recentred()(plain_rgb(CONTENTS[0]), return_tensors="pt")["pixel_values"][0]
    encoder.processor.process = Recentred()
    assert torch.equal(encoder.prepare(CONTENTS[0])["pixel_values"], expected)


def test_pictures_of_several_sizes_share_a_batch(spoilt):
    folder = spoilt("resnet")
    processor = hf.BitImageProcessor(size={"shortest_edge": 48}, do_center_crop=False)
    processor.save_pretrained(folder)
    encoder = VisionEncoder(str(folder))
    together = vectors_of(encoder, CONTENTS)
    assert len({encoder.prepare(content)["pixel_values"].shape for content in CONTENTS}) > 1
    assert_close(together, plain_vectors(str(folder), "resnet"), tolerance=1e-4)


@pytest.mark.parametrize("kind", ["vit", "convnextv2", "clip"])
def test_pictures_are_prepared_and_encoded_the_same_by_many_threads(kind, folders):
    contents = CONTENTS * 5
    expected = vectors_of(VisionEncoder(folders(kind)), CONTENTS)
    encoder = VisionEncoder(folders(kind))
    with ThreadPoolExecutor(8) as pool:
        vectors = np.concatenate(list(pool.map(lambda content: vectors_of(encoder, [content]), contents)))
    assert_close(vectors, np.tile(expected, (5, 1)), tolerance=1e-5)


# Texts of models with two towers


@torch.inference_mode()
def plain_text_features(folder, kind, texts, *, max_length):
    """Padded to the model's length as it was trained, eager, fp32."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    model = hf.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    vectors = []
    for text in texts:
        inputs = tokenizer(text, padding="max_length", truncation=True, max_length=max_length, return_tensors="pt")
        vectors.append(model.get_text_features(**inputs).pooler_output[0])
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize("kind", TOWERS)
def test_a_texts_vector_of_two_towers_is_that_of_plain_transformers(kind, folders):
    encoder = TextEncoder(folders(kind), max_length=24)
    expected = plain_text_features(folders(kind), kind, TEXTS, max_length=24)
    distances = np.abs(expected[:, None] - expected[None]).max(-1)[~np.eye(len(TEXTS), dtype=bool)]
    assert distances.min() > 1e-2, "the comparison says nothing"
    assert_close(vectors_of(encoder, TEXTS), expected, tolerance=1e-4)
    alone = np.concatenate([vectors_of(encoder, [text]) for text in TEXTS])
    assert_close(alone, expected, tolerance=1e-4)
    assert encoder.spec.fields["pooling"] == "text features"


@pytest.mark.parametrize("kind", TOWERS)
def test_texts_of_two_towers_in_bf16_stay_close_to_fp32(kind, folders):
    found = [vectors_of(TextEncoder(folders(kind), max_length=24, precision=name), TEXTS) for name in ("fp32", "bf16")]
    assert cosines(*found).min() >= 0.999
    assert not np.array_equal(*found)


def test_a_shorter_text_still_fills_a_tower_that_was_trained_on_one_length(folders):
    encoder = TextEncoder(folders("siglip"), max_length=5)
    assert {len(encoder.prepare(text)) for text in TEXTS} == {24}
    short = [text for text in TEXTS if len(text.split()) <= 4]
    assert_close(
        vectors_of(encoder, short),
        plain_text_features(folders("siglip"), "siglip", short, max_length=24),
        tolerance=1e-4,
    )


@pytest.mark.parametrize("kind", TOWERS)
def test_picture_and_text_of_two_towers_lie_in_one_space(kind, folders):
    image, text = VisionEncoder(folders(kind)), TextEncoder(folders(kind), max_length=24)
    assert vectors_of(image, CONTENTS).shape[1] == vectors_of(text, TEXTS).shape[1]
    assert image.spec.fields["vector"] == "image features"
    assert image.spec.fields["weights"] == text.spec.fields["weights"]


def test_a_text_tower_saved_alone_pools_where_the_text_ends(folders, tmp_path):
    tokenizer, whole = (load.from_pretrained(folders("clip")) for load in (hf.AutoTokenizer, hf.AutoModel))
    tokenizer.save_pretrained(tmp_path)
    whole.text_model.save_pretrained(tmp_path)
    inputs = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=24, return_tensors="pt")
    with torch.inference_mode():
        expected = whole.text_model.eval()(**inputs).pooler_output.numpy()
    assert_close(vectors_of(TextEncoder(str(tmp_path), max_length=24), TEXTS), expected, tolerance=1e-4)


def test_a_first_token_that_sees_no_other_is_a_named_error(folders, tmp_path):
    """All texts would get the same vector."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folders("chinese_clip"))
    tokenizer.save_pretrained(tmp_path)
    config = hf.GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=32, bos_token_id=3, eos_token_id=2
    )
    hf.GPT2Model(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="the first token to see the others .* Use --pooling mean"):
        vectors_of(TextEncoder(str(tmp_path)), TEXTS[:1])
    assert vectors_of(TextEncoder(str(tmp_path), pooling="mean"), TEXTS[:2]).shape == (2, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "mean"}, "--pooling: expected cls for .* own pooling .* got 'mean'. Use cls"),
        ({"max_length": 25}, "--max-length: expected at most 24 .* got 25"),
    ],
)
def test_a_setting_that_does_not_fit_two_towers_is_a_named_error(options, message, folders):
    with pytest.raises(SettingError, match=message):
        TextEncoder(folders("clip"), **{"max_length": 24, **options})


# Weights that cannot be had


def test_random_weights_follow_from_the_seed_alone(folders):
    first, same, other = (
        vectors_of(VisionEncoder(folders("vit"), weights="random", seed=seed), CONTENTS) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert np.abs(first - other).max() > 0.01 * np.abs(first).max()
    assert VisionEncoder(folders("vit"), weights="random").name == "vit-random"


def edit_json(path, **changes):
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


SPOILT = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config of an unknown type": lambda folder: edit_json(folder / "config.json", model_type="klingon"),
    "config with more layers": lambda folder: edit_json(folder / "config.json", num_hidden_layers=3),
    "no processor": lambda folder: (folder / "preprocessor_config.json").unlink(),
    "processor cut": lambda folder: (folder / "preprocessor_config.json").write_text('{"image_proc'),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "weights cut": lambda folder: os.truncate(folder / "model.safetensors", 9000),
    "a text model": lambda folder: edit_json(folder / "config.json", model_type="bert"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_folder_that_is_no_whole_vision_model_is_an_error_that_names_it(spoil, spoilt):
    folder = spoilt("vit")
    assert (folder / "preprocessor_config.json").is_file()
    spoil(folder)
    with pytest.raises(WeightsError, match=str(folder)):
        vectors_of(VisionEncoder(str(folder)), CONTENTS[:1])


def test_a_pooler_may_be_missing_only_where_it_is_not_used(folders, spoilt, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    def without(folder, prefix):
        state = load_file(folder / "model.safetensors")
        kept = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
        assert len(kept) < len(state)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        return str(folder)

    expected = vectors_of(VisionEncoder(folders("vit")), CONTENTS)
    lacking = without(spoilt("vit"), "pooler.")
    assert_close(vectors_of(VisionEncoder(lacking), CONTENTS), expected, tolerance=1e-6)
    tower = Path(shutil.copytree(folders("siglip_vision"), tmp_path / "tower"))
    with pytest.raises(WeightsError, match=r"to hold all weights .* head\."):
        vectors_of(VisionEncoder(without(tower, "head.")), CONTENTS)
    monkeypatch.setattr("embed.encoders.huggingface_image._has_class_token", lambda _: False)
    with pytest.raises(WeightsError, match=r"to hold all weights .* pooler\."):
        vectors_of(VisionEncoder(lacking), CONTENTS)


def test_code_that_a_folder_brings_along_is_not_run(spoilt, tmp_path):
    folder, canary = spoilt("vit"), tmp_path / "canary"
    (folder / "own.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Own:\n    pass\n")
    edit_json(folder / "config.json", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"})
    edit_json(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "own.Own"})
    vectors_of(VisionEncoder(str(folder)), CONTENTS)
    assert not canary.exists()


CHANGES = {
    "a weight": lambda folder: write_vision(folder, "vit", seed=1),
    "the config": lambda folder: edit_json(folder / "config.json", layer_norm_eps=1e-3),
    "the processor": lambda folder: edit_json(folder / "preprocessor_config.json", image_mean=[0.4, 0.5, 0.5]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_spec_changes_with_what_the_folder_holds(change, spoilt):
    folder = spoilt("vit")
    before = VisionEncoder(str(folder)).spec
    change(folder)
    assert len(VisionEncoder(str(folder)).spec.differences(before)) == 1


def test_a_spec_does_not_change_with_place_device_name_or_unused_files(spoilt, folders):
    folder = spoilt("vit")
    (folder / "README.md").write_text("unused")
    spec = VisionEncoder(folders("vit")).spec
    assert VisionEncoder(str(folder)).spec == spec
    assert VisionEncoder(str(folder), device="cuda", name="other", seed=5).spec == spec


def test_a_vision_model_on_the_hub_is_taken_from_hf_home_whole(folders):
    snapshot = hub_snapshot(Path(os.environ["HF_HOME"]), Path(folders("vit")))
    assert found_on_hub("org/tiny", modality="image", HF_HUB_OFFLINE="1") == (str(snapshot), "")
    folder, error = found_on_hub("org/tiny", modality="text", HF_HUB_OFFLINE="1")
    assert folder == ""
    assert error.startswith("WeightsError: ")


def test_a_vision_model_that_cannot_be_downloaded_names_the_ways_out():
    folder, error = found_on_hub("org/tiny", modality="image", HF_HUB_OFFLINE="1")
    assert folder == ""
    assert error.startswith("WeightsError: The image encoder org/tiny could not be downloaded")
    assert str(Path(os.environ["HF_HOME"]) / "hub") in error
    assert "--image-encoder FOLDER" in error
    assert "--image-weights random" in error
    assert "\n" not in error


def test_making_a_vision_encoder_loads_no_model(folders, monkeypatch):
    """An unchanged catalogue costs no more than hashing the files; the processor's class is asked of transformers."""
    monkeypatch.setattr(hf.AutoModel, "from_pretrained", lambda *_, **__: pytest.fail("something was loaded"))
    fields = VisionEncoder(folders("vit")).spec.fields
    assert fields["processor_class"] == type(hf.AutoImageProcessor.from_pretrained(folders("vit"))).__name__
