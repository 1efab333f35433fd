"""Training, from a synthetic cache to a run folder."""

import csv
import json
import os
import re
import signal
import sys
from collections import Counter
from dataclasses import replace
from itertools import chain

import fork_server
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score
from support import DIRECT, FUSIONS, ROOT, class_vectors, synthetic_cache

import heads
from cache import Cache
from cache.errors import EmbedOnceError, MissingEntryError
from cache.system.lock import BY_NAME
from heads.errors import HeadError, LabelError, RunError, SettingError, SplitError
from heads.metrics.score_interval import wilson_interval
from heads.modules.late import parse_weights
from heads.modules.saving.saved_head import TrainedHead
from heads.runs.folder import load_heads, reserved
from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

QUICK = TrainSettings(hidden_dim=32, max_epochs=2, n_resamples=100)
ALL = ["image", "text", *FUSIONS]


def shop(path, *, n_products=240, n_classes=3, seed=0, columns=None, **options):
    """Seal a cache of products whose picture and text both tell something of the class."""
    targets = np.random.default_rng(seed).integers(n_classes, size=n_products)
    vectors = {
        "image": class_vectors(targets, 8, spread=2.0, seed=seed + 1),
        "text": class_vectors(targets, 12, spread=1.5, seed=seed + 2),
    }
    labels = [f"class {code}" for code in targets]
    return synthetic_cache(path, vectors, {"label": labels, **(columns or {})}, **options)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def weights_of(run_path, name):
    """Return a saved head's tensors, but for the golden rows."""
    return {key: value for key, value in load_file(run_path / f"{name}.safetensors").items() if "golden" not in key}


def scores_of(report):
    """Return the metrics without the times."""
    return {
        name: {key: value for key, value in found.items() if key != "fit_s"} for name, found in report.metrics.items()
    }


def sentence_of(report, fusion):
    return next(verdict.sentence for verdict in report.verdicts if verdict.fusion == fusion)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def cache_path(folder):
    return shop(folder / "c.h5")


@pytest.fixture(scope="module")
def report(folder, cache_path):
    return train(cache_path, settings=replace(QUICK, weights="0.2,0.8"), runs_path=folder / "runs")


def test_public_functions_stay_functions():
    """A submodule of the same name must not take their place once it is imported."""
    for name in heads.__all__:
        first, again = getattr(heads, name), getattr(heads, name)
        assert first is again
        assert callable(again), name


def test_a_run_folder_holds_everything(report):
    files = {f"{name}.{kind}" for name in ALL for kind in ("json", "safetensors")}
    assert {path.name for path in report.run_path.iterdir()} == files | {
        "config.json",
        "manifest.json",
        "metrics.json",
        "predictions.csv",
    }


def test_each_single_modality_is_trained_beside_a_fusion(folder, cache_path, report):
    assert list(report.metrics) == ALL
    alone = train(cache_path, settings=replace(QUICK, fusions=("late",)), runs_path=folder / "late")
    assert list(alone.metrics) == ["image", "text", "late"]
    assert [verdict.fusion for verdict in alone.verdicts] == ["late"]
    assert alone.weights == parse_weights(None, ["image", "text"]) == {"image": 0.5, "text": 0.5}  # the usual ones


def test_config_says_what_was_trained_from_what(cache_path, report):
    config = read_json(report.run_path / "config.json")
    with Cache(cache_path) as cache:
        assert config["cache_content_sha256"] == cache.content_sha256
        ids = cache.ids()
    assert config["cache"] == str(cache_path)
    assert config["label"] == "label"
    assert config["classes"] == ["class 0", "class 1", "class 2"]
    assert config["heads"] == ALL
    assert config["encoders"] == {"image": "synthetic", "text": "synthetic"}
    split = config["split"]
    assert sorted(chain(*split.values())) == ids
    assert {side: len(rows) for side, rows in split.items()} == report.n_rows


@pytest.fixture(scope="module")
def again(folder, report):
    """The same run once more, of nothing but its config."""
    config = read_json(report.run_path / "config.json")
    torch.manual_seed(1234)  # what the caller did before does not count
    return train(config["cache"], settings=TrainSettings(**config["settings"]), runs_path=folder / "again")


def test_config_is_enough_to_do_it_again(report, again):
    assert scores_of(again) == scores_of(report)


