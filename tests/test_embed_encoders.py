"""Encoders: their vectors are those of plain torchvision and transformers, and their specs say all that makes them."""

import copy
import gc
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fork_server
import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageOps, features
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import ResNet18_Weights, get_model, get_model_weights

from embed import ExtractSettings, ImageEncoder, SettingError, TextEncoder, WeightsError, make_encoders
from embed.encoders.weights import load_state

pytestmark = pytest.mark.slow

RESNET18_FILE = "resnet18-f37072fd.pth"


def assert_close(found, expected, *, tolerance):
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


# Pictures, and what plain torchvision makes of them


def drawing(mode="RGB", *, width=320, height=280):
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + y / 31), np.sin(y / 14), np.cos((x + y) / 23)], axis=-1)
    if mode == "I;16":
        return Image.fromarray((32767 * (1 + waves[..., 0])).astype(np.uint16))
    image = Image.fromarray((127 * (1 + waves)).astype(np.uint8))
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray((127 * (1 + waves[..., 2])).astype(np.uint8)))
    return image.convert(mode)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pages(image, kind, second):
    return saved(image, kind, save_all=True, append_images=[second])


class Pictures(Mapping):
    """Contents by name, each drawn when it is first asked for: every process of tests collects all, few need any."""

    def __init__(self, recipes):
        self._recipes, self._drawn = recipes, {}

    def __getitem__(self, name):
        if name not in self._drawn:
            self._drawn[name] = self._recipes[name]()
        return self._drawn[name]

    def __iter__(self):
        return iter(self._recipes)

    def __len__(self):
        return len(self._recipes)


PICTURES = Pictures(
    {
        **{
            f"{mode} png": partial(lambda mode: saved(drawing(mode)), mode)
            for mode in ("RGB", "L", "1", "P", "RGBA", "LA", "I;16")
        },
        **{
            f"RGB {kind.lower()}": partial(lambda kind: saved(drawing(), kind), kind)
            for kind in ("JPEG", "GIF", "WEBP", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else []))
        },
        "RGB mpo": lambda: pages(drawing(), "MPO", drawing("L").convert("RGB")),
        "L jpeg": lambda: saved(drawing("L"), "JPEG"),
        "CMYK jpeg": lambda: saved(drawing("CMYK"), "JPEG"),
        "YCbCr tiff": lambda: saved(drawing("YCbCr"), "TIFF"),
        "P png with a transparent colour": lambda: saved(drawing("P"), transparency=7),
        "animated gif": lambda: pages(drawing("P"), "GIF", Image.new("P", (320, 280))),
        "turned jpeg": lambda: saved(drawing(), "JPEG", exif=turned(6)),
        "mirrored png": lambda: saved(drawing("RGBA"), exif=turned(5)),
        "tiny png": lambda: saved(drawing(width=3, height=2)),
        "wide png": lambda: saved(drawing(width=400, height=20)),
    }
)


def plain_rgb(content):
    """The documented conversion, written plainly: upright, 16 bits over 257, transparency on white."""
    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode == "I;16":
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")


def trained(architecture, *, seed=1, n_classes=1000):
    """Return a model with weights as a training would leave them, batch statistics included."""
    options = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_model(architecture, weights=None, num_classes=n_classes, **options)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def without_classifier(model):
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, child = last.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model


@torch.inference_mode()
def plain_vectors(model, architecture, contents):
    transform = get_model_weights(architecture).DEFAULT.transforms()
    return np.concatenate([model(transform(plain_rgb(content))[None]).numpy() for content in contents])


def vectors_of(encoder, contents):
    return encoder.encode([encoder.prepare(content) for content in contents])


