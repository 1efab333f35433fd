"""Ctrl-C and SIGTERM wait until HDF5 is done, at whatever of its calls they come."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import click
import numpy as np
import pytest
from stopped_at import first_and_last, operations, stopped_at

from cache import Cache, EncoderSpec, Journal, Tokens, seal
from cache.commands.info import info
from cache.commands.verify import verify as verify_command
from cache.console.command import Command
from cache.format.writer import Writer
from cache.journal.part import Part
from cache.system.stop_signals import Terminated, raise_held_signals, signals_held, terminate

pytestmark = pytest.mark.slow

KEYS = [f"{n:064x}" for n in range(3)]


def publish(path, keys):
    part = Part(
        encoder="drawn",
        spec=EncoderSpec("text", {"model": "drawn"}),
        keys=keys,
        vectors=np.arange(4 * len(keys), dtype=np.float32).reshape(-1, 4),
        failures={},
        tokens=Tokens.of([np.ones((2, 3), np.float16) for _ in keys]),
    )
    with Journal(path) as journal:
        journal.publish(part)


def seal_all(path=Path("c.h5")):
    with Journal(path) as journal:
        return seal(path, journal, None)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with a sealed cache, and a journal with more."""
    monkeypatch.setattr("cache.format.writer.version_here", lambda: "tested")  # which reads files of its own
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    publish(Path("c.h5"), KEYS[:2])
    with Journal("c.h5") as journal:
        seal("c.h5", journal, None)
    publish(Path("c.h5"), KEYS[2:])
    return folder


def copies(folder, tmp_path, monkeypatch):
    """Yield the name of a copy after the other, which is the working folder; the last is removed."""
    for n in range(10**6):
        copy = shutil.copytree(folder, tmp_path / f"copy {n}")
        monkeypatch.chdir(copy)
        yield copy
        monkeypatch.chdir(folder)
        shutil.rmtree(copy)


def test_ctrl_c_before_any_operation_of_a_seal_ends_it_as_ctrl_c_and_keeps_all(shop, tmp_path, monkeypatch):
    folders = copies(shop, tmp_path, monkeypatch)
    next(folders)
    steps = operations(seal_all)
    for nth in first_and_last(steps, every=100)[::3]:
        operation = steps[nth]
        next(folders)
        with pytest.raises(KeyboardInterrupt):
            stopped_at(nth, seal_all)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert not list(Path("c.h5.journal").glob("*.tmp")), operation
        seal_all()
        with Cache("c.h5") as cache:
            assert cache.keys("text").astype(str).tolist() == KEYS, operation
    assert {("write", "aside.py"), ("readinto", "source_file.py"), ("replace", "aside.py")} <= set(steps)


@pytest.mark.parametrize("command", [info, verify_command], ids=["info", "verify"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_command_that_reads_ends_with_one_line_wherever_the_signal_comes(shop, capfd, command, number, code):
    def run():
        with pytest.raises(SystemExit) as stop:
            command.main(["c.h5"], prog_name="cache")
        codes.append(stop.value.code)

    codes = []
    handlers = [signal.getsignal(signal_number) for signal_number in (signal.SIGINT, signal.SIGTERM)]
    run()  # imports what it needs
    steps = operations(run)
    capfd.readouterr()
    chosen = first_and_last(steps)
    for nth in chosen[::2]:
        stopped_at(nth, run, number=number)
        assert (codes[-1], capfd.readouterr().err) == (code, "\nStopped.\n"), steps[nth]
        assert [signal.getsignal(signal_number) for signal_number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert len(chosen) > 10


def test_held_signal_comes_at_the_end_of_the_outermost_block():
    reached = []
    with pytest.raises(KeyboardInterrupt), signals_held():  # noqa: PT012
        with signals_held():
            os.kill(os.getpid(), signal.SIGINT)
        reached.append("the end of the inner one")
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_held_signal_comes_sooner_where_it_is_asked_for_and_once():
    with signals_held():
        raise_held_signals()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            raise_held_signals()


def test_long_dataset_is_stopped_between_its_blocks(monkeypatch):
    """A seal of minutes does not go on for minutes."""
    import h5py

    def blocks():
        for n in range(5):
            if n == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield np.full(2, n)
            n_given.append(n)

    n_given = []
    with (
        h5py.File.in_memory() as file,
        pytest.raises(KeyboardInterrupt),
        signals_held(),
    ):
        Writer(file, file_format="x").blocks("x", (10,), np.dtype("i8"), blocks())
    assert n_given == [0, 1]


def test_handler_that_does_not_raise_is_called_and_stays():
    calls = []
    handler = signal.signal(signal.SIGTERM, lambda number, _: calls.append(number))
    try:
        with signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            assert calls == []
        assert calls == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_other_threads_hold_nothing():
    handlers = []

    def look():
        with signals_held():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_sigterm_is_a_kind_of_ctrl_c():
    with pytest.raises(KeyboardInterrupt) as stop:
        terminate(signal.SIGTERM, None)
    assert stop.type is Terminated


def test_command_in_another_thread_leaves_signals_alone():
    @click.command(cls=Command)
    def nothing():
        pass

    codes = []

    def run():
        try:
            nothing.main([])
        except SystemExit as stop:
            codes.append(stop.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [0]
