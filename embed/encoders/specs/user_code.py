"""A user's code as data that can be hashed: what its functions do, and which names they take from outside."""

from __future__ import annotations

import dis
import functools
import re
import sys
import types
from typing import Any

__all__ = ["all_names", "code_as_data", "global_names", "is_of_a_library", "parts_of"]


def code_as_data(code: types.CodeType) -> Any:
    """Return what a function does, in JSON's types, the same in every process of one release of Python."""
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), _constant(code.co_consts)]


def _constant(one: object) -> Any:
    if isinstance(one, types.CodeType):
        return code_as_data(one)
    if isinstance(one, frozenset):  # whose order is another in each process
        return sorted(map(repr, one))
    return [_constant(part) for part in one] if isinstance(one, tuple) else repr(one)


def parts_of(name: str, attribute: Any, *, has_values: bool) -> list[Any]:
    """Return what can be described of what stands in a class: the function behind it, or else the value."""
    if isinstance(attribute, property):
        return [] if attribute.fget is None else [attribute.fget]
    if isinstance(attribute, staticmethod | classmethod | functools.cached_property):
        return [attribute.func if isinstance(attribute, functools.cached_property) else attribute.__func__]
    is_kept = has_values and not name.startswith("__") and name != "_abc_impl"
    is_slot = isinstance(attribute, types.MemberDescriptorType | types.GetSetDescriptorType)
    return [attribute] if isinstance(attribute, types.FunctionType) or (is_kept and not is_slot) else []


def all_names(code: types.CodeType) -> set[str]:
    """Return the names of all that code takes from outside, and of attributes."""
    return set(code.co_names).union(*(all_names(one) for one in code.co_consts if isinstance(one, types.CodeType)))


def global_names(code: types.CodeType) -> set[str]:
    """Return the names of what code takes from its module."""
    names = {str(one.argval) for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(global_names(one) for one in code.co_consts if isinstance(one, types.CodeType)))


@functools.cache
def is_of_a_library(module: str) -> bool:
    """Return whether a module is one of Python's or an installed one, whose releases are not told apart here."""
    if module in ("__main__", "builtins"):  # a script, a notebook whose kernel is installed, or code without a module
        return False
    if module.partition(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and bool({"site-packages", "dist-packages"} & set(re.split(r"[/\\]", file)))
