"""A folder of pictures with metadata files, the layout of Hugging Face's ImageFolder, as one table.

``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` stands in the folder itself or in one of each split, and
its column ``file_name`` names pictures relative to where it stands.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from cache.cloud.addresses import is_url
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES
from embed.catalogue.split_names import SPLIT, SPLITS
from embed.catalogue.table import Table
from embed.contents.file_ranges import PlacedCell
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["METADATA_NAMES", "MetadataFolder", "metadata_files"]

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = "file_name"

log = logging.getLogger("embed_once")

Batch = dict[str, list[str]]


def metadata_files(path: Path) -> list[Path]:
    """Return the metadata files in a folder and below, but for folders whose names begin with a dot."""
    files = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(folder) / name for name in METADATA_NAMES if name in names]
    return files


class MetadataFolder:
    """The rows of all metadata files below a folder; columns that one lacks are empty there.

    The cells of ``file_name`` become paths relative to the folder. A row's split is the first folder of its picture
    that is named as splits are (``train``, ``test``); it stands in a column ``split``, unless the files have one.
    Without a column ``id`` the paths are the ids. Pictures that no metadata names are left out and told.

    Args:
        path: the folder.
        open_table: opens one file as a table.

    Raises:
        CatalogueError: a file has no column ``file_name``, or two stand in one folder.
    """

    def __init__(
        self, path: Path, settings: ExtractSettings, open_table: Callable[[Path, ExtractSettings], Table]
    ) -> None:
        self.path = path
        files = metadata_files(path)
        self.tables = {file: open_table(file, settings) for file in files}
        self.image = settings.image_column or FILE_NAME
        for file, table in self.tables.items():
            if self.image not in table.columns:
                raise CatalogueError(
                    f"Expected {file} to have a column {self.image} that names pictures beside it, but its columns are "
                    f"{', '.join(table.columns)}. Name its column with --image-column, or move it elsewhere."
                )
        if len({file.parent for file in files}) < len(files):
            raise CatalogueError(
                f"Expected one metadata file in a folder, but {path} has {', '.join(map(str, files))}. Remove one."
            )
        self.bad_lines = BadLines(path)
        self.columns = list(dict.fromkeys(name for table in self.tables.values() for name in table.columns))
        folders = {entry.name for entry in path.iterdir() if entry.is_dir()}
        folders.update(part for file in files for part in file.parent.relative_to(path).parts)
        self._has_split = SPLIT not in self.columns and any(name.lower() in SPLITS for name in folders)
        self._has_id = "id" not in self.columns
        self.columns = ["id"] * self._has_id + self.columns + [SPLIT] * self._has_split

    def batches(self) -> Iterator[Batch]:
        """Yield the rows file by file, each column a list of cells."""
        bad_lines = BadLines(self.path)
        named: set[str] = set()
        for file, table in self.tables.items():
            folder = file.parent.relative_to(self.path)
            for batch in table.batches():
                paths = [_path_of(cell, folder) for cell in batch[self.image]]
                named.update(paths)
                batch[self.image] = paths
                if self._has_id:
                    batch["id"] = [str(path) for path in paths]
                if self._has_split:
                    batch[SPLIT] = [_split_of(path, folder) for path in paths]
                yield {name: batch.get(name) or [""] * len(paths) for name in self.columns}
            bad_lines.count += table.bad_lines.count
            name = (folder / file.name).as_posix()
            bad_lines.examples += [(number, f"of {name} {reason}") for number, reason in table.bad_lines.examples]
        self.bad_lines = bad_lines
        n_others = sum(path not in named for path in self._pictures())
        if n_others:
            log.warning("%d pictures of %s stand in no metadata file, and are left out.", n_others, self.path)

    def _pictures(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = Path(folder).relative_to(self.path)
            for name in names:
                if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith("."):
                    yield (relative / name).as_posix()


def _path_of(cell: str, folder: Path) -> str:
    """Return the path of a picture that metadata in a folder names, relative to the catalogue's folder; a URL stays."""
    if isinstance(cell, PlacedCell) or not cell.strip() or is_url(cell):
        return cell
    return (folder / cell.strip()).as_posix()


def _split_of(path: str, folder: Path) -> str:
    """Return the first folder that is named as splits are, of metadata or of its picture; "" where none is."""
    parts = (*folder.parts, *PurePosixPath(path).parts[:-1])
    return next((part for part in parts if part.lower() in SPLITS), "")
