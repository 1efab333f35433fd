"""What the user says of vectors to be imported."""

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
            SettingError: the settings and the column do not say what made them, or the name is not allowed.
        """
        modality, name = self.modality, self.name
        parts = column.split("/")
        if len(parts) == 2:
            modality, name = modality or parts[0], name or parts[1]
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
    """Return the fields of a spec from texts ``name=value``; a value that is no JSON is a string.

    >>> parse_fields(["weights=ViT-B-32", "size=224"])
    {'weights': 'ViT-B-32', 'size': 224}

    Raises:
        SettingError: one has no name or value, or a name is repeated or reserved.
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
