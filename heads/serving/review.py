"""A review page behind HTTP: its answers are saved as they are given."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from cache.errors import EmbedOnceError
from heads.errors import SettingError
from heads.review.saved_answers import SavedAnswers
from heads.serving.gate import REVIEW
from heads.serving.product_request import json_of
from heads.serving.refusal import Json, Refusal
from heads.serving.schemas import REVIEW_FAILURES

__all__ = ["add_review"]

Result = TypeVar("Result")

ANSWERS = f"{REVIEW}/answers"
POLICY = (
    "default-src 'none'; script-src '{script}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
FULL = {errno.ENOSPC, errno.EDQUOT}


def add_review(app: FastAPI, saved: SavedAnswers) -> None:
    """Let an application show a review page and save its answers."""
    page = saved.page(ANSWERS.removeprefix("/"))  # beside the page, also where a proxy gives both a prefix
    headers = {"Content-Security-Policy": POLICY.format(script=saved.script_source), "Cache-Control": "no-store"}

    async def show(_: Request) -> Response:
        return Response(page, media_type="text/html", headers=headers)

    app.add_route(REVIEW, show, include_in_schema=False)

    @app.get(ANSWERS, responses={409: REVIEW_FAILURES[409]})
    async def answers() -> Response:
        """Return the labels that the products of the review page have so far, and the name of their file."""
        labels = await asyncio.to_thread(_or_refusal, saved.labels, saved.path)
        return Json({"answers": labels, "file": saved.path.name}, headers={"Cache-Control": "no-store"})

    @app.post(ANSWERS, responses=REVIEW_FAILURES)
    async def save(request: Request) -> Response:
        """Save answers of the review page, `{"answers": [[product, label], ...]}`; null takes a label back."""
        _check_origin(request)
        body = json_of(await request.body())
        try:
            checked = saved.check(body.get("answers") if isinstance(body, dict) else None)
        except SettingError as error:
            raise Refusal(422, str(error)) from error
        n_labels = await asyncio.to_thread(_or_refusal, lambda: saved.save(checked), saved.path)
        return Json({"n_labels": n_labels, "file": saved.path.name})


def _or_refusal(do: Callable[[], Result], path: Path) -> Result:
    """Return the result of reading or writing the file of answers.

    Raises:
        Refusal: 409, the file cannot be read; 507 or 500, it cannot be written.
    """
    try:
        return do()
    except EmbedOnceError as error:
        raise Refusal(409, str(error)) from error
    except OSError as error:
        raise Refusal(
            507 if error.errno in FULL else 500,
            f"Expected {path.name} to be written, but: {error.strerror}. What it held before is there.",
        ) from error


def _check_origin(request: Request) -> None:
    """Refuse a request that a page of another site has the browser send, by the headers with which browsers say so.

    Raises:
        Refusal: 403 or 415.
    """
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_foreign = site != "same-origin" if site else origin and urlsplit(origin).netloc != headers.get("host")
    if is_foreign:
        raise Refusal(403, f"Expected answers of the page at {REVIEW}, got some of {str(origin)[:80]}. Open that page.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "Expected answers as application/json, got another kind of body. Send them as JSON.")
