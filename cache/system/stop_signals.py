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

_handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}  # that `_hold` replaces
_arrived: set[int] = set()  # the signals that are held
_depth = 0  # of nested blocks


class Terminated(KeyboardInterrupt):
    """SIGTERM came; it stops a program as Ctrl-C does."""


def terminate(*_: object) -> NoReturn:
    """Handle SIGTERM."""
    raise Terminated


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM in the block; what came is handled at its end, or by `raise_held_signals`.

    Blocks may be nested; the outermost counts. Python runs signal handlers in the main thread only, so in others the
    block does nothing.
    """
    global _depth  # noqa: PLW0603 - signals belong to the process
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _depth:
        for number in NUMBERS:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not _hold:  # not ignored, and not the system's default
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
    """Handle the signals that were held: for use between two calls of HDF5, in a block that may take long."""
    if _arrived and threading.current_thread() is threading.main_thread():
        numbers = sorted(_arrived, reverse=True)  # SIGTERM first
        _arrived.clear()
        for number in numbers:
            _handlers[number](number, None)


def _hold(number: int, frame: FrameType | None) -> None:
    """Hold a signal inside of blocks. Outside, where another signal's exception kept it installed, call the handler."""
    if _depth:
        _arrived.add(number)
    else:
        _handlers[number](number, frame)
