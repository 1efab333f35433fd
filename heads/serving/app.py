"""The application: which path answers what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heads.review.saved_answers import SavedAnswers
from heads.serving import page
from heads.serving.about import about
from heads.serving.answerer import Outcome, Question
from heads.serving.options import count_of, flag_of, word_of
from heads.serving.product_request import ProductRequest, read_many, read_one
from heads.serving.refusal import ClientGoneError, Json, Refusal
from heads.serving.review import add_review
from heads.serving.schemas import FAILURES, MANY_PRODUCTS, ONE_PRODUCT, Answered, ManyAnswered, Similar, one_of
from heads.serving.service import Service, in_time
from heads.serving.similar_products import most_similar

__all__ = ["make_app"]

N_SIMILAR = 8
N_TOP = 3
DESCRIPTION = "Answers of trained heads to products: a picture, a text, and cells of columns; or an id of the cache."

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def make_app(
    service: Service,
    *,
    image_root: Path | None = None,
    review: SavedAnswers | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """Return the application of a service.

    Args:
        service: what the endpoints ask.
        image_root: what the pictures' paths in the cache are relative to; None: the cache's folder.
        review: a page whose answers are saved.
        lifespan: what to do before the first request and after the last.
    """
    app = FastAPI(
        title="embed-once", description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=lifespan,
        redirect_slashes=False,  # to an address whose scheme and prefix a proxy knows alone
    )  # fmt: skip
    _add_predictions(app, service)
    _add_similar(app, service)
    _add_pictures(app, service, image_root)
    _add_states(app, service)
    if review is not None:
        add_review(app, review)
    _shorten(app)
    for path, file in page.FILES.items():
        _add_file(app, path, file.read_bytes(), page.KINDS[file.suffix])
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(HTTPException, _refuse_plainly)
    for gone in (ClientGoneError, ClientDisconnect):  # while it waits, and while it sends
        app.add_exception_handler(gone, _give_up)
    app.add_exception_handler(Exception, _apologise)
    return app


def _add_predictions(app: FastAPI, service: Service) -> None:
    settings = service.settings

    @app.post("/predict", responses={200: {"model": Answered}, **FAILURES}, openapi_extra=ONE_PRODUCT)
    async def predict(request: Request) -> Response:
        """Say what a product is: from its picture, its text and its columns, or from its id in the cache."""
        service.check_ready()
        requested, options = await read_one(request, settings, names=("top", "explain"))
        top = count_of(options, "top", default=N_TOP, most=settings.max_top)
        is_explained = flag_of(options, "explain")
        product, key = service.resolve(requested)
        if not is_explained and (answer := service.recent.get((key, top))) is not None:
            service.measurements.repeat()
            return Json(answer)
        [outcome] = await service.answer(request, [Question(product, is_explained=is_explained)])
        service.check_picture(outcome, requested)
        value = _answer_object(service, outcome, top=top, is_explained=is_explained)
        answer = Json.encoded(value)
        if not is_explained:
            service.recent.keep((key, top), answer)
        return Json(answer)

    @app.post("/predict/batch", responses={200: {"model": ManyAnswered}, **FAILURES}, openapi_extra=MANY_PRODUCTS)
    async def predict_batch(request: Request) -> Response:
        """Say what each of some products is; one that is none gets its own error."""
        service.check_ready()
        products, options = await read_many(request, settings, names=("top", "explain"))
        top = count_of(options, "top", default=N_TOP, most=settings.max_top)
        is_explained = flag_of(options, "explain")
        objects: dict[int, dict[str, Any]] = {}
        questions: dict[int, tuple[ProductRequest, Question]] = {}
        for n, requested in enumerate(products):
            try:
                if isinstance(requested, Refusal):
                    raise requested
                questions[n] = requested, Question(service.resolve(requested)[0], is_explained=is_explained)
            except Refusal as refusal:
                objects[n] = {"error": str(refusal), "status": refusal.status}
        outcomes = await service.answer(request, [question for _, question in questions.values()])
        for (n, (requested, _)), outcome in zip(questions.items(), outcomes, strict=True):
            try:
                service.check_picture(outcome, requested)
                objects[n] = _answer_object(service, outcome, top=top, is_explained=is_explained)
            except Refusal as refusal:
                objects[n] = {"error": str(refusal), "status": refusal.status}
        return Json({"predictions": [objects[n] for n in range(len(products))]})


def _answer_object(service: Service, outcome: Outcome, *, top: int, is_explained: bool) -> dict[str, Any]:
    explained = {"explain": service.answerer.explanation(outcome)} if is_explained else {}
    return outcome.to_dict(top=top) | explained


def _add_similar(app: FastAPI, service: Service) -> None:
    settings = service.settings
    options: dict[str, dict[str, Any]] = {
        "n": {"type": "integer", "default": N_SIMILAR, "minimum": 1},
        "by": {"type": "string", "enum": ["fused", "image", "text"], "default": "fused"},
    }

    @app.post("/similar", responses={200: {"model": Similar}, **FAILURES}, openapi_extra=one_of(**options))
    async def similar(request: Request) -> Response:
        """Find the products of the cache that are most like one.

        A similarity is a cosine: of the pictures, of the texts, or (`fused`) the mean of those of the modalities that
        both products have. Every product is compared. One that is named by its id is left out.
        """
        service.check_ready()
        products = service.cached_products()
        if not products.tables:
            raise Refusal(404, "Expected heads that look at pictures or texts, got none. Serve others, too.")
        requested, options = await read_one(request, settings, names=("n", "by"))
        n = count_of(options, "n", default=N_SIMILAR, most=settings.max_top)
        by = word_of(options, "by", default="fused", words=("fused", *products.tables))
        product, _ = service.resolve(requested)
        [outcome] = await service.answer(request, [Question(product)])
        service.check_picture(outcome, requested)
        modalities = list(products.tables) if by == "fused" else [by]
        query = {name: vector for name in modalities if (vector := outcome.vector(name)) is not None}
        if not query:
            raise Refusal(
                422,
                f"Expected a product with {' or '.join(modalities)}, got one without. Send it, or name another `by`.",
            )
        own_row = product if isinstance(product, int) else None
        search = asyncio.to_thread(most_similar, products.tables, query, n=n, excluded_row=own_row)
        nearest = await in_time(request, search)
        return Json(
            {
                "by": by,
                "modalities": sorted(query),
                "products": [
                    {
                        "id": products.ids[row],
                        "similarity": similarity,
                        "title": products.title(row),
                        "picture": f"/products/{row}/picture" if products.picture_cell(row) else None,
                        "label": products.label(row),
                    }
                    for row, similarity in nearest
                ],
            }
        )


def _add_pictures(app: FastAPI, service: Service, image_root: Path | None) -> None:
    products = service.products
    thumbnails = None if products is None else products.thumbnails(image_root or products.cache.path.parent)

    @app.get(
        "/products/{row}/picture",
        responses={200: {"content": {"image/jpeg": {}}, "description": "a small JPEG"}, **FAILURES},
    )
    async def picture(row: str, request: Request) -> Response:
        """Show the picture of the product in a row of the cache, scaled down."""
        products = service.cached_products()
        # A request names a row and no path: the path is the catalogue's, below the image root.
        is_row = row.isascii() and row.isdigit() and len(row) < 12 and int(row) < len(products)
        content = None
        if is_row and thumbnails is not None and (cell := products.picture_cell(int(row))):
            content = await in_time(request, asyncio.to_thread(thumbnails.jpeg, cell))
        if content is None:
            raise Refusal(404, "Expected the row of a product whose picture lies below --image-root, got another.")
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})


def _add_states(app: FastAPI, service: Service) -> None:
    facts = Json.encoded(about(service))

    @app.get("/about")
    async def tell_about() -> Response:
        """Say what this server was taught, what it looks at, and which products it knows."""
        return Json(facts)

    @app.get("/healthz")
    async def healthz() -> Response:
        """Say that the process lives."""
        return Json({"status": "ok"})

    @app.get("/readyz", responses={503: FAILURES[503]})
    async def readyz() -> Response:
        """Say whether products are answered: encoders are loaded, and give the vectors that they gave."""
        service.check_ready()
        return Json({"status": "ready"})

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format"}})
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        return Response(service.measurements.text(), headers={"Content-Type": service.measurements.content_type})


class _Straight(Route):
    """A route that notes itself in the scope, for the measurements, as FastAPI's routes do."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        await super().handle(scope, receive, send)


def _shorten(app: FastAPI) -> None:
    """Route POST requests straight to their endpoints; FastAPI's own handling takes as long as an answer."""
    posted = [route for route in app.routes if isinstance(route, Route) and "POST" in (route.methods or ())]
    app.router.routes[:0] = [_Straight(route.path, route.endpoint, methods=["POST"]) for route in posted]


def _add_file(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    async def send(_: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    app.add_route(path, send, include_in_schema=False)


async def _refuse(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 - that is what it is registered for
    return refusal.response()


async def _refuse_plainly(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - that is what it is registered for
    if error.status_code == 404:
        message = "Expected a path of this server, got another. /openapi.json lists them."
        if request.url.path.endswith("/"):
            message += " None ends with a slash."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"Expected {allowed or 'another method'} for this path, got {request.method}. Use it."
    else:
        message = str(error.detail)
    return Json({"error": message}, status=error.status_code, headers=error.headers)


async def _give_up(*_: Any) -> Response:
    return Response(status_code=499)  # nobody reads it; it is counted


async def _apologise(*_: Any) -> Response:
    return Json({"error": "This is a mistake in embed-once, not in your request. Please report it."}, status=500)
