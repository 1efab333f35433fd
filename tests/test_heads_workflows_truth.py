"""A run tells the truth: noise, exclusive or, leaks, controls, and test rows that nothing fitted has seen."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import CONTROLS, class_vectors, invoke, synthetic_cache

from heads.commands.train import train as train_command
from heads.errors import SettingError
from heads.option_texts import parse_controls
from heads.settings import SIZES, TrainSettings
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

QUICK = TrainSettings(fusions=("early", "late"), hidden_dim=32, max_epochs=4, n_resamples=100)
EVERYTHING = replace(
    QUICK,
    learning_rate=1e-2,  # so that they have learned something in so few epochs
    weights="auto",
    guard=True,
    controls=CONTROLS,
    class_weights="balanced",
    logit_adjustment=0.5,
    per_class="largest",
    split_column="side",
)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def run_on(folder, vectors, labels, settings, name="c", **options):
    columns = {"label": [str(label) for label in labels], **options.pop("columns", {})}
    path = synthetic_cache(folder / f"{name}.h5", vectors, columns, **options)
    return train(path, settings=settings, runs_path=folder / "runs", name=name)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A run in which the picture tells nothing."""
    targets = np.arange(800) % 4
    vectors = {"image": class_vectors(targets, 4, signal=0.0), "text": class_vectors(targets, 16, spread=1.5, seed=1)}
    settings = replace(QUICK, weights="auto", controls=("majority", "logistic"), max_epochs=10)
    return run_on(tmp_path_factory.mktemp("noise"), vectors, targets, settings)


def test_noise_adds_nothing_weighs_nothing_and_matters_nothing(noise):
    assert noise.weights["image"] < 0.1
    for verdict in noise.verdicts:
        assert verdict.outcome in ("equal", "undecided")
        assert verdict.n_together == len(noise.verdicts) > 1
        for drop in verdict.importance["image"].values():
            assert drop.low <= 0 <= drop.high
        assert verdict.importance["text"]["accuracy"].low > 0
        assert verdict.rows.p_value > 0.05


def test_without_the_only_modality_that_tells_something_heads_guess(noise):
    assert noise.missing["image"]["late"]["accuracy"] < 0.4 < noise.missing["text"]["late"]["accuracy"]
    late = [noise.missing[f"{share}% missing"]["late"]["accuracy"] for share in (10, 30, 50)]
    assert late == sorted(late, reverse=True)


def test_a_control_that_is_as_good_is_warned_of(noise):
    """The classes are Gaussian, so that no head can beat logistic regression; the majority can be beaten."""
    for verdict in noise.verdicts:
        (warning,) = verdict.warnings
        assert re.match(f"Careful: the control logistic (may be as good as|is better than) {verdict.fusion}", warning)
    assert noise.controls["majority"]["accuracy"] < 0.5 < noise.controls["logistic"]["accuracy"]


def test_controls_are_no_single_modality_and_no_saved_head(noise):
    assert {verdict.single for verdict in noise.verdicts} == {"text"}
    assert not set(noise.controls) & set(noise.metrics)
    assert not list(noise.run_path.glob("logistic*"))
    assert set(read_json(noise.run_path / "metrics.json")["controls"]) == {"majority", "logistic"}


def test_where_fusion_learns_nothing_the_majority_is_as_good(tmp_path):
    """Of a rare class: where both are as frequent, guessing has a better macro-F1 than the majority."""
    targets = (np.random.default_rng(0).random(300) < 0.1).astype(np.int64)
    vectors = {"image": class_vectors(targets, 4, signal=0.0), "text": class_vectors(targets, 4, signal=0.0, seed=1)}
    report = run_on(tmp_path, vectors, targets, replace(QUICK, controls=("majority",)))
    assert all("control majority" in verdict.warnings[0] for verdict in report.verdicts)


def test_exclusive_or_is_won_by_far(tmp_path):
    bits = np.random.default_rng(0).integers(2, size=(400, 2))
    vectors = {
        "image": class_vectors(bits[:, 0], 6, spread=0.3, seed=1),
        "text": class_vectors(bits[:, 1], 6, spread=0.3, seed=2),
    }
    settings = replace(QUICK, fusions=("early",), max_epochs=15, learning_rate=1e-2, controls=("majority", "logistic"))
    report = run_on(tmp_path, vectors, bits[:, 0] ^ bits[:, 1], settings)
    (verdict,) = report.verdicts
    assert verdict.accuracy.low > 0.2
    assert verdict.rows.p_value < 1e-6
    assert (verdict.classes.n_won, verdict.classes.n_lost) == (2, 0)
    assert verdict.warnings == []
    for modality in ("image", "text"):
        assert verdict.importance[modality]["accuracy"].mean > 0.3
        assert report.missing[modality]["early"]["accuracy"] < 0.7


