"""Commands in children of a process that has their libraries in memory, and what else they need, a child an order."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fork_server
from support import ROOT


class Forked:
    """The process of a script of this folder that calls `serve`.

    Each order is a line of JSON on its stdin, and its answer the child's exit code, or minus the signal that ended it.
    The child's log has one JSON object a line.
    """

    def __init__(self, script: str) -> None:
        command = [sys.executable, ROOT / "tests" / script]
        self._server = fork_server.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, folder: Path, *, log: str = "log", **order: Any) -> tuple[int, str, list[dict[str, Any]]]:
        """Return the exit code, what was written to stderr, and the log; `kill_after_s` sends SIGKILL then."""
        (folder / log).unlink(missing_ok=True)  # whoever is killed at once begins none
        print(json.dumps({"folder": str(folder), "log": log, **order}), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        lines = (folder / log).read_text().splitlines() if (folder / log).exists() else []
        stderr = folder / "stderr"
        return code, stderr.read_text() if stderr.exists() else "", [json.loads(line) for line in lines]

    def close(self) -> None:
        """End the process."""
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def serve(run: Callable[..., object]) -> None:
    """Have a child of this process obey each order of stdin, until it ends: ``run(note, folder, **order)``."""
    gc.freeze()  # or each child would copy the pages of all objects that it looks through for garbage
    for line in sys.stdin:
        order = json.loads(line)
        kill_after_s = order.pop("kill_after_s", None)
        child = os.fork()
        if child == 0:
            _obey(run, **order)
        timer = None
        if kill_after_s is not None:
            timer = threading.Timer(kill_after_s, os.kill, (child, signal.SIGKILL))
            timer.start()
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it keeps its number until nobody kills it any more
        if timer is not None:
            timer.cancel()
            timer.join()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(run: Callable[..., object], *, folder: str, log: str, **order: Any) -> None:
    os.chdir(folder)
    for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    descriptor, write = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.write

    def note(**facts: Any) -> None:
        write(descriptor, json.dumps(facts).encode() + b"\n")

    code = 3
    try:
        run(note, Path(folder), **order)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
