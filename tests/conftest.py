"""Every test runs in a folder of its own, without network, and away from the user's own caches and default paths."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import FASHION

# Small networks gain nothing from threads, and on a busy machine they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts background commands deaf to Ctrl-C, and what they start inherits that; tests send it to real processes.
signal.signal(signal.SIGINT, signal.default_int_handler)

# While libraries and tests are imported nearly nothing is garbage, and to look for it takes a fifth of the time.
gc.disable()

_SLOW_FILE = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.slow\b", re.MULTILINE)
_BROWSER_FILE = re.compile(r"^from browser import .*\b(opened|new_page)\b", re.MULTILINE)
_connect = socket.socket.connect


@functools.cache
def _shared_program(path: Path) -> str | None:
    """Return the module of the program that a file's tests share with other files, as it takes seconds to start."""
    if path.stem.endswith("_ray"):
        return "ray_cluster"
    return "browser" if _BROWSER_FILE.search(path.read_text(encoding="utf-8")) else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file of slow tests unimported in a quick run: its libraries alone take seconds."""
    is_test = config.option.markexpr == "not slow" and collection_path.suffix == ".py"
    return True if is_test and _SLOW_FILE.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files on Ray, and with those that have slow tests: where one came last, all would wait for it."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.path.stem.endswith("_ray"), item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all files on Ray to one process, and all that open pages: one cluster and one browser are started."""
    from xdist.scheduler import LoadFileScheduling

    class SharedTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = super()._split_scope(nodeid)
            return _shared_program(config.rootpath / path) or path

    return SharedTogether(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """Spare all tests the costs that grow with the libraries in memory."""
    # The million objects of tests and libraries are no garbage, and need not be looked through again and again.
    gc.freeze()
    gc.set_threshold(5_000)
    gc.enable()
    # Six times a test pytest puts a handler on each logger that does not propagate; libraries have dozens of them.
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in ("torch", "transformers"):
            logger.propagate = True


def pytest_sessionfinish() -> None:
    """End what was started for all tests."""
    for name in ("fork_server", "ray_cluster", "browser"):
        if module := sys.modules.get(name):
            module.close()


@pytest.fixture(scope="session")
def _fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where matplotlib keeps its list of fonts, which takes it two seconds to make, for all processes of tests."""
    folder = tmp_path_factory.getbasetemp()
    fonts = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "fonts"
    fonts.mkdir(exist_ok=True)
    return fonts


@pytest.fixture(scope="session", autouse=True)
def _caches_elsewhere(_fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep fixtures that many tests share away from the user's own caches, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))
        patch.setenv("MPLCONFIGDIR", str(_fonts))
        yield


@pytest.fixture(scope="module", autouse=True)
def _end_unneeded_programs(request: pytest.FixtureRequest) -> None:
    """End the cluster and the browser before files that need none."""
    for name in {"ray_cluster", "browser"} - {_shared_program(request.path)}:
        if module := sys.modules.get(name):
            module.close()


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, _fonts: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MPLCONFIGDIR", str(_fonts))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    # Nobody listens there: obstore's requests are made in Rust, past the patched socket.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(socket.socket, "connect", _connect_locally)
    monkeypatch.setattr(os, "fsync", _skip_fsync)
    yield
    leftovers = sorted(path.name for path in home.iterdir())
    assert not {"embeddings.h5", "runs", "data.csv"} & set(leftovers), "a test wrote to a command's default path"


@pytest.fixture(autouse=True)
def _on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `auto` be the CPU, here and in the processes that a test starts, unless the test is marked `gpu`."""
    if request.node.get_closest_marker("gpu") is not None:
        return
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # read where PyTorch first asks for devices, so by what is started
    if torch := sys.modules.get("torch"):  # which may have asked: the tests that are marked do, when they are collected
        for backend in (torch.cuda, torch.backends.mps):
            monkeypatch.setattr(backend, "is_available", functools.cache(lambda: False))  # torch looks for __wrapped__


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Leave out what most of a small training's time goes to: a figure of each kind is put together, none made SVG of.

    For modules that look at no page; those on pages, and the real products' tests, draw all.
    """
    with _figures_left_out():
        yield


@pytest.fixture
def undrawn_here() -> Iterator[None]:
    """Leave the same out in a test on what else is on a page."""
    with _figures_left_out():
        yield


@contextlib.contextmanager
def _figures_left_out() -> Iterator[None]:
    from heads.reports import ablation_page, train_page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cache.pages.plot._render", lambda *_: "<svg ></svg>")
        for page in (ablation_page, train_page):
            for name in (name for name in vars(page) if name.startswith(("draw_", "plot_"))):
                patch.setattr(page, name, _called_once(getattr(page, name)))
        yield


@pytest.fixture(scope="module")
def drawn_once() -> Iterator[None]:
    """Draw the weights of each untrained network of pictures once a module: that takes longer than a few pictures."""
    import torch

    from embed.encoders import torchvision_image

    models, get_model = {}, torchvision_image.get_model

    def copied(name: str, **options: Any) -> Any:
        key = (name, torch.initial_seed(), torch.get_default_device(), *sorted(options.items()))
        if key not in models:
            models[key] = get_model(name, **options)
        return copy.deepcopy(models[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision_image, "get_model", copied)
        yield


def _called_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls another once, and returns its first result ever after."""
    answers: list[Any] = []

    def answer(*arguments: Any, **options: Any) -> Any:
        if not answers:
            answers.append(function(*arguments, **options))
        return answers[0]

    return answer


@pytest.fixture(scope="session")
def fashion() -> Path:
    """The folder of 6,000 real products; where it is absent the test is skipped, and says so."""
    if not (FASHION / "styles.csv").is_file():
        pytest.skip(f"the fashion catalogue is not at {FASHION}")
    return FASHION


@pytest.fixture(scope="module")
def emulated() -> Iterator[Callable[..., Any]]:
    """A function that calls a module's function in a process that has an emulated accelerator."""
    from emulated_device import emulated_process  # imports torch, which few tests need

    with emulated_process() as call:
        yield call


def _skip_fsync(descriptor: int) -> None:
    """Stand in for `os.fsync`, which takes milliseconds a thousand times: no test cuts the power."""
    os.fstat(descriptor)  # fails for a closed descriptor, as fsync does


@pytest.fixture(scope="session")
def served_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small run with its cache and its encoders: a `Served`."""
    from served import train_served_run  # imports torch, which few tests need

    return train_served_run(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def ray_cluster() -> Any:
    """A Ray cluster of two node processes, which take a share of a core even when they are idle."""
    from ray_cluster import cluster  # imports Ray, which few tests need

    return cluster()


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real S3 server, or a skipped test where none is installed."""
    pytest.importorskip("obstore")
    from bucket_server import BucketServer

    server = BucketServer(tmp_path_factory.mktemp("bucket"))
    yield server
    server.close()


@pytest.fixture
def bucket_url() -> str:
    """The URL of the server's bucket."""
    from bucket_server import BUCKET

    return f"s3://{BUCKET}"


@pytest.fixture
def proxy(bucket_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy before the server that notes all requests and fails on order; the environment is the writer's."""
    from bucket_server import WRITER, open_proxy

    with open_proxy(bucket_server.port, monkeypatch) as proxy:
        settings = {"ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}", "ALLOW_HTTP": "true", "REGION": "us-east-1"}
        for name, value in {**settings, "ACCESS_KEY_ID": WRITER[0], "SECRET_ACCESS_KEY": WRITER[1]}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield proxy


def _connect_locally(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"tests have no network, however something connects to {address}")
    _connect(self, address)
