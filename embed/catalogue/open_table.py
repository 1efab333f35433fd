"""Which format a file or folder is of, and its table."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from pathlib import Path

from cache.reading import raise_if_refused
from embed.catalogue.table import Table
from embed.errors import CatalogueError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["open_table", "usual_modalities"]

COMPRESSIONS = (".bz2", ".gz", ".tar", ".xz", ".zip", ".zst")
COMPRESSED = (".csv", ".jsonl", ".ndjson", ".tab", ".tsv")  # what may be
# What is in a folder, or a file's suffix: the module in `formats` that reads it, and the class in it.
FORMATS = {
    "class folders": ("class_folders", "ClassFolders"),
    "dataset": ("huggingface_dataset", "SavedDataset"),
    "shards": ("webdataset", "Shards"),
    ".arrow": ("huggingface_dataset", "SavedDataset"),
    ".jsonl": ("json_lines", "JsonLinesTable"),
    ".ndjson": ("json_lines", "JsonLinesTable"),
    ".parquet": ("parquet", "ParquetTable"),
    ".pq": ("parquet", "ParquetTable"),
}
NEED_PYARROW = {"huggingface_dataset": "Arrow", "parquet": "Parquet"}
TABLES = (".arrow", ".csv", ".jsonl", ".ndjson", ".parquet", ".pq", ".tab", ".tsv")


def open_table(path: str | Path, settings: ExtractSettings | None = None) -> Table:
    """Return the table in a file or folder; what kind it is, its name and its files say.

    CSV of any delimiter and compression, JSON Lines (``.jsonl``, ``.ndjson``), Parquet (``.parquet``, ``.pq``), Arrow
    (``.arrow``), a saved Hugging Face dataset, tar shards (``.tar``, a folder or pattern of such), folders of pictures
    with metadata files or as classes.

    Raises:
        CatalogueError: there is no such file, it is not what its name says, or a folder holds more than one kind.
    """
    settings = settings or ExtractSettings()
    path = Path(path)
    suffix = _suffix(path)
    kind = _folder_kind(path) if os.path.isdir(path) else ""
    is_file = os.path.isfile(path)  # Path.is_file raises on names that no file can have
    if suffix == ".tar" and not kind and (is_file or any(sign in str(path) for sign in "{*?[")):
        kind = "shards"
    if not kind and not is_file:
        _check_answer(path)
        raise CatalogueError(
            f"Expected the catalogue to be a file or a folder of products, but {path} is not there. Name it after "
            "the command."
        )
    if kind == "metadata":
        from embed.catalogue.formats.metadata_folder import MetadataFolder

        return MetadataFolder(path, settings, open_table)
    module, name = FORMATS.get(kind or suffix, ("csv", "CsvTable"))
    if module in NEED_PYARROW:
        _need_pyarrow(NEED_PYARROW[module])
    return getattr(import_module(f"embed.catalogue.formats.{module}"), name)(path, settings)


def _check_answer(path: Path) -> None:
    """Check that the system says of a path that there is nothing, and not that it cannot tell.

    Raises:
        UnreadableError: it cannot tell.
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise_if_refused(error, path)
    except ValueError:
        return


def usual_modalities(path: str | Path) -> tuple[str, ...]:
    """Return what is encoded of a catalogue if nothing else is asked for: pictures alone of class folders."""
    if os.path.isdir(path) and _folder_kind(Path(path)) == "class folders":
        return ("image",)
    return MODALITIES


def _folder_kind(path: Path) -> str:
    names = os.listdir(path)
    if {"dataset_dict.json", "dataset_info.json", "state.json"} & set(names):
        return "dataset"
    from embed.catalogue.formats.metadata_folder import metadata_files

    if metadata_files(path):
        return "metadata"
    shards = sorted(name for name in names if name.lower().endswith(".tar"))
    # Lists of failures are our own, and no catalogues.
    tables = [name for name in names if _suffix(Path(name)) in TABLES and not name.endswith(".failures.csv")]
    files = shards + sorted(tables)
    folders = (name for name in sorted(names) if not name.startswith(".") and _holds_pictures(path / name))
    if files and (folder := next(folders, None)) is not None:
        raise CatalogueError(
            f"Expected a folder to be one catalogue, but {path} holds {files[0]} beside pictures in {folder}. Name "
            f"the file, {path / files[0]}, or move it elsewhere to have the folders as classes."
        )
    return "shards" if shards else "class folders"


def _holds_pictures(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES

    return any(name.lower().endswith(PICTURE_SUFFIXES) for _, _, names in os.walk(folder) for name in names)


def _suffix(path: Path) -> str:
    """Return the suffix that says what is in a file: the last one, or the one below those of compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in COMPRESSED else last


def _need_pyarrow(kind: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise CatalogueError(f"{kind} catalogues need the package pyarrow: pip install pyarrow, or use CSV.") from error
