"""The formats that vectors are exchanged in. None of their code is imported here.

A new format is a file in this folder and a line below. Where vectors are exported in it, the file has a function
``write(path, table)``, which writes a `cache.exchange.product_table.ProductTable`. Where they are imported, it has
``opened(path, column)``, which returns a `cache.exchange.imported_vectors.ImportedVectors`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cache.errors import CacheError

__all__ = ["FORMATS", "Format", "format_of"]


@dataclass(frozen=True)
class Format:
    """A format by the suffix of its files; a folder has none."""

    suffix: str
    module: str  # in this folder
    uses: Sequence[str]  # "export", "import"
    package: str = ""  # that it needs


FORMATS = (
    Format(".npy", "npy", ("import",)),
    Format(".npz", "npz", ("export",)),
    Format(".parquet", "parquet", ("export", "import"), "pyarrow"),
    Format("", "huggingface", ("export",), "pyarrow"),
)


def format_of(path: Path, use: str) -> Any:
    """Return the module of the format that a path's suffix names, for "export" or for "import".

    Raises:
        CacheError: there is no such format, or its package is not installed.
    """
    usable = {file_format.suffix: file_format for file_format in FORMATS if use in file_format.uses}
    chosen = usable.get(path.suffix.lower())
    if chosen is None:
        suffixes = ", ".join(suffix for suffix in usable if suffix)
        folder = ", or a folder" if "" in usable else ""
        raise CacheError(f"Expected a file that ends in {suffixes}{folder} for the {use}, got {path}. Name another.")
    if chosen.package and importlib.util.find_spec(chosen.package) is None:
        raise CacheError(
            f"Expected {chosen.package} to be installed, which {path} needs, got none. Install it with "
            "pip install 'embed-once[parquet]'."
        )
    return import_module(f"cache.exchange.formats.{chosen.module}")
