"""An ablation that was done is told again as a whole, where nothing that it follows from has changed."""

import json
import re
import shutil
import sqlite3
import sys

import numpy as np
import pytest
from own_heads import PLAIN_SOURCE
from support import class_vectors, invoke, synthetic_cache
from test_house import HEAVY, modules_after

import cache.file_identity
from cache.circumstances import circumstances_here
from cache.user_folder import user_secret
from heads.commands.ablate import ablate
from heads.runs import finished_ablations
from heads.workflows import ablate_anew

pytestmark = pytest.mark.slow

QUICK = ("--max-epochs", 1, "--hidden", 8, "--resamples", 100, "--folds", 2, "--fusion", "early", "--device", "cpu")
SECRET = b"s" * 32
NEW = re.compile(r"runs/\S+|\(\d+\.\d s\)|\"elapsed_s\": [\d.]+")  # what each run has of its own


@pytest.fixture(scope="module", autouse=True)
def settled(undrawn):
    """Let files have identities as soon as they are written, and every test the same variables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.file_identity, "SETTLED_NS", -(10**12))
        patch.setattr(cache.file_identity, "COARSE_SETTLED_NS", -(10**12))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(finished_ablations, "circumstances_here", shared_circumstances)
        patch.setattr(finished_ablations, "user_secret", lambda: SECRET)
        yield


def shared_circumstances():
    """Return the circumstances without the variables that each test has of its own."""
    found = circumstances_here()
    kept = [pair for pair in found["variables"] if not pair[0].startswith(("HF_", "HOME", "TORCH_HOME", "XDG_"))]
    return {**found, "variables": kept}


def seal(folder, *, second="b"):
    targets = np.arange(40) % 2
    vectors = {"image": class_vectors(targets, 3, spread=2.0), "text": class_vectors(targets, 4, seed=1)}
    labels = {"label": [f"class {code}" for code in targets], "other": ["a", second, "c", "d"] * 10}
    return synthetic_cache(folder / "c.h5", vectors, labels)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A cache, and an ablation of it that is done."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = invoke(ablate, seal(folder), *QUICK, "--runs", folder / "runs")
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def n_anew(monkeypatch):
    """How many ablations look at the cache: a list of one number."""
    count, pose = [0], ablate_anew.pose

    def counted(*arguments):
        count[0] += 1
        return pose(*arguments)

    monkeypatch.setattr(ablate_anew, "pose", counted)
    return count


@pytest.fixture
def again(once, tmp_path, monkeypatch):
    """Ask once more, with what is remembered copied to a folder of the test's own."""
    monkeypatch.chdir(once)
    shutil.copytree(once / "runs", tmp_path / "runs")

    def run(*arguments, cache_path=once / "c.h5"):
        result = invoke(ablate, cache_path, *QUICK, "--runs", tmp_path / "runs", *arguments)
        assert result.exit_code == 0, result.stderr
        return result

    return run


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", [(), ("--details",), ("--json",), ("--top", 1), ("--no-report",)])
def test_what_is_told_again_is_to_the_byte_what_is_told_of_remembered_jobs(
    options, again, n_anew, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["heads-ablate", "it's <c>.h5", "--name", "é\udce9&"])
    told = again(*options, "--name", "told")
    assert n_anew == [0]
    shutil.rmtree(tmp_path / "runs/memo.sqlite.finished")
    done = again(*options, "--name", "done")
    assert n_anew == [1]
    assert NEW.sub("", told.stdout) == NEW.sub("", done.stdout)
    assert told.stderr == done.stderr
    assert files_of(tmp_path / "runs/told") == files_of(tmp_path / "runs/done")
    assert ("report.html" in files_of(tmp_path / "runs/told")) == ("--no-report" not in options)


def test_the_first_run_is_told_as_one_that_trains_nothing(once, again):
    (first,) = once.glob("runs/label-ablation-*")
    assert b",trained," in (first / "jobs.csv").read_bytes()
    told = json.loads(again("--json", "--name", "told").stdout)
    assert (told["n_trained"], told["n_remembered"]) == (0, 6)


