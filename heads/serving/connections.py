"""uvicorn's connections, closed if a request's head does not come in time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from cache.system.reading import SHORTAGES

__all__ = ["GRACE_S", "connections_of", "tell_of_shortages"]

log = logging.getLogger("embed_once")

GRACE_S = 0.3  # that a connection stays open for a request that is on its way when the server stops
TOLD_EVERY_S = 60.0


class PatientProtocol(H11Protocol):
    """A connection that is closed if no request begins in time, and shortly after the server begins to stop.

    uvicorn only limits the time between two requests: a client that sends nothing, or a byte now and then, would stay.
    """

    header_s = 10.0
    _header_task: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_idle:
            self._await_header()
        elif self._header_task is not None:
            self._header_task.cancel()
            self._header_task = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._header_task is not None:
            self._header_task.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self.loop.call_later(GRACE_S, self._end)

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_header(self) -> None:
        if self._header_task is None:
            self._header_task = self.loop.call_later(self.header_s, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._header_task = None
        if self._is_idle and not self.transport.is_closing():
            self.transport.close()


def connections_of(header_s: float) -> type[PatientProtocol]:
    """Return a class of connections that wait `header_s` seconds for a request's head."""
    return type("Connections", (PatientProtocol,), {"header_s": header_s})


def tell_of_shortages() -> None:
    """Have the running loop log a line now and then while connections wait because the machine lacks something.

    asyncio by default logs a traceback for each of thousands of tries a second.
    """
    warned_s = float("-inf")

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal warned_s
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in SHORTAGES:
            loop.default_exception_handler(context)
        elif loop.time() - warned_s >= TOLD_EVERY_S:
            warned_s = loop.time()
            log.warning("New connections wait: %s. Permit the server more (ulimit -n), or free some.", error.strerror)

    asyncio.get_running_loop().set_exception_handler(handle)
