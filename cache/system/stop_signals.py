"""Ctrl-C and SIGTERM: held back while HDF5 works, and raised where it does not.

HDF5 reads and writes its files through Python, and Python runs the handlers of signals between any two of its lines: so
also in the middle of HDF5, which crashes or takes the exception for damage. Both signals wait until it is done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

__all__ = ["Terminated", "raise_held_signals", "signals_held", "terminate"]

NUMBERS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)

_handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}  # in whose place `_hold` stands
_arrived: set[int] = set()  # and are held
_depth = 0  # of blocks


class Terminated(KeyboardInterrupt):
    """SIGTERM came, which stops what Ctrl-C does."""


def terminate(*_: object) -> NoReturn:
    """Handle SIGTERM."""
    raise Terminated


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM in the block; what came is handled at its end, or by `raise_held_signals`.

    Blocks may stand in one another; the outermost counts. Other threads than the main one never meet a signal.
    """
    global _depth  # noqa: PLW0603 - signals belong to the process
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _depth:
        for number in NUMBERS:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not _hold:  # what is ignored or kills runs nothing of Python's
                _handlers[number] = handler
                signal.signal(number, _hold)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            for number, handler in _handlers.items():
                if signal.getsignal(number) is _hold:
                    signal.signal(number, handler)
            raise_held_signals()


def raise_held_signals() -> None:
    """Handle what came since: for places between two calls of HDF5, in a block that may last."""
    if _arrived and threading.current_thread() is threading.main_thread():
        numbers = sorted(_arrived, reverse=True)  # SIGTERM first
        _arrived.clear()
        for number in numbers:
            _handlers[number](number, None)


def _hold(number: int, frame: FrameType | None) -> None:
    """Stand in for a handler. One that a signal left in its place, between two lines above, is as good as the other."""
    if _depth:
        _arrived.add(number)
    else:
        _handlers[number](number, frame)
