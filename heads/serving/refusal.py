"""`Refusal`: why a request gets no answer, with the status that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

__all__ = ["ClientGoneError", "Json", "Refusal"]


class Refusal(Exception):  # noqa: N818 - it is no error of ours
    """A request gets no answer: `status` is HTTP's, the message says what was expected, what came, and what to do."""

    def __init__(
        self, status: int, message: str, *, retry_after_s: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {}) | ({} if retry_after_s is None else {"Retry-After": str(retry_after_s)})

    def response(self) -> Response:
        """Return the HTTP response that tells the client."""
        return Json({"error": str(self)}, status=self.status, headers=self.headers)


class ClientGoneError(Exception):
    """The client hung up: nobody reads an answer."""


class Json(Response):
    """A JSON response; bytes of ids and cells that are no Unicode are escaped in it."""

    media_type = "application/json"

    def __init__(self, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else self.encoded(value)
        super().__init__(content, status_code=status, headers=headers)

    @staticmethod
    def encoded(value: Any) -> bytes:
        """Return a value as JSON."""
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
