"""`heads-ablate` as it is typed."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import fork_server
import numpy as np
import pytest
from support import FUSIONS, ROOT, class_vectors, invoke, synthetic_cache

import cache.console.notes
import heads.commands.live_progress
from heads.commands.ablate import ablate
from heads.commands.live_progress import Progress
from heads.experiment.result_store import ResultCache
from heads.settings import FitSettings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

QUICK = ("--max-epochs", 2, "--hidden", 8, "--resamples", 100, "--folds", 2, "--fusion", "early")


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    targets = np.arange(120) % 3
    vectors = {"image": class_vectors(targets, 4, spread=2.0), "text": class_vectors(targets, 6, seed=1)}
    path = tmp_path_factory.mktemp("cli") / "c.h5"
    return synthetic_cache(path, vectors, {"label": [f"class {code}" for code in targets]})


@pytest.fixture
def heads_ablate(cache_path, tmp_path):
    def run(*arguments, cache=cache_path):
        return invoke(ablate, cache, *QUICK, "--runs", tmp_path / "runs", *arguments)

    return run


def heads_of(result):
    """Return the heads in the printed table, from the best."""
    lines = result.stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("-----"))
    return [line.split()[0] for line in lines[start + 1 : lines.index("", start)]]


def assert_one_line(result, *words):
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert [word for word in words if word not in line] == []


def test_the_table_and_the_verdict_are_printed(heads_ablate, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.console.notes, "LINE_EVERY_S", np.inf)
    monkeypatch.setattr(heads.commands.live_progress, "LINE_EVERY_S", np.inf)
    result = heads_ablate()
    assert result.exit_code == 0, result.stderr
    assert sorted(heads_of(result)) == ["early", "image", "text"]
    assert "label: 3 classes, 120 test rows in 2 folds, 1 seed" in result.stdout
    assert "Chosen on the validation rows: early among the fusions" in " ".join(result.stdout.split())
    assert str(tmp_path / "runs" / "label-ablation-001") in result.stdout
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80


def test_the_same_line_again_trains_nothing(heads_ablate):
    first = heads_ablate("--details")
    again = heads_ablate("--details")
    assert "6 of 6 jobs trained, 0 remembered." in first.stdout
    assert "0 of 6 jobs trained, 6 remembered." in again.stdout
    assert heads_of(again) == heads_of(first)


def test_lists_span_a_grid(heads_ablate, tmp_path):
    result = heads_ablate("--lr", "1e-3,3e-3", "--seeds", "2", "--top", 2, "--details")
    assert "24 of 24 jobs trained" in result.stdout
    assert "and 4 more (--top)" in result.stdout
    assert "lr 0.00" in result.stdout
    with (tmp_path / "runs" / "label-ablation-001" / "ranking.csv").open(newline="") as file:
        assert {row["learning_rate"] for row in csv.DictReader(file)} == {"0.001", "0.003"}


def test_json_is_one_object(heads_ablate):
    output = json.loads(heads_ablate("--json").stdout)
    assert output["n_jobs"] == output["n_trained"] == 6
    assert [row["place"] for row in output["ranking"]] == [1, 2, 3]
    assert output["best_fusion"] == "early"
    assert output["verdict"]["sentence"]
    assert output["encoders"] == {"image": ["synthetic"], "text": ["synthetic"]}


def test_a_grid_file_says_what_the_line_would_and_the_line_wins(heads_ablate, tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("lr: [1e-3, 3e-3]\nfolds: 4\nseeds: 2\nname: from-the-file\nfusion: [early, lowrank]\nrank: 2\n")
    result = heads_ablate("--grid", path, "--seeds", 1, "--learning-rate", "1e-3")
    assert result.exit_code == 0, result.stderr
    config = json.loads((tmp_path / "runs" / "from-the-file" / "ablation.json").read_text())
    settings = config["settings"]
    assert settings["grid"] == {"learning_rate": [0.001], "hidden_dim": [8], "rank": [2], "max_epochs": [2]}
    assert (settings["seeds"], settings["n_folds"], config["fusions"]) == ([0], 2, ["early"])  # all given in the line


@pytest.mark.parametrize("key", ["rate", "grid", "json", "help"])
def test_a_grid_file_with_an_unknown_key_lists_the_known_ones(heads_ablate, tmp_path, key):
    path = tmp_path / "grid.toml"
    path.write_text(f"{key} = 1")
    assert_one_line(heads_ablate("--grid", path), f"got '{key}'", "learning-rate", "weight-decay", "seeds")


def test_a_grid_file_that_is_not_there_is_a_named_error(heads_ablate, tmp_path):
    assert_one_line(heads_ablate("--grid", tmp_path / "no.yaml"), "no.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lr", "x"], ["--learning-rate: expected numbers"]),
        (["--lr", "1e-4..1e-2"], ["--search N"]),
        (["--hidden", "30"], ["--hidden-dim: expected a multiple of 4"]),
        (["--seeds", "a"], ["--seeds: expected"]),
        (["--folds", "0"], ["--folds: expected at least 1"]),
        (["--encoders", "resnet50"], ["--encoders", "image: synthetic; text: synthetic", "'resnet50'"]),
        (["--fusion", "sum"], ["--fusion: expected some of"]),
        (["--label", "kind"], ["--label: expected one of"]),
        (["--name", "a/b"], ["--name"]),
        (["--modalities", "audio"], ["audio"]),
        (["--device", "tpu"], ["--device"]),
        (["--precision", "fp8"], ["--precision"]),
        (["--weights", "1,2"], ["late"]),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_one_line(heads_ablate, arguments, words):
    assert_one_line(heads_ablate(*arguments), *words)


def test_a_memo_that_is_none_is_a_named_error(heads_ablate, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no memo\n" * 99)
    assert_one_line(heads_ablate("--memo", path), "notes.txt", "heads-ablate wrote", "Delete it")


def test_ctrl_c_says_that_the_same_line_goes_on(heads_ablate, monkeypatch, tmp_path):
    note = Progress.note

    def stop(self, *arguments, **options):
        note(self, *arguments, **options)
        if self._n_trained == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "note", stop)
    result = heads_ablate()
    assert result.exit_code == 130
    assert "the same line goes on" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setattr(Progress, "note", note)
    with ResultCache(tmp_path / "runs" / "memo.sqlite") as memo:
        n_kept = len(memo)
    assert 4 <= n_kept <= 6
    assert f"{6 - n_kept} of 6 jobs trained, {n_kept} remembered." in heads_ablate("--details").stdout


def test_a_signal_stops_the_command_and_keeps_what_is_finished(cache_path, tmp_path):
    """Some jobs are done at once, and the others of their stack would take hours."""
    memo_path = tmp_path / "runs" / "memo.sqlite"
    command = [sys.executable, ROOT / "bin" / "heads-ablate", cache_path, "--fusion", "early", "--folds", "2"]
    command += ["--max-epochs", "1,10000000", "--patience", "10000000", "--hidden", "8", "--runs", tmp_path / "runs"]
    running = fork_server.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    n_done = 0
    try:
        while running.poll() is None and n_done < 2:
            time.sleep(0.1)
            if memo_path.exists() and memo_path.stat().st_size:
                with ResultCache(memo_path) as memo:
                    n_done = len(memo)
        os.kill(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 130, said
    assert "the same line goes on" in said
    with ResultCache(memo_path) as memo:
        assert len(memo) >= 2


def test_a_search_without_optuna_says_how_to_get_it(heads_ablate, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert_one_line(heads_ablate("--search", 3), "--search needs Optuna", "pip install")


def test_a_search_takes_ranges(heads_ablate):
    pytest.importorskip("optuna")
    options = ("--search", 3, "--lr", "1e-3..1e-1", "--dropout", "0..0.5", "--details")
    result = heads_ablate(*options)
    assert result.exit_code == 0, result.stderr
    assert "18 of 18 jobs trained" in result.stdout
    assert "0 of 18 jobs trained" in heads_ablate(*options).stdout


def test_all_heads_are_trained(heads_ablate):
    assert set(heads_of(heads_ablate("--fusion", "all", "--details"))) == {"image", "text", *FUSIONS}


def test_the_answer_fits_a_screen_and_details_have_the_rest(heads_ablate):
    result, detailed = (heads_ablate("--fusion", "all", *own) for own in ((), ["--details"]))
    assert len(result.stdout.splitlines()) <= 18
    first, empty, verdict = result.stdout.splitlines()[:3]
    assert first.startswith("label: 3 classes")
    assert (empty, verdict[:31]) == ("", "Chosen on the validation rows: ")
    assert len(heads_of(result)) == 6  # five, and the line that counts the others
    assert "and 3 more (--top)" in result.stdout
    assert "hold for all 7 differences together" in result.stdout
    for words in ("Ranked by macro-F1", "jobs trained", "image: synthetic"):
        assert words not in result.stdout
        assert words in detailed.stdout


def test_untrained_encoders_are_said_to_be_untrained(heads_ablate, tmp_path):
    targets = np.arange(60) % 2
    vectors = {"image": class_vectors(targets, 4), "text": class_vectors(targets, 4, seed=1)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"{code}" for code in targets]}, encoder="random")
    assert re.search(r"UNTRAINED.*\brandom\b", heads_ablate(cache=path).stdout)
    assert "UNTRAINED" not in heads_ablate().stdout


def test_help_shows_the_defaults_of_the_lists():
    text = " ".join(invoke(ablate, "--help").stdout.split())
    for name in ("learning_rate", "hidden_dim", "dropout", "batch_size", "max_epochs"):
        option = name.replace("_", "-")
        assert re.search(rf"--{option}\b.*? LIST [^\[]*\[default: {getattr(FitSettings(), name)}\]", text), name
