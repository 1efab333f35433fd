"""What commands say beside their results: notes always, progress to a person who waits."""

import logging
import sys

import pytest

from cache.console.notes import LINE_EVERY_S, PROGRESS, NoteHandler


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def say(clock):
    handler = NoteHandler(clock)
    return lambda level, text: handler.handle(logging.LogRecord("embed_once", level, "", 0, text, (), None))


def test_notes_are_said_at_once(say, capsys):
    say(logging.INFO, "4 rows left out")
    say(logging.WARNING, "1 bad line")
    assert capsys.readouterr() == ("", "4 rows left out\n1 bad line\n")


def test_progress_without_a_terminal_is_a_line_now_and_then(say, clock, capsys):
    lines = []
    for n in range(5):
        clock.now = n * LINE_EVERY_S / 2
        say(PROGRESS, f"head {n}")
        lines.append(capsys.readouterr().err)
    assert lines == ["", "", "head 2\n", "", "head 4\n"]


def test_progress_on_a_terminal_is_said_each_time(say, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    say(PROGRESS, "head 0")
    say(PROGRESS, "head 1")
    assert capsys.readouterr().err == "head 0\nhead 1\n"
