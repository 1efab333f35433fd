"""A real heads-serve: its cache sealed anew beneath it, clients that are killed, no descriptors left, SIGTERM, damage.

Its unit is tests/test_heads_serving_server.py: the encoders that it needs take longer to make than all other units.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import fork_server
import httpx
from served import Served, started, stop, train_served_run
from support import ROOT

from cache import Journal, seal
from torture.campaign import LOST, UNNAMED, WRONG, Campaign, Tools, Trial, in_child, require

IDS = [f"p{n}" for n in range(10)]


def prepare(tools: Tools) -> Callable[[Trial], None]:
    # In a child: it leaves threads, which no fork survives.
    run = in_child(lambda: train_served_run(tools.folder / "served"), timeout_s=600)
    with started(run, tools.folder) as server:
        expected = answers(server, IDS)
    cases = (damaged_run, sealed_beneath, clients_killed, without_descriptors)

    def serve(trial: Trial) -> None:
        case = tools.pick(cases, trial.number)
        copy = Served(
            Path(shutil.copytree(run.run_path, trial.folder / "run")),
            Path(shutil.copy(run.cache_path, trial.folder / "e.h5")),
            run.catalogue_path,
        )
        if case is damaged_run:
            damaged_run(copy, trial)
            return
        with started(copy, trial.folder, "--cache", copy.cache_path) as server:
            case(copy, server, trial)
            require(answers(server, IDS) == expected, WRONG, f"other answers after {case.__name__}")
            terminate(server, trial)

    return serve


def answers(server: SimpleNamespace, ids: Sequence[str]) -> list[object]:
    with httpx.Client(timeout=120) as client:
        responses = [client.post(f"{server.url}/predict", json={"id": product_id}).json() for product_id in ids]
    return [
        {name: value for name, value in response.items() if name in ("answer", "top", "heads")}
        for response in responses
    ]


def sealed_beneath(run: Served, _: SimpleNamespace, trial: Trial) -> None:
    """Put another cache in the place of the server's, perhaps then bytes that are none, and take the run away."""
    empty_cache = trial.folder / "other.h5"
    with Journal(empty_cache) as journal:
        seal(empty_cache, journal, None)
    os.replace(empty_cache, run.cache_path)
    if trial.random.random() < 0.5:
        (trial.folder / "none").write_bytes(b"no cache")
        os.replace(trial.folder / "none", run.cache_path)
    if trial.random.random() < 0.5:
        shutil.rmtree(run.run_path)
    trial.counts["caches replaced beneath a server"] += 1


def clients_killed(_: Served, server: SimpleNamespace, trial: Trial) -> None:
    """Send requests, or half of them, and hang up."""
    body = json.dumps({"text": "a cotton shirt"}).encode()
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    for _ in range(60):
        content = head.encode() + body
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(content[: trial.random.randrange(len(content) + 1)])
        trial.counts["clients killed"] += 1


def without_descriptors(_: Served, server: SimpleNamespace, trial: Trial) -> None:
    """Let the server have no more files open than now, and connect; then permit them again."""
    n_open = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (n_open + 3, limits[1]))
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(30)]
    time.sleep(trial.random.random())  # whatever it does with them in the meantime
    for connection in held:
        connection.close()
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
    end = time.monotonic() + 60
    while not is_ready(server):
        require(server.process.poll() is None and time.monotonic() < end, LOST, "the server has not come back")
        time.sleep(0.1)
    trial.counts["shortages of descriptors"] += 1


def is_ready(server: SimpleNamespace) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def terminate(server: SimpleNamespace, trial: Trial) -> None:
    """Send SIGTERM while requests are answered: whatever was taken on gets its answer.

    A connection that the system took and the server did not is reset, as HTTP permits; so the server counts what it
    took on, and clients have to have so many answers.
    """

    def ask(n: int) -> int | None:
        try:
            return httpx.post(f"{server.url}/predict", json={"text": f"a word{n} shirt"}, timeout=120).status_code
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return None

    counted = httpx.get(f"{server.url}/metrics", timeout=60).text
    n_before = 1 + sum(int(float(n)) for n in re.findall(r"(?m)^embed_once_requests_total\{.*\} (.*)$", counted))
    with ThreadPoolExecutor(16) as pool:
        requests = [pool.submit(ask, n) for n in range(60)]
        time.sleep(0.2 * trial.random.random())
        code = stop(server, signal.SIGTERM)
        statuses = [request.result() for request in requests]
    output = server.log.read_text()
    require("Stopped: " in output, UNNAMED, output)
    n_begun = sum(map(int, re.findall(r"\d+", output.rpartition("Stopped: ")[2].replace(",", ""))))
    n_answers = sum(status is not None for status in statuses)
    trial.counts["requests at SIGTERM"] += len(statuses)
    trial.counts["of which were taken on"] += n_answers
    require(set(statuses) <= {200, 503, None}, WRONG, f"of requests at SIGTERM: {set(statuses)}")
    require(n_answers == n_begun - n_before, LOST, f"{n_begun - n_before} requests taken on, {n_answers} answers")
    require(code == 0, UNNAMED, f"SIGTERM: exit code {code}")
    require("Traceback" not in output, UNNAMED, output)


def damaged_run(run: Served, trial: Trial) -> None:
    """Flip a bit in a file of the run: the server does not start, and says why."""
    path = trial.random.choice(sorted(file for file in run.run_path.iterdir() if file.name != "report.html"))
    content = bytearray(path.read_bytes())
    content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
    path.write_bytes(content)
    command = [sys.executable, ROOT / "bin" / "heads-serve", run.run_path, "--port", "0", "--device", "cpu"]
    completed = fork_server.run(command, capture_output=True, text=True, timeout=120, check=False)
    require(
        completed.returncode == 1 and "Traceback" not in completed.stderr,
        UNNAMED,
        f"a bit of {path.name}: {completed.stderr}",
    )
    require(completed.stderr.count("Error: ") == 1, UNNAMED, completed.stderr)
    trial.counts["damaged runs refused"] += 1


CAMPAIGN = Campaign(
    "servers", "heads-serve: its cache replaced, clients killed, no descriptors, SIGTERM", prepare, n_unit=0
)
