"""A saved head answers as before to the bit, runs no code when it is loaded, and is refused when it was altered."""

import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import FUSIONS, synthetic_cache

from cache import Cache, EncoderSpec
from cache.keys import fields_sha256
from heads.data.vectors import Vectors
from heads.errors import HeadError
from heads.modules.description import HeadDescription
from heads.modules.early import Early
from heads.modules.parts.standardiser import Standardise
from heads.modules.registry import build
from heads.modules.saving.row_blocks import BLOCK_ROWS
from heads.modules.saving.saved_head import TrainedHead, load_head

NAMES = ["image", "text", *FUSIONS]
DIMS = {"image": 12, "text": 10}
N_GOLDEN = 8

every_head = pytest.mark.parametrize("name", NAMES)


def vectors_of(n_rows=40, *, seed=0):
    """Return vectors as a cache gives them; every eighth row has no picture, and another eighth no text."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.arange(n_rows)
    present = {"image": row % 8 != 3, "text": row % 8 != 5}
    inputs = {name: 3 + torch.randn(n_rows, dim, generator=generator) for name, dim in DIMS.items()}
    inputs = {name: matrix * present[name][:, None] for name, matrix in inputs.items()}
    specs = {name: EncoderSpec(name, {"weights": "synthetic"}) for name in DIMS}
    return Vectors(encoders=dict.fromkeys(DIMS, "synthetic"), specs=specs, inputs=inputs, present=present)


def trained(name, *, weights=None):
    """Return a head whose weights, batch norm and standardisation are none that it could have by chance."""
    vectors, modalities = vectors_of(), [name] if name in DIMS else list(DIMS)
    description = HeadDescription(
        name=name,
        dims={modality: DIMS[modality] for modality in modalities},
        n_classes=3,
        hidden_dim=16,
        dropout=0.5,
        n_tokens=2,
        n_attention_heads=4,
        weights=(weights or {"image": 0.3, "text": 0.7}) if name == "late" else {},
    )
    torch.manual_seed(0)
    module = build(description)
    standardise = Standardise(description.dims).fit(vectors.inputs, vectors.present, torch.arange(30))
    for _ in range(3):
        module(standardise(vectors.inputs, vectors.present), vectors.present)
    return TrainedHead(
        description=description,
        module=module.eval(),
        standardise=standardise,
        label="kind",
        classes=["bag", "hat", "shoe"],
        encoders=dict.fromkeys(modalities, "synthetic"),
        specs={modality: vectors.specs[modality] for modality in modalities},
    )


def saved(folder, name):
    """Save a head and return it; its files are ``<folder>/<name>.*``."""
    head = trained(name)
    head.save(folder, golden=vectors_of(), golden_rows=np.arange(N_GOLDEN + 5))
    return head


def forge(folder, name, change):
    """Save a head that claims something else of itself, with all digests right."""

    class Forged(HeadDescription):
        def to_dict(self):
            return {**super().to_dict(), **change}

    head = trained(name)
    replace(head, description=Forged(**vars(head.description))).save(
        folder, golden=vectors_of(), golden_rows=np.arange(N_GOLDEN)
    )


def edit_json(path, edit):
    """Rewrite a head's JSON file after `edit` changed what it says."""
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    edit(about)
    path.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")


def edit_tensors(path, edit):
    """Rewrite a head's tensors after `edit` changed them, and all digests in the JSON file."""
    tensors = load_file(path.with_suffix(".safetensors"))
    edit(tensors)
    save_file(tensors, path.with_suffix(".safetensors"))
    digest = hashlib.sha256(path.with_suffix(".safetensors").read_bytes()).hexdigest()
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    about = {name: value for name, value in about.items() if name != "sha256"} | {"weights_sha256": digest}
    path.with_suffix(".json").write_text(json.dumps(about | {"sha256": fields_sha256(about)}), encoding="utf-8")


@every_head
def test_a_loaded_head_answers_as_the_saved_one_to_the_bit(tmp_path, name):
    head, vectors = saved(tmp_path, name), vectors_of(100, seed=1)
    loaded = load_head(tmp_path / name)
    assert torch.equal(
        loaded.log_probabilities(vectors.inputs, vectors.present),
        head.log_probabilities(vectors.inputs, vectors.present),
    )
    assert np.array_equal(loaded.probabilities(vectors), head.probabilities(vectors))


