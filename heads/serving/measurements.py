"""The figures of a server for Prometheus: counts and times."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["UNANSWERED", "Measurements"]

UNANSWERED = 499  # the status of a request whose client hung up, or that was cut off

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Measurements:
    """The figures of one server; each label has few values, whatever requests ask."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.n_begun = self.n_answered = 0
        self._registry = registry = CollectorRegistry()
        self._by_endpoint: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter("embed_once_requests", "Requests answered.", ["endpoint", "status"], registry=registry)
        self._seconds = Histogram(
            "embed_once_request_seconds", "From a request's first byte to its answer.", ["endpoint"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._in_flight = Gauge("embed_once_requests_in_flight", "Requests being answered.", registry=registry)
        self._waiting = Gauge(
            "embed_once_products_waiting", "Products that wait for a batch.", ["lane"], registry=registry
        )
        self._sizes = Histogram(
            "embed_once_batch_products", "Products answered together.", ["lane"], buckets=SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "embed_once_batch_seconds", "For a batch to be answered.", ["lane"], buckets=SECONDS, registry=registry
        )
        self._dropped = Counter(
            "embed_once_products_dropped", "Products dropped before their batch.", ["lane", "reason"], registry=registry
        )
        self._repeated = Counter(
            "embed_once_repeated_answers", "Requests answered as one shortly before.", registry=registry
        )

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)

    def begin(self) -> None:
        """Note that a request has come."""
        self.n_begun += 1
        self._in_flight.inc()

    def end(self, endpoint: str, status: int, seconds: float) -> None:
        """Note that a request was answered, or that its client hung up (status 499)."""
        self.n_answered += status != UNANSWERED
        self._in_flight.dec()
        count, times = self._figures_of(endpoint, status)
        count.inc()
        times.observe(seconds)

    def _figures_of(self, endpoint: str, status: int) -> tuple[Counter, Histogram]:
        """Return the figures of an endpoint and a status, kept here: a lookup by labels takes a tenth of an answer."""
        if (endpoint, status) not in self._by_endpoint:
            figures = self._requests.labels(endpoint, str(status)), self._seconds.labels(endpoint)
            self._by_endpoint[endpoint, status] = figures
        return self._by_endpoint[endpoint, status]

    def repeat(self) -> None:
        """Note that a request was answered by a kept answer."""
        self._repeated.inc()

    def watch(self, lane: str, n_waiting: Callable[[], float]) -> None:
        """Have the figures call `n_waiting`, which returns how many products wait in a lane."""
        self._waiting.labels(lane).set_function(n_waiting)

    def drop(self, lane: str, reason: str) -> None:
        """Note that a product was dropped before its batch."""
        self._dropped.labels(lane, reason).inc()

    def batch(self, lane: str, n_products: int, seconds: float) -> None:
        """Note that a batch was answered."""
        self._sizes.labels(lane).observe(n_products)
        self._batch_seconds.labels(lane).observe(seconds)
