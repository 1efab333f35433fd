"""Several encoders in one extraction, and encoders of a user's own."""

import hashlib
import json
import re
import shlex

import numpy as np
import pytest
from support import invoke, small_catalogue
from tiny_models import write_two_towers, write_vision

import embed
from cache import Cache
from embed import ExtractSettings, ImageEncoder, SettingError, TextEncoder, VisionEncoder, make_encoders
from embed.commands.extract import extract
from embed.encoders.factory import replicas
from heads.commands.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    vit, clip = write_vision(root / "tiny-vit", "vit"), write_two_towers(root / "tiny-clip", "clip")
    return {"vit": str(vit), "clip": str(clip), "chinese": str(write_two_towers(root / "chinese", "chinese_clip"))}


def test_one_cache_holds_several_encoders_side_by_side(tmp_path, folders):
    """Nothing is encoded again, and heads choose among them."""
    path, cache_path = small_catalogue(tmp_path / "catalogue", 40), tmp_path / "c.h5"
    arguments = [
        path, "-o", cache_path, "--device", "cpu",
        "--image-encoder", f"mobilenet_v3_small,{folders['vit']}, {folders['clip']}",
        "--image-weights", "random,pretrained,pretrained",
        "--text-encoder", f"{folders['clip']},{folders['chinese']}", "--max-length", 20, "--json",
        "--class-names", "label",
    ]  # fmt: skip
    names = ["image/mobilenet_v3_small-random", "image/tiny-vit", "image/tiny-clip", "text/tiny-clip", "text/chinese"]
    for n_pictures, n_texts in ((40, 42), (0, 0)):  # with the names of two classes
        done = invoke(extract, *arguments)
        assert done.exit_code == 0, done.stderr
        report = json.loads(done.stdout)
        assert [(entry["name"], entry["n_encoded"]) for entry in report["encoders"]] == [
            (name, n_texts if name.startswith("text") else n_pictures) for name in names
        ]
    with Cache(cache_path) as cache:
        shapes = {name: cache.matrix(*name.split("/")).shape for name in names}
    assert shapes == dict(zip(names, [(40, 1024), (40, 32), (40, 16), (40, 16), (40, 16)], strict=True))
    options = ["--encoder", "image=tiny-clip", "--encoder", "text=chinese", "--fusion", "early", "--max-epochs", 1]
    done = invoke(train, cache_path, *options, "--runs", tmp_path / "runs", "--label", "label")
    assert done.exit_code == 0, done.stderr
    assert "image: tiny-clip  text: chinese" in done.stdout
    said = " ".join(done.stdout.split())
    assert re.search(r"no label: [\d.]+ % of the test rows right by image \(.*\), [\d.]+ % .* right by text \(", said)


def test_the_next_line_names_encoders_where_training_would_have_to_ask(tmp_path, folders, monkeypatch):
    """It names the latest; views of pictures are no choice, and what has one encoder needs none."""
    small_catalogue(tmp_path, 40)
    monkeypatch.chdir(tmp_path)
    options = ["--device", "cpu", "--image-encoder", folders["vit"]]
    texts = [["--text-encoder", folders[name], "--max-length", 20] for name in ("clip", "chinese")]
    lines = [
        invoke(extract, *options, *texts[0], "--views", 2),
        invoke(extract, *options, *texts[1]),
        invoke(extract, *options, "--modalities", "image", "--layers", 2),
    ]
    assert [done.stdout.splitlines()[-1] for done in lines] == [
        "Next: heads-train",
        "Next: heads-train --encoder text=chinese",
        "Next: heads-train --encoder image=tiny-vit --encoder text=chinese",
    ]
    typed = shlex.split(lines[-1].stdout.splitlines()[-1])[2:]
    done = invoke(train, *typed, "--fusion", "early", "--max-epochs", 1)
    assert done.exit_code == 0, done.stderr


def test_a_model_whose_folder_has_another_name_by_now_goes_on_under_the_name_in_the_cache(tmp_path, caplog):
    caplog.set_level("INFO", "embed_once")
    catalogue, cache_path = small_catalogue(tmp_path / "shop"), tmp_path / "c.h5"
    folder = write_vision(tmp_path / "tuned", "vit")

    def encoded(folder, precision="fp32", **settings):
        choice = ExtractSettings(
            modalities=("image",), image_encoder=str(folder), device="cpu", precision=precision, **settings
        )
        report = embed.extract(catalogue, cache_path, settings=choice)
        return {entry.name: (entry.n_cached, entry.n_encoded) for entry in report.encoders}

    assert encoded(folder, views=2) == {"image/tuned": (0, 6), "image/tuned.view1": (0, 6)}
    renamed = folder.rename(tmp_path / "in-use")
    for _ in range(2):  # the second is recalled
        assert encoded(renamed, views=2) == {"image/tuned": (6, 0), "image/tuned.view1": (6, 0)}
    assert "image/in-use is made as the cache's tuned was: its vectors go on under that name." in caplog.messages
    assert encoded(renamed, layers=2) == {"image/tuned": (6, 0), "image/tuned.1": (0, 6)}
    assert encoded(renamed, precision="auto") == {"image/tuned": (6, 0)}  # goes on in fp32
    assert encoded(renamed, precision="bf16") == {"image/in-use": (0, 6)}  # made in another way
    assert encoded(renamed, image_name="mine") == {"image/mine": (0, 6)}


