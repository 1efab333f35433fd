"""The products of a request, read from JSON, from a form, or from a picture's bytes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from heads.serving.refusal import Refusal
from heads.serving.serve_settings import ServeSettings

__all__ = ["Options", "ProductRequest", "json_of", "product_request", "read_many", "read_one"]

MOST_FIELDS = 1000  # of a form
PRODUCT_FIELDS = ("id", "image", "text", "columns")

Options = dict[str, Any]  # how to answer, unchecked


@dataclass(frozen=True)
class ProductRequest:
    """One product: its id in the cache, or the bytes of its picture, its text, its cells by column."""

    product_id: str | None = None
    image: bytes | None = None
    text: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def checked(self, settings: ServeSettings) -> ProductRequest:
        """Return the request, if it is one for a product and no larger than it may be.

        Raises:
            Refusal: 422, it is for no product; 413, it is too large.
        """
        raw = [self.image, *(cell.strip() for cell in (self.text or "", *self.columns.values()))]
        if self.product_id is not None and (self.image is not None or self.text is not None or self.columns):
            raise Refusal(422, "Expected an id, or a product's picture, text and columns, got both. Leave one out.")
        if self.product_id is None and not any(raw) and self.image is None:
            raise Refusal(
                422, "Expected a product: an id of the cache, a picture, a text or columns, got nothing. Send one."
            )
        for name, cell in (("id", self.product_id), ("text", self.text), *self.columns.items()):
            if len(cell or "") > settings.max_characters:
                raise Refusal(
                    413,
                    f"Expected {name[:80]} to have at most {settings.max_characters} characters, got "
                    f"{len(cell or '')}. Shorten it.",
                )
        return self


async def read_one(
    request: Request, settings: ServeSettings, *, names: tuple[str, ...]
) -> tuple[ProductRequest, Options]:
    """Return the product in a request, and its options; `names` are those that there may be.

    Raises:
        Refusal: it has no product, or in a format that is not read.
    """
    options = _query(request, names)
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        value = json_of(body)
        if not isinstance(value, dict):
            raise Refusal(422, f'Expected a JSON object, got {_kind(value)}. Send one such as {{"id": "1"}}.')
        options |= {name: value.pop(name) for name in names if name in value}
        requested = product_request(value)
    elif kind.startswith("image/"):
        requested = ProductRequest(image=body)
    elif kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        requested, form_options = await _form(request, body, names)
        options |= form_options
    else:
        raise Refusal(
            415,
            f"Expected multipart/form-data, application/json or image/*, got {kind[:80] or 'no Content-Type'}. Name "
            "what you send.",
        )
    return requested.checked(settings), options


async def read_many(
    request: Request, settings: ServeSettings, *, names: tuple[str, ...]
) -> tuple[list[ProductRequest | Refusal], Options]:
    """Return the products of a JSON list, for each that is wrong its refusal, and the options for all of them.

    Raises:
        Refusal: there is no such list, or it is too long.
    """
    options = _query(request, names)
    value = json_of(await request.body())
    if isinstance(value, dict) and isinstance(value.get("products"), list):
        unknown = sorted(value.keys() - {"products", *names})
        if unknown:
            raise Refusal(422, f"Expected products and {', '.join(names)}, got {unknown[0][:80]!r}. Leave it out.")
        options |= {name: value[name] for name in names if name in value}
        value = value["products"]
    if not isinstance(value, list):
        raise Refusal(422, f'Expected a JSON list of products, got {_kind(value)}. Send one such as [{{"id": "1"}}].')
    if not 1 <= len(value) <= settings.max_products:
        raise Refusal(
            413 if value else 422,
            f"Expected 1 to {settings.max_products} products, got {len(value)}. Send them in several requests.",
        )
    products: list[ProductRequest | Refusal] = []
    for item in value:
        try:
            products.append(product_request(item).checked(settings))
        except Refusal as refusal:
            products.append(refusal)
    return products, options


def product_request(value: Any) -> ProductRequest:
    """Return the product that a JSON value describes.

    Raises:
        Refusal: it describes none.
    """
    if not isinstance(value, dict):
        raise Refusal(422, f"Expected a product to be a JSON object, got {_kind(value)}.")
    if unknown := sorted(value.keys() - set(PRODUCT_FIELDS)):
        raise Refusal(
            422,
            f"Expected a product to have {', '.join(PRODUCT_FIELDS)}, got {unknown[0][:80]!r}. Cells of other columns "
            'stand in "columns".',
        )
    words = {name: value.get(name) for name in ("id", "image", "text")}
    if wrong := [name for name, word in words.items() if not isinstance(word, str | None)]:
        raise Refusal(422, f"Expected {wrong[0]} to be a string, got {_kind(value[wrong[0]])}. Send it as one.")
    columns = value.get("columns")
    if not isinstance(columns, dict | None):
        raise Refusal(422, f'Expected columns to be an object such as {{"gender": "Men"}}, got {_kind(columns)}.')
    cells = {name: _cell(name, cell) for name, cell in (columns or {}).items() if cell is not None}
    return ProductRequest(words["id"], _base64(words["image"]), words["text"], cells)


def _cell(name: str, cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str | int | float):
        return str(cell)
    raise Refusal(422, f"Expected the cell of {name[:80]} to be a string or a number, got {_kind(cell)}.")


def _base64(text: str | None) -> bytes | None:
    """Return the bytes that a text encodes in base64, which may have line breaks or be a data URL."""
    if text is None:
        return None
    code = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(code.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            422, f"Expected image to be base64 of a picture's file, got what is none ({error}). No path is read."
        ) from error


def json_of(body: bytes) -> Any:
    """Return the value that a body encodes in JSON.

    Raises:
        Refusal: 400, it is no JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"Expected JSON, got what is none: {error}. Mend it.") from error