@pytest.fixture(scope="module")
def resnet18():
    """A network to be read, or copied."""
    return trained("resnet18")


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory, resnet18):
    """A folder with the weights of one ResNet-18 in each format that PyTorch's users have."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(resnet18.state_dict(), folder / "resnet18-own.pth")
    torch.save(resnet18.state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    save_file(resnet18.state_dict(), folder / "own.safetensors")
    return folder


@pytest.fixture(scope="module")
def image_encoder(weights_folder):
    return ImageEncoder(weights=str(weights_folder / "own.safetensors"))


@pytest.fixture(scope="module")
def reference_vectors(resnet18):
    vectors = plain_vectors(without_classifier(copy.deepcopy(resnet18)), "resnet18", PICTURES.values())
    return dict(zip(PICTURES, vectors, strict=True))


@pytest.mark.parametrize("name", PICTURES)
def test_a_pictures_vector_is_that_of_plain_torchvision(name, image_encoder, reference_vectors):
    vectors = vectors_of(image_encoder, [PICTURES[name]])
    assert vectors.shape == (1, 512)
    assert_close(vectors[0], reference_vectors[name], tolerance=1e-4)


def test_pictures_differ_enough_to_tell_vectors_apart(reference_vectors):
    """Otherwise the comparison with plain torchvision would say nothing."""
    first, *others = (reference_vectors[name] for name in ("RGB png", "L png", "I;16 png", "turned jpeg", "RGBA png"))
    assert all(np.abs(first - other).max() > 0.01 * np.abs(first).max() for other in others)


@pytest.mark.parametrize("batch_size", [2, 7])
def test_a_pictures_vector_does_not_depend_on_its_batch(batch_size, image_encoder, reference_vectors):
    names = list(PICTURES)[:7][::-1]
    prepared = [image_encoder.prepare(PICTURES[name]) for name in names]
    batches = [prepared[start : start + batch_size] for start in range(0, len(prepared), batch_size)]
    vectors = np.concatenate([image_encoder.encode(batch) for batch in batches])
    assert_close(vectors, np.stack([reference_vectors[name] for name in names]), tolerance=1e-5)


@pytest.mark.parametrize("name", ["resnet18-own.pth", "old.pt", "own.safetensors"])
def test_every_weights_format_gives_the_same_vectors(name, weights_folder, reference_vectors):
    encoder = ImageEncoder(weights=str(weights_folder / name))
    assert_close(vectors_of(encoder, [PICTURES["RGB png"]])[0], reference_vectors["RGB png"], tolerance=1e-4)


@pytest.mark.parametrize(
    ("architecture", "dim"),
    [("mobilenet_v3_small", 1024), ("mnasnet0_5", 1280), ("googlenet", 1024), ("inception_v3", 2048)],
)
def test_pretrained_vectors_of_other_architectures_are_those_of_plain_torchvision(architecture, dim):
    """Some architectures treat their input in another way once they are pretrained."""
    weights = get_model_weights(architecture).DEFAULT
    fill_torch_home(trained(architecture).state_dict(), weights.url.rpartition("/")[2])
    reference = without_classifier(get_model(architecture, weights=weights, progress=False).eval())
    contents = [PICTURES["RGB png"]]
    vectors = vectors_of(ImageEncoder(architecture), contents)
    assert vectors.shape == (1, dim)
    assert_close(vectors, plain_vectors(reference, architecture, contents), tolerance=1e-4)


@pytest.mark.parametrize("architecture", ["convnext_tiny", "maxvit_t", "mnasnet0_5", "swin_v2_t", "vit_b_32"])
def test_a_file_of_weights_sets_every_tensor_of_a_network(architecture):
    """Else what is not drawn before would be whatever the memory holds."""
    with torch.device("meta"):
        model = get_model(architecture, weights=None)
    tensors = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}
    assert tensors == set(model.state_dict())
    assert not [
        name for part in model.modules() for name, value in vars(part).items() if isinstance(value, torch.Tensor)
    ]


def test_weights_for_another_number_of_classes_give_the_same_vectors(tmp_path, resnet18, reference_vectors):
    state = resnet18.state_dict()
    state["fc.weight"], state["fc.bias"] = torch.zeros(7, 512), torch.zeros(7)
    save_file(state, tmp_path / "seven.safetensors")
    vectors = vectors_of(ImageEncoder(weights=str(tmp_path / "seven.safetensors")), [PICTURES["RGB png"]])
    assert_close(vectors[0], reference_vectors["RGB png"], tolerance=1e-4)
    for name in ("fc.weight", "fc.bias"):
        del state[name]
    save_file(state, tmp_path / "none.safetensors")
    vectors = vectors_of(ImageEncoder(weights=str(tmp_path / "none.safetensors")), [PICTURES["RGB png"]])
    assert_close(vectors[0], reference_vectors["RGB png"], tolerance=1e-4)


# Weights of pictures that cannot be had


def test_weights_of_another_architecture_are_an_error_that_names_a_difference(tmp_path):
    save_file(trained("resnet34").state_dict(), tmp_path / "resnet34.safetensors")
    encoder = ImageEncoder(weights=str(tmp_path / "resnet34.safetensors"))
    with pytest.raises(WeightsError, match=r"torchvision's resnet18, but: .*layer\d") as caught:
        encoder.model  # noqa: B018 - it loads when it is first asked for
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_an_error_that_names_it(tmp_path, weights_folder):
    state = load_file(weights_folder / "own.safetensors")
    del state["layer3.0.conv1.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match=r"layer3\.0\.conv1\.weight"):
        ImageEncoder(weights=str(tmp_path / "part.safetensors")).model  # noqa: B018


class Evil:
    """An object whose unpickling writes a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


