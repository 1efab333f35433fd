"""The formats that a catalogue is kept in: which file is of which, and what reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FORMATS", "Format", "format_of_start", "format_of_suffix"]

START_BYTES = 4096  # of a file, that are looked at


@dataclass(frozen=True)
class Format:
    """A format: the suffixes of its files, what they begin with, and the class of this folder that reads them."""

    name: str
    table: str  # module:class, called with a path and settings
    suffixes: tuple[str, ...] = ()
    start: bytes | None = None  # a pattern of the first bytes, which say more than a suffix
    is_text: bool = False  # and may be compressed
    is_sheet: bool = False  # that shops export, with several rows a product
    package: str = ""  # that must be installed


FORMATS = (
    Format("CSV", "csv:CsvTable", (".csv", ".tab", ".tsv"), is_text=True, is_sheet=True),
    Format(
        "JSON", "json_lines:JsonLinesTable", (".json", ".jsonl", ".ndjson"), rb"""\s*(\{\s*["'}]|\[\s*[\[{"'\]])""",
        is_text=True,
    ),
    Format("Parquet", "parquet:ParquetTable", (".parquet", ".pq"), rb"PAR1", package="pyarrow"),
    Format("Arrow", "huggingface_dataset:SavedDataset", (".arrow",), package="pyarrow"),
    Format(
        "Excel", "excel:ExcelTable", (".xlsx", ".xlsm"), rb"PK\x03\x04.{26}(\[Content_Types\]|_rels/|docProps/|xl/)",
        package="openpyxl", is_sheet=True,
    ),
    Format("old Excel", "excel:refuse_old", start=rb"\xd0\xcf\x11\xe0"),
    Format(
        "XML", "xml_feed:XmlFeed", (),
        rb"\s*((<!--((?!-->).)*-->|<!DOCTYPE\s+(?!(?i:html)\b)[^>\[]*>)\s*)*"
        rb"<(\?xml\b|(?!(?i:html|head|body|table)\b)[A-Za-z_][\w:.-]*(\s+[\w:.-]+\s*=|>\s*<))", is_text=True,
    ),
    Format("tar shards", "webdataset:Shards", (".tar",)),
    Format("class folders", "class_folders:ClassFolders"),
    Format("pictures with sidecars", "sidecars:Sidecars"),
)  # fmt: skip


def format_of_start(start: bytes) -> Format | None:
    """Return the format that a file's first bytes are of, whatever its name; None where they do not say.

    >>> format_of_start(b' [{"id": 1}]').name
    'JSON'
    """
    text = start.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe")  # UTF-16, and marks
    for table_format in FORMATS:
        pattern = table_format.start
        if pattern and re.match(pattern, text if table_format.is_text else start, re.DOTALL):
            return table_format
    return None


def format_of_suffix(suffix: str) -> Format | None:
    """Return the format of files with a suffix; None where it is nobody's."""
    return next((table_format for table_format in FORMATS if suffix in table_format.suffixes), None)
