"""Real extractions, really killed: whatever was acknowledged is kept, and the same command goes on from there."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fork_server
import h5py
import numpy as np
import pytest
from forked import Forked
from support import ROOT, image_bytes, small_catalogue, synthetic_cache, write_catalogue

from cache import Cache, Journal, verify
from cache.journal.part_file import load_part

pytestmark = pytest.mark.slow

ROWS = [
    {"id": "000", "image": "a.png", "text": "a first product", "label": "x"},
    {"id": "001", "image": "b.png", "text": "a second one", "label": "y"},
    {"id": "002", "image": "a-copy.png", "text": "a first product", "label": "x"},
    {"id": "003", "image": "broken.png", "text": "", "label": "y"},
    {"id": "004", "image": "c.png", "text": "the third", "label": "x"},
    {"id": "005", "image": "gone.png", "text": "a fourth product, longer than the others", "label": "y"},
]
IMAGES = {
    "a.png": image_bytes("red"),
    "b.png": image_bytes("lime"),
    "a-copy.png": image_bytes("red"),
    "broken.png": b"<html>",
    "c.png": image_bytes("blue"),
}
N_IMAGES, N_TEXTS = 3, 4  # that can be encoded, each once
STEPS = {
    "mkdir", "flock", "ftruncate", "pwrite",  # the lock
    "read_image", "encode",
    "write_bytes", "fsync", "replace",  # a part
    "create_dataset", "unlink",  # the seal
    "writer", "rmdir",  # the list of failures, the empty journal
}  # fmt: skip


class Extractions:
    """Runs embed-extract in children of one process that has all libraries in memory."""

    def __init__(self, catalogue):
        self.server = Forked("killed_extraction.py")
        self.arguments = [str(catalogue), "-o", "e.h5", "--batch-size", "2", "--workers", "1"]

    def run(self, folder, *more, die_at=None, log="log"):
        """Return the exit code, or minus the signal, and the log."""
        arguments = [*self.arguments, *more]
        code, _, lines = self.server.run(folder, log=log, arguments=arguments, die_at=die_at)
        return code, lines

    def close(self):
        self.server.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_catalogue(tmp_path_factory.mktemp("shop"), ROWS, IMAGES)


@pytest.fixture(scope="module")
def extractions(shop):
    extractions = Extractions(shop)
    yield extractions
    extractions.close()


@pytest.fixture(scope="module")
def undisturbed(extractions, tmp_path_factory):
    """The folder of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, log = extractions.run(folder)
    assert (code, n_encoded(log)) == (0, N_IMAGES + N_TEXTS)
    return folder


def n_encoded(log):
    return sum(line.get("encoded", 0) for line in log)


def acknowledged(log):
    return {key for line in log for key in line.get("acknowledged", [])}


def keys_on_disk(cache_path):
    """Return all keys that have a vector in the cache or its journal, each file read by itself."""
    keys = set()
    for path in cache_path.with_name(cache_path.name + ".journal").rglob("*.part.h5"):
        keys |= set(load_part(path).keys)
    if cache_path.exists():
        with h5py.File(cache_path) as file:
            for modality in ("image", "text"):
                for entry in file.get(modality, {}).values():
                    if isinstance(entry, h5py.Group):
                        keys |= set(file[modality]["key"][:][entry["encoded"][:]].astype(str).tolist())
    return keys


def assert_is_as_undisturbed(folder, undisturbed):
    assert verify(folder / "e.h5") == []
    with Cache(folder / "e.h5") as ours, Cache(undisturbed / "e.h5") as theirs:
        assert (ours.ids(), ours.columns(), ours.modalities) == (theirs.ids(), theirs.columns(), theirs.modalities)
        assert [ours.column(name) for name in ours.columns()] == [theirs.column(name) for name in theirs.columns()]
        for modality in theirs.modalities:
            assert ours.encoders(modality) == theirs.encoders(modality)
            assert ours.statuses(modality) == theirs.statuses(modality)
            np.testing.assert_allclose(ours.matrix(modality), theirs.matrix(modality), rtol=1e-5, atol=1e-5)
    left, expected = (
        {
            path.name: path.read_text() if path.suffix == ".csv" else None
            for path in where.iterdir()
            if "log" not in path.name
        }
        for where in (folder, undisturbed)
    )
    assert left == expected
    assert not (folder / "e.h5.journal").exists()