@every_head
def test_a_loaded_head_says_what_it_is(tmp_path, name):
    head, loaded = saved(tmp_path, name), load_head(tmp_path / name)
    assert loaded.name == name
    assert (loaded.label, loaded.classes) == ("kind", ["bag", "hat", "shoe"])
    assert loaded.description == head.description
    assert loaded.specs == head.specs
    assert loaded.encoders == head.encoders
    assert not loaded.module.training


@every_head
def test_answers_are_log_probabilities(name):
    vectors = vectors_of()
    answers = trained(name).log_probabilities(vectors.inputs, vectors.present)
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(40))
    assert np.allclose(trained(name).probabilities(vectors), answers.exp().numpy(), atol=1e-7)


@pytest.mark.parametrize("suffix", ["", ".json", ".safetensors"])
def test_a_head_may_be_named_by_either_of_its_files(tmp_path, suffix):
    saved(tmp_path, "early")
    assert load_head(tmp_path / f"early{suffix}").name == "early"


def test_loading_uses_no_pickle(tmp_path, monkeypatch):
    for name in NAMES:
        saved(tmp_path, name)

    def refuse(*_, **__):
        pytest.fail("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    for name in NAMES:
        load_head(tmp_path / name)


@every_head
def test_an_answer_does_not_depend_on_which_other_rows_are_asked(name):
    head, vectors = trained(name), vectors_of(BLOCK_ROWS + 76)
    answers = head.log_probabilities(vectors.inputs, vectors.present)
    shuffled = torch.randperm(BLOCK_ROWS, generator=torch.Generator().manual_seed(0))
    for rows in (slice(0, 1), slice(0, 7), slice(0, BLOCK_ROWS), slice(1000, 1050), slice(BLOCK_ROWS, None), shuffled):
        some = head.log_probabilities(
            {name: matrix[rows] for name, matrix in vectors.inputs.items()},
            {name: mask[rows] for name, mask in vectors.present.items()},
        )
        assert torch.equal(some, answers[rows]), rows


@every_head
def test_blocks_are_answered_side_by_side_as_one_after_the_other(name):
    head, vectors = trained(name), vectors_of(3 * BLOCK_ROWS + 76)
    before = torch.get_num_threads()
    answers = []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            answers.append(head.log_probabilities(vectors.inputs, vectors.present))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*answers)


@pytest.mark.parametrize("name", ["early", "late"])
def test_a_head_that_answers_for_another_number_of_classes_is_refused(name):
    """The answer for one class alone would be taken for that of each."""
    head, vectors = trained(name), vectors_of()
    module = build(replace(head.description, n_classes=1)).eval()
    with pytest.raises(HeadError, match="to answer for each of its 3 classes, but it answers for 1"):
        replace(head, module=module).log_probabilities(vectors.inputs, vectors.present)


@every_head
def test_no_rows_get_no_answers(name):
    vectors = vectors_of(0)
    assert trained(name).probabilities(vectors).shape == (0, 3)


@every_head
def test_absent_vectors_may_be_nan_as_a_cache_gives_them(name):
    head, vectors = trained(name), vectors_of()
    filled = {
        modality: torch.where(vectors.present[modality][:, None], matrix, torch.nan)
        for modality, matrix in vectors.inputs.items()
    }
    answers = head.log_probabilities(filled, vectors.present)
    assert torch.equal(answers, head.log_probabilities(vectors.inputs, vectors.present))


@pytest.mark.parametrize(("alone", "lost"), [("text", "image"), ("image", "text")])
def test_late_fusion_of_a_row_that_lacks_a_modality_is_the_other_head_exactly(alone, lost):
    late, vectors = trained("late"), vectors_of()
    standardise = Standardise({alone: DIMS[alone]})
    standardise.load_state_dict({key: value for key, value in late.standardise.state_dict().items() if alone in key})
    single = replace(
        late,
        description=replace(late.description, name=alone, dims={alone: DIMS[alone]}),
        module=late.module.members[alone],
        standardise=standardise,
    )
    rows = ~vectors.present[lost] & vectors.present[alone]
    assert rows.sum() >= 3
    answers, expected = (head.log_probabilities(vectors.inputs, vectors.present)[rows] for head in (late, single))
    assert torch.equal(answers, expected)


def flip_a_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0xFF
    path.write_bytes(content)


