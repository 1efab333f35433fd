"""Measure a server on loopback: `python tests/benchmarks/serving.py` (`--quick`: a minute, to see that it works).

A run of early and late fusion on ResNet-18 and BERT-base with random weights is served by `heads-serve` in a process of
its own; this process asks with 1, 8 and 64 clients, each on a connection that it keeps, one request after the other.

empty     uvicorn with the server's own kind of connections, and a handler that reads the body and answers 1 kB
cached    products of the cache by their ids: the first time (vectors are known), and again (the answer is kept)
uncached  new pictures of 300 x 400 and new titles, sent as a form
forward   the encoders alone in this process, on prepared contents of as many products a batch (at most 32); the same
          with their preparation (decoding, resizing, tokens)
start     seconds until the server listens, and until it answers
memory    resident MB when it is ready, after the above, and after 10,000 requests: ids, and new titles
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]

from http_load import by_id, by_path, form, load, measured, request, timed  # noqa: E402 - they are on the path by now
from inputs import draw_pictures, draw_titles, write_bert  # noqa: E402
from support import write_catalogue  # noqa: E402

import embed  # noqa: E402
import heads  # noqa: E402

CLIENTS = (1, 8, 64)
SIZE = (300, 400)
EMPTY = """
import sys
import uvicorn
sys.path[:0] = [{root!r}]
from heads.serving.connections import connections_of
BODY = b"x" * 1000
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]}})
    await send({{"type": "http.response.body", "body": BODY}})
uvicorn.run(app, port={port}, http=connections_of(10.0), ws="none", lifespan="off", access_log=False, log_level="error")
"""


@click.command()
@click.option("--quick", is_flag=True, help="Few requests, to see that it works.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(quick: bool, device: str, json_path: Path | None) -> None:
    """Measure a server."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        click.echo("preparing a run", err=True)
        run_path, cache_path = prepare(folder, n_products=100 if quick else 400, device=device)
        n_new = 124 if quick else 640
        pictures = [path.read_bytes() for path in draw_pictures(folder / "new", n_pictures=n_new, size=SIZE, seed=9)]
        titles = [f"new {title} {n}" for n, title in enumerate(draw_titles(n_new, seed=9))]
        figures["empty"] = empty(folder, seconds=1.0 if quick else 5.0)
        process, port, figures["start"] = start(run_path, device=device)
        try:
            figures |= answers(port, cache_path, pictures, titles, process.pid, quick=quick)
        finally:
            process.terminate()
            process.wait(60)
        # In a process of its own: what trained heads in this one may have left threads of PyTorch otherwise.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            figures["forward"] = alone.submit(forward, run_path, pictures, titles, device=device).result()
    show(figures)
    if json_path:
        json_path.write_text(json.dumps(figures, indent=1) + "\n")


def prepare(folder: Path, *, n_products: int, device: str) -> tuple[Path, Path]:
    """Extract and train; return the run and its cache."""
    paths = draw_pictures(folder / "shop" / "images", n_pictures=n_products, size=SIZE)
    rows = [
        {"id": f"p{n}", "image": f"images/{path.name}", "title": f"{title} {n}", "label": f"class {n % 8}"}
        for n, (path, title) in enumerate(zip(paths, draw_titles(n_products), strict=True))
    ]
    cache_path = folder / "shop" / "embeddings.h5"
    settings = embed.ExtractSettings(
        image_weights="random", text_encoder=str(write_bert(folder / "bert", draw_titles(2000))), device=device
    )
    embed.extract(write_catalogue(folder / "shop", rows), cache_path, settings=settings)
    quick = heads.TrainSettings(fusions=("early", "late"), max_epochs=3, n_resamples=100)
    return heads.train(cache_path, settings=quick, runs_path=folder / "runs").run_path, cache_path


def start(run_path: Path, *, device: str) -> tuple[subprocess.Popen[str], int, dict[str, float]]:
    """Start the server; return it once it answers."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / "heads-serve"), str(run_path), "--port", "0", "--device", device],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    listening = time.perf_counter() - begin
    ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    while asyncio.run(load(port, [[ready]]))[1] != [200]:
        time.sleep(0.02)
    return process, port, {"listening_s": listening, "ready_s": time.perf_counter() - begin}


def empty(folder: Path, *, seconds: float) -> dict[str, Any]:
    """Return the figures of a handler that does nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    script = folder / "empty.py"
    script.write_text(EMPTY.format(root=str(ROOT), port=port))
    with subprocess.Popen([sys.executable, str(script)]) as process:
        time.sleep(3)
        request = by_id("p1")
        try:
            return {str(n): timed(port, lambda: [request] * 100, n_clients=n, seconds=seconds) for n in CLIENTS}
        finally:
            process.terminate()


