"""JSON files of a run, held against their types before anything is built from them: it may come from a stranger."""

from __future__ import annotations

import json
import os
import re
import stat
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cache.memory_budget import memory_bytes
from cache.reading import reading

__all__ = ["MOST_JSON_BYTES", "check_plain_name", "read_object", "read_plain_file", "typed"]

MOST_JSON_BYTES = 2**28
Typed = TypeVar("Typed")


def read_plain_file(path: Path, *, most_bytes: int | None = None) -> bytes:
    """Return the bytes of a regular file, and never wait for one that is a pipe; None: half of the memory at most.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: the system could not read it.
        ValueError: it is no regular file, or larger.
    """
    most_bytes = memory_bytes(None) if most_bytes is None else most_bytes
    with reading(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise ValueError(f"{path.name} is no regular file")
            if facts.st_size > most_bytes:
                raise ValueError(f"{path.name} has {facts.st_size} bytes, more than {most_bytes}")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        FileNotFoundError, UnreadableError, ValueError: as `read_plain_file` does; or the file holds no JSON object.
    """
    content = read_plain_file(path, most_bytes=MOST_JSON_BYTES)
    try:
        value = json.loads(content.decode())
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return value


def typed(kind: type[Typed], value: object, *, where: str, more: bool = False) -> Typed:
    """Return a dataclass made of a JSON object, each field held against its type; `more` permits other fields.

    >>> from heads.modules.description import HeadDescription
    >>> typed(HeadDescription, {"name": 3}, where="the description")
    Traceback (most recent call last):
    ...
    ValueError: the description lacks dims

    Raises:
        ValueError: the value is no such object; the message says where.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no JSON object")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in value if name not in known and not more]:
        raise ValueError(f"{where} has {unknown[0]!r}, which is unknown")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {name}")
        if name in value and not _is(value[name], hints[name]):
            raise ValueError(f"{name} of {where} is {str(value[name])[:40]!r}, where {field.type} is expected")
    return kind(**{name: value[name] for name in known if name in value})


def check_plain_name(name: str) -> None:
    """Check that a name can be that of a file in a folder, and of no other.

    Raises:
        ValueError: it cannot.
    """
    if not re.fullmatch(r"[\w+-][\w.+-]{0,199}", name):
        raise ValueError(f"{name[:40]!r} is no plain name")


def _is(value: object, kind: Any) -> bool:
    """Return whether a value of JSON is of a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is(value, part) for part in parts)
    if origin is list:
        if isinstance(value, list) and not get_args(parts[0]):  # ids may be millions: one of each type tells
            value = list({type(one): one for one in value}.values())
        return isinstance(value, list) and all(_is(one, parts[0]) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_is(one, parts[1]) for one in value.values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