@pytest.mark.parametrize("write", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2))])
def test_a_pickle_that_runs_code_is_refused_and_not_run(write, tmp_path):
    canary = tmp_path / "canary"
    write({"conv1.weight": Evil(canary)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth to be a file of tensors alone"):
        ImageEncoder(weights=str(tmp_path / "evil.pth")).model  # noqa: B018
    assert not canary.exists()
    with suppress(pickle.UnpicklingError, RuntimeError):  # a bare pickle has no tensors to go on with
        torch.load(tmp_path / "evil.pth", weights_only=False)
    assert canary.exists(), "the pickle was harmless"


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04", b"(a", b"h\0", b"G\0",
     b"\x80\x02}q\0(X\x05\0\0\0\xff\xfe\xfd\xfc\xfb"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_something_else_is_a_named_error(suffix, content, tmp_path):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"broken{suffix} to be a file of tensors alone"):
        load_state(path)


def small_state(path):
    state = {"conv1.weight": torch.arange(300.0), "bn1.bias": torch.ones(20, 3)}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.suffix == ".pth")
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_cut_file_is_a_named_error(suffix, tmp_path):
    path = tmp_path / f"cut{suffix}"
    content = small_state(path)
    assert load_state(path).keys() == {"conv1.weight", "bn1.bias"}
    for length in range(0, len(content), len(content) // 50):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="to be a file of tensors alone"):
            load_state(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_file_with_altered_bytes_is_read_or_a_named_error(suffix, tmp_path):
    """Readers of pickles stumble over wild bytes in many ways, and each of their errors gets our name."""
    path = tmp_path / f"altered{suffix}"
    content = small_state(path)
    generator = np.random.default_rng(0)
    for _ in range(200):
        altered = bytearray(content)
        for place in generator.integers(0, len(content), size=3):
            altered[place] = generator.integers(256)
        path.write_bytes(altered)
        with suppress(WeightsError):
            load_state(path)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"state_dict": {}, "epoch": 3}, "dict of state_dict, epoch"),
        ([torch.zeros(1)], "list"),
        (torch.zeros(1), "Tensor"),
    ],
)
def test_a_file_of_tensors_that_is_no_state_dict_is_a_named_error(value, shown, tmp_path):
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"to hold a state dict .* holds {shown}"):
        load_state(tmp_path / "w.pth")


