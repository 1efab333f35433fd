"""Which format a file or folder is of, and its table."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from cache.cloud.local_copies import local_copy
from cache.console.notes import once_for_all
from cache.system.reading import raise_if_refused
from embed.catalogue.file_patterns import find_files, folders_within, is_pattern
from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES, holds_pictures
from embed.catalogue.formats.registry import FORMATS, START_BYTES, Format, format_of_start, format_of_suffix
from embed.catalogue.joined_table import JoinedTable
from embed.catalogue.product_rows import merge_products
from embed.catalogue.several_tables import SeveralTables
from embed.catalogue.table import Table
from embed.catalogue.text_file import open_bytes
from embed.errors import CatalogueError
from embed.settings import MODALITIES, ExtractSettings

__all__ = ["open_table", "usual_modalities"]

log = logging.getLogger("embed_once")

COMPRESSIONS = (".bz2", ".gz", ".tar", ".xz", ".zip", ".zst")
BY_NAME = {table_format.name: table_format for table_format in FORMATS}
SEVERAL = Format("several tables", "")
METADATA = Format("folders with metadata", "")
MOST_NEIGHBOURS = 4  # tables that are named where a catalogue is not there


def open_table(path: str | Path, settings: ExtractSettings | None = None) -> Table:
    """Return the table in a file or folder; what kind it is, its first bytes, its name and its files say.

    Of one in a bucket a copy on the local disk is read. The formats are those of `embed.catalogue.formats.registry`;
    what is none of them is CSV.

    Raises:
        CatalogueError: there is no such file, it is not what its name says, or a folder holds more than one kind.
    """
    settings = settings or ExtractSettings()
    try:
        path = local_copy(path)
    except FileNotFoundError as error:
        raise CatalogueError(
            f"Expected the catalogue to be one file in the bucket, but there is no object {error.filename}. Correct "
            "the URL; of folders and of several files, make a local copy."
        ) from error
    table = _open_rows(path, settings)
    if settings.labels is not None:
        second_settings = ExtractSettings(
            bad_lines=settings.bad_lines,
            encoding=settings.encoding,
            label=settings.label,
            image_column=None if settings.image_column in table.columns else settings.image_column,
        )
        second = open_table(settings.labels, second_settings)
        table = JoinedTable(table, second, settings.labels, settings)
    return table


def _open_rows(path: Path, settings: ExtractSettings) -> Table:
    """Return the table in a file, or in several, with one row a product."""
    table_format = _format_of(path)
    if table_format is METADATA:
        from embed.catalogue.formats.metadata_folder import MetadataFolder

        return MetadataFolder(path, settings, open_table)
    if table_format is SEVERAL:
        return _open_several(path, settings)
    table = _open_as(table_format, path, settings)
    return merge_products(table, path, settings) if table_format.is_sheet else table


def _format_of(path: Path) -> Format:
    """Return what a folder, a file or a pattern of files is.

    Raises:
        CatalogueError: there is nothing of this name, or it is a picture.
    """
    if os.path.isdir(path):
        return _folder_format(path)
    if os.path.isfile(path):  # Path.is_file raises on names that no file can have
        table_format = _file_format(path)
        if table_format is BY_NAME["CSV"] and path.name.lower().endswith(PICTURE_SUFFIXES):
            raise CatalogueError(f"Expected a catalogue, got a picture, {path}. Name the folder of the pictures.")
        return table_format
    if is_pattern(path):
        return BY_NAME["tar shards"] if _suffix(path) == ".tar" else SEVERAL
    _check_is_absent(path)
    raise CatalogueError(
        f"Expected the catalogue to be a file or a folder of products, but {path} is not there. Name it after "
        f"the command.{_neighbours(path)}"
    )


def _open_several(path: Path, settings: ExtractSettings) -> Table:
    """Return the tables in a folder, or those that a pattern names, as one."""
    if os.path.isdir(path):
        files = _tables_in_or_below(path)
        if below := [file for file in files if file.parent != path]:
            log.info("%s holds tables in folders below it: %d are read, the first %s.", path, len(below), below[0])
    else:
        files = find_files(path)
    formats = {file: _file_format(file) for file in files}
    with once_for_all(files):
        tables = {file: _open_as(table_format, file, settings) for file, table_format in formats.items()}
        several = SeveralTables(path, tables)
    are_sheets = all(table_format.is_sheet for table_format in formats.values())
    return merge_products(several, path, settings) if are_sheets else several


def _open_as(table_format: Format, path: Path, settings: ExtractSettings) -> Table:
    if table_format.package:
        _check_package(table_format)
    module, _, name = table_format.table.partition(":")
    table: Table = getattr(import_module(f"embed.catalogue.formats.{module}"), name)(path, settings)
    return table


def _neighbours(path: Path) -> str:
    """Return in a sentence which tables are where a catalogue is not; "" where none is."""
    try:
        names = sorted(entry.name for entry in os.scandir(path.parent) if entry.is_file())
    except OSError:
        return ""
    tables = [name for name in names if format_of_suffix(_suffix(Path(name))) and not name.startswith(".")]
    if not tables:
        return ""
    more = ", …" if len(tables) > MOST_NEIGHBOURS else ""
    return f" There {'is' if len(tables) == 1 else 'are'} {', '.join(tables[:MOST_NEIGHBOURS])}{more}."


def usual_modalities(path: str | Path) -> tuple[str, ...]:
    """Return what is encoded of a catalogue if nothing else is asked for: pictures alone of class folders."""
    if os.path.isdir(path) and _folder_format(Path(path)).name == "class folders":
        return ("image",)
    return MODALITIES


def _check_is_absent(path: Path) -> None:
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


def _file_format(path: Path) -> Format:
    """Return the format of a file by its first bytes, else by its suffix, else CSV."""
    suffix = _suffix(path)
    start = b""
    if suffix != ".tar":
        with suppress(CatalogueError), open_bytes(path) as file:  # what cannot be read is told by what reads it
            start = file.read(START_BYTES)
    return format_of_start(start) or format_of_suffix(suffix) or BY_NAME["CSV"]


def _folder_format(path: Path) -> Format:
    """Return what a folder is: a saved dataset, pictures with metadata or sidecars, tables, shards, or class folders.

    Raises:
        CatalogueError: it holds tables or shards beside folders of pictures.
    """
    names = os.listdir(path)
    if {"dataset_dict.json", "dataset_info.json", "state.json"} & set(names):
        return BY_NAME["Arrow"]
    from embed.catalogue.formats.metadata_folder import metadata_files

    if metadata_files(path):
        return METADATA
    shards = sorted(name for name in names if name.lower().endswith(".tar"))
    tables = _tables_right_in(path)
    # JSON beside pictures is often something else.
    files = shards + [file.name for file in tables if _suffix(file) != ".json"]
    picture_folders = (name for name in sorted(names) if not name.startswith(".") and holds_pictures(path / name))
    picture_folder = next(picture_folders, None) if files or tables else None
    if files and picture_folder is not None:
        raise CatalogueError(
            f"Expected a folder to be one catalogue, but {path} holds {files[0]} beside pictures in {picture_folder}. "
            f"Name the file, {path / files[0]}, or move it elsewhere to have the folders as classes."
        )
    if not files:
        from embed.catalogue.formats.sidecars import find_sidecars

        if find_sidecars(path):
            return BY_NAME["pictures with sidecars"]
    if not (tables or shards or holds_pictures(path)):
        from embed.catalogue.formats.webdataset import find_shards

        tables = _tables_in_or_below(path)
        if all(_suffix(table) == ".json" for table in tables):  # which tell of something else
            shards = [shard.name for shard in find_shards(path)]
    if tables and not shards and picture_folder is None:
        return SEVERAL
    return BY_NAME["tar shards" if shards else "class folders"]


def _tables_in_or_below(folder: Path) -> list[Path]:
    """Return the tables right in a folder, or, where neither these nor pictures are in it, those of folders below."""
    if (tables := _tables_right_in(folder)) or holds_pictures(folder):
        return tables
    tables = [table for below in folders_within(folder) for table in _tables_right_in(below)]
    return [table for table in tables if _suffix(table) != ".json"] or tables  # such as settings of something


def _tables_right_in(folder: Path) -> list[Path]:
    """Return the tables right in a folder, sorted by name; lists of failures, and what tells of a dataset, are none."""
    suffixes = {suffix for table_format in FORMATS for suffix in table_format.suffixes} - {".tar"}
    names = [name for name in os.listdir(folder) if _suffix(Path(name)) in suffixes]
    names = [name for name in names if not name.startswith(".") and not name.endswith(".failures.csv")]
    return [folder / name for name in sorted(names) if name != "dataset_infos.json"]


def _suffix(path: Path) -> str:
    """Return the suffix that says what is in a file: the last one, or of text the one below those of compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    inner = format_of_suffix(suffixes[-1]) if suffixes else None
    return suffixes[-1] if inner is not None and inner.is_text else last


def _check_package(table_format: Format) -> None:
    """Check that the package that reads a format is installed.

    Raises:
        CatalogueError: it is not.
    """
    package = table_format.package
    try:
        import_module(package)
    except ImportError as error:
        raise CatalogueError(
            f"{table_format.name} catalogues need the package {package}: pip install {package}, or use CSV."
        ) from error