async def _form(request: Request, body: bytes, names: tuple[str, ...]) -> tuple[ProductRequest, Options]:
    _check_end(request, body)
    try:
        form = await request.form(max_files=2, max_fields=MOST_FIELDS, max_part_size=max(1, len(body)))
    except HTTPException as error:
        raise Refusal(400, f"Expected a well-formed form, got one that is not: {error.detail}") from error
    try:
        return await _fields(form, names)
    finally:
        await form.close()


def _check_end(request: Request, body: bytes) -> None:
    """Refuse a multipart body that breaks off, whose last part would be silently missing."""
    from python_multipart.multipart import parse_options_header

    kind, parameters = parse_options_header(request.headers["content-type"])
    if kind == b"multipart/form-data" and b"--" + parameters.get(b"boundary", b"") + b"--" not in body:
        raise Refusal(400, "Expected a well-formed form, got one whose last boundary is missing. Send all of it.")


async def _fields(form: FormData, names: tuple[str, ...]) -> tuple[ProductRequest, Options]:
    requested, options = ProductRequest(), Options()
    field_names: set[str] = set()
    for name, value in form.multi_items():
        if name in field_names:
            raise Refusal(422, f"Expected each field once, got {name[:80]!r} twice. Leave one out.")
        field_names.add(name)
        if isinstance(value, UploadFile) != (name == "image"):
            expected = "a file" if name == "image" else "no file"
            raise Refusal(422, f"Expected the field {name[:80]!r} to be {expected}, got something else.")
        if isinstance(value, UploadFile):
            content = await value.read()
            if content or value.filename:  # browsers send an empty one where none was chosen
                requested = replace(requested, image=content)
        elif name in names:
            options[name] = value
        elif name == "id":
            requested = replace(requested, product_id=value)
        elif name == "text":
            requested = replace(requested, text=value)
        else:
            requested = replace(requested, columns={**requested.columns, name: value})
    return requested, options


def _query(request: Request, names: tuple[str, ...]) -> Options:
    options = Options(request.query_params)
    if unknown := sorted(options.keys() - set(names)):
        raise Refusal(
            422, f"Expected the query to have {', '.join(names)}, got {unknown[0][:80]!r}. Send a product in the body."
        )
    return options


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