def test_predictions_have_one_row_a_test_product(report):
    rows = read_csv(report.run_path / "predictions.csv")
    assert list(rows[0]) == ["id", "label", *(cell for name in ALL for cell in (name, f"{name}_probability"))]
    assert [row["id"] for row in rows] == read_json(report.run_path / "config.json")["split"]["test"]


def test_predictions_agree_with_the_metrics(report):
    rows = read_csv(report.run_path / "predictions.csv")
    metrics = read_json(report.run_path / "metrics.json")["heads"]
    assert json.loads(json.dumps(report.metrics)) == metrics
    labels = [row["label"] for row in rows]
    for name, found in metrics.items():
        answers = [row[name] for row in rows]
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
        assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
        assert found["train_test_gap"] == pytest.approx(found["train"]["accuracy"] - found["accuracy"])
        assert found["accuracy_interval"][0] <= found["accuracy"] <= found["accuracy_interval"][1]
        assert {kind: scored["support"] for kind, scored in found["classes"].items()} == {
            kind: labels.count(kind) for kind in sorted(set(labels))
        }
        probabilities = np.array([float(row[f"{name}_probability"]) for row in rows])
        bins = np.ceil(probabilities * 15)
        right = np.array(labels) == np.array(answers)
        error = sum(abs((probabilities - right)[bins == number].sum()) for number in set(bins)) / len(rows)
        assert found["calibration_error"] == pytest.approx(error, abs=1e-5)


def test_verdicts_are_differences_of_the_metrics(report):
    best = max(("image", "text"), key=lambda name: report.metrics[name]["validation"]["macro_f1"])
    assert [verdict.fusion for verdict in report.verdicts] == list(FUSIONS)
    labels = Counter(row["label"] for row in read_csv(report.run_path / "predictions.csv"))
    for verdict in report.verdicts:
        assert verdict.single == best
        assert verdict.n_even_groups <= len(labels) * min(labels.values())  # rows, of which some may be copies
        for score in ("accuracy", "macro_f1"):
            difference = report.metrics[verdict.fusion][score] - report.metrics[best][score]
            assert getattr(verdict, score).value == pytest.approx(difference)
    written = read_json(report.run_path / "metrics.json")["verdicts"]
    assert [verdict["sentence"] for verdict in written] == [verdict.sentence for verdict in report.verdicts]


def test_the_weights_kept_are_those_of_the_best_epoch(folder, cache_path):
    """In fp32: in bf16 a row that two classes nearly share may be answered otherwise beside other rows."""
    report = train(cache_path, settings=replace(QUICK, max_epochs=4, precision="fp32"), runs_path=folder / "fp32")
    for name, found in report.metrics.items():
        if name in ("late", *DIRECT):
            continue
        reached = [epoch["validation_macro_f1"] for epoch in found["history"]]
        assert reached[found["best_epoch"] - 1] == max(reached) == pytest.approx(found["validation"]["macro_f1"])


def test_training_stops_after_so_many_epochs_without_a_better_one(folder, cache_path):
    settings = replace(QUICK, fusions=(), max_epochs=60, patience=2)
    for found in train(cache_path, settings=settings, runs_path=folder / "patient").metrics.values():
        assert len(found["history"]) == found["best_epoch"] + 2 < 60


def test_the_best_single_modality_is_that_of_the_validation_rows(tmp_path):
    """In the test rows the picture is noise; that must not be known when the single head is chosen."""
    targets, sides = np.arange(300) % 3, [("train", "train", "train", "val", "test")[n % 5] for n in range(300)]
    image, text = class_vectors(targets, 8, spread=0.1, seed=1), class_vectors(targets, 8, spread=2.0, seed=2)
    image[4::5] = np.random.default_rng(0).standard_normal((60, 8))
    columns = {"label": [f"{code}" for code in targets], "side": sides}
    path = synthetic_cache(tmp_path / "c.h5", {"image": image, "text": text}, columns)
    settings = replace(QUICK, split_column="side", fusions=("early", "late"))
    found = train(path, settings=settings, runs_path=tmp_path / "runs")
    assert found.metrics["image"]["accuracy"] < found.metrics["text"]["accuracy"]
    assert {verdict.single for verdict in found.verdicts} == {"image"}


