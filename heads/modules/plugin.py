"""A head of the user's own: a class found by ``module:Class`` or ``path/to/file.py:Class``.

The class is an nn.Module that is built as ``Class(dims, n_classes=K)``, with dims {modality: D}; what else its
constructor takes has defaults. It is called as ``head(inputs, present)`` and returns logits or log-probabilities.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from torch import nn

from cache.system.reading import facts_of
from heads.errors import HeadError

__all__ = ["blame", "head_name", "is_plugin", "load_plugin", "plugin_sha256", "shown_error"]

LOADING = threading.RLock()  # sys.path and sys.modules are of all threads
FILES: dict[tuple[Path, str], ModuleType] = {}  # by the SHA-256 of what was run
SOURCES: dict[type[nn.Module], str] = {}  # class -> the SHA-256 of its source file when it was loaded


def is_plugin(name: str) -> bool:
    """Return whether a head's name is that of a class, and not of a built-in head.

    >>> is_plugin("mine.py:Mine"), is_plugin("early")
    (True, False)
    """
    return ":" in name


def head_name(name: str) -> str:
    """Return what a head is called: a built-in head's name, or that of the user's class.

    >>> head_name("mine.py:Mine"), head_name("early")
    ('Mine', 'early')
    """
    return name.rpartition(":")[2]


def load_plugin(name: str) -> Callable[..., nn.Module]:
    """Return a function that builds untrained heads of the class that `name` says: ``build(dims, n_classes=K)``.

    A module is looked for in the working folder first. A file finds those beside it; once changed, it is run anew.

    Raises:
        HeadError: the module cannot be imported, has no such class, or the class is no head; or, from the function, the
            class's constructor fails.
    """
    with LOADING:
        head_class = _load_class(name)

    def build(dims: Mapping[str, int], *, n_classes: int) -> nn.Module:
        try:
            return head_class(dict(dims), n_classes=n_classes)
        except Exception as error:
            raise HeadError(
                f"Expected {name} to be built from the dims {dict(dims)} and n_classes={n_classes}, but its "
                f"constructor raised {shown_error(error)}."
            ) from error

    return build


def plugin_sha256(name: str) -> str:
    """Return the SHA-256 of the source file that a class of the user's own is in, as it was when it was loaded.

    Raises:
        HeadError: as of `load_plugin`; or the class is in no file.
    """
    with LOADING:
        head_class = _load_class(name)
        if head_class not in SOURCES:
            raise HeadError(f"Expected {name} to be in a source file, but there is none of {head_class.__module__}.")
        return SOURCES[head_class]


@contextmanager
def blame(name: str, requirement: str) -> Iterator[None]:
    """Turn what the code of a user's own class raises into an error that names it, and says what it must do.

    Raises:
        HeadError: something was raised.
    """
    try:
        yield
    except HeadError:
        raise
    except Exception as error:
        raise HeadError(
            f"Expected {name} to {requirement}, but it raised {shown_error(error)}. Look at it with heads-check {name}."
        ) from error


def _load_class(name: str) -> type[nn.Module]:
    where, _, class_name = name.rpartition(":")
    if not where or not class_name:
        raise HeadError(
            f"Expected a head of your own to be named as module:Class or path/to/file.py:Class, got {name!r}."
        )
    module = _run_file(Path(where)) if where.endswith(".py") else _import(where)
    head_class = getattr(module, class_name, None)
    if head_class is None:
        defined = [
            key for key, value in vars(module).items() if _is_head(value) and value.__module__ == module.__name__
        ]
        raise HeadError(
            f"Expected {where} to have the class {class_name}, but the heads in it are: {', '.join(defined) or 'none'}."
        )
    if not _is_head(head_class):
        raise HeadError(f"Expected {name} to be a subclass of torch.nn.Module, but it is {_kind(head_class)}.")
    try:
        inspect.signature(head_class).bind({}, n_classes=2)
    except TypeError as error:
        raise HeadError(
            f"Expected {name} to be built as {class_name}(dims, n_classes=K), and have defaults for all else, but "
            f"its constructor takes {inspect.signature(head_class)}: {error}."
        ) from error
    if head_class not in SOURCES:
        with suppress(OSError, TypeError):  # it was made where there is no file
            SOURCES[head_class] = _sha256(Path(inspect.getfile(head_class)))
    return head_class


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _import(module_name: str) -> ModuleType:
    with _first_on_the_path(Path.cwd()):
        importlib.invalidate_caches()
        try:
            return importlib.import_module(module_name)
        except Exception as error:
            lacking = error.name if isinstance(error, ModuleNotFoundError) else None
            if lacking is not None and f"{module_name}.".startswith(f"{lacking}."):
                raise HeadError(
                    f"Expected {module_name} to be a module that Python finds, but there is no {lacking}. Run this in "
                    f"its folder, or name its file: path/to/{module_name.rpartition('.')[2]}.py:Class."
                ) from error
            raise _not_imported(module_name, error) from error


def _run_file(path: Path) -> ModuleType:
    facts = facts_of(path)
    if facts is None or not stat.S_ISREG(facts.st_mode):
        raise HeadError(f"Expected {path} to be a file with a head of yours, but there is no such file.")
    key = path.resolve(), _sha256(path)
    if key in FILES:
        return FILES[key]
    module_name = f"heads_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise HeadError(f"Expected {path} to be a Python file, but Python finds no way to run it.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickles look their classes up there
    with _first_on_the_path(path.parent.resolve()):
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise _not_imported(str(path), error) from error
    FILES[key] = module
    return module


@contextmanager
def _first_on_the_path(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _not_imported(where: str, error: Exception) -> HeadError:
    return HeadError(f"Expected {where} to be importable, but importing it raised {shown_error(error)}.")


def _is_head(value: object) -> TypeGuard[type[nn.Module]]:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def shown_error(error: Exception) -> str:
    """Return an error's type and its first words, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