def test_weights_that_are_not_there_are_an_error_at_once(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(WeightsError, match=str(path)):
            ImageEncoder(weights=str(path))


def test_an_unknown_architecture_is_an_error_with_the_known_ones():
    with pytest.raises(SettingError, match=r"resnet18, resnet34.* got 'resnet19'"):
        ImageEncoder("resnet19", weights="random")


@torch.inference_mode()
def test_an_architecture_that_ends_in_a_convolution_gives_its_pooled_map(tmp_path):
    model = trained("squeezenet1_1")
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    transform = get_model_weights("squeezenet1_1").DEFAULT.transforms()
    expected = model.features(transform(plain_rgb(PICTURES["RGB png"]))[None]).mean((2, 3)).numpy()
    encoder = ImageEncoder("squeezenet1_1", weights=str(tmp_path / "own.safetensors"))
    vectors = vectors_of(encoder, [PICTURES["RGB png"]])
    assert vectors.shape == (1, 512)
    assert_close(vectors, expected, tolerance=1e-4)


# Texts, and what plain transformers makes of them

WORDS = ["blue", "red", "shirt", "sho", "##e", "##s", "cotton", "café", "日", "🙂", "!", ",", "a", "##b"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *(f"word{n}" for n in range(60))]
TEXTS = [
    "Blue shirt",
    "red shoes, cotton!",
    "nothing of this is known",
    "café 日 🙂",
    " ".join(f"word{n}" for n in range(60)),
    "[SEP] [MASK] [PAD]",
    "a" + "b" * 90,
    "red",
    "blue " * 5000,
]


def write_folder(folder, model_class=transformers.BertModel, *, seed=0, dtype=torch.float32, **options):
    """Save a small encoder with a WordPiece tokenizer, as a user's local folder would hold it."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=48, initializer_range=0.5, **options,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model_class(config).to(dtype).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("text") / "tiny")


@pytest.fixture
def folder(text_folder, tmp_path):
    """A copy of the text encoder's folder, to be spoilt."""
    return Path(shutil.copytree(text_folder, tmp_path / "tiny"))


@torch.inference_mode()
def plain_text_vectors(folder, texts, *, pooling, max_length):
    """Padded to `max_length`, one text at a time, eager, fp32: the recipe of the documentation."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    vectors = []
    for text in texts:
        inputs = tokenizer(text, padding="max_length", truncation=True, max_length=max_length, return_tensors="pt")
        states = model(**inputs).last_hidden_state[0]
        kept = states[inputs["attention_mask"][0].bool()]
        vectors.append((kept[0] if pooling == "cls" else kept.mean(0)).numpy())
    return np.stack(vectors)


@pytest.mark.parametrize(("pooling", "max_length"), [("cls", 3), ("cls", 32), ("mean", 3), ("mean", 8), ("mean", 48)])
def test_a_texts_vector_is_that_of_plain_transformers(pooling, max_length, text_folder):
    encoder = TextEncoder(str(text_folder), pooling=pooling, max_length=max_length)
    expected = plain_text_vectors(text_folder, TEXTS, pooling=pooling, max_length=max_length)
    assert expected.shape == (len(TEXTS), 32)
    assert_close(vectors_of(encoder, TEXTS), expected, tolerance=1e-4)
    assert all(len(encoder.prepare(text)) <= max_length for text in TEXTS)


def test_poolings_and_lengths_give_different_vectors(text_folder):
    """Otherwise the comparison with plain transformers would say nothing."""
    vectors = {
        (pooling, length): plain_text_vectors(text_folder, TEXTS[4:5], pooling=pooling, max_length=length)
        for pooling in ("cls", "mean")
        for length in (8, 32)
    }
    matrix = np.concatenate(list(vectors.values()))
    assert np.abs(matrix[:, None] - matrix[None]).max(-1)[~np.eye(4, dtype=bool)].min() > 0.01


@pytest.mark.parametrize(
    ("pooling", "batch_size"), [("cls", 1), ("cls", len(TEXTS)), ("mean", 2), ("mean", 5), ("mean", len(TEXTS))]
)
def test_a_texts_vector_does_not_depend_on_its_batch(pooling, batch_size, text_folder):
    encoder = TextEncoder(str(text_folder), pooling=pooling)
    prepared = [encoder.prepare(text) for text in reversed(TEXTS)]
    batches = [prepared[start : start + batch_size] for start in range(0, len(prepared), batch_size)]
    vectors = np.concatenate([encoder.encode(batch) for batch in batches])[::-1]
    alone = np.concatenate([encoder.encode([ids]) for ids in prepared])[::-1]
    assert_close(vectors, alone, tolerance=1e-5)


def test_texts_are_prepared_the_same_by_many_threads(text_folder):
    texts = [f"{text} word{n % 60}" for n in range(40) for text in TEXTS[:4]]
    alone, together = TextEncoder(str(text_folder)), TextEncoder(str(text_folder))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(together.prepare, texts)) == [alone.prepare(text) for text in texts]


def test_padding_and_truncation_that_a_tokenizer_brings_along_do_not_count(folder, text_folder):
    """Sentence encoders are published with a tokenizer that pads and cuts to lengths of its own."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["truncation"] = {"max_length": 4, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    tokenizer["padding"] = {
        "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    path.write_text(json.dumps(tokenizer))
    spoilt, plain = TextEncoder(str(folder)), TextEncoder(str(text_folder))
    assert [spoilt.prepare(text) for text in TEXTS] == [plain.prepare(text) for text in TEXTS]


def test_weights_in_half_precision_are_computed_in_full(tmp_path):
    folder = write_folder(tmp_path / "half", dtype=torch.float16)
    expected = plain_text_vectors(folder, TEXTS, pooling="cls", max_length=32)
    assert_close(vectors_of(TextEncoder(str(folder)), TEXTS), expected, tolerance=1e-4)


def test_a_model_for_another_task_is_read_as_its_encoder(tmp_path):
    """Masked language models have a head that goes unused, and no pooler."""
    folder = write_folder(tmp_path / "masked", transformers.BertForMaskedLM)
    expected = plain_text_vectors(folder, TEXTS, pooling="cls", max_length=32)
    assert_close(vectors_of(TextEncoder(str(folder)), TEXTS), expected, tolerance=1e-4)


# Weights of texts that cannot be had


def edit_config(folder, **changes):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def edit_tensors(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def remove(folder, *patterns):
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


SPOILT = {
    "no config": lambda folder: remove(folder, "config.json"),
    "config cut": lambda folder: (folder / "config.json").write_text('{"model_type": "be'),
    "config of a list": lambda folder: (folder / "config.json").write_text("[]"),
    "config without a type": lambda folder: edit_config(folder, model_type=None),
    "config of an unknown type": lambda folder: edit_config(folder, model_type="klingon"),
    "config of another type": lambda folder: edit_config(folder, model_type="distilbert"),
    "config with a word for a number": lambda folder: edit_config(folder, hidden_size="many"),
    "config that does not fit itself": lambda folder: edit_config(folder, num_attention_heads=5),
    "config of other sizes": lambda folder: edit_config(folder, hidden_size=64),
    "config with more layers": lambda folder: edit_config(folder, num_hidden_layers=3),
    "no weights": lambda folder: remove(folder, "*.safetensors"),
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "weights cut": lambda folder: os.truncate(folder / "model.safetensors", 20_000),
    "weights of something else": lambda folder: (folder / "model.safetensors").write_text("<html>404</html>" * 9),
    "weights without a tensor": lambda folder: edit_tensors(
        folder, lambda state: state.pop("encoder.layer.1.output.dense.weight")
    ),
    "no tokenizer": lambda folder: remove(folder, "tokenizer*", "vocab*"),
    "tokenizer without words": lambda folder: remove(folder, "tokenizer.json", "vocab*"),
    "tokenizer cut": lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0", "mod'),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_folder_that_is_no_whole_encoder_is_an_error_that_names_it(spoil, folder):
    """Above all: pretrained weights never go with a tokenizer that is not theirs."""
    spoil(folder)
    with pytest.raises(WeightsError, match=str(folder)):
        vectors_of(TextEncoder(str(folder)), TEXTS[:2])


def test_an_encoder_decoder_is_a_named_error(tmp_path, text_folder):
    config = transformers.T5Config(
        vocab_size=len(VOCABULARY), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    transformers.T5Model(config).save_pretrained(tmp_path / "t5")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(text_folder / name, tmp_path / "t5" / name)
    with pytest.raises((WeightsError, SettingError)):
        vectors_of(TextEncoder(str(tmp_path / "t5")), TEXTS[:2])


def test_weights_in_a_pickle_are_refused_and_not_run(folder, tmp_path):
    remove(folder, "*.safetensors")
    torch.save({"embeddings.word_embeddings.weight": Evil(tmp_path / "canary")}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickles are not loaded: save the model and the tokenizer"):
        TextEncoder(str(folder))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("model_type", ["bert", "own"])
def test_code_that_a_folder_brings_along_is_not_run(model_type, folder, tmp_path):
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w').close()\nclass Own:\n    pass\n"
    for name in ("own.py", "modeling_own.py", "tokenization_own.py"):
        (folder / name).write_text(code)
    edit_config(folder, model_type=model_type, auto_map={"AutoConfig": "own.Own", "AutoModel": "modeling_own.Own"})
    path = folder / "tokenizer_config.json"
    auto_map = {"AutoTokenizer": ["tokenization_own.Own", "tokenization_own.Own"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": auto_map}))
    if model_type == "own":
        with pytest.raises(WeightsError, match="known architecture"):
            TextEncoder(str(folder))
    else:
        vectors_of(TextEncoder(str(folder)), TEXTS)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pooling": "max"}, SettingError, "--pooling: expected cls or mean, got 'max'"),
        ({"weights": "best"}, SettingError, "--text-weights: expected pretrained or random for .*, got 'best'"),
        ({"max_length": 49}, SettingError, "--max-length: expected at most 48 .* got 49"),
        ({"name": "a/b"}, SettingError, "--text-name"),
    ],
)
def test_a_text_setting_out_of_its_range_is_a_named_error(options, error, message, text_folder):
    with pytest.raises(error, match=message):
        TextEncoder(str(text_folder), **options)


def test_random_weights_of_an_unknown_name_are_a_named_error():
    with pytest.raises(WeightsError, match="need an architecture: bert-base-uncased or a folder"):
        TextEncoder("org/model", weights="random")


# Random weights


def make_image_encoder(text_folder, **options):
    return ImageEncoder(weights="random", **options), [PICTURES["RGB png"], PICTURES["L jpeg"]]


def make_text_encoder(text_folder, **options):
    return TextEncoder(str(text_folder), weights="random", **options), TEXTS


@pytest.mark.parametrize("make", [make_image_encoder, make_text_encoder])
def test_random_weights_follow_from_the_seed_alone(make, text_folder):
    def vectors(seed):
        encoder, contents = make(text_folder, seed=seed)
        return vectors_of(encoder, contents)

    first = vectors(0)
    torch.rand(3)
    assert np.array_equal(vectors(0), first)
    other = vectors(1)
    assert np.abs(other - first).max() > 0.01 * np.abs(first).max()


@pytest.mark.parametrize(
    ("weights", "model_class"),
    [("random", transformers.BertModel), ("pretrained", transformers.BertForMaskedLM)],  # the second lacks a pooler
)
def test_encoders_leave_the_global_random_numbers_alone(weights, model_class, weights_folder, tmp_path):
    folder = write_folder(tmp_path / "text", model_class)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    image = ImageEncoder(weights="random" if weights == "random" else str(weights_folder / "own.safetensors"))
    vectors_of(image, [PICTURES["RGB png"]])
    vectors_of(TextEncoder(str(folder), weights=weights), TEXTS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_random_bert_needs_no_file_at_all(monkeypatch):
    less_deep = partial(transformers.BertConfig, num_hidden_layers=2)  # of twelve, which take a second to draw
    monkeypatch.setattr(transformers, "BertConfig", less_deep)
    encoder = TextEncoder(weights="random")
    assert encoder.name == "bert-base-uncased-random"
    assert vectors_of(encoder, ["Blue shirt", "red"]).shape == (2, 768)


# Specs and names


def test_making_encoders_loads_no_model(weights_folder, text_folder, monkeypatch):
    def fail(*_, **__):
        pytest.fail("a model was loaded")

    monkeypatch.setattr("embed.encoders.torchvision_image.get_model", fail)
    monkeypatch.setattr("embed.encoders.torchvision_image.load_state", fail)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", fail)
    monkeypatch.setattr(transformers.AutoModel, "from_config", fail)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
    for weights in ("random", "pretrained"):
        settings = ExtractSettings(
            image_weights="random" if weights == "random" else str(weights_folder / "own.safetensors"),
            text_encoder=str(text_folder),
            text_weights=weights,
        )
        for encoder in make_encoders(settings):
            assert encoder.spec.fingerprint
            assert not {"model", "_tokenizer"} & vars(encoder).keys()


def test_encoders_are_made_as_the_settings_say(text_folder):
    settings = ExtractSettings(
        image_encoder="mobilenet_v3_small", image_weights="random", image_name="small",
        text_encoder=str(text_folder), text_name="words", pooling="mean", max_length=7, seed=3, precision="fp32",
    )  # fmt: skip
    image, text = make_encoders(settings)
    assert image.name == "small"
    assert image.spec == ImageEncoder("mobilenet_v3_small", weights="random", seed=3).spec
    assert text.name == "words"
    assert text.spec == TextEncoder(str(text_folder), pooling="mean", max_length=7).spec
    assert [encoder.spec.modality for encoder in (image, text)] == ["image", "text"]
    only_text = ExtractSettings(modalities=("text",), text_encoder=str(text_folder))
    assert [encoder.spec.modality for encoder in make_encoders(only_text)] == ["text"]


def test_an_image_spec_changes_with_all_that_changes_the_vectors(weights_folder, tmp_path):
    state = load_file(weights_folder / "own.safetensors")
    state["bn1.bias"][0] += 1e-3
    save_file(state, tmp_path / "own.safetensors")
    encoders = [
        ImageEncoder(weights="random"),
        ImageEncoder(weights="random", seed=1),
        ImageEncoder("resnet34", weights="random"),
        ImageEncoder(weights=str(weights_folder / "own.safetensors")),
        ImageEncoder(weights=str(tmp_path / "own.safetensors")),
        ImageEncoder("resnet34", weights=str(weights_folder / "own.safetensors")),
    ]
    assert len({encoder.spec.fingerprint for encoder in encoders}) == len(encoders)


def test_an_image_spec_does_not_change_with_path_device_name_or_unused_seed(weights_folder, tmp_path):
    path = weights_folder / "own.safetensors"
    copy = shutil.copy(path, tmp_path / "renamed.safetensors")
    spec = ImageEncoder(weights=str(path)).spec
    assert ImageEncoder(weights=str(copy)).spec == spec
    assert ImageEncoder(weights=str(path), device="cuda:1", name="other", seed=5).spec == spec
    assert ImageEncoder(weights=str(path)).spec.fingerprint == spec.fingerprint
    assert ImageEncoder(weights="random", device="cuda").spec == ImageEncoder(weights="random").spec


def test_an_image_spec_holds_the_recipe_of_its_weights():
    fields = ImageEncoder(weights="random").spec.fields
    assert fields["resize"] == [256]
    assert fields["crop"] == [224]
    assert fields["interpolation"] == "bilinear"
    assert fields["antialias"] is True
    assert fields["mean"] == [0.485, 0.456, 0.406]
    assert fields["std"] == [0.229, 0.224, 0.225]
    assert ImageEncoder("mobilenet_v3_small", weights="random").spec.fields["resize"] == [256]
    assert ImageEncoder("inception_v3", weights="random").spec.fields["crop"] == [299]


def test_an_image_specs_weights_are_the_digest_of_the_file(weights_folder):
    path = weights_folder / "own.safetensors"
    expected = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert ImageEncoder(weights=str(path)).spec.fields["weights"] == expected


CHANGES = {
    "a weight": lambda folder: edit_tensors(folder, lambda state: state["embeddings.LayerNorm.bias"].add_(1e-3)),
    "the config": lambda folder: edit_config(folder, layer_norm_eps=1e-3),
    "the activation": lambda folder: edit_config(folder, hidden_act="relu"),
    "the words": lambda folder: (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, "new"])),
    "the tokenizer": lambda folder: (folder / "tokenizer.json").write_text(
        (folder / "tokenizer.json").read_text().replace('"lowercase": true', '"lowercase": false')
    ),
    "the tokenizer's config": lambda folder: (folder / "tokenizer_config.json").write_text("{}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_text_spec_changes_with_what_the_folder_holds(change, folder):
    before = TextEncoder(str(folder)).spec
    change(folder)
    after = TextEncoder(str(folder)).spec
    assert after.fingerprint != before.fingerprint
    assert len(after.differences(before)) == 1


def test_a_text_spec_changes_with_the_settings(text_folder):
    options = [
        {}, {"pooling": "mean"}, {"max_length": 31}, {"weights": "random"}, {"weights": "random", "seed": 1},
        {"weights": "random", "pooling": "mean"},
    ]  # fmt: skip
    specs = [TextEncoder(str(text_folder), **some).spec for some in options]
    assert len({spec.fingerprint for spec in specs}) == len(specs)
    assert TextEncoder(weights="random").spec not in specs


def test_a_text_spec_does_not_change_with_place_device_name_or_unused_files(text_folder, tmp_path, monkeypatch):
    spec = TextEncoder(str(text_folder)).spec
    copy = shutil.copytree(text_folder, tmp_path / "elsewhere" / "renamed")
    (copy / "README.md").write_text("unused")
    (copy / "pytorch_model.bin").write_bytes(b"unused")
    assert TextEncoder(str(copy)).spec == spec
    assert TextEncoder(str(text_folder), device="cuda", name="other", seed=5).spec == spec
    monkeypatch.chdir(text_folder.parent)
    for relative in ("tiny", "./tiny/", "../" + text_folder.parent.name + "/tiny"):
        assert TextEncoder(relative).spec == spec
        assert TextEncoder(relative).name == "tiny"


def test_specs_are_made_of_json(text_folder):
    for encoder in (ImageEncoder(weights="random"), TextEncoder(str(text_folder)), TextEncoder(weights="random")):
        assert type(encoder.spec).from_json(encoder.spec.to_json()) == encoder.spec


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"weights": "random"}, "resnet18-random"),
        ({"weights": "random", "name": "mine"}, "mine"),
        ({"weights": "resnet18-own.pth"}, "resnet18-own"),
        ({"weights": "own.safetensors"}, "resnet18-own"),
        ({"weights": "folder/own weights (2).safetensors"}, "resnet18-own-weights--2-"),
    ],
)
def test_an_image_encoder_is_named_by_architecture_and_weights(options, name):
    if options["weights"] != "random":
        Path(options["weights"]).parent.mkdir(exist_ok=True)
        Path(options["weights"]).write_bytes(b"hashed now and read later")
    assert ImageEncoder(**options).name == name


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, "tiny"), ({"pooling": "mean"}, "tiny-mean"), ({"weights": "random"}, "tiny-random"),
     ({"weights": "random", "pooling": "mean"}, "tiny-random-mean"), ({"name": "mine", "pooling": "mean"}, "mine")],
)  # fmt: skip
def test_a_text_encoder_is_named_by_folder_weights_and_pooling(options, name, text_folder):
    assert TextEncoder(str(text_folder), **options).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "key", "status", "é", "a\n", "a\0"])
