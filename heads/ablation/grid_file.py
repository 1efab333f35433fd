"""A grid in a file: the options of a command, by their names, in YAML or TOML."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heads.errors import SettingError

__all__ = ["read_grid_file"]

_SHORTENED = reprlib.Repr()
_SHORTENED.maxlevel = 2  # each level of a YAML value may be many times as long as the one below it


def read_grid_file(path: Path, options: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a file's keys as they would stand on the command line, {parameter: text}.

    A key is an option's name with or without dashes before it; a list becomes text with commas.

    Args:
        path: ends in .yaml, .yml or .toml.
        options: option without leading dashes -> the parameter it sets.

    Raises:
        SettingError: the file is none such, a key is no option, or a value is neither a word, a number nor a list of
            them.
    """
    texts: dict[str, str] = {}
    for key, value in _read(path).items():
        name = str(key).lstrip("-").replace("_", "-")
        if name not in options:
            raise SettingError(
                f"Expected {path} to have the options' names as keys ({', '.join(sorted(options))}), got {key!r}."
            )
        if options[name] in texts:
            raise SettingError(f"Expected {path} to say each option once, but {key} is there twice.")
        texts[options[name]] = _text(path, key, value)
    return texts


def _read(path: Path) -> Mapping[Any, Any]:
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".toml"):
        raise SettingError(f"--grid: expected a file that ends in .yaml, .yml or .toml, got {path}.")
    text = _read_text(path)
    try:
        content = tomllib.loads(text) if suffix == ".toml" else _parse_yaml(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise SettingError(
            f"Expected {path} to be {suffix[1:].upper()}, but: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, Mapping):
        raise SettingError(f"{path} must have a key and a value a line, such as lr: [1e-3, 3e-3].")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingError(f"Expected {path} to be UTF-8 text, but: {error}.") from error


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _text(path: Path, key: object, value: object) -> str:
    parts = value if isinstance(value, list) else [value]
    shown = _SHORTENED.repr(value)
    if not parts or not all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in parts):
        raise SettingError(f"Expected {path} to give {key} a word, a number, or a list of them, got {shown}.")
    return ",".join(str(part) for part in parts)
