"""Python processes without the seconds that libraries take to import: `Popen` and `run`, as those of `subprocess`.

They are children of one process that has the libraries in memory and does nothing else, so each is as one that was
just started: with arguments, environment, folder, files and signals of its own, to be killed and waited for. What
shows how a command starts, such as what it imports, uses `subprocess`.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Popen", "close", "run"]

ROOT = Path(__file__).resolve().parent.parent
NUMBER = struct.Struct("q")
# A fork copies the table of all pages: of 2 MB pages, where the system has them, in half the time. Others ignore it.
HUGE_PAGES = {"OMP_NUM_THREADS": "1", "PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
MODULES = (
    "embed.commands.extract", "embed.extraction.extract_catalogue", "embed.encoders.factory",
    "embed.encoders.torchvision_image", "embed.encoders.huggingface_text", "embed.encoders.huggingface_image",
    "heads.commands.serve", "heads.commands.train", "heads.commands.ablate", "heads.commands.predict",
    "heads.serving.serve", "heads.workflows.train", "heads.workflows.ablate_anew", "heads.training.scheduler",
    "torchvision.models", "transformers.models.bert.modeling_bert", "transformers.models.auto.modeling_auto",
    "pandas", "scipy.spatial", "sklearn.linear_model", "rich.progress", "uvicorn", "fastapi", "pytest", "support",
)  # fmt: skip


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen | None]:
    """Return a line to the process that forks, and that process where it was started here.

    There is one for all processes of a run of tests. It ends when the last that has a line to it does.
    """
    name = f"\0embed-once {os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    deadline = time.monotonic() + 60
    while True:
        process = None
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with listener, suppress(OSError):  # another has the name
            listener.bind(name)
            listener.listen()
            process = _start(listener)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(name)
            return connection, process
        except ConnectionRefusedError:  # it does not listen yet, or has just ended
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _start(listener: socket.socket) -> subprocess.Popen:
    environment = {**os.environ, **HUGE_PAGES, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    descriptor = listener.fileno()
    command = [sys.executable, __file__, str(descriptor)]
    return subprocess.Popen(command, pass_fds=[descriptor], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)


def close() -> None:
    """End the line to the process that forks, and wait for its end where it was started here."""
    if _server.cache_info().currsize:
        connection, process = _server()
        _server.cache_clear()
        connection.close()
        if process is not None:
            process.wait()


class Popen(subprocess.Popen):
    """A process of ``[sys.executable, script, ...]`` or ``[sys.executable, "-c", code, ...]``."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any,  # noqa: ARG002
        startupinfo: Any, creationflags: Any, shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int,  # noqa: ARG002
        errread: int, errwrite: int, *_: Any,
    ) -> None:  # fmt: skip
        python, *arguments = map(str, args)
        assert python == sys.executable, args
        environment = dict(os.environ if env is None else env)
        order = {"arguments": arguments, "folder": str(cwd or os.getcwd()), "environment": environment}
        self._status, status = os.pipe()
        standard = [
            descriptor if descriptor >= 0 else number for number, descriptor in enumerate((p2cread, c2pwrite, errwrite))
        ]
        socket.send_fds(_server()[0], [json.dumps(order).encode()], [*standard, status])
        os.close(status)
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        self.pid = self._read()
        self._child_created = True

    def _read(self) -> int:
        return NUMBER.unpack(os.read(self._status, NUMBER.size))[0]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        status = self._read()
        os.close(self._status)
        return self.pid, status

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        with self._waitpid_lock:
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
        return self.returncode


def run(
    command: Any, *, check: bool = False, capture_output: bool = False, input: Any = None, timeout: float | None = None,  # noqa: A002
    **options: Any,
) -> subprocess.CompletedProcess:  # fmt: skip
    """Return what `subprocess.run` does."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    completed = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    if check:
        completed.check_returncode()
    return completed


def serve(listener: socket.socket) -> None:
    """Fork a child for each order, and tell how each ends, until nobody is left to order."""
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is for the tests
    signal.set_wakeup_fd(wake)
    children: dict[int, int] = {}  # process number -> whom to tell
    connections = [listener.accept()[0]]
    while connections:
        ready, _, _ = select.select([awake, listener, *connections], [], [])
        if awake in ready:
            os.read(awake, 4096)
            for child in list(children):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    _tell(children[child], status)
                    os.close(children.pop(child))
        if listener in ready:
            connections.append(listener.accept()[0])
        for connection in set(connections) & set(ready):
            message, descriptors, _, _ = socket.recv_fds(connection, 2**20, 4)
            if not message:
                connections.remove(connection)
                connection.close()
                continue
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                _obey(descriptors[:3], **json.loads(message))
            *standard, children[child] = descriptors
            _tell(children[child], child)
            for descriptor in standard:
                os.close(descriptor)
    for child in children:
        os.kill(child, signal.SIGKILL)


def _tell(descriptor: int, number: int) -> None:
    with suppress(BrokenPipeError):  # whoever started it is gone
        os.write(descriptor, NUMBER.pack(number))


def _obey(standard: list[int], *, arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Become what Python is when it begins to run a script."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        os.closerange(3, 4096)
        sys.stdin, sys.stdout = open(0), open(1, "w", encoding="utf-8")  # noqa: SIM115 - they stay
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        code = _run(arguments)
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
    finally:
        os._exit(code)


def _run(arguments: list[str]) -> int:
    """Run a script or code to its end, the threads' and what is to be done at exit with it; return the exit code."""
    code: Any = 0
    try:
        if arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            sys.path[:2] = [""]
            module = type(sys)("__main__")
            sys.modules["__main__"] = module
            exec(compile(arguments[1], "<string>", "exec"), vars(module))  # noqa: S102 - what a test gives
        else:
            sys.argv = arguments
            sys.path[:2] = [str(Path(arguments[0]).resolve().parent)]
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main() -> None:
    """Import what commands do, and serve orders from the socket whose number is given."""
    gc.disable()  # of libraries nearly nothing is garbage
    sys.path.insert(1, str(ROOT))
    for name in MODULES:
        with suppress(ImportError):  # a library that not every environment has
            importlib.import_module(name)
    import PIL.Image
    import torch

    torch.set_num_threads(1)  # a pool of threads would not outlive the fork
    PIL.Image.init()
    gc.freeze()  # or each child would copy the pages of all objects that it looks through for garbage
    gc.enable()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
