"""Reading a catalogue: a table of products whose cells stay what is written in them."""

from __future__ import annotations

import csv
import logging
import lzma
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embed.errors import CatalogueError
from embed.settings import MODALITIES, ExtractSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Catalogue", "read_catalogue"]

_COMPRESSION_ERRORS = (
    OSError, EOFError, ValueError, ImportError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError
)  # fmt: skip

log = logging.getLogger("embed_once")

# The usual names of each role's column, the most telling first; case, blanks, "_" and "-" do not count.
USUAL_NAMES = {
    "id": ("id", "product_id", "item_id", "sku", "asin", "uid", "uniq_id"),
    "image": (
        "image", "image_path", "filename", "image_file", "image_filename", "image_name", "img", "img_path",
        "picture", "photo", "file_name", "path", "file",
    ),
    "text": (
        "text", "title", "description", "productDisplayName", "product_title", "product_name",
        "display_name", "name", "caption",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """N products as they are written: ids, every other column, and which column plays which role."""

    path: Path
    ids: list[str]
    columns: dict[str, list[str]]
    roles: dict[str, str]  # modality -> column, those to be encoded and others that were found

    def cells(self, modality: str) -> list[str]:
        """Return the N cells of the modality's column."""
        return self.columns[self.roles[modality]]


def read_catalogue(path: str | Path, settings: ExtractSettings | None = None) -> Catalogue:
    """Return the catalogue in a CSV, TSV or Parquet file; every cell is the text that was written.

    Raises:
        CatalogueError: there is no such file, it has no rows, a column cannot be found, or ids repeat.
    """
    settings = settings or ExtractSettings()
    path = Path(path)
    if not os.path.isfile(path):  # Path.is_file raises on names that no file can have
        raise CatalogueError(
            f"The catalogue must be a CSV or Parquet file, however {path} is "
            + ("a folder." if os.path.isdir(path) else "not there. Name it: embed-extract CATALOGUE.")
        )
    frame = _read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else _read_csv(path, settings.encoding)
    columns = {str(name): frame[name].tolist() for name in frame.columns}
    if not len(frame):
        raise CatalogueError(f"The catalogue must have rows, however {path} has a header and none.")
    roles = {}
    for modality in MODALITIES:
        try:
            roles[modality] = _find_column(modality, columns, getattr(settings, f"{modality}_column"), path)
        except CatalogueError:
            if modality in settings.modalities:
                raise
    id_column = _find_id_column(columns, settings.id_column, path)
    if id_column is None:
        ids = [str(n) for n in range(len(frame))]
    else:
        ids = columns[id_column]
        _check_ids(ids, id_column, path)
        if id_column not in roles.values():
            del columns[id_column]
    return Catalogue(path=path, ids=ids, columns=columns, roles=roles)


def _read_csv(path: Path, encoding: str | None) -> pd.DataFrame:
    import pandas as pd

    with path.open("rb") as file:
        start = file.read(2)
    if encoding is None:
        encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        delimiter = _delimiter(path, encoding)
        frame = pd.read_csv(
            path,
            sep=delimiter,
            dtype=object,
            keep_default_na=False,
            na_filter=False,
            encoding=encoding,
            # Cells that are not in this encoding keep their bytes and get the status not_unicode.
            encoding_errors="surrogateescape",
        )
    except pd.errors.EmptyDataError as error:
        raise CatalogueError(f"The catalogue must have a header and rows, however {path} is empty.") from error
    except LookupError as error:
        raise CatalogueError(f"--encoding must be one that Python knows, however got {encoding!r}.") from error
    except UnicodeError as error:
        raise CatalogueError(
            f"The catalogue must be text in {encoding}, however {path} is not: {error}. Name its --encoding."
        ) from error
    except pd.errors.ParserError as error:
        reason = _first_long_line(path, _delimiter(path, encoding), encoding) or str(error).strip()
        raise CatalogueError(f"The catalogue must be one table, however {path} is not: {reason}") from error
    except _COMPRESSION_ERRORS as error:
        raise CatalogueError(
            f"The catalogue must be a table that pandas reads, however {path} is not: {error}. Its name says how it is "
            "compressed."
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise CatalogueError(
            f"The catalogue's rows must have as many cells as its header, however those of {path} have more: "
            f"the header has {len(frame.columns)}. Give each cell a name in the header."
        )
    return frame


def _delimiter(path: Path, encoding: str) -> str:
    """Return what separates the header's cells: a tab in .tsv files, else a comma, or what stands there instead."""
    if {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes}:
        return "\t"
    from pandas.io.common import get_handle

    with get_handle(path, "r", encoding=encoding, errors="surrogateescape", compression="infer") as handles:
        header = handles.handle.readline(100_000)
    if isinstance(header, str) and "," not in header:
        for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if delimiter in header:
                log.info("The cells of %s are separated by %s.", path, name)
                return delimiter
    return ","


def _first_long_line(path: Path, delimiter: str, encoding: str) -> str | None:
    """Return which line has more cells than the header; pandas counts rows, and a quoted cell may span lines."""
    from pandas.io.common import get_handle

    try:
        with get_handle(path, "r", encoding=encoding, errors="surrogateescape", compression="infer") as handles:
            reader = csv.reader(handles.handle, delimiter=delimiter)
            n_columns = len(next(reader))
            for cells in reader:
                if len(cells) > n_columns:
                    return f"line {reader.line_num} has {len(cells)} cells and the header {n_columns}."
    except (csv.Error, StopIteration, UnicodeError):
        return None
    return None


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError as error:
        raise CatalogueError("Parquet catalogues need the package pyarrow: pip install pyarrow, or use CSV.") from error
    import pandas as pd

    try:
        repeated = [name for name, count in Counter(pq.read_schema(path).names).items() if count > 1]
        if repeated:
            raise CatalogueError(f"Columns must have names of their own, however {path} repeats {', '.join(repeated)}.")
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"The catalogue must be a Parquet file, however {path} is not: {error}") from error
    columns = {}
    for name in table.column_names:
        try:
            column = table[name]
            if pa.types.is_floating(column.type):
                column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
            cells = column.cast(pa.large_string()).to_pylist()
        except pa.ArrowException:
            log.info("Column %s holds %s, which is no plain cell: it is left out.", name, table[name].type)
            continue
        columns[name] = ["" if cell is None else cell for cell in cells]
    return pd.DataFrame(columns, dtype=object)


def _find_column(role: str, columns: dict[str, list[str]], asked: str | None, path: Path) -> str:
    if asked is not None:
        if asked in columns:
            return asked
        raise CatalogueError(
            f"--{role}-column must be one of the catalogue's columns ({', '.join(columns)}), however got {asked!r}."
        )
    by_plain_name: dict[str, str] = {}
    for name in columns:
        by_plain_name.setdefault(_plain(name), name)
    for usual in USUAL_NAMES[role]:
        if _plain(usual) in by_plain_name:
            return by_plain_name[_plain(usual)]
    other = ",".join(modality for modality in ("image", "text") if modality != role)
    raise CatalogueError(
        f"{path} must have a column of {role}s ({', '.join(USUAL_NAMES[role][:4])}, …), however its columns are "
        f"{', '.join(columns)}. Name it with --{role}-column, or do without: --modalities {other}."
    )


def _find_id_column(columns: dict[str, list[str]], asked: str | None, path: Path) -> str | None:
    try:
        return _find_column("id", columns, asked, path)
    except CatalogueError:
        if asked is not None:
            raise
    log.info("No column of ids was found (%s): rows are numbered from 0.", ", ".join(USUAL_NAMES["id"]))
    return None


def _check_ids(ids: list[str], column: str, path: Path) -> None:
    if len(set(ids)) == len(ids):
        return
    repeated = [(cell, count) for cell, count in Counter(ids).most_common(3) if count > 1]
    rows = [n + 1 for n, cell in enumerate(ids) if cell == repeated[0][0]][:2]
    shown = ", ".join(f"{cell!r} {count} times" for cell, count in repeated)
    raise CatalogueError(
        f"Each id must name one product, however {column} of {path} has {shown} (rows {rows[0]} and {rows[1]} below "
        f"the header). Remove what is too many ({len(ids) - len(set(ids))}), or name another column with --id-column."
    )


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char not in " _-")
