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


def _constant(constant: object) -> Any:
    """Return a constant of some code in JSON's types."""
    if isinstance(constant, types.CodeType):
        return code_as_data(constant)
    if isinstance(constant, frozenset):  # whose order is another in each process
        return sorted(map(repr, constant))
    return [_constant(part) for part in constant] if isinstance(constant, tuple) else repr(constant)


def _inner_codes(code: types.CodeType) -> list[types.CodeType]:
    """Return the code of functions that are defined in a function."""
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


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
    return set(code.co_names).union(*map(all_names, _inner_codes(code)))


def global_names(code: types.CodeType) -> set[str]:
    """Return the names of what code takes from its module."""
    loads = (step for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    return {str(step.argval) for step in loads}.union(*map(global_names, _inner_codes(code)))


@functools.cache
def is_of_a_library(module: str) -> bool:
    """Return whether a module is one of Python's or an installed one, whose releases are not told apart here."""
    if module in ("__main__", "builtins"):  # a script, a notebook whose kernel is installed, or code without a module
        return False
    if module.partition(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and bool({"site-packages", "dist-packages"} & set(re.split(r"[/\\]", file)))