def test_a_score_that_no_row_shows_a_mistake_of_is_of_the_rarest_class_too(tmp_path):
    """In macro-F1 a class of few rows weighs as much as one of many."""
    targets = np.repeat([0, 1], [200, 40])
    vectors = {"text": class_vectors(targets, 8, spread=0.01)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})
    settings = replace(QUICK, max_epochs=20, controls=())
    report = train(path, settings=settings, runs_path=tmp_path / "runs")
    n_rows = [row["support"] for row in report.metrics["text"]["classes"].values()]
    for score, n_seen in (("accuracy", sum(n_rows)), ("macro_f1", 2 * min(n_rows))):
        assert report.metrics["text"][score] == 1
        assert report.metrics["text"][f"{score}_interval"] == pytest.approx(wilson_interval(n_seen, n_seen)[1:])


def test_copies_among_the_test_rows_widen_the_interval(tmp_path):
    """Nearly the same vectors twice: once each a product of its own, once ten products share a text."""
    targets, sides = np.arange(300) % 3, ["train"] * 150 + ["val"] * 50 + ["test"] * 100
    text = class_vectors(targets, 8, spread=2.5)
    text[200:], targets[200:] = np.repeat(text[200:210], 10, axis=0), np.repeat(targets[200:210], 10)
    copies = {"text": [f"{n if n < 200 else 200 + n // 10}" for n in range(300)]}
    widths = []
    jitter = 0.01 * np.random.default_rng(1).standard_normal(text.shape)  # else they are copies, whatever their bytes
    for contents in (None, copies):
        columns = {"label": [f"{code}" for code in targets], "side": sides}
        vectors = {"text": text if contents else text + jitter}
        path = synthetic_cache(tmp_path / f"{len(widths)}.h5", vectors, columns, contents=contents)
        settings = replace(QUICK, fusions=(), split_column="side")
        low, high = train(path, settings=settings, runs_path=tmp_path / "runs").metrics["text"]["accuracy_interval"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0] > 0


def test_weights_are_honoured_exactly(cache_path, report):
    assert report.weights == {"image": 0.2, "text": 0.8}
    config = read_json(report.run_path / "config.json")
    assert config["late_weights"] == {"image": 0.2, "text": 0.8}
    assert config["settings"]["weights"] == "0.2,0.8"
    loaded = load_heads(report.run_path)
    with Cache(cache_path) as cache:
        answers = {name: head.probabilities(head.vectors_of(cache)) for name, head in loaded.items()}
    np.testing.assert_allclose(answers["late"], 0.2 * answers["image"] + 0.8 * answers["text"], atol=1e-6)


def test_weights_of_one_and_zero_repeat_the_single_heads_predictions(folder, cache_path):
    for weights, single in (("1,0", "image"), ("0,1", "text")):
        settings = replace(QUICK, fusions=("late",), weights=weights)
        found = train(cache_path, settings=settings, runs_path=folder / "ends")
        for row in read_csv(found.run_path / "predictions.csv"):
            assert (row["late"], row["late_probability"]) == (row[single], row[f"{single}_probability"])


def test_same_seed_gives_the_same_run_and_another_seed_another(folder, cache_path, report, again):
    other = train(cache_path, settings=replace(QUICK, weights="0.2,0.8", seed=1), runs_path=folder / "seeds")
    assert scores_of(again) == scores_of(report) != scores_of(other)
    texts = [(found.run_path / "predictions.csv").read_bytes() for found in (report, again, other)]
    assert texts[0] == texts[1] != texts[2]
    splits = [read_json(found.run_path / "config.json")["split"] for found in (report, again, other)]
    assert splits[0] == splits[1] != splits[2]


def test_the_callers_random_numbers_stay_as_they_were(folder, cache_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(cache_path, settings=replace(QUICK, fusions=()), runs_path=folder / "state")
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_a_modality_of_noise_is_said_to_add_nothing(tmp_path):
    targets = np.arange(1600) % 4
    vectors = {"image": class_vectors(targets, 4, signal=0.0), "text": class_vectors(targets, 16, spread=0.5, seed=1)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"{code}" for code in targets]})
    fusions = ("early", "late")
    found = train(path, settings=replace(QUICK, fusions=fusions, max_epochs=10), runs_path=tmp_path / "runs")
    assert found.metrics["text"]["accuracy"] > 0.9 > 0.5 > found.metrics["image"]["accuracy"]
    for fusion in fusions:
        start = f"text alone is as good as {fusion}: the image adds less than 2 points here"
        assert sentence_of(found, fusion).startswith(start)


