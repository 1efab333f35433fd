"""The gate in front of all endpoints: who may ask, how many at once, how much, and for how long."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heads.serving import page
from heads.serving.measurements import UNANSWERED, Measurements
from heads.serving.refusal import Refusal
from heads.serving.serve_settings import ServeSettings, is_loopback

__all__ = ["REVIEW", "Gate", "deadline_of"]

FREE = {*page.FILES, "/healthz", "/readyz"}  # without a token: they tell nothing of products
REVIEW = "/review"  # and what is below it: the page on which products are labelled
UNBOUNDED = {"/healthz", "/readyz", "/metrics"}  # answered however many requests there are
DRAIN_S = 1.0  # for which a refused body is still read, so that its client comes to read the refusal
DEADLINE = "embed_once.deadline"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def deadline_of(scope: Mapping[str, Any]) -> float:
    """Return when a request must be answered, by `time.monotonic`."""
    return float(scope[DEADLINE])


class Gate:
    """Lets requests through to an application, within the limits of the settings.

    Bodies are counted as they come, so that chunked ones are bounded too.
    """

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, measurements: Measurements) -> None:
        self._app, self._settings, self._measurements = app, settings, measurements
        self._token = None if settings.token is None else f"Bearer {settings.token}".encode()
        self._is_private = settings.token is None and is_loopback(settings.host)
        self._n_requests = 0
        self._body_bytes = 0  # of all requests that are being answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        scope[DEADLINE] = start + self._settings.deadline_s
        status = UNANSWERED  # where nothing is sent

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in HEADERS if pair[0] not in names)]
            await send(message)

        self._measurements.begin()
        self._n_requests += 1
        body = _Body(self, scope, receive, self._settings)
        try:
            self._admit(scope)
            await body.check_announced()
            await self._app(scope, body.receive, noting_send)
        except Refusal as refusal:
            await refusal.response()(scope, receive, noting_send)
        finally:
            self._n_requests -= 1
            self._body_bytes -= body.n_bytes
            self._measurements.end(_endpoint(scope), status, time.monotonic() - start)

    def take_bytes(self, n_bytes: int) -> None:
        """Count bytes that are held.

        Raises:
            Refusal: there are too many of them.
        """
        self._body_bytes += n_bytes
        if self._body_bytes > self._settings.max_body_memory_mb * 2**20:
            raise Refusal(503, "Expected fewer large requests at once, got too many. Try again.", retry_after_s=1)

    def _admit(self, scope: Scope) -> None:
        """Refuse a request without the token, to another name than this machine's, in a coding, or one too many."""
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}  # the first of a name
        host = headers.get(b"host", "")
        if self._is_private and not _is_ours(host):
            # A page of another site may have its host name resolve to this machine, and could then read our answers.
            raise Refusal(
                421,
                f"Expected this machine's own name, got {host[:80]!r}. Ask 127.0.0.1, or start with --token or --host.",
            )
        if self._token is not None and scope["path"] not in FREE:
            authorization = headers.get(b"authorization", "").encode("latin-1")
            # A browser cannot send a bearer token for a page: it asks its user for a password, and sends that.
            is_review = scope["path"] == REVIEW or scope["path"].startswith(f"{REVIEW}/")
            if not hmac.compare_digest(_as_bearer(authorization, takes_password=is_review), self._token):
                raise Refusal(
                    401,
                    f"Expected the server's token, got {'another' if authorization else 'none'}. Send the header "
                    f"Authorization: Bearer TOKEN{', or give it as the password' if is_review else ''}.",
                    headers={"WWW-Authenticate": 'Basic realm="embed-once"' if is_review else "Bearer"},
                )
        if (coding := headers.get(b"content-encoding", "identity")).lower() != "identity":
            raise Refusal(
                415, f"Expected a body as it is, got one in Content-Encoding {coding[:80]!r}. Send it uncompressed.",
                headers={"Accept-Encoding": "identity"},
            )  # fmt: skip
        if self._n_requests > self._settings.max_parallel and scope["path"] not in UNBOUNDED:
            raise Refusal(
                503, f"Expected at most {self._settings.max_parallel} requests at once, got more. Try again.",
                retry_after_s=1,
            )  # fmt: skip


class _Body:
    """A request's body, counted and timed as it comes."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, settings: ServeSettings) -> None:
        self._gate, self._receive, self._settings = gate, receive, settings
        self._headers = dict(scope["headers"])
        self._deadline = deadline_of(scope)
        self._is_whole = False
        self.n_bytes = 0

    async def check_announced(self) -> None:
        """Refuse a body whose announced length is too large."""
        announced = self._headers.get(b"content-length", b"0")
        if announced.isdigit() and (len(announced) > 18 or int(announced) > self._settings.max_body_bytes):
            raise await self._too_large()

    async def receive(self) -> Message:
        """Return the next message; while the body comes, no later than the deadline."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError as error:
            raise Refusal(
                408,
                f"Expected the whole request within {self._settings.deadline_s:g} s, got a part of it. Send it again.",
                headers={"Connection": "close"},
            ) from error
        if message["type"] == "http.request":
            n_bytes = len(message.get("body", b""))
            self.n_bytes += n_bytes
            self._gate.take_bytes(n_bytes)
            if self.n_bytes > self._settings.max_body_bytes:
                raise await self._too_large()
            self._is_whole = not message.get("more_body", False)
        return message

    async def _too_large(self) -> Refusal:
        if b"expect" not in self._headers:  # a client that expects "100 Continue" sends nothing yet
            try:
                async with asyncio.timeout(DRAIN_S):
                    while (message := await self._receive())["type"] == "http.request" and message.get("more_body"):
                        pass
            except TimeoutError:
                pass
        return Refusal(
            413,
            f"Expected at most {self._settings.max_body_mb:g} MB, got more. Send less.",
            headers={"Connection": "close"},
        )


@lru_cache(maxsize=256)
def _is_ours(host: str) -> bool:
    """Return whether a Host header names this machine, with or without a port."""
    return is_loopback(re.sub(r":\d*$", "", host).strip("[]"))


def _as_bearer(authorization: bytes, *, takes_password: bool) -> bytes:
    """Return the bearer header, its scheme in any case; for a token given as a password, under any user name, too."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return b"Bearer " + credentials.strip()
    if scheme.lower() != b"basic" or not takes_password:
        return authorization
    try:
        return b"Bearer " + base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _endpoint(scope: Scope) -> str:
    """Return the template of a request's path, of which there are few, as the label of its figures."""
    return str(getattr(scope.get("route"), "path", "other"))
