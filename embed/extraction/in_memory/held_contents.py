"""Contents as they are given to a model: a key for each, and the content itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cache import content_key
from cache.arrays.key_column import KeyColumn
from cache.keys import fields_sha256
from embed.contents.statuses import OK
from embed.encoders.specs.description import describe
from embed.errors import SettingError

__all__ = ["HeldContents", "keyed"]


@dataclass(frozen=True)
class HeldContents:
    """N contents in memory, by their keys."""

    keys: KeyColumn  # a content's row in their index is its number
    places: list[Any]  # the contents

    @property
    def statuses(self) -> list[str]:
        """Every content can be read."""
        return [OK] * len(self.keys)

    def read(self, number: int) -> Any:
        """Return a content."""
        return self.places[number]


def keyed(contents: Sequence[Any], *, opens_files: bool) -> dict[str, tuple[list[int], HeldContents]]:
    """Return contents by their modality (``text``, ``image`` or ``content``), and the numbers that each has.

    A text's key is that of its letters as they are: nothing is normalised. Where the model `opens_files` that texts
    name, a file's key is that of its bytes.

    Raises:
        SettingError: a content cannot be hashed, or is behind a URL.
    """
    by_modality: dict[str, list[tuple[int, str]]] = {}
    for number, content in enumerate(contents):
        modality, key = _key(content, opens_files=opens_files)
        by_modality.setdefault(modality, []).append((number, key))
    return {modality: _numbered_contents(contents, pairs) for modality, pairs in by_modality.items()}


def _numbered_contents(contents: Sequence[Any], pairs: list[tuple[int, str]]) -> tuple[list[int], HeldContents]:
    """Return the numbers of some contents, and these by their keys, each unique one once."""
    first_of_key = {key: number for number, key in reversed(pairs)}
    keys = KeyColumn.of([key for _, key in pairs])
    held = HeldContents(keys, [contents[first_of_key[key]] for key in keys.contents])
    return [number for number, _ in pairs], held


def _key(content: Any, *, opens_files: bool) -> tuple[str, str]:
    """Return a content's modality and key."""
    if opens_files or isinstance(content, os.PathLike):
        files = {text: _file_sha256(text) for text in sorted(set(_texts_in(content))) if _leads_elsewhere(text)}
        if files:
            description = None if isinstance(content, str | os.PathLike) else describe(content, "the content")
            return "content", fields_sha256({"files": list(files.values()), "content": description})
    if isinstance(content, str):
        return "text", content_key(content.encode("utf-8", "surrogatepass"))
    modality = "image" if isinstance(content, Image.Image) else "content"
    return modality, fields_sha256({"type": type(content).__name__, "content": describe(content, "the content")})


def _texts_in(content: Any) -> Iterator[str]:
    """Yield the texts and paths in a content, however deep."""
    if isinstance(content, str | os.PathLike):
        yield os.fsdecode(content)
    elif isinstance(content, Mapping | list | tuple):
        for item in content.values() if isinstance(content, Mapping) else content:
            yield from _texts_in(item)


def _leads_elsewhere(text: str) -> bool:
    """Return whether a text is a URL, or the name of a file that is there."""
    if text.startswith(("http://", "https://", "data:")) and " " not in text:
        return True
    return len(text) < os.pathconf("/", "PC_PATH_MAX") and "\0" not in text and os.path.isfile(text)


def _file_sha256(text: str) -> str:
    """Return the digest of the bytes that a text leads to.

    Raises:
        SettingError: it is the URL of something elsewhere.
    """
    if text.startswith("data:"):
        return content_key(text.encode())
    if not os.path.isfile(text):
        raise SettingError(f"Expected contents and not where they are, got {text!r}. Fetch it first.")
    with Path(text).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
