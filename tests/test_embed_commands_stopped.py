"""SIGTERM before operations of whole commands: one line tells how to go on, and the same line does."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from stopped_at import first_and_last, operations, stopped_at
from support import CountingEncoder, class_vectors, small_catalogue, synthetic_cache

import embed.commands.extract
import embed.extraction.encoding.run_encoders
import heads.commands.predict
import heads.commands.train
from cache import Cache, verify

pytestmark = pytest.mark.slow

EXTRACT = ["data.csv", "-o", "e.h5", "--batch-size", "2", "--workers", "1", "--json"]
TRAIN = ["e.h5", "--fusion", "text", "--controls", "none", "--max-epochs", "1", "--no-report", "--name", "first"]


def ends_of(command, arguments):
    """Return a function that runs a command in this process, and the list of its exit codes."""
    codes = []

    def run():
        with pytest.raises(SystemExit) as stop:
            command.main(arguments, prog_name="tested")
        codes.append(stop.value.code)

    return run, codes


def test_extraction_stopped_by_sigterm_keeps_its_parts_and_goes_on(tmp_path, monkeypatch, capfd):
    catalogue = small_catalogue(tmp_path / "shop", 3)
    made = []
    monkeypatch.setattr(
        embed.extraction.encoding.run_encoders,
        "make_encoders",
        lambda _: made.extend(CountingEncoder(name) for name in ("image", "text")) or made[-2:],
    )
    run, codes = ends_of(embed.commands.extract.extract, EXTRACT)

    def enter(name):
        monkeypatch.chdir(shutil.copytree(catalogue.parent, tmp_path / name))

    enter("first")
    run()
    enter("counted")
    done = operations(run)
    assert codes == [0, 0]
    with Cache("e.h5") as cache:
        whole = cache.content_sha256
    capfd.readouterr()
    n_stopped = 0
    for nth in first_and_last(done)[::6]:  # each of them takes a tenth of a second
        enter(str(nth))
        made.clear()
        stopped_at(nth, run, number=signal.SIGTERM)
        stderr = capfd.readouterr().err
        if codes[-1] != 0:  # else it came to fewer operations than before
            assert codes[-1] == 143, (done[nth], stderr)
            assert stderr.endswith("\nStopped. " + embed.commands.extract.extract.interrupted[9:] + "\n"), done[nth]
            assert "Traceback" not in stderr, (done[nth], stderr)
            n_stopped += 1
        assert not Path("e.h5").exists() or verify("e.h5") == [], done[nth]
        run()
        assert codes[-1] == 0, (done[nth], capfd.readouterr().err)
        assert sum(encoder.n_encoded for encoder in made) <= 2 * (3 + 3), done[nth]
        with Cache("e.h5") as cache:
            assert cache.content_sha256 == whole, done[nth]
    assert n_stopped > 5


def test_heads_stopped_by_sigterm_leave_no_half_a_run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    codes = np.random.default_rng(0).integers(2, size=40)
    synthetic_cache("e.h5", {"text": class_vectors(codes, 4)}, {"label": [f"class {code}" for code in codes]})
    train, exits = ends_of(heads.commands.train.train, TRAIN)
    predict, answers = ends_of(heads.commands.predict.predict, ["e.h5", "--run", "runs/first"])
    for run, stop_codes in ((train, exits), (predict, answers)):
        run()
        done = operations(run if run is predict else lambda: (shutil.rmtree("runs"), train()))
        assert stop_codes == [0, 0]
        for nth in first_and_last(done)[::5]:
            if run is train:
                shutil.rmtree("runs", ignore_errors=True)
            capfd.readouterr()
            stopped_at(nth, run, number=signal.SIGTERM)
            stderr = capfd.readouterr().err
            assert stop_codes[-1] in (0, 143), (done[nth], stderr)
            assert stop_codes[-1] == 0 or stderr.endswith("Stopped.\n"), (done[nth], stderr)
            assert "Traceback" not in stderr, (done[nth], stderr)
        assert 143 in stop_codes
        if run is train:
            shutil.rmtree("runs", ignore_errors=True)
            run()
            assert exits[-1] == 0
