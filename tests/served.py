"""A small run to serve: tiny encoders, a catalogue of drawn products, heads that are quickly trained."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fork_server
import httpx
from support import ROOT, image_bytes, write_catalogue
from tiny_models import write_two_towers, write_vision

import embed
import heads
from cache import Cache
from heads.serving.app import make_app
from heads.serving.cached_products import CachedProducts
from heads.serving.gate import Gate
from heads.serving.measurements import Measurements
from heads.serving.serve_settings import ServeSettings
from heads.serving.service import Service

N_PRODUCTS = 60
COLOURS = ("red", "blue")
KINDS = ("shirt", "shoes")


@dataclass(frozen=True)
class Served:
    """A run, its cache, and the catalogue that they were made of."""

    run_path: Path
    cache_path: Path
    catalogue_path: Path


def picture(n: int) -> bytes:
    """Return the picture of a product: a shade of its colour."""
    return image_bytes((200 + n % 50, n, 9) if n % 2 == 0 else (9, n, 200 + n % 50), size=(24, 24))


def title(n: int) -> str:
    return f"a cotton {KINDS[n // 2 % 2]} word{n % 40} word{n // 2}"


def train_served_run(folder: Path) -> Served:
    """Extract and train: four classes, of which the picture tells one half and the title the other."""
    vit, clip = write_vision(folder / "vit", "vit"), write_two_towers(folder / "clip", "clip")
    rows = [
        {
            "id": f"p{n}", "image": f"images/{n}.png", "title": title(n) if n != 7 else "",
            "gender": ("Men", "Women", "")[n % 3], "label": f"{COLOURS[n % 2]} {KINDS[n // 2 % 2]}",
        }
        for n in range(N_PRODUCTS)
    ]  # fmt: skip
    images = {f"images/{n}.png": picture(n) for n in range(N_PRODUCTS) if n != 5}
    catalogue_path = write_catalogue(folder / "shop", rows, images)
    cache_path = folder / "shop" / "embeddings.h5"
    settings = embed.ExtractSettings(
        device="cpu", precision="fp32", image_encoder=str(vit), text_encoder=str(clip), max_length=20, max_bad="5%"
    )
    embed.extract(catalogue_path, cache_path, settings=settings)
    quick = heads.TrainSettings(
        fusions=("early", "late"), weights="auto", metadata_columns=("gender",), hidden_dim=16, max_epochs=30,
        n_resamples=100,
    )  # fmt: skip
    report = heads.train(cache_path, settings=quick, runs_path=folder / "runs")
    return Served(report.run_path, cache_path, catalogue_path)


def start(run: Served, folder: Path, *arguments: object) -> SimpleNamespace:
    """Start a server in a process of its own; return it once it answers."""
    command = [sys.executable, ROOT / "bin" / "heads-serve", run.run_path, "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w") as log:
        process = fork_server.Popen(
            [*map(str, command), *map(str, arguments)], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), (folder / "log").read_text()
    deadline = time.monotonic() + 120
    while httpx.get(f"{url}/readyz", timeout=30).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return SimpleNamespace(process=process, url=url, port=int(url.rpartition(":")[2]), log=folder / "log")


def stop(server: SimpleNamespace, number: int) -> int:
    """Tell a server to stop; return its exit code."""
    server.process.send_signal(number)
    with server.process.stdout:
        return server.process.wait(60)


@contextmanager
def started(run: Served, folder: Path, *arguments: object) -> Iterator[SimpleNamespace]:
    """Yield a server in a process of its own, which is stopped at the end unless it was."""
    server = start(run, folder, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            stop(server, signal.SIGINT)


class Client:
    """Asks an application in this process, each request in an event loop of its own."""

    def __init__(self, app: Any, *, headers: Mapping[str, str] | None = None) -> None:
        self.app, self.headers = app, headers

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8000", headers=self.headers
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


def client_of(run: heads.Run, cache_path: Path | None, **limits: Any) -> tuple[Client, Service]:
    """Return a client of an application whose encoders are loaded, and the service behind it."""
    settings = ServeSettings(**limits)
    products = None if cache_path is None else CachedProducts(list(run.heads.values()), Cache(cache_path))
    service = Service(run, products, settings, Measurements())
    service.load()
    app = Gate(make_app(service), settings=settings, measurements=service.measurements)
    token = {} if settings.token is None else {"Authorization": f"Bearer {settings.token}"}
    return Client(app, headers=token), service
