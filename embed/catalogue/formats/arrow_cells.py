"""From Arrow's columns to cells of text: which columns can be read, and what each value looks like as one writes it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cache.columns.column_names import usual_column
from cache.system.reading import raise_if_refused
from embed.catalogue.columns import check_distinct
from embed.catalogue.list_columns import LISTS_STAY, keeps_lists, list_cell
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["ArrowColumns", "PictureColumn", "reading_arrow"]

log = logging.getLogger("embed_once")


@contextmanager
def reading_arrow(path: Path, kind: str) -> Iterator[None]:
    """Let an error in the block be one of the catalogue: the file is not of the kind, such as "a Parquet file".

    Raises:
        CatalogueError: it is not, or not whole.
        UnreadableError: the system could not read it.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise_if_refused(error, path)
        raise CatalogueError(f"Expected {path} to be {kind}, but it is not, or not whole: {error}") from error


@dataclass(frozen=True)
class PictureColumn:
    """A column of pictures as bytes, alone or beside their path as Hugging Face's Image feature has them."""

    name: str
    is_struct: bool
    has_paths: bool


@dataclass(frozen=True)
class ArrowColumns:
    """The columns of a schema that are read: plain ones, at most one of pictures, and names for numbers of classes."""

    names: list[str]  # all that are read, in the schema's order
    plain: list[str]
    picture: PictureColumn | None
    classes: dict[str, list[str]]

    @classmethod
    def of(
        cls,
        schema: Any,
        path: Path,
        settings: ExtractSettings,
        *,
        first_values: Callable[[str], Any],
    ) -> ArrowColumns:
        """Return what is read of a schema; a note tells what is not.

        `first_values` gives those of a column, which tell whether bytes are text.

        Raises:
            CatalogueError: two columns have one name.
        """
        check_distinct(schema.names, str(path))
        pictures = {field.name: picture for field in schema if (picture := _picture_column(field))}
        plain = [field.name for field in schema if field.name not in pictures and _is_plain(field.type)]
        readable = [name for name in schema.names if name in pictures or name in plain]
        image: str | None = settings.image_column
        if image is None:
            image = usual_column("image", readable)
        elif image not in readable:
            image = None
        binaries = [name for name, picture in pictures.items() if name != image and not picture.is_struct]
        plain += [name for name in binaries if _is_text(first_values(name))]
        lists = [field.name for field in schema if _is_list(field.type) and _holds_texts(field.type)]
        without_lists = [name for name in schema.names if name in plain or name == image]
        plain += [name for name in lists if keeps_lists(name, settings, plain_columns=without_lists)]
        for field in schema:
            if field.name != image and field.name not in plain:
                log.info(
                    "Column %s holds %s, which is no plain cell: it is left out%s.",
                    field.name, field.type, LISTS_STAY if field.name in lists else "",
                )  # fmt: skip
        names = [name for name in schema.names if name in plain or name == image]
        return cls(names, [name for name in names if name in plain], pictures.get(image or ""), _classes(schema, {}))

    def of_file(self, schema: Any, features: dict[str, Any]) -> ArrowColumns:
        """Return the same columns with the names of classes that another file of the dataset gives to its numbers."""
        return replace(self, classes=_classes(schema, features))

    def cells(self, batch: Any) -> dict[str, list[str]]:
        """Return the plain columns of a record batch as text, {name: N cells}."""
        return {name: self._cells(name, batch.column(batch.schema.get_field_index(name))) for name in self.plain}

    def _cells(self, name: str, column: Any) -> list[str]:
        if _is_list(column.type):
            return _list_cells(column)
        if name in self.classes:
            return _class_cells(column, self.classes[name])
        return _text_cells(column)


def _picture_column(field: Any) -> PictureColumn | None:
    """Return how a field holds pictures' bytes; None where it does not."""
    if _is_binary(field.type):
        return PictureColumn(field.name, is_struct=False, has_paths=False)
    if pa.types.is_struct(field.type):
        inside = {child.name: child.type for child in field.type.fields}
        if "bytes" in inside and _is_binary(inside["bytes"]):
            has_paths = "path" in inside and pa.types.is_string(inside["path"])
            return PictureColumn(field.name, is_struct=True, has_paths=has_paths)
    return None


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _holds_texts(kind: Any) -> bool:
    """Return whether a kind is text, objects of plain values with texts among them, or lists of such.

    Numbers in lists are vectors or pixels, no names of pictures or labels, and would be very many.
    """
    if _is_list(kind):
        return _holds_texts(kind.value_type)
    if pa.types.is_struct(kind):
        children = [child.type for child in kind.fields]
        are_plain = all(_holds_texts(child) or (_is_plain(child) and not _is_binary(child)) for child in children)
        return are_plain and any(map(_holds_texts, children))
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner)


def _list_cells(column: Any) -> list[str]:
    """Return lists as cells of JSON, as `embed.catalogue.formats.json_lines` keeps them."""
    return [list_cell(value or []) for value in column.to_pylist()]


def _is_binary(kind: Any) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_plain(kind: Any) -> bool:
    """Return whether values of a type are cells of text as they are: no bytes, and nothing nested."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_nested(inner) or pa.types.is_fixed_size_binary(inner) or pa.types.is_binary_view(inner):
        return False
    if inner is not kind and _is_binary(inner):
        return False
    return _is_text(pa.nulls(1, kind))  # one null: without any value a time zone would not be looked up


def _is_text(values: Any) -> bool:
    """Return whether values can be cast to text; so can bytes that are text, as older writers of Parquet leave it."""
    try:
        values.cast(pa.large_string())
    except pa.ArrowException:
        return False
    return True


def _text_cells(column: Any) -> list[str]:
    """Return values as text; missing ones and NaN are empty cells."""
    if _is_binary(column.type):
        return ["" if cell is None else cell.decode("utf-8", "surrogateescape") for cell in column.to_pylist()]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    cells = column.cast(pa.large_string())
    try:
        return [cell or "" for cell in cells.to_pylist()]
    except UnicodeDecodeError:  # its writer did not check them
        return _text_cells(cells.cast(pa.large_binary()))


def _class_cells(column: Any, names: list[str]) -> list[str]:
    """Return the names of classes; -1 is Hugging Face's word for no label."""
    return [
        "" if number is None or number == -1 else names[number] if 0 <= number < len(names) else str(number)
        for number in column.to_pylist()
    ]


def _classes(schema: Any, features: dict[str, Any]) -> dict[str, list[str]]:
    """Return the names of the classes of Hugging Face's ClassLabel columns."""
    with suppress(KeyError, TypeError, ValueError, RecursionError):
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    return {
        name: [str(word) for word in feature["names"]]
        for name, feature in (features.items() if isinstance(features, dict) else ())
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
        and name in schema.names
        and pa.types.is_integer(schema.field(name).type)
    }