def test_a_fusion_that_is_worse_is_said_to_be_worse(tmp_path):
    targets = np.arange(400) % 4
    vectors = {"image": class_vectors(targets, 8, signal=0.0), "text": class_vectors(targets, 8, spread=0.1, seed=1)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"{code}" for code in targets]})
    settings = replace(QUICK, fusions=("late",), weights="1,0")
    found = train(path, settings=settings, runs_path=tmp_path / "runs")
    assert sentence_of(found, "late").startswith("late is worse than text alone (accuracy -")


def test_test_rows_never_influence_training(tmp_path):
    """Their vectors and labels are shuffled, and every fitted number stays the same to the bit."""
    targets = np.arange(240) % 3
    image, text = class_vectors(targets, 8, seed=1), class_vectors(targets, 12, seed=2)
    sides = np.random.default_rng(3).choice(["train", "validation", "test"], p=[0.6, 0.2, 0.2], size=240)
    tested = np.flatnonzero(sides == "test")
    runs = []
    for name in ("as they are", "shuffled"):
        if name == "shuffled":
            image[tested], text[tested] = 100 * image[tested[::-1]] + 7, -text[tested]
            targets[tested] = 2 - targets[tested]
        columns = {"label": [f"{code}" for code in targets], "side": sides.tolist()}
        path = synthetic_cache(tmp_path / f"{name}.h5", {"image": image, "text": text}, columns)
        settings = replace(QUICK, split_column="side", max_epochs=2, schedule="none")
        runs.append(train(path, settings=settings, runs_path=tmp_path / "runs", name=name))
    for name in ALL:
        first, second = (weights_of(found.run_path, name) for found in runs)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
        assert runs[0].metrics[name]["history"] == runs[1].metrics[name]["history"]
    assert runs[0].metrics["early"]["accuracy"] != runs[1].metrics["early"]["accuracy"]


def test_training_rows_do_influence_training(tmp_path):
    """The check above can fail."""
    targets = np.arange(240) % 3
    text, sides = class_vectors(targets, 12), (["train"] * 3 + ["validation", "test"]) * 48
    found = []
    for name in ("as it is", "changed"):
        path = synthetic_cache(
            tmp_path / f"{name}.h5", {"text": text}, {"label": [f"{code}" for code in targets], "side": sides}
        )
        settings = replace(QUICK, fusions=(), split_column="side")
        found.append(weights_of(train(path, settings=settings, runs_path=tmp_path / "runs").run_path, "text"))
        text[0] += 1
    assert not all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_products_without_a_picture_or_a_text_are_trained_and_tested_too(tmp_path):
    row = np.arange(240)
    present = {"image": row % 5 != 0, "text": row % 4 != 0}
    path = shop(tmp_path / "c.h5", present=present)
    found = train(path, settings=replace(QUICK, fusions=("early", "late")), runs_path=tmp_path / "runs")
    assert sum(found.n_rows.values()) == 240 - 12  # every 20th has neither
    assert any(re.match("12 rows left out: .*vector", note) for note in found.notes)
    rows = {line["id"]: line for line in read_csv(found.run_path / "predictions.csv")}
    without = {name: [n for n in row if not present[name][n] and f"{n:05}" in rows] for name in present}
    for lost, other in (("image", "text"), ("text", "image")):
        assert without[lost]
        for n in without[lost]:
            line = rows[f"{n:05}"]
            assert (line["late"], line["late_probability"]) == (line[other], line[f"{other}_probability"])


def test_rows_without_a_label_are_on_no_side(tmp_path):
    targets = np.arange(240) % 3
    labels = ["" if n % 6 == 0 else f"{code}" for n, code in enumerate(targets)]
    path = synthetic_cache(tmp_path / "c.h5", {"text": class_vectors(targets, 8)}, {"label": labels})
    found = train(path, settings=replace(QUICK, fusions=()), runs_path=tmp_path / "runs")
    assert found.notes == ["40 rows left out: label is empty."]
    split = read_json(found.run_path / "config.json")["split"]
    assert sorted(chain(*split.values())) == [f"{n:05}" for n in range(240) if n % 6]


