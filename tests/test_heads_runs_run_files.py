"""A run folder may come from a stranger, or from a disk that loses bits: what is not right is a named error."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from support import class_vectors, invoke, synthetic_cache
from test_heads_modules_saving_saved_head import edit_tensors

from cache import EmbedOnceError
from cache.keys import fields_sha256
from heads.commands.predict import predict
from heads.errors import RunError
from heads.export.run_facts import read_run
from heads.prediction.run import Run
from heads.runs.encoder_samples import EncoderSamples, load_encoder_samples, save_encoder_samples
from heads.runs.folder import load_heads, write_page
from heads.runs.run_files import find_cache, read_config, write_manifest
from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = TrainSettings(
    fusions=("early", "late"), metadata_columns=("colour",), hidden_dim=8, max_epochs=2, n_resamples=100, controls=()
)
N = 90


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    targets = np.arange(N) % 3
    vectors = {"image": class_vectors(targets, 8, seed=1), "text": class_vectors(targets, 6, seed=2)}
    columns = {"label": [f"class {code}" for code in targets], "colour": [f"k{n % 2}" for n in range(N)]}
    return synthetic_cache(tmp_path_factory.mktemp("runs") / "c.h5", vectors, columns)


@pytest.fixture(scope="module")
def trained(cache_path):
    """A run, with contents of an encoder as if it had been extracted from such."""
    path = train(cache_path, settings=QUICK, runs_path=cache_path.parent / "runs", name="r").run_path
    (path / "manifest.json").unlink()
    save_encoder_samples(path, {"text": EncoderSamples([b"a", b"b"], np.zeros((2, 6), np.float32), is_text=True)})
    write_manifest(path)
    return path


@pytest.fixture
def run_path(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "runs" / "r"))


def edit(path, **changes):
    """Change fields of a JSON file, with the digest that a head's file has of itself, and leave the manifest out."""
    about = json.loads(path.read_text())
    is_head = about.pop("sha256", None) is not None
    for name, value in changes.items():
        about[name] = value(about.get(name)) if callable(value) else value
    about = {name: value for name, value in about.items() if value is not Ellipsis}
    path.write_text(json.dumps(about | ({"sha256": fields_sha256(about)} if is_head else {})))
    (path.parent / "manifest.json").unlink(missing_ok=True)


def refused(run_path, match=None, **options):
    """Assert that the run cannot be loaded, and that what is said names something in its folder."""
    with pytest.raises(EmbedOnceError, match=match) as caught:
        Run(run_path, **options)
    assert str(run_path) in str(caught.value)


def plainly(changes):
    """Return a test's name without the places of functions in memory, which are others in each process."""
    return re.sub(r"<function .*? at 0x\w+>", "made", str(changes))


@pytest.mark.parametrize(
    "value",
    [
        None, 3, "early", {"early": 1}, [], [3], [None], [["early"]], ["early", "early"], [""], ["."], [".."],
        ["../r/early"], ["r/early"], ["/etc/passwd"], ["early\0"], ["early\n"], ["gone"], ["x" * 300],
        [f"head{n}" for n in range(100_000)],
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_names_of_heads_are_plain_and_distinct(run_path, value):
    edit(run_path / "config.json", heads=value)
    refused(run_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": {"a": 1}}, {"classes": [1, 2, 3]}, {"classes": "abc"}, {"label": 3}, {"encoders": []},
        {"encoders": {"image": 3}}, {"settings": []}, {"split": {"test": "all"}}, {"split": {"test": [1]}},
        {"cache": 3}, {"cache": ["c.h5"]}, {"label": "another"}, {"classes": ["a", "b", "c"]},
    ],
    ids=plainly,
)  # fmt: skip
def test_config_says_what_it_should_or_is_refused(run_path, changes):
    edit(run_path / "config.json", **changes)
    refused(run_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": {"class 0": 1, "class 1": 2, "class 2": 3}}, {"classes": ["class 0"] * 3}, {"classes": [0, 1, 2]},
        {"classes": ["class 0", "class 1"]}, {"label": ["label"]}, {"label": Ellipsis}, {"encoders": {}},
        {"encoders": []}, {"encoders": lambda kept: {**kept, "text": 3}}, {"specs": {}}, {"specs": Ellipsis},
        {"specs": lambda kept: {**kept, "text": []}}, {"specs": lambda kept: {**kept, "text": kept["image"]}},
        {"specs": lambda kept: {**kept, "metadata": {**kept["metadata"], "columns": []}}},
        {"specs": lambda kept: {**kept, "metadata": {**kept["metadata"], "kept": [0]}}},
        {"contents": []}, {"contents": {"text": 3}}, {"contents": {"text": {"modality": "text", "columns": "title"}}},
        {"description": []}, {"description": lambda kept: {**kept, "more": 1}},
        {"description": lambda kept: {**kept, "name": "late"}},
        {"description": lambda kept: {**kept, "name": "../r/early"}},
        {"description": lambda kept: {**kept, "dims": {**kept["dims"], "text": True}}},
        {"description": lambda kept: {**kept, "n_classes": 4}}, {"weights_sha256": 3}, {"format_version": [4]},
    ],
    ids=plainly,
)  # fmt: skip
def test_a_head_says_what_it_should_or_is_refused(run_path, changes):
    """Its own digest is right each time."""
    edit(run_path / "early.json", **changes)
    refused(run_path, "early")