def numbers_to_die_at(extractions, start, folder, *, every, kinds=frozenset(STEPS)):
    """Return the numbers of the first step of some kinds and of some between, and one that is past the end."""
    _, log = extractions.run(Path(shutil.copytree(start, folder)))
    steps = [line["step"] for line in log if "step" in line]
    between = range(1, len(steps), every)
    return [*sorted({steps.index(step) + 1 for step in kinds & {*steps}} | {*between}), len(steps) + 1]


@pytest.mark.parametrize("n_sealed", [0, 3], ids=["from nothing", "onto a sealed cache"])
def test_killed_before_any_step_the_same_command_encodes_the_rest(extractions, undisturbed, shop, tmp_path, n_sealed):
    """From nothing the kill comes before each kind's first step, onto a cache before those of a part and of the seal.

    And before some between; `bin/torture` comes before all.
    """
    kinds = frozenset({"fsync", "replace", "create_dataset", "unlink"} if n_sealed else STEPS)
    start = tmp_path / "start"
    start.mkdir()
    if n_sealed:
        write_catalogue(shop.parent, ROWS[:n_sealed])
        assert extractions.run(start)[0] == 0
        (start / "log").unlink()
        write_catalogue(shop.parent, ROWS)
    sealed = keys_on_disk(start / "e.h5")
    assert len(sealed) == (4 if n_sealed else 0)
    killed_at = []
    for die_at in numbers_to_die_at(extractions, start, tmp_path / "watched", every=60, kinds=kinds):
        folder = Path(shutil.copytree(start, tmp_path / str(die_at)))
        code, log = extractions.run(folder, die_at=die_at)
        if code == 0:
            break
        killed_at.append([line["step"] for line in log if "step" in line][-1])
        where = f"killed before step {die_at}, {killed_at[-1]}"
        assert code == -signal.SIGKILL, where
        if (folder / "e.h5").exists():
            assert verify(folder / "e.h5") == [], where
        kept = acknowledged(log) | sealed
        assert kept <= keys_on_disk(folder / "e.h5"), where
        code, log = extractions.run(folder, log="log of the second run")
        assert code == 0, where + (folder / "stderr").read_text()
        assert not acknowledged(log) & kept, where
        assert n_encoded(log) <= N_IMAGES + N_TEXTS - len(kept), where
        assert_is_as_undisturbed(folder, undisturbed)
        shutil.rmtree(folder)
    assert_is_as_undisturbed(folder, undisturbed)
    assert set(killed_at) >= kinds


def test_killed_again_and_again_a_run_comes_to_its_end(extractions, undisturbed, tmp_path):
    """Each run lives three steps longer than the last, in the same folder; no acknowledged key is encoded twice."""
    folder = tmp_path / "run"
    folder.mkdir()
    kept = set()
    for n in itertools.count():
        code, log = extractions.run(folder, die_at=8 + 3 * n, log=f"log {n}")
        assert not acknowledged(log) & kept
        kept |= acknowledged(log)
        if code == 0:
            break
        assert kept <= keys_on_disk(folder / "e.h5")
    assert n > 5
    assert_is_as_undisturbed(folder, undisturbed)