@every_head
@pytest.mark.parametrize("place", [0, 100, 3000, -1])
def test_altered_weights_are_refused(tmp_path, name, place):
    saved(tmp_path, name)
    flip_a_byte(tmp_path / f"{name}.safetensors", place)
    with pytest.raises(HeadError, match=r"to be the file that .*\.json describes"):
        load_head(tmp_path / name)


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    saved(tmp_path, "early")
    path = tmp_path / f"early.{suffix}"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(HeadError, match="early"):
        load_head(tmp_path / "early")


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_missing_file_is_named(tmp_path, suffix):
    saved(tmp_path, "early")
    (tmp_path / f"early.{suffix}").unlink()
    with pytest.raises(HeadError, match=rf"early\.{suffix} is not there"):
        load_head(tmp_path / "early")


@pytest.mark.parametrize(
    ("field", "value"), [("format_version", 2), ("format_version", 6), ("format_version", "4"), ("format", "other")]
)
def test_another_version_is_refused_by_name(tmp_path, field, value):
    saved(tmp_path, "early")
    edit_json(tmp_path / "early", lambda about: about.update({field: value}))
    with pytest.raises(HeadError, match=f"to be a head of version 3, 4, 5, but it is .*{value}.* train again"):
        load_head(tmp_path / "early")


@pytest.mark.parametrize(
    "classes",
    [["hat", "bag", "shoe"], ["bag", "hat", "boot"], ["bag", "hat"], ["bag", "hat", "shoe", "boot"], [], None],
)
def test_edited_classes_are_refused(tmp_path, classes):
    """Else every answer would silently mean something else."""
    saved(tmp_path, "early")
    edit_json(tmp_path / "early", lambda about: about.update(classes=classes))
    with pytest.raises(HeadError, match="early"):
        load_head(tmp_path / "early")


def test_edited_specs_are_refused(tmp_path):
    """Else the head would take vectors of another encoder."""
    saved(tmp_path, "early")
    edit_json(tmp_path / "early", lambda about: about["specs"]["image"].update(weights="others"))
    with pytest.raises(HeadError, match="early"):
        load_head(tmp_path / "early")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '"late"', "{}", "[" * 100_000, '{"format": 1e999}'])
def test_json_that_describes_no_head_is_refused(tmp_path, content):
    saved(tmp_path, "early")
    (tmp_path / "early.json").write_text(content)
    with pytest.raises(HeadError, match="early"):
        load_head(tmp_path / "early")


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_dim": 0}, {"hidden_dim": -16}, {"hidden_dim": 16.5}, {"hidden_dim": "16"}, {"hidden_dim": None},
        {"hidden_dim": 2**40}, {"hidden_dim": 2**62}, {"hidden_dim": 10**30}, {"n_classes": 10**30},
        {"n_classes": 2**40}, {"n_tokens": 2**40}, {"n_tokens": 0}, {"n_attention_heads": 3},
        {"n_attention_heads": 0}, {"n_attention_heads": 2}, {"n_attention_heads": "4"}, {"dropout": 7},
        {"dropout": "much"}, {"dims": {}}, {"dims": []}, {"dims": None}, {"dims": {"image": 12}},
        {"dims": {"image": 12, "text": 2**62}}, {"dims": {"image": 12, "text": 10, "audio": 4}},
        {"name": "early"}, {"name": "late"}, {"name": None}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_hostile_description_is_refused(tmp_path, change):
    forge(tmp_path, "attention", change)
    with pytest.raises(HeadError):
        load_head(tmp_path / "attention")


@pytest.mark.parametrize("weights", [{}, {"image": 1}, {"image": "x", "text": 1}, None, []], ids=str)
def test_a_late_head_with_hostile_weights_is_refused(tmp_path, weights):
    forge(tmp_path, "late", {"weights": weights})
    with pytest.raises(HeadError, match="late"):
        load_head(tmp_path / "late")


@pytest.mark.parametrize("field", ["label", "classes", "description", "encoders", "specs", "weights_sha256"])
@pytest.mark.parametrize("value", ["gone", None, 3, [], "text"])
def test_a_field_that_is_gone_or_of_another_kind_is_refused(tmp_path, field, value):
    saved(tmp_path, "early")
    edit_json(tmp_path / "early", lambda about: about.pop(field) if value == "gone" else about.update({field: value}))
    with pytest.raises(HeadError, match="early"):
        load_head(tmp_path / "early")