@pytest.mark.parametrize("options", [("--label", "other"), ("--resamples", 110), ("--memory", "1G")])
def test_another_question_is_not_answered_by_it(options, again, n_anew):
    again(*options)
    assert n_anew == [1]


@pytest.mark.parametrize("change", ["library", "code", "variable", "folder"])
def test_nothing_is_told_where_it_might_come_to_something_else(change, again, n_anew, tmp_path, monkeypatch):
    if change == "library":
        monkeypatch.setattr(finished_ablations, "versions_of", lambda names: dict.fromkeys(names, "0.0"))
    elif change == "code":
        monkeypatch.setattr(finished_ablations, "CODE", (".py", ".html"))
    elif change == "variable":
        monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")
    else:
        monkeypatch.chdir(tmp_path)
    again()
    assert n_anew == [1]


@pytest.mark.parametrize("what", ["cache", "corrections"])
def test_a_file_that_was_edited_is_read(what, again, n_anew, tmp_path):
    cache_path, corrections = seal(tmp_path), tmp_path / "corrections.csv"
    corrections.write_text("product,label\n00000,class 1\n")
    for _ in range(2):
        again("--corrections", corrections, cache_path=cache_path)
    assert n_anew == [1]
    if what == "cache":
        seal(tmp_path, second="z")
    else:
        corrections.write_text("product,label\n00000,class 0\n")
    again("--corrections", corrections, cache_path=cache_path)
    assert n_anew == [2]


@pytest.mark.parametrize("loss", ["no memo", "a job less", "another outcome", "half a file", "a flipped digit"])
def test_nothing_is_told_that_the_memo_does_not_bear_out(loss, again, n_anew, tmp_path):
    memo_path = tmp_path / "runs/memo.sqlite"
    (kept,) = (tmp_path / "runs/memo.sqlite.finished").iterdir()
    if loss == "no memo":
        memo_path.unlink()
    elif loss == "half a file":
        kept.write_text(kept.read_text()[: kept.stat().st_size // 2])
    elif loss == "a flipped digit":
        kept.write_text(kept.read_text().replace('"n_tested": 40', '"n_tested": 41'))
    else:
        with sqlite3.connect(memo_path) as memo:
            key = memo.execute("SELECT key FROM outcome").fetchone()
            memo.execute("DELETE FROM outcome WHERE key = ?", key)
        memo.close()
        if loss == "another outcome":
            again("--resamples", 110)  # trains the job anew, in other seconds
            n_anew[0] = 0
    told = again("--json")
    assert n_anew == [1]
    assert json.loads(told.stdout)["n_tested"] == 40


@pytest.mark.parametrize("what", ["a head of one's own", "a race", "a GPU"])
def test_what_may_come_to_something_else_is_not_kept(what, again, n_anew, tmp_path, monkeypatch):
    (tmp_path / "plain.py").write_text(PLAIN_SOURCE)
    monkeypatch.setattr(finished_ablations, "devices_here", lambda: ["/dev/nvidia0"])
    options = {
        "a head of one's own": ("--fusion", f"{tmp_path}/plain.py:Mine"),
        "a race": ("--race",),
        "a GPU": ("--device", "auto"),
    }
    for _ in range(2):
        again(*options[what])
    assert n_anew == [2]


def test_the_last_ones_are_kept(again, tmp_path, monkeypatch):
    monkeypatch.setattr(finished_ablations, "MOST_KEPT", 2)
    (first,) = (tmp_path / "runs/memo.sqlite.finished").iterdir()
    for resamples in (101, 102):
        again("--resamples", resamples)
    kept = list((tmp_path / "runs/memo.sqlite.finished").iterdir())
    assert len(kept) == 2
    assert first not in kept


def test_what_is_told_again_needs_no_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finished_ablations, "circumstances_here", circumstances_here)
    monkeypatch.setattr(finished_ablations, "user_secret", user_secret)
    seal(tmp_path)
    first = invoke(ablate, "c.h5", *QUICK)
    done, modules = modules_after("heads-ablate", "c.h5", *map(str, QUICK), folder=tmp_path)
    assert NEW.sub("", done.stdout) == NEW.sub("", first.stdout)
    assert not modules & {*HEAVY, "sklearn", "pandas", "matplotlib", "scipy"}
