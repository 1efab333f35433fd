"""A campaign: trials that follow from a seed and a number alone, and what they share."""

from __future__ import annotations

import logging
import os
import pickle
import random
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from forked import Forked

T = TypeVar("T")

KINDS = LOST, AGAIN, WRONG, UNNAMED = ("lost", "encoded again", "wrong", "unnamed")  # of losses


class LossError(AssertionError):
    """What must not happen: acknowledged work is gone or done again, something is wrong, or an error has no name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind}: {self.args[1]}"


def require(holds: object, kind: str, message: object) -> None:
    """Raise a `LossError` unless a condition holds."""
    if not holds:
        raise LossError(kind, str(message))


@dataclass
class Trial:
    """One trial: its number, random numbers of its own, an empty folder, and counts of what was done."""

    number: int
    random: random.Random
    folder: Path
    is_small: bool = False
    counts: Counter[str] = field(default_factory=Counter)


class Tools:
    """What all campaigns of a run share: the seed, a folder to prepare things in, processes that are kept."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        folder.mkdir(parents=True, exist_ok=True)
        self.cached: dict[Any, Any] = {}  # what campaigns made that others use too
        self._servers: dict[int, Forked] = {}

    def commands(self, number: int = 0) -> Forked:
        """Return the process of a number, which runs commands; those of two numbers run beside each other."""
        if number not in self._servers:
            self._servers[number] = Forked("forked_commands.py")
        return self._servers[number]

    def pick(self, cases: Sequence[T], number: int) -> T:
        """Return the case of a trial: each once, in an order of the seed's, before any comes again."""
        turn, position = divmod(number, len(cases))
        return cases[random.Random(f"{self.seed} {turn}").sample(range(len(cases)), len(cases))[position]]

    def close(self) -> None:
        """End the processes."""
        for server in self._servers.values():
            server.close()


@dataclass(frozen=True)
class Campaign:
    """A kind of trials. `prepare` makes what they need, once a run, and returns what does one."""

    name: str
    about: str  # one line
    prepare: Callable[[Tools], Callable[[Trial], None]]
    n_unit: int = 2  # trials that the test suite does

    def trial(self, number: int, *, seed: int, folder: Path, is_small: bool = False) -> Trial:
        """Return the trial of a number, in a folder that is made empty."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Trial(number, random.Random(f"{seed} {self.name} {number}"), folder, is_small)


def in_child(function: Callable[[], Any], *, timeout_s: int) -> Any:
    """Return what a function returns in a child of this process, where it may crash or hang.

    Raises:
        LossError: the child crashed or hung, or the function raised an error.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, where threads of a library are about
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        logging.disable()
        torch.set_num_threads(1)  # the threads that another campaign may have used are not in this process
        try:
            answer = (True, function())
        except BaseException as error:  # noqa: BLE001 - it is raised in the parent
            answer = (False, error if isinstance(error, LossError) else LossError(UNNAMED, repr(error)))
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    require(code == 0, UNNAMED, "it did not end" if code == -signal.SIGALRM else f"it ended with {code}")
    is_done, answer = pickle.loads(content)  # noqa: S301 - our own child's
    if not is_done:
        raise answer
    return answer
