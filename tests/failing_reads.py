"""Commands whose reads fail, on order: a process that imports the libraries once and forks a child for each.

An order is one line of JSON on stdin::

    {"folder": where to run, "command": one of `COMMANDS`, "arguments": of the command, "log": a file's name,
     "fail_at": a number or null, "errno": a number, "is_stopped": whether to stop before sealing}

The child's `fail_at`-th step fails with that errno, where a step is all that opens a file below the folder, reads from
it, lists a folder, or asks about a name. The answer is the exit code. The child's log has one JSON object a line: each
step, each batch that was encoded, and the keys of each part that was acknowledged.
"""

from __future__ import annotations

import builtins
import functools
import gc
import io
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas  # noqa: F401 - reads the catalogue
import PIL.Image
import scipy.spatial  # noqa: F401 - finds equal vectors
import torch
from support import CountingEncoder

torch.set_num_threads(1)  # a pool of threads would not outlive the fork
PIL.Image.init()

import embed.commands.extract  # noqa: E402
import embed.extraction.extract_catalogue  # noqa: E402
import heads.commands.predict  # noqa: E402
import heads.commands.train  # noqa: E402
import heads.workflows.train  # noqa: E402
from cache import Journal, Tokens  # noqa: E402
from cache.commands.info import info  # noqa: E402
from cache.commands.verify import verify  # noqa: E402
from embed.encoders.protocol import Encoded  # noqa: E402

COMMANDS = {
    "embed-extract": embed.commands.extract.extract,
    "cache-info": info,
    "cache-verify": verify,
    "heads-train": heads.commands.train.train,
    "heads-predict": heads.commands.predict.predict,
}
ASKS = {"listdir": os.listdir, "scandir": os.scandir, "stat": os.stat, "lstat": os.lstat, "readlink": os.readlink}


class WordEncoder(CountingEncoder):
    """It gives a token for each word, too."""

    def encode(self, batch: Any) -> Encoded:
        words = [np.full((len(item.split()), 2), len(item), np.float16) for item in batch]
        return Encoded(super().encode(batch), Tokens.of(words))


def main() -> None:
    """Serve orders until stdin ends."""
    gc.freeze()  # or each child would copy the pages of all objects that it looks through for garbage
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(
    folder: str, command: str, arguments: list[str], log: str, fail_at: int | None, errno: int, is_stopped: bool
) -> None:
    os.chdir(folder)
    for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def note(**facts: Any) -> None:
        os.write(descriptor, json.dumps(facts).encode() + b"\n")

    _note_work(note)
    if is_stopped:
        embed.extraction.extract_catalogue.seal = _stop
    steps = Steps(Path(folder), note, fail_at, errno)
    steps.watch()
    code = 3
    try:
        COMMANDS[command].main(arguments, prog_name=command)
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def _note_work(note: Callable[..., None]) -> None:
    """Have small encoders encode, and note what they did and what was acknowledged."""
    publish, encode = Journal.publish, CountingEncoder.encode

    def noted_publish(self: Journal, part: Any) -> Path:
        path = publish(self, part)
        note(kept=part.keys)
        return path

    def noted_encode(self: CountingEncoder, batch: Any) -> np.ndarray:
        note(encoded=len(batch))
        return encode(self, batch)

    Journal.publish, CountingEncoder.encode = noted_publish, noted_encode  # type: ignore[method-assign]
    embed.extraction.extract_catalogue.make_encoders = lambda _: [CountingEncoder("image"), WordEncoder("text")]
    embed.commands.extract.ExtractSettings = functools.partial(
        embed.commands.extract.ExtractSettings, part_bytes=1
    )  # each batch is a part


class Steps:
    """The numbered steps of one process, one of which fails."""

    def __init__(self, folder: Path, note: Callable[..., None], fail_at: int | None, errno: int) -> None:
        self.folder, self.note, self.fail_at, self.errno = str(folder), note, fail_at, errno
        self.n_steps = 0
        self.paths: dict[int, str] = {}  # of descriptors
        self.lock = threading.Lock()

    def step(self, name: str, path: Any) -> None:
        """Note a step on a path of ours, and fail where it is its turn."""
        if not isinstance(path, str | os.PathLike):
            return
        whole = os.path.join(self.folder, os.fspath(path))
        if not whole.startswith(self.folder) or os.path.basename(whole) in ("stdout", "stderr"):
            return
        with self.lock:
            self.n_steps += 1
            is_failing = self.n_steps == self.fail_at
        self.note(step=name, path=whole[len(self.folder) + 1 :])
        if is_failing:
            raise OSError(self.errno, os.strerror(self.errno), whole)

    def watch(self) -> None:
        """Put what counts in the place of Python's ways to read."""
        for name, function in ASKS.items():
            setattr(os, name, self._before(name, function))
        real_open, real_preadv = os.open, os.preadv

        def counting_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            self.step("open", path)
            descriptor = real_open(path, flags, *rest, **options)
            self.paths[descriptor] = os.fspath(path)
            return descriptor

        def counting_preadv(descriptor: int, *rest: Any) -> int:
            self.step("read", self.paths.get(descriptor))
            return real_preadv(descriptor, *rest)

        os.open, os.preadv = counting_open, counting_preadv  # type: ignore[assignment]
        builtins.open = io.open = self._open  # type: ignore[assignment]

    def _before(self, name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def asking(path: Any = ".", *rest: Any, **options: Any) -> Any:
            if not sys._getframe(1).f_globals["__name__"].startswith("click."):  # whose answer is not used
                self.step(name, path)
            return function(path, *rest, **options)

        return asking

    def _open(
        self, path: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if set(mode) & set("wax+") or not isinstance(path, str | os.PathLike):
            return _real_open(path, mode, buffering, encoding, errors, newline, closefd, opener)
        self.step("open", path)
        raw = FailingFile(path, self, opener)
        if buffering == 0:
            return raw
        file = io.BufferedReader(raw)
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)


_real_open = io.open


class FailingFile(io.FileIO):
    """A file each of whose reads is a step."""

    def __init__(self, path: Any, steps: Steps, opener: Any) -> None:
        super().__init__(path, "r", opener=opener)
        self.path, self.steps = path, steps

    def readinto(self, buffer: Any) -> int:
        """Read once."""
        self.steps.step("read", self.path)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        """Read all, as one step."""
        self.steps.step("read", self.path)
        return super().readall()

    def read(self, size: int | None = -1) -> bytes:
        """Read some."""
        self.steps.step("read", self.path)
        return super().read(-1 if size is None else size)


if __name__ == "__main__":
    main()