def test_shard_that_is_killed_again_and_again_comes_to_its_end_and_is_sealed_with_the_other(
    extractions, undisturbed, tmp_path
):
    folder = tmp_path / "run"
    folder.mkdir()
    kept = set()
    for n in itertools.count():
        code, log = extractions.run(folder, "--shard", "0/2", die_at=8 + 7 * n, log=f"log {n}")
        assert not acknowledged(log) & kept
        kept |= acknowledged(log)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert kept <= keys_on_disk(folder / "e.h5")
    assert n > 1
    code, log = extractions.run(folder, "--shard", "1/2", log="log of the other")
    assert code == 0
    assert n_encoded(log) + len(kept) == N_IMAGES + N_TEXTS
    assert not (folder / "e.h5").exists()
    for n in itertools.count():
        code, log = extractions.run(folder, die_at=2 + 5 * n, log=f"log {n} of the seal")
        assert n_encoded(log) == 0
        assert len(keys_on_disk(folder / "e.h5")) == N_IMAGES + N_TEXTS
        if code == 0:
            break
    assert n > 3
    assert_is_as_undisturbed(folder, undisturbed)


def test_every_rename_stands_between_two_fsyncs(undisturbed):
    """First the bytes are brought to the disk, then the name: a power cut leaves no name without its bytes."""
    lines = [json.loads(line) for line in (undisturbed / "log").read_text().splitlines()]
    of_the_worker = {"read_image", "encode"}  # which goes on meanwhile
    steps = [line["step"] for line in lines if "step" in line and line["step"] not in of_the_worker]
    around = [steps[n - 1 : n + 2] for n, step in enumerate(steps) if step == "replace"]
    assert around == [["fsync", "replace", "fsync"]] * 8  # the hints, four parts, two of them merged, the cache
    assert steps.index("unlink", steps.index("create_dataset")) > len(steps) - steps[::-1].index("replace")


def test_folder_of_a_new_journal_is_on_the_disk_before_a_part_is_acknowledged(tmp_path, monkeypatch):
    synced = []
    fsync, publish = os.fsync, Journal.publish

    def noted_fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked_publish(self, part):
        path = publish(self, part)
        assert {path.stat().st_ino, self.folder.stat().st_ino, self.folder.parent.stat().st_ino} <= set(synced)
        return path

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Journal, "publish", checked_publish)
    synthetic_cache(tmp_path / "new" / "e.h5", {"image": np.ones((2, 3))}, {"label": ["a", "b"]})


def test_real_command_interrupted_and_killed_from_outside_encodes_only_the_rest(tmp_path):
    """Stopped when the pictures are a part of the journal: by Ctrl-C, by SIGKILL, and then left alone.

    Ctrl-C lets the batch of texts that is running be finished, and keeps it.
    """
    folder = tmp_path / "shop"
    line = [sys.executable, ROOT / "bin" / "embed-extract", "--device", "cpu", "--json"]
    line += ["--image-weights", "random", "--text-weights", "random"]  # BERT-base: slow enough to be met at work

    def parts():
        return list((folder / "embeddings.h5.journal").glob("*.part.h5"))

    def stop(sent):
        n_before = len(parts())
        process = fork_server.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(parts()) == n_before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(sent)
        return process.communicate(), process.returncode

    small_catalogue(folder, 4)
    (stdout, stderr), code = stop(signal.SIGINT)
    assert (code, stdout) == (130, "")
    assert stderr.split("\n")[-2:] == [
        "Stopped. What was encoded is kept in the journal: type the same line again to go on.",
        "",
    ]
    assert "Traceback" not in stderr
    n_texts = len(keys_on_disk(folder / "embeddings.h5")) - 4
    assert n_texts in (0, 4)

    small_catalogue(folder, 6)
    (stdout, _), code = stop(signal.SIGKILL)
    assert (code, stdout) == (-signal.SIGKILL, "")
    assert len(keys_on_disk(folder / "embeddings.h5")) == 6 + n_texts

    done = fork_server.run(line, cwd=folder, capture_output=True, text=True, check=True)
    assert [(entry["n_cached"], entry["n_encoded"]) for entry in json.loads(done.stdout)["encoders"]] == [
        (6, 0),
        (n_texts, 6 - n_texts),
    ]
    assert verify(folder / "embeddings.h5") == []
    assert not (folder / "embeddings.h5.journal").exists()
