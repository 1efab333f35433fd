"""JSON files, held against their types before anything is built from them: they may come from a stranger."""

from __future__ import annotations

import functools
import json
import os
import re
import stat
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from cache.system.memory_budget import memory_bytes
from cache.system.reading import reading

__all__ = ["MOST_JSON_BYTES", "check_plain_name", "read_object", "read_plain_file", "to_plain", "typed"]

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
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{path.name} is no regular file")
            if status.st_size > most_bytes:
                raise ValueError(f"{path.name} has {status.st_size} bytes, more than {most_bytes}")
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
    >>> typed(HeadDescription, {"name": "early"}, where="the description")
    Traceback (most recent call last):
    ...
    ValueError: the description lacks dims

    Raises:
        ValueError: the value is no such object; the message says where.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no JSON object")
    hints = _hints(kind)  # type: ignore[arg-type]
    fields_by_name = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in value if name not in fields_by_name and not more]:
        raise ValueError(f"{where} has {unknown[0]!r}, which is unknown")
    values = {}
    for name, field in fields_by_name.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {name}")
        if name in value:
            try:
                values[name] = _typed_value(hints[name], value[name], where=f"{name} of {where}")
            except TypeError as error:
                shown = str(value[name])[:40]
                raise ValueError(f"{name} of {where} is {shown!r}, where {field.type} is expected") from error
    return kind(**values)


def check_plain_name(name: str) -> None:
    """Check that a name can be that of a file in a folder, and of no other.

    Raises:
        ValueError: it cannot.
    """
    if not re.fullmatch(r"[\w+-][\w.+-]{0,199}", name):
        raise ValueError(f"{name[:40]!r} is no plain name")


def to_plain(value: Any) -> Any:
    """Return a value in JSON's types, of which `typed` makes it again: a dataclass is an object, a path its text.

    >>> to_plain({"rows": (1, np.int64(2))})
    {'rows': [1, 2]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _typed_value(kind: Any, value: Any, *, where: str) -> Any:
    """Return a value of JSON as one of a type.

    Raises:
        TypeError: it is none.
        ValueError: it holds an object that does not fit its dataclass.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _typed_union(arguments, value, where=where)
    if is_dataclass(kind):
        return typed(kind, value, where=where)  # type: ignore[arg-type]
    if origin in (list, tuple) and isinstance(value, list):
        return _typed_items(origin, arguments, value, where=where)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {name: _typed_value(arguments[1], item, where=where) for name, item in value.items()}
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is Any:
        return value
    accepted = int | float if kind is float else kind
    if origin is None and isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)):
        return value
    raise TypeError


def _typed_union(kinds: tuple[Any, ...], value: Any, *, where: str) -> Any:
    for kind in kinds:
        with suppress(TypeError, ValueError):
            return _typed_value(kind, value, where=where)
    raise TypeError


def _typed_items(origin: type, arguments: tuple[Any, ...], value: list[Any], *, where: str) -> Any:
    if origin is list and not (get_args(arguments[0]) or is_dataclass(arguments[0]) or arguments[0] is Path):
        for item in {type(item): item for item in value}.values():  # ids may be millions: one of each type is enough
            _typed_value(arguments[0], item, where=where)
        return value
    item_kinds = [arguments[0]] * len(value) if origin is list or arguments[-1] is Ellipsis else arguments
    if len(item_kinds) != len(value):
        raise TypeError
    return origin(_typed_value(kind, item, where=where) for kind, item in zip(item_kinds, value, strict=True))


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
