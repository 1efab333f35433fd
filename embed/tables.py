"""Tables of text, whatever file or folder they are read from, in batches, so that memory holds no more than one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from embed.bad_lines import BadLines
from embed.errors import CatalogueError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["BATCH_ROWS", "Table", "open_table", "usual_modalities"]

BATCH_ROWS = 65_536  # at most, that are at hand at once


class Table(Protocol):
    """Rows of text under named columns.

    A picture that stands in the table itself has a cell of its own kind, a `PlacedCell`: its name, and its place.
    """

    columns: list[str]
    bad_lines: BadLines  # what was left out of the last `batches`, once these are through

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield at most `BATCH_ROWS` rows at a time in the catalogue's order, each column a list of cells."""
        ...


def open_table(path: str | Path, settings: ExtractSettings | None = None) -> Table:
    """Return the table in a file or folder; what kind it is, its name and its files say.

    CSV of any delimiter and compression, JSON Lines (``.jsonl``, ``.ndjson``), Parquet (``.parquet``, ``.pq``), Arrow
    (``.arrow``), a saved Hugging Face dataset, tar shards (``.tar``, a folder or pattern of such), class folders.

    Raises:
        CatalogueError: there is no such file, or it is not what its name says.
    """
    settings = settings or ExtractSettings()
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    kind = _folder_kind(path) if os.path.isdir(path) else ""
    is_tar = last == ".tar" and not {".csv", ".tsv"} & set(suffixes)
    if kind == "shards" or (is_tar and (os.path.isfile(path) or any(sign in str(path) for sign in "{*?["))):
        from embed.shards import Shards

        return Shards(path, settings)
    if not kind and not os.path.isfile(path):  # Path.is_file raises on names that no file can have
        raise CatalogueError(
            f"The catalogue must be a file or a folder of products, however {path} is not there. Name it: "
            "embed-extract CATALOGUE."
        )
    if kind == "class folders":
        from embed.class_folders import ClassFolders

        return ClassFolders(path, settings)
    if kind == "dataset" or last == ".arrow":
        _need_pyarrow("Arrow")
        from embed.saved_dataset import SavedDataset

        return SavedDataset(path, settings)
    if last in (".parquet", ".pq"):
        _need_pyarrow("Parquet")
        from embed.parquet_table import ParquetTable

        return ParquetTable(path, settings)
    if {".jsonl", ".ndjson"} & set(suffixes):
        from embed.json_lines import JsonLinesTable

        return JsonLinesTable(path, settings)
    from embed.csv_table import CsvTable

    return CsvTable(path, settings)


def usual_modalities(path: str | Path) -> tuple[str, ...]:
    """Return what is encoded of a catalogue if nothing else is asked for: pictures alone of class folders."""
    if os.path.isdir(path) and _folder_kind(Path(path)) == "class folders":
        return ("image",)
    return MODALITIES


def _folder_kind(path: Path) -> str:
    names = os.listdir(path)
    if {"dataset_dict.json", "dataset_info.json", "state.json"} & set(names):
        return "dataset"
    return "shards" if any(name.lower().endswith(".tar") for name in names) else "class folders"


def _need_pyarrow(kind: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise CatalogueError(f"{kind} catalogues need the package pyarrow: pip install pyarrow, or use CSV.") from error