@pytest.mark.parametrize("n_rows", [0, 9, 100_000])
def test_golden_rows_are_one_to_eight(run_path, n_rows):
    def change(tensors):
        for name in [name for name in tensors if name.startswith("golden.")]:
            tensors[name] = tensors[name][:1].repeat(n_rows, *[1] * (tensors[name].ndim - 1))

    (run_path / "manifest.json").unlink()
    edit_tensors(run_path / "early", change)
    message = f"{n_rows} golden rows" if n_rows else "0 golden rows|buffer length"  # NumPy 2.0 reads no empty array
    refused(run_path, message)


def test_a_head_under_another_name_is_refused(run_path):
    for kind in ("json", "safetensors"):
        (run_path / f"early.{kind}").rename(run_path / f"mine.{kind}")
    edit(run_path / "config.json", heads=["mine"])
    refused(run_path, "to hold the head of its name, but it holds early")


def test_heads_of_two_trainings_are_refused(run_path):
    edit(run_path / "late.json", specs=lambda kept: {**kept, "text": {**kept["text"], "weights": "others"}})
    refused(run_path, "all heads of .* to be of one training, but late")


@pytest.mark.parametrize(
    "name", ["config.json", "early.json", "early.safetensors", "encoder_samples.safetensors", "manifest.json"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "huge"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(run_path, name, kind):
    path = run_path / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)  # of holes
    refused(run_path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "\xff", '{"heads": 3, "verdicts": [], "notes": []}', "{}"])
def test_metrics_that_say_nothing_are_no_ground_for_an_export(run_path, content):
    (run_path / "metrics.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"metrics\.json"):
        read_run(run_path)


def test_metrics_without_scores_are_named(run_path):
    edit(run_path / "metrics.json", heads={"early": {}})
    with pytest.raises(RunError, match=r"metrics\.json has no scores"):
        _ = read_run(run_path).best_head


def test_a_flipped_bit_in_any_file_is_found_when_the_run_is_loaded(run_path):
    names = sorted(path.name for path in run_path.iterdir())
    assert {"metrics.json", "predictions.csv", "encoder_samples.safetensors", "manifest.json"} < set(names)
    draws = np.random.default_rng(0)
    for name in names:
        content = (run_path / name).read_bytes()
        for place in (0, len(content) - 1, *draws.integers(len(content), size=6)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << draws.integers(8)
            (run_path / name).write_bytes(flipped)
            refused(run_path)
        (run_path / name).write_bytes(content)
    assert Run(run_path).head


def test_files_of_heads_that_are_not_asked_for_are_not_read(run_path):
    (run_path / "late.safetensors").write_bytes(b"")
    (run_path / "text.json").unlink()
    refused(run_path)
    assert list(load_heads(run_path, ["early"])) == ["early"]


def test_a_report_and_exports_may_change(run_path):
    write_page(run_path, "<html>mine</html>")
    (run_path / "export").mkdir()
    assert Run(run_path).heads


def test_a_run_without_a_manifest_loads_as_before(run_path, cache_path):
    (run_path / "manifest.json").unlink()
    assert invoke(predict, cache_path, "--run", run_path).exit_code == 0
    config = json.loads((run_path / "config.json").read_text())
    (run_path / "config.json").write_text(json.dumps({"heads": config["heads"]}))
    assert set(Run(run_path).heads) == {"image", "metadata", "text", "early", "late"}


@pytest.mark.parametrize("shape", [(2,), (3, 6), (2, 2, 3)])
def test_samples_of_another_structure_are_named(run_path, shape):
    path = run_path / "encoder_samples.safetensors"
    tensors = load_file(path)
    tensors["text.vector"] = tensors["text.vector"].new_zeros(shape)
    save_file(tensors, path)
    with pytest.raises(RunError, match="to hold contents and their vectors"):
        load_encoder_samples(run_path)


def test_samples_that_are_no_text_are_named(run_path):
    samples = {"text": EncoderSamples([b"\xff"], np.zeros((1, 6), np.float32), is_text=True)}
    save_encoder_samples(run_path, samples)
    with pytest.raises(RunError, match="to hold contents and their vectors"):
        load_encoder_samples(run_path)


def test_the_cache_of_a_run_is_no_other_catalogues_of_that_name(cache_path, tmp_path, monkeypatch):
    shop, elsewhere = tmp_path / "shop", tmp_path / "elsewhere"
    for folder in (shop, elsewhere):
        folder.mkdir()
    shutil.copy(cache_path, shop)
    monkeypatch.chdir(shop)
    run_path = train("c.h5", settings=QUICK, runs_path=shop / "runs", name="r").run_path
    config = read_config(run_path)
    assert find_cache(run_path, config) == Path("c.h5")
    monkeypatch.chdir(elsewhere)
    other_vectors = {"text": class_vectors(np.arange(12) % 3, 6)}
    synthetic_cache(elsewhere / "c.h5", other_vectors, {"label": list("abc" * 4)})
    assert find_cache(run_path, config) == shop / "c.h5"
    synthetic_cache(shop / "c.h5", {"text": class_vectors(np.arange(15) % 3, 6)}, {"label": list("abc" * 5)})
    assert find_cache(run_path, config) == shop / "c.h5"  # of a later month
    shutil.copy(cache_path, elsewhere)
    assert find_cache(run_path, config) == Path("c.h5")  # whose content is that of the training
    (elsewhere / "c.h5").write_bytes(b"no cache")
    assert find_cache(run_path, config) == shop / "c.h5"
