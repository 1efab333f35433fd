"""Clients that send requests to a server on loopback, each on a connection that it keeps, and how fast it answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["by_id", "by_path", "form", "load", "measured", "request", "timed"]


def request(path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def by_id(product_id: str) -> bytes:
    return request("/predict", json.dumps({"id": product_id}).encode())


def by_path(path: str, ids: Sequence[str]) -> list[bytes]:
    return [request(path, json.dumps({"id": product_id}).encode()) for product_id in ids]


def form(picture: bytes, title: str) -> bytes:
    part = "--B\r\nContent-Disposition: form-data; name="
    body = (
        f'{part}"text"\r\n\r\n{title}\r\n{part}"image"; filename="a.jpg"\r\n\r\n'.encode() + picture + b"\r\n--B--\r\n"
    )
    return request("/predict", body, "multipart/form-data; boundary=B")


async def load(port: int, shares: Sequence[Sequence[bytes]]) -> tuple[list[float], list[int], float]:
    """Send each client's requests on a connection of its own; return all seconds and statuses, and how long it took."""
    seconds: list[float] = []
    statuses: list[int] = []

    async def client(requests: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for content in requests:
            begin = time.perf_counter()
            writer.write(content)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            seconds.append(time.perf_counter() - begin)
            statuses.append(int(head[9:12]))
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client(requests) for requests in shares))
    return seconds, statuses, time.perf_counter() - begin


def measured(port: int, requests: Sequence[bytes], *, n_clients: int) -> dict[str, float]:
    """Return the figures of so many clients that share some requests."""
    seconds, statuses, total = asyncio.run(load(port, [requests[n::n_clients] for n in range(n_clients)]))
    return figures_of(seconds, statuses, total)


def timed(port: int, requests: Callable[[], Sequence[bytes]], *, n_clients: int, seconds: float) -> dict[str, float]:
    """Return the figures of so many clients that go on for some seconds."""

    def going_on() -> Iterator[bytes]:
        end = time.perf_counter() + seconds
        while True:
            for content in requests():
                if time.perf_counter() > end:
                    return
                yield content

    shares: Any = [going_on() for _ in range(n_clients)]
    return figures_of(*asyncio.run(load(port, shares)))


def figures_of(seconds: Sequence[float], statuses: Sequence[int], total: float) -> dict[str, float]:
    p50, p99 = np.percentile(seconds, [50, 99]).tolist()
    failed = sum(status != 200 for status in statuses)
    return {
        "per_s": len(seconds) / total,
        "p50_ms": 1000 * p50,
        "p99_ms": 1000 * p99,
        "n": len(seconds),
        "failed": failed,
    }
