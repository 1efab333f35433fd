"""`Service`: a run that answers, its two lanes of batches, and its recent answers."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Hashable, Sequence
from typing import TypeVar

from starlette.requests import Request

from cache.errors import EmbedOnceError
from heads.errors import HeadError
from heads.prediction.products import Product
from heads.prediction.run import Run
from heads.serving.answerer import Answerer, Outcome, Question
from heads.serving.batching import Batching, FullError
from heads.serving.cached_products import CachedProducts
from heads.serving.gate import deadline_of
from heads.serving.measurements import Measurements
from heads.serving.product_request import ProductRequest
from heads.serving.refusal import ClientGoneError, Refusal
from heads.serving.serve_settings import ServeSettings

__all__ = ["RecentAnswers", "Service", "in_time"]

log = logging.getLogger("embed_once")
Result = TypeVar("Result")

MOST_RECENT = 10_000  # answers that are kept, about 1 kB each
BAD_PICTURES = {
    "too_large": (413, "has too many pixels or JPEG scans, or is more than 50 times as long as wide. Scale it down."),
    "empty": (422, "has no bytes. Send one."),
    "not_an_image": (422, "is no picture of a format that is read. Send a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."),
    "truncated": (422, "ends early or is damaged. Send all of it."),
    "unsupported_mode": (422, "has numbers of no known scale. Save it with 8 or 16 bits."),
    "changed": (503, "could not be decoded for lack of memory. Try again."),
}


class RecentAnswers:
    """The most recent answers, by their questions; used in one event loop only."""

    def __init__(self, most_answers: int = MOST_RECENT) -> None:
        self._most_answers = most_answers
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable) -> bytes | None:
        """Return the answer of this key, None if it is not kept."""
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def keep(self, key: Hashable, answer: bytes) -> None:
        """Keep an answer, and forget the one least recently used if there are too many."""
        self._answers[key] = answer
        if len(self._answers) > self._most_answers:
            self._answers.popitem(last=False)


class Service:
    """Answers the endpoints' questions in two lanes: of products whose vectors are known, and of those to be encoded.

    So known products wait for no encoder.
    """

    def __init__(
        self, run: Run, products: CachedProducts | None, settings: ServeSettings, measurements: Measurements
    ) -> None:
        self.run, self.products, self.settings, self.measurements = run, products, settings, measurements
        self.answerer = Answerer(run, products)
        self.recent = RecentAnswers()
        self.is_ready = False
        self._lanes = {
            name: Batching[Question, Outcome](
                self.answerer.answer,
                name=f"heads-serve {name}",
                max_batch=settings.max_batch,
                max_waiting=settings.max_waiting,
                dropped=functools.partial(measurements.drop, name),
                answered=functools.partial(measurements.batch, name),
            )
            for name in ("known", "encoded")
        }
        for name, lane in self._lanes.items():
            measurements.watch(name, lane.n_waiting)

    def load(self) -> None:
        """Build the encoders, check them on the run's samples, and load their networks.

        Raises:
            HeadError, WeightsError, DeviceError, SettingError: as of `Run.products`.
        """
        _ = self.run.products
        for encoder in self.run.encoders.values():
            encoder.check()
            _ = getattr(encoder, "model", None)  # without samples, the check has not loaded it
        self.is_ready = True

    def close(self) -> None:
        """Answer the products that wait, and end the lanes."""
        for lane in self._lanes.values():
            lane.close()

    def check_ready(self) -> None:
        """Refuse while encoders are loaded.

        Raises:
            Refusal: 503.
        """
        if not self.is_ready:
            raise Refusal(503, "Expected the encoders to be loaded, but they are not yet. Try again.", retry_after_s=1)

    def cached_products(self) -> CachedProducts:
        """Return the products of the cache.

        Raises:
            Refusal: 404, there is none.
        """
        if self.products is None:
            raise Refusal(404, "Expected a cache with products, but this server has none. Start it with --cache.")
        return self.products

    def resolve(self, requested: ProductRequest) -> tuple[Product | int, Hashable]:
        """Return the product of a request, or its row in the cache, and a key that only equal requests have.

        Raises:
            Refusal: 404, the id is unknown; 422, a column is.
        """
        if requested.product_id is not None:
            row = self.cached_products().row(requested.product_id)
            if row is None:
                raise Refusal(404, f"Expected the id of a product in the cache, got {requested.product_id[:80]!r}.")
            return row, row
        picture = "" if requested.image is None else hashlib.sha256(requested.image).hexdigest()
        parts = json.dumps([picture, requested.text, sorted(requested.columns.items())])
        return self._product(requested), hashlib.sha256(parts.encode()).digest()  # short, whatever was sent

    async def answer(self, request: Request, questions: Sequence[Question]) -> list[Outcome]:
        """Return the answers to each product.

        Raises:
            Refusal: 503, too many wait, or the memory is too small; 504, it took too long.
            ClientGoneError: the client hung up; what waits is dropped.
        """
        lanes = ["known" if self._is_known(question) else "encoded" for question in questions]
        deadline = deadline_of(request.scope)
        futures: dict[int, asyncio.Future[Outcome]] = {}
        try:
            for name, lane in self._lanes.items():
                numbers = [n for n, question_lane in enumerate(lanes) if question_lane == name]
                submitted = lane.submit([questions[n] for n in numbers], deadline=deadline)
                futures |= dict(zip(numbers, submitted, strict=True))
        except FullError as error:
            for future in futures.values():
                future.cancel()
            raise Refusal(
                503, "Expected fewer products at once, got more than can wait. Try again.", retry_after_s=1
            ) from error
        try:
            return await in_time(request, asyncio.gather(*(futures[n] for n in range(len(questions)))))
        except EmbedOnceError as error:
            log.warning("No answer: %s", error)
            raise Refusal(
                503, "Expected products to be encoded, but the server cannot now; its log says why. Try again.",
                retry_after_s=1,
            ) from error  # fmt: skip

    def check_picture(self, outcome: Outcome, requested: ProductRequest) -> None:
        """Refuse a picture that could not be read, or a text that is not Unicode.

        Raises:
            Refusal: 413, 422 or 503.
        """
        status = outcome.statuses.get("image", "ok")
        if requested.image is not None and status in BAD_PICTURES:
            code, complaint = BAD_PICTURES[status]
            raise Refusal(
                code, f"Expected a picture, got one that {complaint}", retry_after_s=1 if code == 503 else None
            )
        if outcome.statuses.get("text") == "not_unicode":
            raise Refusal(422, "Expected the text to be Unicode, got lone surrogates. Send it as UTF-8.")

    def _product(self, requested: ProductRequest) -> Product:
        reserved = requested.columns.keys() & {"image", "text"}
        try:
            if reserved:
                raise HeadError(f"Expected {min(reserved)} beside the columns, got it among them. Send it as itself.")
            return self.run.product(image=requested.image, text=requested.text, **requested.columns)
        except HeadError as error:
            raise Refusal(422, str(error)) from error

    def _is_known(self, question: Question) -> bool:
        return isinstance(question.product, int) or self.run.products.is_known(question.product)


async def in_time(request: Request, answer: Awaitable[Result]) -> Result:
    """Return the awaited result if it comes in time and the client still waits; else it is cancelled.

    Raises:
        Refusal: 504.
        ClientGoneError: the client hung up.
    """
    answers = asyncio.ensure_future(answer)
    deadline = deadline_of(request.scope)
    gone = asyncio.ensure_future(_hung_up(request))
    # The exception is read, or asyncio warns that nobody did.
    answers.add_done_callback(lambda future: future.cancelled() or future.exception())
    try:
        await asyncio.wait([answers, gone], timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            return answers.result()
        if gone.done():
            raise ClientGoneError
        raise TimeoutError
    except TimeoutError as error:
        raise Refusal(504, "Expected an answer in time, but too much was asked before. Try again later.") from error
    finally:
        answers.cancel()
        gone.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
