"""Content keys, and what an encoder's spec says of itself."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cache import EncoderSpec, NotACacheError, content_key
from cache.keys import fields_sha256

SHA256SUM = shutil.which("sha256sum")
SPEC = EncoderSpec("image", {"architecture": "resnet18", "resize": 256, "mean": [0.485, 0.456], "antialias": True})


def test_content_key_is_the_published_sha256():
    """The digests of "abc" and of nothing stand in FIPS 180-2."""
    assert content_key(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert content_key(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.skipif(SHA256SUM is None, reason="the program sha256sum is not here")
def test_content_key_is_what_sha256sum_prints(tmp_path):
    content = np.random.default_rng(0).bytes(70_000)
    (tmp_path / "picture.jpg").write_bytes(content)
    printed = subprocess.run([SHA256SUM, "picture.jpg"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert content_key(content) == printed.stdout.split()[0]


def test_each_name_and_value_is_prefixed_by_its_length():
    name, value = b"size", b"224"
    hashed = b"\x04\0\0\0\0\0\0\0" + name + b"\x03\0\0\0\0\0\0\0" + value
    assert fields_sha256({"size": 224}) == hashlib.sha256(hashed).hexdigest()


@pytest.mark.parametrize(
    ("fields", "other_fields"),
    [
        ({"a": 12}, {"a1": 2}),  # a12
        ({"a": 1, "b": 2}, {"a1b": 2}),  # a1b2
        ({"a": [1, 2]}, {"a": [12]}),
        ({"a": "1"}, {"a": 1}),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": {"b": 1}}, {"a": 1, "b": 1}),
    ],
)
def test_different_fields_never_run_into_the_same_bytes(fields, other_fields):
    assert fields_sha256(fields) != fields_sha256(other_fields)


def test_order_of_the_fields_does_not_count():
    fields = {"a": 1, "b": {"c": 2, "d": 3}}
    reordered = {"b": {"d": 3, "c": 2}, "a": 1}
    assert list(fields) != list(reordered)
    assert fields_sha256(fields) == fields_sha256(reordered)
    assert EncoderSpec("image", fields).fingerprint == EncoderSpec("image", reordered).fingerprint


@pytest.mark.parametrize(
    "value",
    [b"bytes", {1, 2}, object(), Path("weights.pth"), np.float32(1), np.arange(3), print, float("nan"), float("inf")],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_certain_bytes_is_an_error(value):
    with pytest.raises((TypeError, ValueError)):
        fields_sha256({"value": value})
    with pytest.raises((TypeError, ValueError)):
        _ = EncoderSpec("image", {"nested": [{"value": value}]}).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "resnet50"},
        {"resize": 255},
        {"mean": [0.485, 0.457]},
        {"antialias": False},
        {"pooling": "mean"},
        {"pooling": None},
    ],
    ids=str,
)
def test_any_change_of_a_field_changes_the_fingerprint_and_is_named(changes):
    other_spec = EncoderSpec("image", {**SPEC.fields, **changes})
    assert other_spec.fingerprint != SPEC.fingerprint
    (line,) = SPEC.differences(other_spec)
    assert line.startswith(f"{next(iter(changes))}: ")


def test_difference_says_what_we_have_and_what_they_have():
    other_spec = EncoderSpec("image", {**SPEC.fields, "resize": 232})
    assert SPEC.differences(other_spec) == ["resize: 256, not 232"]
    assert SPEC.differences(SPEC) == []


def test_modality_is_part_of_the_spec():
    other_spec = EncoderSpec("text", SPEC.fields)
    assert other_spec.fingerprint != SPEC.fingerprint
    assert SPEC.differences(other_spec) == ['modality: "image", not "text"']


@pytest.mark.parametrize("values", [(None, "nothing"), (1, True), (1, 1.0), (0, False), ("1", 1)], ids=str)
def test_two_specs_of_different_fingerprints_always_name_a_difference(values):
    """Python holds 1, 1.0 and True for equal, and a field that is None is not one that is not there."""
    spec, other_spec = (EncoderSpec("image", {} if value == "nothing" else {"field": value}) for value in values)
    assert spec.fingerprint != other_spec.fingerprint
    assert [line.split(":")[0] for line in spec.differences(other_spec)] == ["field"]


def test_spec_comes_back_from_json_as_it_was():
    text = SPEC.to_json()
    back = EncoderSpec.from_json(text)
    assert back == SPEC
    assert back.fingerprint == SPEC.fingerprint
    assert json.loads(text) == {"modality": "image", **SPEC.fields}


def test_tuple_and_its_list_from_json_are_no_difference():
    spec = EncoderSpec("image", {"mean": (0.485, 0.456, 0.406)})
    back = EncoderSpec.from_json(spec.to_json())
    assert back.fingerprint == spec.fingerprint
    assert spec.differences(back) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "5", "null", '"image"', "{}", '{"weights": 1}', '{"modality": 5}', '{"modality": ["image"]}',
        '{"modality": "image", "scale": NaN}', "[" * 100_000,
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_text_that_is_no_spec_is_refused(text):
    with pytest.raises(NotACacheError):
        EncoderSpec.from_json(text)