def two_runs(folder, alter, settings):
    """Return the runs on some products, and on the same with `alter(image, text, targets, sides)` done to them."""
    return run_altered(folder, lambda *_: None, settings, name="first"), run_altered(folder, alter, settings)


def run_altered(folder, alter, settings=EVERYTHING, *, name="altered"):
    """Return the run on the products with `alter(image, text, targets, sides)` done to them."""
    targets = np.random.default_rng(5).integers(3, size=300)
    image, text = class_vectors(targets, 8, spread=2.0, seed=1), class_vectors(targets, 12, spread=2.5, seed=2)
    sides = np.random.default_rng(3).choice(["train", "validation", "test"], p=[0.5, 0.25, 0.25], size=300)
    alter(image, text, targets, sides)
    columns = {"side": sides.tolist()}
    return run_on(folder, {"image": image, "text": text}, targets, settings, name, columns=columns)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The run of all that is fitted, on the products as they are."""
    return run_altered(tmp_path_factory.mktemp("everything"), lambda *_: None, name="first")


def tensors_of(report):
    """Return every saved tensor but the golden rows, {head: {name: tensor}}."""
    return {
        path.stem: {key: own for key, own in load_file(path).items() if "golden" not in key}
        for path in report.run_path.glob("*.safetensors")
    }


def is_same(first, second):
    return all(torch.equal(own, second[head][key]) for head, own_all in first.items() for key, own in own_all.items())


def alter_test(image, text, targets, sides):
    rows = np.flatnonzero(sides == "test")
    image[rows], text[rows] = 100 * image[rows[::-1]] + 7, -text[rows]
    targets[rows] = 2 - targets[rows]


def alter_validation_labels(_image, _text, targets, sides):
    rows = np.flatnonzero(sides == "validation")
    targets[rows] = (targets[rows] + 1) % 3


def test_nothing_that_is_fitted_sees_a_test_row(everything, tmp_path):
    """Heads, standardisation, class weights, early stopping, late's weights and temperatures, guards and controls."""
    first, altered = everything, run_altered(tmp_path, alter_test)
    assert is_same(tensors_of(first), tensors_of(altered))
    assert set(tensors_of(first)) == {"image", "text", "early", "late", "early+guard", "late+guard"}
    assert (first.weights, first.weight_intervals) == (altered.weights, altered.weight_intervals)
    assert [own.single for own in first.verdicts] == [own.single for own in altered.verdicts]
    for name in first.metrics:
        assert first.metrics[name]["validation"] == altered.metrics[name]["validation"]
        assert first.metrics[name]["history"] == altered.metrics[name]["history"]
    for name in CONTROLS:
        assert first.controls[name]["validation"] == altered.controls[name]["validation"]
    assert first.metrics["early"]["accuracy"] != altered.metrics["early"]["accuracy"]


def test_a_sweep_chooses_without_the_test_rows(tmp_path):
    first, altered = two_runs(tmp_path, alter_test, replace(EVERYTHING, weights="sweep", guard=False, controls=()))
    assert first.weights == altered.weights
    assert first.sweep == altered.sweep
    texts = [(own.run_path / "sweep.csv").read_text() for own in (first, altered)]
    assert texts[0] != texts[1]  # the test scores beside them


def test_validation_rows_do_change_what_is_fitted(everything, tmp_path):
    """The checks above can fail."""
    settings = replace(EVERYTHING, guard=False, controls=())  # which come after what is compared
    first, altered = everything, run_altered(tmp_path, alter_validation_labels, settings)
    before, after = tensors_of(first), tensors_of(altered)
    assert not is_same({"late": before["late"]}, {"late": after["late"]})
    assert first.weights != altered.weights


def test_swapped_sides_are_another_run(tmp_path):
    def swap(_image, _text, _codes, sides):
        is_train, is_test = sides == "train", sides == "test"
        sides[is_train], sides[is_test] = "test", "train"

    settings = replace(QUICK, fusions=(), controls=(), split_column="side", max_epochs=1)
    first, altered = two_runs(tmp_path, swap, settings)
    assert first.n_rows["train"] == altered.n_rows["test"]
    splits = [read_json(own.run_path / "config.json")["split"] for own in (first, altered)]
    assert splits[0]["train"] == splits[1]["test"]
    assert not is_same(tensors_of(first), tensors_of(altered))