def test_each_of_several_encoders_is_as_if_it_were_alone(folders):
    settings = ExtractSettings(
        image_encoder=f"resnet18,{folders['vit']}", image_weights="random", image_name="first,second",
        text_encoder=f"{folders['clip']},bert-base-uncased", text_weights="pretrained,random", pooling="cls,mean",
        max_length=20, precision="fp32", device="cpu",
    )  # fmt: skip
    made_encoders = make_encoders(settings)
    alone = [
        ImageEncoder(weights="random", name="first"),
        VisionEncoder(folders["vit"], weights="random", name="second"),
        TextEncoder(folders["clip"], max_length=20),
        TextEncoder(weights="random", pooling="mean", max_length=20),
    ]
    assert [(type(encoder), encoder.name, encoder.spec) for encoder in made_encoders] == [
        (type(encoder), encoder.name, encoder.spec) for encoder in alone
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_weights": "random,pretrained,random"}, r"--image-weights: expected one for all .* got 3"),
        (
            {"text_weights": "random,random"},
            r"--text-weights: expected one for all encoders, or one for each of the 1 ",
        ),
        ({"pooling": "cls,mean"}, r"--pooling: expected one for all encoders, or one for each of the 1 "),
        (
            {"image_name": "one"},
            r"--image-name: expected a name of its own for each of the 2 encoders \(resnet18, resnet34\), got 'one'",
        ),
        ({"image_name": "one,two,three"}, r"--image-name: expected a name of its own for each of the 2 encoders"),
        ({"image_encoder": "resnet18,"}, r"--image-encoder: expected a name, or several .* got 'resnet18,'"),
        ({"image_encoder": "resnet18, resnet18"}, r"--image-encoder: expected each encoder once"),
    ],
)
def test_a_list_that_does_not_fit_is_a_named_error(options, message):
    with pytest.raises(SettingError, match=message):
        ExtractSettings(**{"image_encoder": "resnet18,resnet34", **options})


def test_two_encoders_of_one_name_are_an_error_that_names_the_way_out(folders):
    settings = ExtractSettings(
        modalities=("image",), image_encoder="resnet18,resnet34", image_weights="random", image_name="one,one"
    )
    message = r"two are called image/one with architecture: .*resnet34.* Name each with --image-name A,B"
    with pytest.raises(SettingError, match=message):
        replicas(make_encoders(settings))


@pytest.mark.parametrize("options", [{"decode": "fast"}, {"tokens": "3x3"}])
def test_what_a_vision_encoder_cannot_do_is_a_named_error(options, folders):
    settings = ExtractSettings(modalities=("image",), image_encoder=folders["vit"], **options)
    with pytest.raises(SettingError, match="with torchvision's models alone, .* in a run of its own"):
        make_encoders(settings)


def test_an_unknown_image_encoder_is_an_error_that_names_the_ways():
    settings = ExtractSettings(modalities=("image",), image_encoder="resnet19", image_weights="random")
    with pytest.raises(SettingError) as caught:
        make_encoders(settings)
    for way in ("resnet18, resnet34", "a folder with config.json", "facebook/dinov2-small", "got 'resnet19'"):
        assert way in str(caught.value)


def test_a_folder_of_an_architectures_name_needs_a_path(folders, tmp_path, monkeypatch):
    write_vision(tmp_path / "resnet18", "resnet")
    monkeypatch.chdir(tmp_path)
    kinds = {"resnet18": ImageEncoder, "./resnet18": VisionEncoder, str(tmp_path / "resnet18"): VisionEncoder}
    for name, kind in kinds.items():
        settings = ExtractSettings(modalities=("image",), image_encoder=name, image_weights="random")
        (encoder,) = make_encoders(settings)
        assert type(encoder) is kind


class Colours:
    """The mean colour of a picture."""

    name = "colours"
    spec = embed.EncoderSpec("image", {"architecture": "mean colour", "version": 1})

    def prepare(self, content):
        return np.asarray(embed.decode(content), dtype=np.float32).mean((0, 1))

    def encode(self, batch):
        return np.stack(batch)


class Digests:
    name = "digests"
    spec = embed.EncoderSpec("text", {"architecture": "digest"})

    def prepare(self, content):
        if "3" in content:
            raise embed.ContentError("has_a_three")
        return content

    def encode(self, batch):
        return np.stack(
            [np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8) for text in batch]
        ) / np.float32(255)


def test_an_encoder_of_a_users_own_is_used_from_python(tmp_path):
    path, cache_path = small_catalogue(tmp_path / "catalogue"), tmp_path / "c.h5"
    report = embed.extract(path, cache_path, encoders=[Colours(), Digests()])
    assert [(entry.name, entry.n_encoded, entry.n_failed) for entry in report.encoders] == [
        ("image/colours", 6, 0),
        ("text/digests", 5, 1),
    ]
    with Cache(cache_path) as cache:
        assert cache.matrix("image").tolist() == [[n, 7, 9] for n in range(6)]
        assert cache.statuses("text")[3] == "has_a_three"
        assert cache.spec("image", "colours") == Colours.spec
    again = embed.extract(path, cache_path, encoders=[Colours(), Digests()])
    assert [entry.n_encoded for entry in again.encoders] == [0, 0]