def test_products_that_share_a_picture_or_a_text_are_on_one_side(tmp_path):
    contents = {"image": [f"{n % 150}" for n in range(240)], "text": [f"{n // 2}" for n in range(240)]}
    path, settings = shop(tmp_path / "c.h5", contents=contents), replace(QUICK, fusions=(), max_epochs=1)
    found = train(path, settings=settings, runs_path=tmp_path / "runs")
    side_of = {
        int(row): side for side, rows in read_json(found.run_path / "config.json")["split"].items() for row in rows
    }
    for names in contents.values():
        for name in set(names):
            assert len({side_of[n] for n in range(240) if names[n] == name}) == 1


def test_a_cache_of_one_modality_has_no_fusion(tmp_path):
    targets = np.arange(120) % 2
    path = synthetic_cache(tmp_path / "c.h5", {"text": class_vectors(targets, 8)}, {"label": [f"{n}" for n in targets]})
    for named in (("late",), ("ensemble",), ("text", "ensemble"), (*FUSIONS, "residual")):
        expected = rf"fusion {named[-1]} needs two modalities, but there is text alone\. .*--fusion text"
        with pytest.raises(HeadError, match=expected):
            train(path, settings=replace(QUICK, fusions=named), runs_path=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    for fusions in ((), FUSIONS):  # all of them are all that there can be
        found = train(path, settings=replace(QUICK, fusions=fusions), runs_path=tmp_path / "runs")
        assert list(found.metrics) == ["text"]
        assert found.verdicts == []


def test_modalities_may_be_chosen(folder, cache_path):
    settings = replace(QUICK, fusions=(), modalities=("text",))
    assert list(train(cache_path, settings=settings, runs_path=folder / "chosen").metrics) == ["text"]
    with pytest.raises(MissingEntryError, match="modality 'audio', but it holds image, text"):
        train(cache_path, settings=replace(settings, modalities=("text", "audio")), runs_path=folder / "chosen")


def test_several_encoders_must_be_chosen_from(tmp_path):
    path = shop(tmp_path / "c.h5", encoder="first")
    shop(path, encoder="second", seed=5)
    with pytest.raises(MissingEntryError, match=r"but it holds first, second\. Name one with --encoder image=first"):
        train(path, settings=QUICK, runs_path=tmp_path / "runs")
    encoders = {"image": "second", "text": "first"}
    found = train(path, settings=replace(QUICK, fusions=(), encoders=encoders), runs_path=tmp_path / "runs")
    assert found.encoders == encoders
    with Cache(path) as cache:
        spec = cache.spec("image", "second")
    assert read_json(found.run_path / "image.json")["specs"]["image"] == json.loads(spec.to_json())


@pytest.mark.parametrize("encoders", [{"image": "resnet50"}, {"audio": "synthetic"}])
def test_an_encoder_that_the_cache_lacks_is_an_error(folder, cache_path, encoders):
    with pytest.raises(EmbedOnceError, match="|".join({*encoders, *encoders.values()})):
        train(cache_path, settings=replace(QUICK, encoders=encoders), runs_path=folder / "lacking")


def test_a_column_says_the_sides_and_its_leaks_are_told(tmp_path):
    sides = [("train", "train", "train", "dev", "test")[n % 5] for n in range(240)]
    contents = {"text": ["the same" if n in (0, 4, 9) else f"{n}" for n in range(240)]}
    path = shop(tmp_path / "c.h5", columns={"side": sides}, contents=contents)
    found = train(path, settings=replace(QUICK, fusions=(), split_column="side"), runs_path=tmp_path / "runs")
    split = read_json(found.run_path / "config.json")["split"]
    assert {side: [int(row) for row in rows] for side, rows in split.items()} == {
        "train": [n for n in range(240) if n % 5 < 3],
        "validation": [n for n in range(240) if n % 5 == 3],
        "test": [n for n in range(240) if n % 5 == 4],
    }
    assert any(
        note.startswith("2 of 48 test rows share a picture or a text with training rows") for note in found.notes
    )


def test_a_split_column_that_is_not_there_lists_the_columns(folder, cache_path):
    with pytest.raises((LabelError, SplitError), match=r"--split-column: .*\(label\), got 'fold'"):
        train(cache_path, settings=replace(QUICK, split_column="fold"), runs_path=folder / "columns")


def test_one_training_row_is_a_named_error(tmp_path):
    sides = ["train"] + ["val", "test"] * 119 + ["test"]
    path = shop(tmp_path / "c.h5", columns={"side": sides})
    with pytest.raises(EmbedOnceError):
        train(path, settings=replace(QUICK, split_column="side"), runs_path=tmp_path / "runs")


def test_classes_without_a_test_row_are_told(tmp_path):
    """The whole of class 2 is one text, which stands with the training rows."""
    targets = np.random.default_rng(0).integers(3, size=240)
    contents = {"text": ["one text" if code == 2 else f"{n}" for n, code in enumerate(targets)]}
    path, settings = shop(tmp_path / "c.h5", contents=contents), replace(QUICK, fusions=("early",))
    found = train(path, settings=settings, runs_path=tmp_path / "runs")
    n_rows = (targets == 2).sum()
    assert found.notes[0].startswith(f"{n_rows} of 240 rows share a picture or a text with each other")
    assert found.notes[1] == "1 of 3 classes have no test row in this split."
    assert found.metrics["early"]["classes"]["class 2"]["support"] == 0


@pytest.mark.parametrize("learning_rate", [1e30, 1e12])
def test_a_training_that_diverges_is_a_named_error(folder, cache_path, learning_rate):
    settings = replace(QUICK, learning_rate=learning_rate)
    with pytest.raises((HeadError, SettingError), match=r"learning.rate"):
        train(cache_path, settings=settings, runs_path=folder / "diverging")
    assert not (folder / "diverging").exists()


@pytest.mark.parametrize("weights", ["1", "a,b", "-1,2"])
def test_bad_weights_are_refused_before_anything_is_trained(folder, cache_path, monkeypatch, weights):
    monkeypatch.setitem(train.__globals__, "fit_jobs", lambda *_: pytest.fail("a head was fitted"))
    with pytest.raises(SettingError, match="--weights"):
        train(cache_path, settings=replace(QUICK, weights=weights), runs_path=folder / "refused")
    assert not (folder / "refused").exists()


def test_runs_without_a_name_count_up(tmp_path, cache_path):
    settings = replace(QUICK, fusions=(), max_epochs=1)
    paths = [train(cache_path, settings=settings, runs_path=tmp_path / "a" / "runs").run_path for _ in range(2)]
    assert [path.name for path in paths] == ["label-001", "label-002"]
    assert {path.parent for path in paths} == {tmp_path / "a" / "runs"}


@pytest.mark.parametrize(
    ("column", "name"), [("Main category/kind", "Main-category-kind-001"), ("..", "run-001"), ("Größe", "Größe-001")]
)
def test_the_usual_name_is_made_of_the_label(tmp_path, column, name):
    path = shop(tmp_path / "c.h5", columns={column: ["a", "b"] * 120})
    settings = replace(QUICK, fusions=(), label=column, max_epochs=1)
    assert train(path, settings=settings, runs_path=tmp_path / "runs").run_path == tmp_path / "runs" / name


def test_a_long_label_makes_a_name_that_a_folder_can_have(tmp_path):
    column = "what is it? " * 40
    path = shop(tmp_path / "c.h5", columns={column: ["a", "b"] * 120})
    found = train(path, settings=replace(QUICK, fusions=(), label=column, max_epochs=1), runs_path=tmp_path / "runs")
    assert found.run_path.is_dir()


def test_a_taken_name_is_refused_before_anything_is_trained(tmp_path, cache_path, monkeypatch):
    settings = replace(QUICK, fusions=(), max_epochs=1)
    first = train(cache_path, settings=settings, runs_path=tmp_path / "runs", name="mine")
    content = {path.name: path.read_bytes() for path in first.run_path.iterdir()}
    monkeypatch.setitem(train.__globals__, "fit_jobs", lambda *_: pytest.fail("a head was fitted"))
    with pytest.raises(RunError, match=r"runs/mine exists\. Choose another --name"):
        train(cache_path, settings=settings, runs_path=tmp_path / "runs", name="mine")
    assert {path.name: path.read_bytes() for path in first.run_path.iterdir()} == content
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]


