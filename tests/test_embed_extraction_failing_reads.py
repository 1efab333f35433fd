"""Real commands, one of whose reads fails: nothing acknowledged is lost, nothing is called damaged, and all goes on."""

from __future__ import annotations

import errno
import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from extracted import (
    EXTRACT,
    N_CONTENTS,
    STARTS,
    UNWANTED,
    acknowledged_keys,
    cache_content,
    check_message,
    keys_on_disk,
    n_encoded,
    parts_of,
    prepare_start,
    run_undisturbed,
)
from forked import Forked
from support import ROOT, class_vectors, synthetic_cache

from cache import verify

pytestmark = pytest.mark.slow

ERRNOS = (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.EACCES)


class Commands(Forked):
    """Runs commands in children of a process that has all libraries in memory."""

    def watch(self, folder, command, arguments, *, fail_at=None, number=0):
        """Return what `run` does of a command whose reads are counted, one of which may fail."""
        return self.run(folder, command=command, arguments=arguments, reads={"fail_at": fail_at, "errno": number})


@pytest.fixture(scope="module")
def commands():
    commands = Commands("forked_commands.py")
    yield commands
    commands.close()


def kind_of(path):
    """Return what a path is, whatever its numbers and digests are."""
    name = re.sub(r"[0-9a-f]{64}", "DIGEST", path)
    return re.sub(r"\d+(?=[-.])", "N", name)


def steps_to_fail(log):
    """Return the numbers of steps, the last of each kind and the first of what opens and reads, and what each is."""
    kinds = defaultdict(list)
    for number, line in enumerate((line for line in log if "step" in line), 1):
        kinds[line["step"], kind_of(line["path"])].append(number)
    chosen = {numbers[-1]: kind for kind, numbers in kinds.items()}
    chosen |= {numbers[0]: kind for kind, numbers in kinds.items() if kind[0] in ("open", "read")}
    return sorted(chosen.items())


@pytest.fixture(scope="module", params=[STARTS[0], STARTS[2]])
def start(request, commands, tmp_path_factory):
    """A folder to begin in, the log of a run in it that nothing disturbs, and what the cache holds then."""
    folder = prepare_start(request.param, commands, tmp_path_factory.mktemp("start") / "shop")
    whole, log = run_undisturbed(folder, commands, reads={})
    return folder, log, cache_content(whole)


def test_extraction_whose_read_fails_loses_nothing_and_the_same_command_goes_on(commands, start, tmp_path):
    """It fails at some of the first and the last of each kind of step, each errno in turn; `bin/torture` at all."""
    folder, log, whole = start
    before, sealed = parts_of(folder), keys_on_disk(folder)

    def fail(case):
        (fail_at, kind), number = case
        here = Path(shutil.copytree(folder, tmp_path / str(fail_at)))
        where = f"{errno.errorcode[number]} at step {fail_at}, {kind}"
        code, stderr, log = commands.watch(here, "embed-extract", EXTRACT, fail_at=fail_at, number=number)
        check_message(code, stderr, where)
        failed = [(line["step"], kind_of(line["path"])) for line in log if "fails" in line]
        acknowledged = acknowledged_keys(log) | sealed
        there = parts_of(here)
        assert all(there[name] == before[name] for name in before.keys() & there.keys()), where
        assert before.keys() <= there.keys() or verify(here / "e.h5") == [], where
        assert acknowledged <= keys_on_disk(here), where
        assert not list((here / "e.h5.journal").glob("*.damaged")), where
        code_again, stderr_again, log = commands.watch(here, "embed-extract", EXTRACT)
        assert code_again == 0, where + stderr_again
        assert not acknowledged_keys(log) & acknowledged, where
        assert n_encoded(log) <= N_CONTENTS - len(acknowledged), where
        assert cache_content(here) == whole, where
        assert not (here / "e.h5.journal").exists(), where
        shutil.rmtree(here)
        return failed, code, stderr

    steps = steps_to_fail(log)[:: 9 if before else 13]
    done = list(map(fail, zip(steps, itertools.cycle(ERRNOS), strict=False)))
    assert any(code for _, code, _ in done)
    needless = {("lstat", ""), ("stat", ""), ("lstat", "images"), ("stat", "images"), ("stat", "data.csv")}
    # Encoders' names, which may be folders': nothing is remembered of them then.
    needless |= {("stat", "resnet18"), ("stat", "bert-base-uncased")}
    needless |= {("lstat", "e.h5")}  # where a link leads: whose disk is asked for its space
    # What failed is by the run's own log: threads take turns otherwise than in the run that was counted.
    for kind, code, stderr in ((kind, code, stderr) for failed, code, stderr in done for kind in failed):
        if code == 0:  # of single pictures, hints, and whether a path is a link or a folder
            is_single = kind[1].startswith("images/") or kind in {("stat", "e.h5.hints"), ("stat", "e.h5.specs")}
            is_told = "e.h5.hints c" in stderr or "e.h5.specs c" in stderr
            assert kind in needless or is_single or is_told, (kind, stderr)


