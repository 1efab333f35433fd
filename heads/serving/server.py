"""`Server`: a socket and uvicorn, which listen while the encoders are still being loaded."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from heads.prediction.run import Run
from heads.review.saved_answers import SavedAnswers
from heads.serving.app import make_app
from heads.serving.cached_products import CachedProducts
from heads.serving.connections import connections_of, tell_of_shortages
from heads.serving.gate import REVIEW, Gate
from heads.serving.measurements import Measurements
from heads.serving.serve_settings import ServeSettings
from heads.serving.service import Service

__all__ = ["Server", "listen"]

log = logging.getLogger("embed_once")

BACKLOG = 2048  # connections that the system holds until they are taken
SPARE_S = 5.0  # after the last deadline, before unfinished requests are cancelled


class Server:
    """Listens from the start; products are answered as soon as the encoders are loaded and checked.

    Raises:
        OSError: the address cannot be listened at.
    """

    def __init__(
        self,
        run: Run,
        products: CachedProducts | None,
        settings: ServeSettings,
        *,
        image_root: Path | None = None,
        review: SavedAnswers | None = None,
    ) -> None:
        self._settings, self._review = settings, review
        self._listener = listen(settings)
        self._service = Service(run, products, settings, Measurements())
        self._failure: Exception | None = None
        app = make_app(self._service, image_root=image_root, review=review, lifespan=self._lifespan)
        config = uvicorn.Config(
            Gate(app, settings=settings, measurements=self._service.measurements),
            http=connections_of(settings.header_s), ws="none", lifespan="on", backlog=BACKLOG, access_log=False,
            log_level="error", server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=int(settings.deadline_s + SPARE_S),
        )  # fmt: skip
        self._uvicorn = uvicorn.Server(config)

    def run(self, tell: Callable[[str], None]) -> None:
        """Answer requests until SIGTERM or SIGINT; `tell` is told the address.

        Raises:
            HeadError, WeightsError, DeviceError, SettingError: the encoders cannot be had, or give other vectors.
        """
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        address = f"http://{host}:{self._listener.getsockname()[1]}"
        tell(address)
        if self._review is not None:
            tell(f"{address}{REVIEW} saves the answers in {self._review.path.name}.")
        with _signals_end_quietly():
            self._uvicorn.run(sockets=[self._listener])
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        tell_of_shortages()
        loading = asyncio.create_task(asyncio.to_thread(self._load))
        yield
        await loading
        await asyncio.to_thread(self._service.close)
        counts = self._service.measurements
        n_hung_up = counts.n_begun - counts.n_answered
        log.info(
            "Stopped: requests answered: %s; given up by their clients: %s.", f"{counts.n_answered:,}", f"{n_hung_up:,}"
        )

    def _load(self) -> None:
        start = time.perf_counter()
        try:
            self._service.load()
            log.info("Ready: the encoders were loaded and tried in %.1f s.", time.perf_counter() - start)
        except Exception as error:  # noqa: BLE001 - it is raised once the server has ended
            self._failure = error
            self._uvicorn.should_exit = True


def listen(settings: ServeSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        OSError: the address cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named, as asyncio turns Nagle's algorithm off for TCP only; with it each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno,
            f"Expected {settings.host} port {settings.port} to be free to listen at, but: {error.strerror}. Name "
            "another --port or --host.",
        ) from error
    return listener


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Ignore the signal that uvicorn raises again once it has ended by it: to be stopped by a signal is no failure."""
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