def test_nothing_is_allocated_on_the_word_of_the_json_file(tmp_path, monkeypatch):
    devices = set()

    def watched(description):
        module = build(description)
        devices.update(parameter.device.type for parameter in module.parameters())
        return module

    forge(tmp_path, "early", {"hidden_dim": 2**20})
    monkeypatch.setattr("heads.modules.seeded.build", watched)
    with pytest.raises(HeadError):
        load_head(tmp_path / "early")
    assert devices <= {"meta"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.pop("golden.output"),
        lambda tensors: tensors.pop("golden.input.text"),
        lambda tensors: tensors.pop("module.layers.4.bias"),
        lambda tensors: tensors.pop("standardise.mean_image"),
        lambda tensors: tensors.update({"module.more": torch.zeros(1)}),
        lambda tensors: tensors.update({"golden.output": tensors["golden.output"] + 0.01}),
        lambda tensors: tensors.update({"golden.output": tensors["golden.output"][:3]}),
        lambda tensors: tensors.update({"golden.output": torch.full((N_GOLDEN, 3), torch.nan)}),
        lambda tensors: tensors.update({"module.layers.4.bias": tensors["module.layers.4.bias"] + torch.arange(3)}),
        lambda tensors: tensors.update({"module.layers.4.bias": torch.full((3,), torch.nan)}),
        lambda tensors: tensors.update({"standardise.mean_image": torch.zeros(5)}),
    ],
)
def test_tensors_that_do_not_fit_are_refused_even_with_their_digest(tmp_path, edit):
    saved(tmp_path, "early")
    edit_tensors(tmp_path / "early", edit)
    with pytest.raises(HeadError, match="early"):
        load_head(tmp_path / "early")


def test_an_installation_that_computes_otherwise_is_found_by_the_golden_rows(tmp_path, monkeypatch):
    saved(tmp_path, "early")
    forward = Early.forward
    monkeypatch.setattr(Early, "forward", lambda *arguments: 1.01 * forward(*arguments))
    with pytest.raises(HeadError, match="to answer its golden rows as it did when it was saved"):
        load_head(tmp_path / "early")


def test_golden_rows_are_a_few(tmp_path):
    saved(tmp_path, "late")
    tensors = load_file(tmp_path / "late.safetensors")
    assert {name: len(tensor) for name, tensor in tensors.items() if name.startswith("golden.")} == {
        "golden.input.image": N_GOLDEN, "golden.input.text": N_GOLDEN,
        "golden.present.image": N_GOLDEN, "golden.present.text": N_GOLDEN,
        "golden.output": N_GOLDEN,
    }  # fmt: skip


def test_vectors_of_another_encoder_are_refused_with_the_field_that_differs(tmp_path):
    saved(tmp_path, "early")
    vectors = {name: np.zeros((2, dim)) for name, dim in DIMS.items()}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {}, encoder="other")
    with Cache(path) as cache, pytest.raises(HeadError, match=r"other differs in weights: .*other.* not .*synthetic"):
        load_head(tmp_path / "early").vectors_of(cache)


def test_vectors_of_the_same_encoder_are_found_under_any_name(tmp_path):
    """The cache has two text encoders; it is the spec that counts, not the name."""
    vectors = {name: np.random.default_rng(0).standard_normal((5, dim)) for name, dim in DIMS.items()}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {}, encoder="renamed")
    synthetic_cache(path, {name: 1 - matrix for name, matrix in vectors.items()}, {}, encoder="also-there")
    with Cache(path) as cache:
        specs = {name: cache.spec(name, "renamed") for name in DIMS}
        head = replace(trained("early"), specs=specs, encoders=dict.fromkeys(DIMS, "another name"))
        vectors_read = head.vectors_of(cache)
    assert vectors_read.encoders == {"image": "renamed", "text": "renamed"}
    np.testing.assert_allclose(vectors_read.inputs["text"].numpy(), vectors["text"], rtol=1e-6)


def test_products_that_the_heads_encoder_has_not_seen_are_told(tmp_path, caplog):
    has_text = np.arange(6) > 0
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((4, 10))}, {}, present={"text": has_text[:4]})
    with Cache(path) as cache:
        trained("text").vectors_of(cache)
    assert caplog.messages == []  # what has no text is none that an encoder could see
    synthetic_cache(path, {"text": np.zeros((6, 10))}, {}, encoder="later", present={"text": has_text})
    with Cache(path) as cache:
        vectors = trained("text").vectors_of(cache)
    assert vectors.present["text"].tolist() == [False, True, True, True, False, False]
    (message,) = caplog.messages
    assert message.startswith(f"2 of 6 products of {path} have no vector of text/synthetic, for that encoder has not")


def test_a_single_head_needs_its_own_modality_alone(tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((4, 10))}, {})
    with Cache(path) as cache:
        assert list(trained("text").vectors_of(cache).inputs) == ["text"]