def test_a_name_is_taken_while_another_process_trains(tmp_path, cache_path, monkeypatch):
    monkeypatch.setitem(train.__globals__, "pose", lambda *_: pytest.fail("something was read"))
    runs_path = tmp_path / "runs"
    with (
        reserved(runs_path, "mine"),
        pytest.raises(RunError, match=r"another process makes .*runs/mine\."),
    ):
        train(cache_path, runs_path=runs_path, name="mine")
    assert list(runs_path.iterdir()) == []


def test_a_name_that_a_killed_training_left_taken_is_told_with_what_to_remove(tmp_path):
    """Without locks the file stays, and the name was taken for ever."""
    (tmp_path / ".mine.lock").write_text(f"process 1 on x{BY_NAME}")
    with (
        pytest.raises(RunError, match=rf"Choose another --name, or remove {tmp_path}/\.mine\.lock if that was killed"),
        reserved(tmp_path, "mine"),
    ):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../elsewhere", "/elsewhere", "a\nb", "a\0b"])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path, cache_path, name):
    settings = replace(QUICK, fusions=(), max_epochs=1)
    with pytest.raises(RunError, match="--name: expected a plain folder name"):
        train(cache_path, settings=settings, runs_path=tmp_path / "runs", name=name)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing(tmp_path, cache_path, monkeypatch, failure):
    save = TrainedHead.save

    def failing(head, *arguments, **options):
        if head.name == "text":
            raise failure
        save(head, *arguments, **options)

    monkeypatch.setattr(TrainedHead, "save", failing)
    with pytest.raises(type(failure)):
        train(cache_path, settings=replace(QUICK, fusions=(), max_epochs=1), runs_path=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


KILLED = """
import os, signal, sys
from heads.settings import TrainSettings
from heads.workflows.train import train
from heads.modules.saving.saved_head import TrainedHead

TrainedHead.save = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
train(sys.argv[1], settings=TrainSettings(fusions=(), max_epochs=1, n_resamples=100), runs_path=sys.argv[2])
"""


def test_a_killed_write_leaves_no_run_and_hinders_none(tmp_path, cache_path):
    runs = tmp_path / "runs"
    killed = fork_server.run([sys.executable, "-c", KILLED, cache_path, runs], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path for path in runs.iterdir() if not path.name.startswith(".")] == []
    settings = replace(QUICK, fusions=(), max_epochs=1)
    assert train(cache_path, settings=settings, runs_path=runs).run_path == runs / "label-001"


def test_what_a_killed_run_of_the_same_process_number_left_hinders_none(tmp_path, cache_path):
    """In a container every run may have the same process number."""
    settings = replace(QUICK, fusions=(), max_epochs=1)
    left = tmp_path / "runs" / f".{os.getpid()}.tmp"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    assert train(cache_path, settings=settings, runs_path=tmp_path / "runs").run_path.name == "label-001"


def test_labels_that_are_not_unicode_are_kept(tmp_path):
    bad = b"caf\xe9".decode(errors="surrogateescape")
    targets = np.arange(120) % 2
    columns = {"label": [(bad, "tea")[code] for code in targets]}
    path = synthetic_cache(tmp_path / "c.h5", {"text": class_vectors(targets, 8)}, columns)
    found = train(path, settings=replace(QUICK, fusions=()), runs_path=tmp_path / "runs")
    assert load_heads(found.run_path)["text"].classes == [bad, "tea"]
    assert read_json(found.run_path / "config.json")["classes"] == [r"caf\xe9", "tea"]


def test_a_run_says_what_it_was_computed_on_and_in(folder, cache_path):
    """``auto`` is another precision on another machine, and with it other numbers."""
    for precision in ("fp32", "bf16"):
        report = train(cache_path, settings=replace(QUICK, fusions=(), precision=precision), runs_path=folder / "on")
        assert read_json(report.run_path / "config.json")["trained_on"] == {"device": "cpu", "precision": precision}


def test_ctrl_c_ends_a_training_at_once(cache_path, tmp_path, monkeypatch):
    """Nothing is kept of it, so nothing is computed for it either."""
    fitted = []

    def interrupted(*_, **__):
        fitted.append(None)
        raise KeyboardInterrupt

    monkeypatch.setattr("heads.experiment.late_fusion.fit_mixture", interrupted)
    settings = replace(QUICK, weights="auto", fusions=("late", "early"), max_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(cache_path, settings=settings, runs_path=tmp_path / "runs")
    assert len(fitted) == 1
    assert not list(tmp_path.rglob("config.json"))
