"""Side notes: an encoder is built again from them, and whatever else stands there is told, not believed."""

from dataclasses import replace

import numpy as np
import pytest
from support import invoke, synthetic_cache

from cache import Cache, EncoderSpec
from cache.commands.info import info
from embed import ExtractSettings, SettingError
from embed.encoders.factory import make_encoders
from embed.encoders.specs.side_notes import settings_of, versions_then
from heads.prediction.head_encoders import _other_versions

RANDOM = ExtractSettings(modalities=("image",), image_weights="random", device="cpu")


def test_a_name_is_no_path_whatever_lies_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("resnet18", "random"):
        (tmp_path / name).mkdir()
    spec = make_encoders(RANDOM)[0].spec
    assert spec.side_notes["settings"]["image_encoder"] == "resnet18"
    assert spec.side_notes["settings"]["image_weights"] == "random"
    (again,) = make_encoders(settings_of(spec, {}, device="cpu"))
    assert again.spec == spec


@pytest.mark.parametrize("wrong", [{"seed": "abc"}, {"image_encoder": 3}, {"image_weights": ["a"]}])
def test_notes_that_are_no_settings_are_named(wrong):
    spec = EncoderSpec("image", {}, side_notes={"settings": {"image_encoder": "resnet18"} | wrong})
    with pytest.raises(SettingError, match=f"to be settings, but they have {next(iter(wrong))} "):
        settings_of(spec, {}, device="cpu")


def test_notes_of_another_form_say_nothing(tmp_path):
    spec = EncoderSpec("image", {}, side_notes={"settings": [1], "libraries": "torch"})
    assert settings_of(spec, {}, device="cpu") is None
    assert versions_then(spec) == {}
    assert _other_versions(spec) == "All libraries are of the same versions."
    assert settings_of(replace(spec), {"image_encoder": "resnet18"}, device="cpu").image_encoder == "resnet18"


def test_info_shows_notes_of_any_form(tmp_path, monkeypatch):
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.eye(2)}, {})
    spec = EncoderSpec("image", {}, side_notes={"one": 1, "libraries": {"torch": "2"}})
    monkeypatch.setattr(Cache, "spec", lambda *_: spec)
    result = invoke(info, path, "--details")
    assert result.exit_code == 0
    assert "made with one: 1" in result.stdout
    assert "made with libraries: torch 2" in result.stdout
