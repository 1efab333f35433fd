"""An ablation that was done is told again as a whole, where nothing that it follows from has changed."""

import errno
import hashlib
import hmac
import json
import os
import re
import shutil
import sqlite3
import sys

import numpy as np
import pytest
from house import HEAVY, modules_after
from support import class_vectors, invoke, synthetic_cache
from user_heads import PLAIN_SOURCE

import cache.system.file_identity
from cache.system.circumstances import circumstances_here
from cache.system.user_folder import user_secret
from heads.ablation.ablation_settings import AblationSettings
from heads.commands.ablate import ablate
from heads.runs import finished_ablations
from heads.runs.finished_ablations import FinishedAblations
from heads.workflows import ablate_anew

pytestmark = pytest.mark.slow

QUICK = ("--max-epochs", 1, "--hidden", 8, "--resamples", 100, "--folds", 2, "--fusion", "early", "--device", "cpu")
SECRET = b"s" * 32
NEW = re.compile(r"runs/\S+|\(\d+\.\d s\)|\"elapsed_s\": [\d.]+")  # what each run has of its own


@pytest.fixture(scope="module", autouse=True)
def settled(undrawn):
    """Let files have identities as soon as they are written, and every test the same variables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.system.file_identity, "SETTLED_NS", -(10**12))
        patch.setattr(cache.system.file_identity, "COARSE_SETTLED_NS", -(10**12))
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
        result = invoke(ablate, seal(folder), *QUICK, "--runs", folder / "runs")
    assert result.exit_code == 0, result.stderr
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
    output = json.loads(again("--json", "--name", "told").stdout)
    assert (output["n_trained"], output["n_remembered"]) == (0, 6)


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


@pytest.fixture
def finished(once, tmp_path, monkeypatch):
    """What is kept of the ablation, without a look at the circumstances, in a folder of the test's own."""
    shutil.copytree(once / "runs", tmp_path / "runs")
    (kept,) = (tmp_path / "runs/memo.sqlite.finished").iterdir()
    monkeypatch.setattr(finished_ablations, "_circumstances", lambda *_: kept.name)
    return FinishedAblations(tmp_path / "runs/memo.sqlite", "c.h5", AblationSettings()), kept


def sign(kept, text, *, secret=SECRET):
    digest = hmac.new(secret, f"{kept.name}\n{text}".encode(), "sha256")
    kept.write_text(f"{digest.hexdigest()}\n{text}")


def changed(kept, change):
    about = json.loads(kept.read_text().partition("\n")[2])
    change(about)
    return json.dumps(about)


@pytest.mark.parametrize("signed", ["by its own digest", "by another", "for another question"])
def test_nothing_is_told_that_a_stranger_wrote(signed, finished):
    ablations, kept = finished
    assert ablations.recall(with_page=True) is not None
    text = kept.read_text().partition("\n")[2]
    if signed == "by its own digest":
        kept.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    elif signed == "by another":
        sign(kept, text, secret=b"t" * 32)
    else:
        sign(kept.with_name("0" * 64), text)
        kept.with_name("0" * 64).rename(kept)
    assert ablations.recall(with_page=True) is None


def test_without_a_secret_nothing_is_told_and_nothing_kept(finished, monkeypatch, caplog):
    ablations, kept = finished
    report = ablations.recall(with_page=True).report
    monkeypatch.setattr(finished_ablations, "user_secret", lambda: None)
    assert ablations.recall(with_page=True) is None
    shutil.rmtree(kept.parent)
    ablations.remember(report, jobs={}, fill=lambda _: None)
    assert not kept.parent.exists()
    assert not caplog.records


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about["files"].update({"../../x": "written"}),
        lambda about: about["files"].update({"more.txt": "written"}),
        lambda about: about["files"].pop("jobs.csv"),
        lambda about: about["jobs"].clear(),
        lambda about: about["jobs"].popitem(),
        lambda about: about["report"].update(n_tested="40"),
        lambda about: about["report"]["ranking"].update(rows=[{}]),
        lambda about: about["report"]["ranking"]["rows"][0]["configuration"].update(encoders=[["image"]]),
        lambda about: about.pop("report"),
        lambda about: about.update(more=1),
    ],
)
def test_nothing_is_told_of_files_or_jobs_that_no_ablation_has(change, finished):
    ablations, kept = finished
    sign(kept, changed(kept, lambda _: None))
    assert ablations.recall(with_page=True) is not None
    sign(kept, changed(kept, change))
    assert ablations.recall(with_page=True) is None


