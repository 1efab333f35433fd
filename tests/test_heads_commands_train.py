"""`heads-train` from its command line: what it prints where, what it accepts, and how it says no."""

import csv
import json
import logging
import os
import re
import shutil
import signal
import threading
from dataclasses import fields
from itertools import chain

import h5py
import numpy as np
import pytest
from support import FUSIONS, ROOT, class_vectors, invoke, synthetic_cache

import cache.console.notes
from heads.commands.train import train
from heads.errors import SettingError
from heads.option_texts import parse_fusions
from heads.settings import TrainSettings
from heads.training.scheduler import fit_jobs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

ALL = ["image", "text", *FUSIONS]
DETAILED = r"head +acc "  # the table behind the answer's


@pytest.fixture(autouse=True)
def _fresh_log(monkeypatch):
    """The command's log handler writes to the stderr of this test."""
    monkeypatch.setattr(logging.getLogger("embed_once"), "handlers", [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("commands")


def shop(path, *, spread=1.0, encoder="synthetic", columns=None):
    targets = np.arange(150) % 3
    vectors = {
        "image": class_vectors(targets, 8, spread=spread, seed=1),
        "text": class_vectors(targets, 12, spread=spread, seed=2),
    }
    columns = {
        "label": [f"class {code}" for code in targets],
        "one": ["same"] * 150,
        "none": [""] * 150,
        **(columns or {}),
    }
    return synthetic_cache(path, vectors, columns, encoder=encoder)


@pytest.fixture(scope="module")
def cache_path(folder):
    return shop(folder / "c.h5")


@pytest.fixture(scope="module")
def some_unlabelled(folder):
    labels = ["" if n < 4 else f"class {n % 3}" for n in range(150)]
    return shop(folder / "unlabelled.h5", columns={"label": labels})


# The report has tests of its own.
QUICK = ("--no-report", "--schedule", "none", "--max-epochs", 1, "--hidden-dim", 16, "--resamples", 100)


@pytest.fixture
def heads_train(cache_path, tmp_path):
    """Run the command on the cache, quickly and into a folder of its own."""

    def run(*arguments, cache=cache_path):
        return invoke(train, cache, "--runs", tmp_path / "runs", *QUICK, *arguments)

    return run


@pytest.fixture(scope="module")
def usual(cache_path, folder):
    """What the command did without an option, for all who only read it: a result and a run folder."""
    return done_for_many(cache_path, "--runs", folder / "usual"), folder / "usual" / "label-001"


@pytest.fixture(scope="module")
def detailed(cache_path, folder):
    """What it did with all details."""
    return done_for_many(cache_path, "--runs", folder / "detailed", "--details"), folder / "detailed" / "label-001"


def done_for_many(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("embed_once"), "handlers", [])
        patch.setattr(cache.console.notes, "LINE_EVERY_S", np.inf)
        return invoke(train, *arguments, *QUICK, "--max-epochs", 3)


def verdicts_of(run_path):
    return json.loads((run_path / "metrics.json").read_text())["verdicts"]


def assert_one_line(result, *words):
    assert result.exit_code == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


def table_of(text, header="head "):
    """Return the printed table's lines: from its header to the next empty one."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if re.match(header, line))
    return lines[start : lines.index("", start)]


def heads_of(result):
    assert result.exit_code == 0, result.stderr
    return [line.split()[0] for line in table_of(result.stdout)[2:]]


def test_auto_is_one_head_that_the_run_names_with_its_reason(heads_train, monkeypatch):
    done = heads_train("--fusion", "auto", "--details")
    assert done.exit_code == 0, done.output
    assert "auto is stack: of the heads measured " in " ".join(done.stderr.split())
    assert re.search(r"^stack ", done.stdout, re.MULTILINE)
    assert not re.search(r"^(early|late) ", done.stdout, re.MULTILINE)
    monkeypatch.setattr("heads.experiment.problem._stay_on_disk", lambda *_: True)
    done = heads_train("--fusion", "auto", "--controls", "none")
    assert done.exit_code == 0, done.output
    assert "auto is early: the vectors stay on the disk" in " ".join(done.stderr.split())


def test_over_one_modality_all_is_its_own_head_from_the_disk_too(heads_train, monkeypatch):
    monkeypatch.setattr("heads.experiment.problem._stay_on_disk", lambda *_: True)
    assert heads_of(heads_train("--modalities", "text", "--controls", "none")) == ["text"]


def test_results_go_to_stdout_and_notes_to_stderr(heads_train, some_unlabelled, tmp_path):
    result = heads_train("--fusion", "early", cache=some_unlabelled)
    assert result.exit_code == 0
    assert result.stdout.startswith("label: 3 classes; ")
    assert heads_of(result) == ["image", "text", "early"]
    assert str(tmp_path / "runs" / "label-001") in result.stdout.splitlines()[-1]
    assert "4 rows left out: label is empty." in result.stderr
    assert "left out" not in result.stdout


def test_the_table_shows_what_the_run_folder_holds(heads_train, tmp_path):
    stdout = heads_train("--weights", "0.4,0.6", "--details").stdout
    lines = table_of(stdout, DETAILED)
    metrics = json.loads((tmp_path / "runs" / "label-001" / "metrics.json").read_text())["heads"]
    shown = [line for line in lines[2:] if not line.startswith("(")]  # the controls
    for line, (name, found) in zip(shown, metrics.items(), strict=True):
        numbers = re.findall(r"-?\d+\.\d+", line.replace("0.4,0.6", ""))
        low_high = [*found["accuracy_interval"], found["macro_f1"], *found["macro_f1_interval"]]
        percents = [f"{100 * value:.1f}" for value in (found["accuracy"], *low_high)]
        assert line.startswith(name)
        assert numbers[:6] == percents
        assert numbers[6] == f"{100 * found['train_test_gap']:.1f}"
    others = [line for line in table_of(stdout, "head .*log loss")[2:] if not line.startswith("(")][: len(metrics)]
    for line, (name, found) in zip(others, metrics.items(), strict=True):
        assert line.startswith(name)
        shares = [f"{found[score]:.3f}" for score in ("log_loss", "calibration_error", "calibration_floor")]
        assert line.split()[-4:] == [f"{100 * found['balanced_accuracy']:.1f}", *shares]


def test_the_table_fits_80_columns(heads_train, detailed, tmp_path):
    """Also where the heads have all rows right."""
    right = heads_train(
        "--details", "--weights", "0.4,0.6", "--max-epochs", 4, cache=shop(tmp_path / "c.h5", spread=0.01)
    )
    assert right.exit_code == 0
    assert "88.6–100.0" in right.stdout  # of 30 rows, none of them wrong
    metrics = json.loads((detailed[1] / "metrics.json").read_text())["heads"]
    assert any(found["accuracy"] < 1 for found in metrics.values())
    for result in (right, detailed[0]):
        assert max(map(len, [*table_of(result.stdout), *table_of(result.stdout, DETAILED)])) <= 80


def test_long_names_are_wrapped_and_shortened_to_80_columns(heads_train, tmp_path):
    own = tmp_path / "own.py"
    source = (ROOT / "tests" / "user_heads.py").read_text()
    long_name = "A" + "VeryLong" * 5 + "Name"
    own.write_text(re.sub(r"\bUsual\b", long_name, source))
    name = "an-encoder-of-a-very-long-name-" * 4
    targets = np.arange(150) % 3
    vectors = {
        modality: class_vectors(targets, 8, spread=0.01, seed=n)
        for n, modality in enumerate(("image", "metadata", "text"))
    }
    label = "the column of the kinds that a shop's own people gave to each product by hand"
    path = synthetic_cache(tmp_path / "c.h5", vectors, {label: [f"{n}" for n in targets]}, encoder=name)
    result = heads_train(
        "--label", label, "--fusion", f"early,late,{own}:{long_name}", "--details", "--guard", "--weights", "1,1,1",
        cache=path,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()[:-1]  # a path is as long as it is
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert f"{long_name[:5]}" in result.stdout
    assert "…" in result.stdout


def test_the_verdict_on_the_best_fusion_and_the_path_come_last(usual):
    result, run_path = usual
    _, _, verdict = result.stdout.strip().split("\n\n")
    metrics = json.loads((run_path / "metrics.json").read_text())
    best = max(FUSIONS, key=lambda name: metrics["heads"][name]["validation"]["macro_f1"])
    (sentence,) = [own["sentence"] for own in metrics["verdicts"] if own["fusion"] == best]
    said = " ".join(verdict.split())
    assert said.startswith(f"On the validation rows {best} is the best fusion. {sentence}")
    assert verdict.splitlines()[-1].startswith(str(run_path))


def test_the_answer_fits_a_screen_and_details_follow_it(usual, detailed):
    """Eight heads, a row each: what they were trained on, the verdict and the path are all that stands beside."""
    (result, _), (with_details, _) = usual, detailed
    answer = result.stdout.splitlines()[:-1]  # the last line is the run's own path and time
    assert len(answer) <= 18
    assert max(map(len, answer)) <= 80
    assert with_details.stdout.splitlines()[: len(answer)] == answer
    for words in ("McNemar", "10% missing", "(majority)", "late averages", "best epoch", "ECE"):
        assert words not in result.stdout
        assert words in with_details.stdout
    assert "epochs" not in result.stderr


def test_each_fusion_has_a_row_with_its_gain_and_one_word(usual):
    result, run_path = usual
    lines, verdicts = table_of(result.stdout), verdicts_of(run_path)
    assert lines[0].split() == ["head", "accuracy", "macro-F1", "macro-F1", "−", verdicts[0]["single"], "verdict"]
    rows = {line.split()[0]: line for line in lines[2:]}
    for verdict in verdicts:
        value, low, high = (f"{100 * verdict['macro_f1'][name]:+.1f}" for name in ("value", "low", "high"))
        assert re.search(rf" {verdict['outcome']}( \((accuracy|macro-F1)\))?$", rows[verdict["fusion"]])
        assert f" {value} [{low}, {high}] " in rows[verdict["fusion"]]


def test_a_control_that_is_as_good_is_told_in_one_sentence(usual, heads_train):
    result, run_path = usual
    text, verdicts = " ".join(result.stdout.split()), verdicts_of(run_path)
    fusions = [verdict["fusion"] for verdict in verdicts if "centroids" in verdict["no_better_than"]]
    assert fusions == [
        verdict["fusion"] for verdict in verdicts if "control centroids" in " ".join(verdict["warnings"])
    ]
    named = "any fusion" if len(fusions) == len(FUSIONS) else ", ".join(fusions)
    assert f"the control centroids may be no worse than {named}" in text
    assert text.count("Careful: ") == 1
    assert "Careful: " not in heads_train("--fusion", fusions[0], "--controls", "none").stdout


def test_every_fusion_gets_a_verdict_in_words(detailed):
    result, run_path = detailed
    text, verdicts = " ".join(result.stdout.split()), verdicts_of(run_path)
    assert [verdict["fusion"] for verdict in verdicts] == list(FUSIONS)
    for verdict in verdicts:
        assert verdict["sentence"] in text
        assert re.search(r"accuracy [+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\], macro-F1", verdict["sentence"])


def test_weights_are_shown(heads_train):
    assert "weights image 0.4, text 0.6" in heads_train("--fusion", "late", "--weights", "0.4,0.6", "--details").stdout


def test_json_is_one_object(heads_train, some_unlabelled, tmp_path):
    result = heads_train("--json", "--weights", "text=3,image=1", cache=some_unlabelled)
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(report["metrics"]) == ALL
    assert report["run_path"] == str(tmp_path / "runs" / "label-001")
    assert report["weights"] == {"image": 0.25, "text": 0.75}
    assert report["n_classes"] == 3
    assert report["notes"] == ["4 rows left out: label is empty."]
    assert all(verdict["sentence"] for verdict in report["verdicts"])


@pytest.mark.parametrize(
    ("fusion", "heads"),
    [
        ("all", ALL),
        ("intermediate", ["image", "text", "attention"]),
        ("lowrank,gated", ["image", "text", "gated", "lowrank"]),
        (" late , intermediate ", ["image", "text", "attention", "late"]),
        ("early,concat", ["image", "text", "early"]),
        ("text", ["image", "text"]),
        ("image,late", ["image", "text", "late"]),
    ],
)
def test_fusions_are_named_one_by_one_or_in_a_list(heads_train, fusion, heads):
    assert heads_of(heads_train("--fusion", fusion, "--controls", "none")) == heads


@pytest.mark.parametrize("fusion", ["fused", "early,fused", "", ",", "early;late", "Early"])
def test_an_unknown_fusion_lists_those_there_are(heads_train, fusion):
    assert_one_line(heads_train("--fusion", fusion), "--fusion: expected some of", ", ".join(FUSIONS), repr(fusion))


def test_a_modality_that_the_cache_lacks_is_no_fusion_of_it(heads_train, tmp_path):
    """Asked for the text head of a cache of pictures, the image head is no answer."""
    targets = np.arange(90) % 3
    path = synthetic_cache(
        tmp_path / "c.h5", {"image": class_vectors(targets, 8)}, {"label": [f"{n}" for n in targets]}
    )
    assert_one_line(heads_train("--fusion", "text", cache=path), "text", "image")


def test_all_fusions_of_one_modality_are_that_modality(heads_train, cache_path):
    assert heads_of(heads_train("--modalities", "text")) == ["text"]
    assert_one_line(heads_train("--modalities", "text", "--fusion", "late"), "two modalities", "--fusion text")


@pytest.mark.parametrize(
    "weights",
    ["-1,2", "0,0", "nan,1", "inf,1", "1", "1,2,3", "a,b", "", "image=1", "image=1,audio=1", "image=1,image=2"],
)
def test_bad_weights_are_refused_in_one_line(heads_train, weights, tmp_path):
    assert_one_line(heads_train("--fusion", "late", f"--weights={weights}"), "--weights", "(image, text)")
    assert not (tmp_path / "runs").exists()


def test_weights_without_late_fusion_are_refused(heads_train):
    assert_one_line(heads_train("--fusion", "early", "--weights", "0.4,0.6"), "--weights", "late")


OUT_OF_RANGE = {
    "--min-rows": ["0", "-3"],
    "--test-share": ["0", "1", "-0.1", "1.5", "nan"],
    "--validation-share": ["0", "1", "nan", "0.8"],  # 0.8 leaves nothing beside the test rows
    "--seed": ["-1", "18446744073709551616"],
    "--hidden-dim": ["0", "-4", "30"],  # attention has 4 heads
    "--dropout": ["-0.1", "1", "nan"],
    "--learning-rate": ["0", "-1", "nan", "inf"],
    "--weight-decay": ["-1", "nan", "inf"],
    "--batch-size": ["0", "1"],
    "--schedule": ["", "linear"],
    "--warmup": ["-1", "nan", "inf"],
    "--max-epochs": ["0"],
    "--patience": ["0"],
    "--rank": ["0", "-1"],
    "--modality-dropout": ["-0.1", "1", "nan"],
    "--logit-adjustment": ["-1", "nan", "inf"],
    "--class-weights": ["", "even"],
    "--absent": ["", "noughts"],
    "--per-class": ["", "0", "-1", "2.5", "most"],
    "--precision": ["fp8"],
    "--device": ["", "gpu", "cuda:x"],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, bad in OUT_OF_RANGE.items() for value in bad]
)
def test_a_setting_out_of_range_is_refused_by_name(heads_train, option, value):
    assert_one_line(heads_train(f"{option}={value}"), option, value)


@pytest.mark.parametrize(
    "changes",
    [{field.name: 0} for field in fields(TrainSettings) if type(field.default) is int and field.name != "seed"],
    ids=str,
)
def test_a_message_names_no_option_that_does_not_exist(changes):
    """A setting that only Python can set is called as it is called there."""
    with pytest.raises(SettingError) as caught:
        TrainSettings(**changes)
    options = set(chain(*(parameter.opts for parameter in train.params)))
    assert set(re.findall(r"--[a-z-]+", str(caught.value))) <= options
    name = next(iter(changes))
    option = name.removeprefix("n_").replace("_", "-")
    assert re.search(f"--{option}|{name}", str(caught.value))


@pytest.mark.parametrize(
    "arguments", [["--seed", "x"], ["--max-epochs", "2.5"], ["--no-such-option"], ["one", "two"], ["--label"]]
)
def test_wrong_usage_exits_with_2(heads_train, arguments):
    result = heads_train(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_cache_that_is_not_there_says_how_to_make_one(heads_train, tmp_path):
    assert_one_line(heads_train(cache=tmp_path / "no.h5"), "no.h5 is not there", "embed-extract")


def test_the_usual_cache_is_embeddings_h5(tmp_path):
    assert_one_line(invoke(train, "--runs", tmp_path / "runs"), "embeddings.h5 is not there")


def test_a_folder_is_no_cache(heads_train, tmp_path):
    assert_one_line(heads_train(cache=tmp_path), "is a folder")


@pytest.mark.parametrize("content", [b"", b"id,image,label\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_what_is_no_cache_is_refused(heads_train, tmp_path, content):
    (tmp_path / "c.h5").write_bytes(content)
    assert_one_line(heads_train(cache=tmp_path / "c.h5"), "c.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_cache_is_refused(heads_train, cache_path, tmp_path, share):
    content = cache_path.read_bytes()
    (tmp_path / "c.h5").write_bytes(content[: int(share * len(content))])
    assert_one_line(heads_train(cache=tmp_path / "c.h5"), "damaged")


def test_a_newer_cache_is_refused_with_the_way_out(heads_train, cache_path, tmp_path):
    path = shutil.copy(cache_path, tmp_path / "c.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    assert_one_line(heads_train(cache=path), "version 3 or version 4, got 99", "Update embed-once")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--modalities", "image,audio"], ["to hold the modality 'audio', but it holds image, text"]),
        (["--modalities", ","], ["modality"]),
        (["--encoder", "image=resnet50"], ["the image encoder 'resnet50', but it holds synthetic"]),
        (["--encoder", "audio=synthetic"], ["audio"]),
        (["--encoder", "image"], ["--encoder: expected MODALITY=NAME", "'image'"]),
        (["--encoder", "=synthetic"], ["--encoder: expected MODALITY=NAME"]),
        (["--encoder", "image="], ["--encoder: expected MODALITY=NAME"]),
        (["--encoder", "image=a", "--encoder", "image=b"], ["expected one of image, got two", "image=a+b"]),
        (["--label", "kind"], ["--label: expected one of", "(label, one, none)", "'kind'"]),
        (["--label", "one"], ["two classes or more", "got 1: same (150)"]),
        (["--label", "none"], ["two classes or more", "got 0: no labels"]),
        (["--min-rows", "100"], ["two classes or more of at least 100 rows", "--min-rows"]),
        (["--split-column", "fold"], ["--split-column: expected one of", "'fold'"]),
        (["--split-column", "label"], ["--split-column label to say train, validation or test", "class 0"]),
        (["--name", "a/b"], ["--name: expected a plain folder name"]),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(heads_train, arguments, words):
    result = heads_train(*arguments)
    result_words = [word for word in words if word not in result.stderr]
    assert not result_words
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_encoders_may_be_chosen(heads_train, tmp_path):
    path = shop(tmp_path / "c.h5", encoder="first")
    shop(path, encoder="second")
    assert_one_line(heads_train(cache=path), "but it holds first, second", "--encoder image=first")
    result = heads_train("--encoder", "image=second", "--encoder", " text = first ", "--fusion", "early", cache=path)
    assert "image: second  text: first" in result.stdout


def test_a_column_may_say_the_sides(heads_train, tmp_path):
    path = shop(tmp_path / "c.h5", columns={"side": ["train", "train", "val", "test", "train"] * 30})
    result = heads_train("--split-column", "side", "--fusion", "text", cache=path)
    assert "90 train, 30 validation, 30 test rows" in result.stdout


def test_untrained_encoders_are_said_to_be_untrained(usual, heads_train, tmp_path):
    result = heads_train("--fusion", "text", cache=shop(tmp_path / "c.h5", encoder="random"))
    assert (
        "image: random  text: random\nUNTRAINED encoders: these numbers say nothing about real ones.\n" in result.stdout
    )
    assert "UNTRAINED" not in usual[0].stdout


def test_settings_reach_the_run(heads_train, tmp_path):
    chosen = {
        "--seed": 7, "--min-rows": 5, "--test-share": 0.3, "--validation-share": 0.2, "--hidden-dim": 20,
        "--dropout": 0.25, "--learning-rate": 0.01, "--weight-decay": 0.1, "--batch-size": 50, "--max-epochs": 2,
        "--patience": 1, "--label": "label", "--weights": "1,3",
        "--rank": 3, "--modality-dropout": 0.1, "--absent": "learned", "--class-weights": "balanced",
        "--logit-adjustment": 0.5, "--per-class": "30", "--schedule": "cosine", "--warmup": 1.5,
        "--device": "cpu", "--precision": "fp32",
    }  # fmt: skip
    assert heads_train(*chain(*chosen.items()), "--name", "mine").exit_code == 0
    config = json.loads((tmp_path / "runs" / "mine" / "config.json").read_text())
    for option, value in chosen.items():
        assert config["settings"][option.lstrip("-").replace("-", "_")] == value
    assert config["command"][0] == "heads-train"


def test_a_taken_name_is_refused(heads_train):
    assert heads_train("--name", "mine", "--fusion", "text").exit_code == 0
    assert "Choose another --name" in heads_train("--name", "mine").stderr


def test_notes_stand_on_stderr_each_time(heads_train, some_unlabelled):
    """A process that runs the command twice gets its notes twice."""
    for _ in range(2):
        assert "4 rows left out" in heads_train("--fusion", "text", cache=some_unlabelled).stderr


def test_ctrl_c_exits_with_130(heads_train, monkeypatch, tmp_path):
    """Also while other threads train, which are told to stop."""
    is_first, is_told = threading.Semaphore(), threading.Event()

    def interrupted(_jobs, _sources, *, stop):
        if is_first.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
        if stop.wait(60):
            is_told.set()
        yield from ()

    monkeypatch.setitem(fit_jobs.__globals__, "descend", interrupted)
    result = heads_train()
    assert result.exit_code == 130
    assert "Stopped" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()
    assert is_told.wait(60)


def test_a_mistake_of_ours_exits_with_3_and_shows_where(heads_train, monkeypatch):
    """Also in another thread than the command's own."""

    def fail(*_, **__):
        raise ZeroDivisionError("some mistake")

    monkeypatch.setitem(fit_jobs.__globals__, "descend", fail)
    result = heads_train()
    assert result.exit_code == 3
    assert "in fail" in result.stderr
    assert "ZeroDivisionError: some mistake" in result.stderr


def test_runs_that_cannot_be_written_are_a_named_error(cache_path, tmp_path):
    (tmp_path / "runs").write_text("a file")
    result = invoke(train, cache_path, "--runs", tmp_path / "runs", "--max-epochs", 1, "--fusion", "text")
    assert result.exit_code == 1
    assert str(tmp_path / "runs") in result.stderr
    assert "Traceback" not in result.stderr


def test_the_predictions_name_each_heads_answer(heads_train, tmp_path):
    heads_train("--fusion", "late")
    with (tmp_path / "runs" / "label-001" / "predictions.csv").open(newline="") as file:
        assert next(csv.reader(file)) == [
            "id", "label", "image", "image_probability", "text", "text_probability", "late", "late_probability",
        ]  # fmt: skip


def test_help_shows_the_defaults():
    text = " ".join(invoke(train, "--help").stdout.split())
    defaults = TrainSettings()
    for name in ("min_rows", "test_share", "validation_share", "seed", "hidden_dim", "dropout", "max_epochs"):
        assert re.search(rf"--{name.replace('_', '-')} \S+ [^\[]*\[default: {getattr(defaults, name)}\]", text), name


@pytest.mark.parametrize(
    ("text", "fusions"),
    [("all", FUSIONS), ("image", ("image",)), ("late,all", FUSIONS), ("late,concat", ("early", "late"))],
)
def test_fusions_are_parsed_in_one_order(text, fusions):
    assert parse_fusions(text) == fusions