def answers(
    port: int, cache_path: Path, pictures: Sequence[bytes], titles: Sequence[str], pid: int, *, quick: bool
) -> dict[str, Any]:
    """Return the figures of the server, part by part."""
    from cache import Cache

    with Cache(cache_path) as cache:
        ids = cache.ids()
    seconds = 1.0 if quick else 5.0
    figures: dict[str, Any] = {"memory_mb": {"ready": resident_mb(pid)}}
    first = by_path("/predict?top=2", ids), by_path("/predict?top=4", ids), by_path("/predict?top=5", ids)
    figures["cached first"] = {
        str(n): measured(port, requests, n_clients=n) for n, requests in zip(CLIENTS, first, strict=True)
    }
    repeated = [by_id(product_id) for product_id in ids[:100]]
    asyncio.run(load(port, [repeated]))
    figures["cached again"] = {str(n): timed(port, lambda: repeated, n_clients=n, seconds=seconds) for n in CLIENTS}
    new = iter([form(picture, title) for picture, title in zip(pictures, titles, strict=True)])
    shares = (4, 24, 96) if quick else (40, 150, 450)
    figures["uncached"] = {
        str(n): measured(port, [next(new) for _ in range(share)], n_clients=n)
        for n, share in zip(CLIENTS, shares, strict=True)
    }
    figures["memory_mb"]["after these"] = resident_mb(pid)
    n_more, n_titles = (500, 20) if quick else (10_000, 1000)
    more = [by_id(ids[n % len(ids)]) for n in range(n_more - n_titles)]
    more += [request("/predict", json.dumps({"text": f"title number {n}"}).encode()) for n in range(n_titles)]
    measured(port, more, n_clients=8)
    figures["memory_mb"][f"after {n_more} more"] = resident_mb(pid)
    return figures


def forward(run_path: Path, pictures: Sequence[bytes], titles: Sequence[str], *, device: str) -> dict[str, Any]:
    """Return products a second of the encoders alone, {clients: figures}; each batch is of as many products."""
    encoders = heads.Run.load(run_path, device=device).encoders
    figures = {}
    for n in CLIENTS:
        size = min(n, 32, len(pictures))
        n_rounds = max(3, min(20, len(pictures) // size))
        with_preparation, alone = [], []
        for number in range(1 + n_rounds):
            indices = [(number * size + index) % len(pictures) for index in range(size)]
            begin = time.perf_counter()
            images = [encoders["image"].prepare(pictures[index]) for index in indices]
            texts = [encoders["text"].prepare(titles[index]) for index in indices]
            prepared = time.perf_counter()
            step = encoders["image"].batch_size
            for index in range(0, size, step):
                encoders["image"].encode(images[index : index + step])
            encoders["text"].encode(texts)
            end = time.perf_counter()
            if number:  # the first warms up
                with_preparation.append(size / (end - begin))
                alone.append(size / (end - prepared))
        figures[str(n)] = {
            "per_s": statistics.median(alone), "per_s_with_preparation": statistics.median(with_preparation)
        }  # fmt: skip
    return figures


def resident_mb(pid: int) -> float:
    """Return the memory of a process (Linux), NaN elsewhere."""
    path = Path(f"/proc/{pid}/status")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), float("nan"))


def show(figures: dict[str, Any]) -> None:
    """Print all figures, and the two ratios that are promised."""
    click.echo(f"{'':14}{'clients':>8}{'per s':>10}{'p50 ms':>10}{'p99 ms':>10}{'ratio':>8}")
    for part, beside in (
        ("empty", None),
        ("cached first", "empty"),
        ("cached again", "empty"),
        ("uncached", "forward"),
    ):
        for n, line in figures[part].items():
            ratio = f"{line['per_s'] / figures[beside][n]['per_s']:8.2f}" if beside else ""
            failed = f"  {line['failed']} failed" if line["failed"] else ""
            click.echo(
                f"{part:14}{n:>8}{line['per_s']:10.1f}{line['p50_ms']:10.2f}{line['p99_ms']:10.2f}{ratio}{failed}"
            )
    for n, line in figures["forward"].items():
        click.echo(f"{'forward':14}{n:>8}{line['per_s']:10.1f}  with preparation {line['per_s_with_preparation']:.1f}")
    begin = figures["start"]
    click.echo(f"start: listens after {begin['listening_s']:.1f} s, answers after {begin['ready_s']:.1f} s")
    click.echo("memory: " + ", ".join(f"{moment} {value:.0f} MB" for moment, value in figures["memory_mb"].items()))


if __name__ == "__main__":
    command()