def test_no_row_is_on_two_sides(tmp_path):
    targets = np.arange(240) % 3
    contents = {"image": [f"{n // 2}" for n in range(240)], "text": [f"{n // 3}" for n in range(240)]}
    vectors = {"image": class_vectors(targets // 3, 6, seed=1), "text": class_vectors(targets // 3, 5, seed=2)}
    settings = replace(QUICK, fusions=(), max_epochs=1, controls=())
    report = run_on(tmp_path, vectors, targets, settings, contents=contents)
    sides = [set(rows) for rows in read_json(report.run_path / "config.json")["split"].values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 240


def test_a_column_that_lets_duplicates_straddle_is_noted_and_one_that_does_not_is_not(tmp_path):
    targets = np.arange(240) % 3
    vectors = {"image": class_vectors(targets, 6, seed=1), "text": class_vectors(targets, 5, seed=2)}
    sides = {"side": [("train", "train", "val", "test")[n % 4] for n in range(240)]}
    settings = replace(QUICK, fusions=(), max_epochs=1, split_column="side", controls=())
    leaking = {"text": [f"{n // 4}" for n in range(240)]}
    report = run_on(tmp_path, vectors, targets, settings, "leaks", columns=sides, contents=leaking)
    assert any(re.match(r"60 of 60 test rows share .* lets duplicates straddle", note) for note in report.notes)
    assert run_on(tmp_path, vectors, targets, settings, "tight", columns=sides).notes == []


def test_large_learns_random_labels_by_heart(tmp_path):
    generator = np.random.default_rng(0)
    vectors = {name: generator.standard_normal((80, 24)) for name in ("image", "text")}
    labels = generator.integers(4, size=80)
    settings = TrainSettings(fusions=("early",), n_resamples=100, controls=(), **SIZES["large"])
    scored = run_on(tmp_path, vectors, labels, settings).metrics
    assert {name: own["train"]["accuracy"] for name, own in scored.items()} == {"image": 1, "text": 1, "early": 1}
    assert all(own["best_epoch"] == len(own["history"]) == settings.max_epochs for own in scored.values())
    assert scored["early"]["accuracy"] < 0.5


def test_the_usual_size_does_not(tmp_path):
    """The test above can fail."""
    generator = np.random.default_rng(0)
    vectors = {name: generator.standard_normal((300, 24)) for name in ("image", "text")}
    settings = TrainSettings(fusions=(), modalities=("text",), n_resamples=100, controls=())
    scored = run_on(tmp_path, vectors, generator.integers(4, size=300), settings).metrics
    assert scored["text"]["train"]["accuracy"] < 1


@pytest.mark.parametrize("size", SIZES)
def test_a_size_sets_what_no_option_names(tmp_path, size):
    targets = np.arange(150) % 3
    vectors = {"image": class_vectors(targets, 6, seed=1), "text": class_vectors(targets, 5, seed=2)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"{code}" for code in targets]})
    quick = ("--hidden-dim", 16, "--max-epochs", 2, "--no-report")
    options = ("--fusion", "early", "--size", size, *quick, "--runs", tmp_path / "runs")
    result = invoke(train_command, path, *options)
    assert result.exit_code == 0, result.stderr
    settings = read_json(tmp_path / "runs" / "label-001" / "config.json")["settings"]
    named = {"hidden_dim": 16, "max_epochs": 2}
    assert {name: settings[name] for name in (*SIZES[size], *named)} == {**SIZES[size], **named}
    usual = TrainSettings()
    unnamed = {"dropout", "weight_decay", "modality_dropout", "patience", "keep"} - set(SIZES[size])
    assert {name: settings[name] for name in unnamed} == {name: getattr(usual, name) for name in unnamed}


def test_controls_are_named():
    assert parse_controls("logistic, majority") == ("majority", "logistic")
    assert parse_controls("all") == CONTROLS
    assert parse_controls("none") == ()
    for text in ("", "svm", "none,majority"):
        with pytest.raises(SettingError, match="--controls: expected some of majority"):
            parse_controls(text)


def test_the_command_prints_controls_missing_modalities_and_what_stands_behind_the_verdict(tmp_path):
    targets = np.arange(150) % 3
    vectors = {name: class_vectors(targets, 6, seed=n) for n, name in enumerate(("image", "metadata", "text"))}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"{code}" for code in targets]})
    quick = ("--max-epochs", 2, "--hidden-dim", 16, "--resamples", 100, "--no-report")
    options = ("--guard", *quick, "--runs", tmp_path / "runs")
    result = invoke(train_command, path, "--fusion", "all", "--details", *options)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert sum(line.startswith("  +guard") for line in lines) == 15  # in the answer, and in both tables behind it
    assert any(line.startswith("(majority)") for line in lines)
    assert any(line.startswith("fusion ") and line.endswith("text") for line in lines)
    assert "10% missing" in result.stdout
    without = invoke(train_command, path, "--fusion", "early", *options)
    assert "10% missing" not in without.stdout
    asked = invoke(train_command, path, "--fusion", "early", "--missing", *options)
    assert "10% missing" in asked.stdout
    assert "(majority)" not in asked.stdout
