"""Dataclasses of plain values as JSON's types, and back by the types of their fields."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["from_plain", "to_plain"]


def to_plain(value: Any) -> Any:
    """Return a value in JSON's types: a dataclass is an object of its fields, a path its text.

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


def from_plain(kind: Any, value: Any) -> Any:
    """Return what `to_plain` made JSON's types of, known to be of that kind.

    >>> from_plain(tuple[tuple[str, int], ...], [["a", 1]])
    (('a', 1),)
    """
    if is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        return kind(**{name: from_plain(hints[name], part) for name, part in value.items()})  # type: ignore[operator]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return value if not isinstance(value, list | dict) else from_plain(_of_many(parts), value)
    if origin is list:
        return [from_plain(parts[0], part) for part in value]
    if origin is tuple:
        each = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(from_plain(one, part) for one, part in zip(each, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: from_plain(parts[1], part) for name, part in value.items()}
    return Path(value) if kind is Path else value


def _of_many(kinds: tuple[Any, ...]) -> Any:
    """Return the one of several kinds that has parts."""
    (kind,) = (one for one in kinds if is_dataclass(one) or typing.get_origin(one))
    return kind


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
