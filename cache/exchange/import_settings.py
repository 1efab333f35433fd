"""What of given vectors is told by the user."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import SettingError
from cache.keys import SIDE_NOTES, EncoderSpec

__all__ = ["ImportSettings", "parse_fields"]


@dataclass(frozen=True)
class ImportSettings:
    """Whose vectors they are; `modality` and `name` may stand in the name of their column, as ``image/myclip``."""

    fields: Mapping[str, Any]  # all that made the vectors what they are
    modality: str | None = None
    name: str | None = None
    ids_path: Path | None = None  # a CSV file of the products, in the vectors' order
    id_column: str | None = None
    vector_column: str | None = None

    def encoder(self, column: str) -> tuple[str, EncoderSpec]:
        """Return the name and the spec of what made the vectors in a column.

        Raises:
            SettingError: it is not told, or not to be named so.
        """
        parts = column.split("/")
        modality, name = (
            (self.modality or parts[0], self.name or parts[1]) if len(parts) == 2 else (self.modality, self.name)
        )
        if not modality or not name:
            raise SettingError(
                "--modality, --name: expected what the vectors are of, and what made them, got nothing. Say it, as "
                "--modality image --name myclip."
            )
        if not self.fields:
            raise SettingError(
                "--spec: expected what made the vectors, got nothing, so that others could not be told from them. Say "
                "it, as --spec weights=ViT-B-32 --spec pooling=cls."
            )
        return name, EncoderSpec(modality, self.fields)


def parse_fields(texts: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a spec from ``name=value`` each; a value that is JSON is what it says, else a string.

    >>> parse_fields(["weights=ViT-B-32", "size=224"])
    {'weights': 'ViT-B-32', 'size': 224}

    Raises:
        SettingError: one has no name or value, a name is repeated, or it has a use of its own.
    """
    fields: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not re.fullmatch(r"\w+", name) or not value or name in fields or name in ("modality", SIDE_NOTES):
            raise SettingError(f"--spec: expected name=value, each name once, got {text!r}. Write it as size=224.")
        try:
            fields[name] = json.loads(value, parse_constant=lambda word: word)
        except ValueError:
            fields[name] = value
    return fields