def test_looking_at_a_cache_whose_read_fails_changes_nothing_and_names_no_damage(commands, start, tmp_path):
    """`cache-info` and `cache-verify`, at each kind of step and each errno."""
    folder = Path(shutil.copytree(start[0], tmp_path / "shop"))
    if not (folder / "e.h5").exists():
        pytest.skip("there is no cache yet")
    before = {path: path.read_bytes() for path in folder.glob("e.h5*") if path.is_file()} | parts_of(folder)
    for command in ("cache-info", "cache-verify"):
        code, _, log = commands.watch(folder, command, ["e.h5"])
        assert code == 0
        for (fail_at, kind), number in zip(steps_to_fail(log)[::2], itertools.cycle(ERRNOS), strict=False):
            code, stderr, _ = commands.watch(folder, command, ["e.h5"], fail_at=fail_at, number=number)
            where = f"{command}: {errno.errorcode[number]} at step {fail_at}, {kind}"
            check_message(code, stderr, where)
            assert code == 1, where
            assert "Could not read" in stderr, where
            assert os.strerror(number) in stderr, where
            assert not UNWANTED.search((folder / "stdout").read_text()), where
    after = {path: path.read_bytes() for path in folder.glob("e.h5*") if path.is_file()} | parts_of(folder)
    assert after == before


def test_heads_whose_read_fails_say_so_and_the_run_stays(commands, tmp_path):
    codes = np.random.default_rng(0).integers(2, size=40)
    labels = {"label": [f"class {code}" for code in codes]}
    synthetic_cache(tmp_path / "e.h5", {"text": class_vectors(codes, 4)}, labels)
    train = ["e.h5", "--fusion", "text", "--controls", "none", "--max-epochs", "1", "--no-report", "--name"]
    predict = ["e.h5", "--run", "runs/first"]
    code, stderr, train_log = commands.watch(tmp_path, "heads-train", [*train, "first"])
    assert code == 0, stderr
    whole = {path: path.read_bytes() for path in (tmp_path / "runs" / "first").iterdir()}
    code, _, predict_log = commands.watch(tmp_path, "heads-predict", predict)
    assert code == 0
    answers = (tmp_path / "stdout").read_text()
    harmless = {("lstat", "runs/first"), ("stat", "runs/first")}  # once the run is in its place
    cases = [("heads-train", [*train, "second"], train_log), ("heads-predict", predict, predict_log)]
    for command, arguments, log in cases:
        steps = [step for step in steps_to_fail(log) if step[1] not in harmless][::5]
        for (fail_at, kind), number in zip(steps, itertools.cycle(ERRNOS), strict=False):
            code, stderr, _ = commands.watch(tmp_path, command, arguments, fail_at=fail_at, number=number)
            where = f"{command}: {errno.errorcode[number]} at step {fail_at}, {kind}"
            check_message(code, stderr, where)
            assert code == 1, where
            assert os.strerror(number) in stderr, where
            assert {path.name for path in (tmp_path / "runs").iterdir()} == {"first"}, where
    assert {path: path.read_bytes() for path in (tmp_path / "runs" / "first").iterdir()} == whole
    assert commands.watch(tmp_path, "heads-predict", predict)[0] == 0
    assert (tmp_path / "stdout").read_text() == answers


LIMITED = """
import resource, sys
sys.path[:0] = sys.argv[1:3]
import click, h5py, numpy
from cache import Inventory, Journal
from cache.commands.verify import verify
from cache.console.command import Command

@click.command(cls=Command)
def resume():
    with Journal("e.h5") as journal:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        Inventory("e.h5", journal)

resume.main([])
"""


def test_limit_of_open_files_that_is_really_reached_is_no_damage(commands, start):
    """The lock takes a descriptor, and there is none left for a part or for the cache."""
    folder = start[0]
    before = parts_of(folder)
    if not before:
        pytest.skip("there is no journal yet")
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 4
    line = [sys.executable, "-c", LIMITED, str(ROOT), str(ROOT / "tests"), "4"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert re.search(r"Could not read .*: Too many open files\..* Permit more open files \(ulimit -n\)", done.stderr)
    assert not UNWANTED.search(done.stderr)
    assert parts_of(folder) == before