def test_a_name_that_cannot_stand_in_the_cache_is_an_error(name):
    with pytest.raises(SettingError, match="--image-name or --text-name"):
        ImageEncoder(weights="random", name=name)


# Pretrained weights: the ecosystem's own caches, and no network


def fill_torch_home(state, name=RESNET18_FILE):
    path = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


class Server:
    """A web server of our own that gives each path its answer, or all the same one, and notes what is asked."""

    def __init__(self):
        self.answer = b""
        self.answers = {}
        self.paths = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.paths.append(self.path)
                content = outer.answers.get(self.path, outer.answer)
                self.wfile.write(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if self.command == "HEAD" else content)
                self.close_connection = True

            do_HEAD = do_POST = do_GET  # noqa: N815 - the names are given

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


@pytest.fixture
def server():
    with serving(Server()) as server:
        yield server


def answer(body, *, status="200 OK", length=None, **headers):
    headers = {"Content-Length": len(body) if length is None else length, "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


ANSWERS = {
    "404": answer(b"", status="404 Not Found"),
    "403": answer(b"", status="403 Forbidden"),
    "500": answer(b"", status="500 Internal Server Error"),
    "a web page": answer(b"<html>log in to this network</html>"),
    "less than promised": answer(b"PK", length=1000),
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
    "garbage": b"\x00\x01 this is no HTTP\r\n\r\n",
    "nothing": b"",
}


def assert_names_the_ways_out(message, *, folder, modality):
    assert str(folder) in message
    assert f"--{modality}-weights random" in message
    assert "could not be downloaded" in message
    assert "\n" not in message


def test_pretrained_image_weights_are_taken_from_torch_home(resnet18, reference_vectors):
    path = fill_torch_home(resnet18.state_dict())
    encoder = ImageEncoder()
    assert encoder.name == "resnet18"
    assert encoder.spec.fields["weights"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert_close(vectors_of(encoder, [PICTURES["RGB png"]])[0], reference_vectors["RGB png"], tolerance=1e-4)


def test_pretrained_image_weights_without_network_name_the_ways_out():
    with pytest.raises(WeightsError) as caught:
        ImageEncoder()
    folder = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    assert_names_the_ways_out(str(caught.value), folder=folder, modality="image")
    assert RESNET18_FILE in str(caught.value)


def message_of_failed_download():
    with pytest.raises(WeightsError) as caught:
        ImageEncoder()
    return str(caught.value)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("content", ANSWERS.values(), ids=ANSWERS)
def test_a_download_of_image_weights_that_fails_names_the_ways_out(content, server, monkeypatch):
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", f"{server.url}/models/{RESNET18_FILE}")
    server.answer = content
    message = message_of_failed_download()
    gc.collect()  # urllib's errors keep their connection, and it is closed here and not in another test
    folder = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    assert_names_the_ways_out(message, folder=folder, modality="image")
    assert server.paths == [f"/models/{RESNET18_FILE}"]
    assert list(folder.iterdir()) == []


def test_a_download_of_image_weights_is_checked_and_kept(server, monkeypatch, weights_folder, reference_vectors):
    content = (weights_folder / "resnet18-own.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", f"{server.url}/models/{name}")
    server.answer = answer(content[:-1] + b"x")
    assert "invalid hash value" in message_of_failed_download()
    server.answer = answer(content)
    for _ in range(2):
        vectors = vectors_of(ImageEncoder(), [PICTURES["RGB png"]])[0]
        assert_close(vectors, reference_vectors["RGB png"], tolerance=1e-4)
    assert len(server.paths) == 2


def hub_snapshot(home, folder, *, name="org--tiny", without=()):
    """Lay `folder` out as the hub's own cache does: blobs by digest, and a snapshot of links to them."""
    repository = home / "hub" / f"models--{name}"
    snapshot = repository / "snapshots" / ("0" * 40)
    for path in (repository / "refs", repository / "blobs", snapshot):
        path.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    for path in folder.iterdir():
        if path.name not in without:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            shutil.copy(path, repository / "blobs" / digest)
            (snapshot / path.name).symlink_to(Path("..", "..", "blobs", digest))
    return snapshot


def found_on_hub(name, *, modality="text", **environment):
    """Ask for a hub model with the library imported anew, as it reads its settings then; return (found, error)."""
    code = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
    del sys.modules[name]
from embed import WeightsError
from embed.encoders.weights import huggingface_folder
try:
    print(huggingface_folder(sys.argv[1], modality=sys.argv[2]))
except WeightsError as error:
    sys.exit(f"WeightsError: {error}")
"""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_") or key == "HF_HOME"}
    done = fork_server.run(
        [sys.executable, "-c", code, name, modality],
        env={**kept, "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
        capture_output=True,
        text=True,
    )
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_pretrained_text_weights_are_taken_from_hf_home(environment, text_folder):
    """Port 9 discards: where the cache has all, the hub need not even be there."""
    snapshot = hub_snapshot(Path(os.environ["HF_HOME"]), text_folder)
    folder, error = found_on_hub("org/tiny", **environment)
    assert (folder, error) == (str(snapshot), "")
    assert TextEncoder(folder).spec == TextEncoder(str(text_folder)).spec


@pytest.mark.parametrize("missing", [["model.safetensors"], ["config.json"], ["tokenizer.json", "vocab.txt"]])
def test_a_snapshot_that_lacks_files_is_not_taken_for_a_whole_one(missing, text_folder):
    """A program that asked for the model alone leaves a snapshot without its tokenizer."""
    hub_snapshot(Path(os.environ["HF_HOME"]), text_folder, without=missing)
    folder, error = found_on_hub("org/tiny", HF_HUB_OFFLINE="1")
    assert folder == ""
    assert error.startswith("WeightsError: ")


def test_pretrained_text_weights_without_network_name_the_ways_out():
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        folder, error = found_on_hub("org/tiny", **environment)
        assert folder == ""
        assert error.startswith("WeightsError: ")
        assert_names_the_ways_out(error, folder=Path(os.environ["HF_HOME"]) / "hub", modality="text")


@pytest.mark.parametrize("content", ANSWERS.values(), ids=ANSWERS)
def test_a_download_of_text_weights_that_fails_names_the_ways_out(content, server):
    server.answer = content
    folder, error = found_on_hub("org/tiny", HF_ENDPOINT=server.url)
    assert folder == ""
    assert error.startswith("WeightsError: ")
    assert_names_the_ways_out(error, folder=Path(os.environ["HF_HOME"]) / "hub", modality="text")
    assert server.paths


def test_a_download_of_text_weights_takes_what_is_read_and_no_pickle_or_code(server, folder, text_folder):
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling_own.py").write_text("code")
    revision = "1" * 40
    server.answer = answer(b"", status="404 Not Found")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    listing = {"id": "org/tiny", "sha": revision, "siblings": [{"rfilename": name} for name in files]}
    tree = [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    server.answers = {
        "/api/models/org/tiny/revision/main": answer(json.dumps(listing).encode()),
        f"/api/models/org/tiny/tree/{revision}?recursive=true&expand=false": answer(json.dumps(tree).encode()),
        **{
            f"/org/tiny/resolve/{revision}/{name}": answer(
                content, **{"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": revision}
            )
            for name, content in files.items()
        },
    }
    snapshot, error = found_on_hub("org/tiny", HF_ENDPOINT=server.url, HF_HUB_DISABLE_XET="1")
    assert Path(snapshot).name == revision, error
    assert sorted(path.name for path in Path(snapshot).iterdir()) == sorted(path.name for path in text_folder.iterdir())
    assert not [path for path in server.paths if "pytorch_model.bin" in path or "modeling_own.py" in path]
    assert TextEncoder(snapshot).spec == TextEncoder(str(text_folder)).spec


@pytest.mark.parametrize("name", ["a/b/c", "org/", "no such folder", "org/tiny.safetensors/config.json"])
def test_what_is_neither_folder_nor_hub_name_is_a_named_error(name):
    with pytest.raises(WeightsError, match="to be a folder or a model's name on the hub"):
        TextEncoder(name)


def test_densenet_weights_under_their_old_names_are_loaded(tmp_path):
    """torchvision's published DenseNet files say norm.1 where the network says norm1."""
    state = get_model("densenet121", weights=None).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): tensor for name, tensor in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "densenet121-old.pth")
    torch.save(state, tmp_path / "densenet121-new.pth")
    vectors = []
    for age in ("old", "new"):
        encoder = ImageEncoder("densenet121", weights=str(tmp_path / f"densenet121-{age}.pth"))
        vectors.append(encoder.encode([encoder.prepare(PICTURES["RGB png"])]))
    assert np.array_equal(*vectors)