@pytest.mark.parametrize("text", ["", "[]", "1", "null", "{", "[" * 10_000, "{}"])
def test_nothing_is_told_of_a_file_of_another_shape(text, finished):
    ablations, kept = finished
    for write in (lambda: sign(kept, text), lambda: kept.write_text(text), lambda: kept.write_bytes(b"\xff" * 70)):
        write()
        assert ablations.recall(with_page=True) is None


@pytest.mark.parametrize("what", ["a pipe", "a folder", "too large", "a link for the folder", "a file for the folder"])
def test_nothing_is_told_of_what_is_no_file_in_a_folder(what, finished, tmp_path, monkeypatch):
    ablations, kept = finished
    report = ablations.recall(with_page=True).report
    if what == "too large":
        monkeypatch.setattr(finished_ablations, "MOST_BYTES", kept.stat().st_size - 1)
    elif what == "a link for the folder":
        kept.parent.rename(tmp_path / "elsewhere")
        kept.parent.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / kept.name).rename(tmp_path / "elsewhere" / ("1" * 64))
        ablations.remember(report, jobs={"a": "b"}, fill=lambda _: None)
        assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["1" * 64]
        (tmp_path / "elsewhere" / ("1" * 64)).rename(tmp_path / "elsewhere" / kept.name)
    elif what == "a file for the folder":
        shutil.rmtree(kept.parent)
        kept.parent.touch()
    else:
        kept.unlink()
        {"a pipe": os.mkfifo, "a folder": os.mkdir}[what](kept)
    assert ablations.recall(with_page=True) is None


def test_what_is_no_file_of_its_own_is_left_alone(finished, tmp_path, monkeypatch, caplog):
    ablations, kept = finished
    known = ablations.recall(with_page=True)
    monkeypatch.setattr(finished_ablations, "MOST_KEPT", 2)
    older, oldest = (kept.with_name(digit * 64) for digit in "12")
    for path, seconds in ((older, 2), (oldest, 1)):
        path.touch()
        os.utime(path, (seconds, seconds))
    others = [kept.with_name(name) for name in ("notes.txt", "3" * 64, "4" * 64, "5" * 63)]
    others[0].touch()
    others[1].mkdir()
    others[2].symlink_to(tmp_path / "nowhere")
    others[3].touch()
    for _ in range(2):  # the second replaces what the first wrote, and drops none for that
        ablations.remember(known.report, jobs=known.jobs, fill=lambda folder: write_texts(folder, known.files))
        assert set(kept.parent.iterdir()) == {kept, older, *others}
    assert ablations.recall(with_page=True) == known
    assert not caplog.records


def write_texts(folder, files):
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))


def test_an_ablation_whose_hint_cannot_be_kept_is_told_and_tracked(again, monkeypatch):
    tracked = []

    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ablate_anew, "track", lambda *_, report: tracked.append(report))
    monkeypatch.setattr("tempfile.TemporaryDirectory", fail)
    done = again("--resamples", 101)
    assert "early" in done.stdout
    assert "memo.sqlite.finished could not be written (No space left on device)" in done.stderr
    assert len(tracked) == 1


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
    result = invoke(ablate, "c.h5", *QUICK)
    done, modules = modules_after("heads-ablate", "c.h5", *map(str, QUICK), folder=tmp_path)
    assert NEW.sub("", done.stdout) == NEW.sub("", result.stdout)
    assert not modules & {*HEAVY, "sklearn", "pandas", "matplotlib", "scipy"}
