"""The shapes of answers, and examples of requests, as OpenAPI tells them; nothing is checked against them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = [
    "FAILURES",
    "MANY_PRODUCTS",
    "ONE_PRODUCT",
    "REVIEW_FAILURES",
    "Answered",
    "ManyAnswered",
    "Similar",
    "one_of",
]


class Named(BaseModel):
    """A class and its probability."""

    answer: str
    probability: float


class Explanation(BaseModel):
    """What an answer is made of."""

    classes: list[str]
    probabilities: dict[str, list[float]]
    without: dict[str, Named | None]
    late_head: str | None
    late: str | None
    late_weights: dict[str, float] | None
    late_temperatures: dict[str, float] | None
    late_temperature: float | None


class Answered(BaseModel):
    """What is said of one product."""

    answer: str | None
    probability: float | None
    top: list[Named]
    heads: dict[str, Named | None]
    disagree: bool
    statuses: dict[str, str]
    explain: Explanation | None = None


class Failure(BaseModel):
    """Why there is no answer."""

    error: str


class ManyAnswered(BaseModel):
    """What is said of each product, or why nothing is, in the order of the request."""

    predictions: list[Answered | Failure]


class SimilarProduct(BaseModel):
    """A product of the cache; `picture` is a path on this server."""

    id: str
    similarity: float
    title: str
    picture: str | None
    label: str | None


class Similar(BaseModel):
    """The most similar products, the most similar first."""

    by: str
    modalities: list[str]
    products: list[SimilarProduct]


FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "model": Failure}
    for status, description in {
        400: "malformed JSON or form",
        401: "no token, or another",
        404: "unknown id, or no cache",
        408: "the request did not arrive in time",
        413: "too large: the body, the picture, the text",
        415: "a body of another kind",
        422: "no product: no picture, an unknown column",
        503: "too many requests, or not ready yet; Retry-After says when to try again",
        504: "no answer in time",
    }.items()
}
REVIEW_FAILURES = {
    **FAILURES,
    403: {"description": "sent by the page of another site", "model": Failure},
    409: {"description": "the file of the answers cannot be read any more", "model": Failure},
    507: {"description": "the disk is full", "model": Failure},
}

_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"  # a red pixel
_PRODUCT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "of a product in the cache, and nothing else then"},
        "text": {"type": "string"},
        "image": {"type": "string", "format": "byte", "description": "a picture's file in base64"},
        "columns": {"type": "object", "additionalProperties": {"type": "string"}, "description": "cells by column"},
    },
}
_EXAMPLES: dict[str, Any] = {
    "by id": {"value": {"id": "1"}},
    "text and columns": {"value": {"text": "Blue cotton shirt", "columns": {"gender": "Men"}}},
    "picture": {"value": {"image": _PICTURE}},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def one_of(**options: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request that gives one product, and options, whose schemas are given."""
    form = {
        "type": "object",
        "properties": {
            "image": {"type": "string", "format": "binary"}, "text": {"type": "string"}, "id": {"type": "string"},
            **options,
        },
        "additionalProperties": {"type": "string", "description": "a cell of the column that the field is named after"},
    }  # fmt: skip
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {**_PRODUCT, "properties": {**_PRODUCT["properties"], **options}}, "examples": _EXAMPLES,
                },
                "multipart/form-data": {
                    "schema": form, "examples": {"text": {"value": {"text": "Blue cotton shirt"}}},
                },
                "image/jpeg": _BINARY,
                "image/png": _BINARY,
            },
        },
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in options.items()],
    }  # fmt: skip


_OPTIONS = {
    "top": {"type": "integer", "default": 3, "minimum": 1},
    "explain": {"type": "boolean", "default": False},
}
ONE_PRODUCT = one_of(**_OPTIONS)
MANY_PRODUCTS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "array", "items": _PRODUCT},
                "examples": {"two": {"value": [{"id": "1"}, {"text": "Blue cotton shirt"}]}},
            }
        },
    },
    "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in _OPTIONS.items()],
}
