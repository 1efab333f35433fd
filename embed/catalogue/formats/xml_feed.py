"""XML as tables: feeds of shops (RSS, Atom, YML), exports of databases, and any list of elements with parts."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cache.columns.column_names import USUAL_NAMES, usual_columns
from embed.catalogue.formats.json_lines import JsonLinesTable
from embed.catalogue.formats.xml_elements import Element, ElementPath, Value, elements_of
from embed.contents.texts import SEPARATOR
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["XmlFeed", "find_product_path"]

LOOKED_AT_BYTES = 2**22  # of a file, to tell which elements are products
LEAST_PARTS = 2  # of a product
OTHERS = {"html": "a page of HTML", "workbook": "a spreadsheet of Excel's in XML"}  # by the name of the root

log = logging.getLogger("embed_once")


class XmlFeed(JsonLinesTable):
    """The products of an XML file as rows of text, which are read as the objects of a JSON file are.

    Products are the elements that `find_product_path` finds. What is in them and their attributes are the cells, whose
    names lose a prefix (`g:`) where no other part is called so. A part that comes several times is a list where
    pictures and labels may be lists; else its texts are joined to one.

    Raises:
        CatalogueError: nothing in the file is a product, or it is not well-formed.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self._encoding = settings.encoding
        self._product_path = find_product_path(path, self._encoding)
        first_products = self._products(most_bytes=LOOKED_AT_BYTES)
        self._short_names = _short_names({name for product in first_products for name in product.values()})
        log.info("The products of %s are its elements %s.", path, "/".join(self._product_path))
        super().__init__(path, settings)

    @contextmanager
    def _items(self) -> Iterator[tuple[str, Iterator[tuple[int, str]]]]:
        yield "product", ((number, self._json(product.values())) for number, product in enumerate(self._products(), 1))

    def _products(self, *, most_bytes: float = math.inf) -> Iterator[Element]:
        for element in elements_of(self.path, self._encoding, self._product_path, most_bytes=most_bytes):
            if element.path == self._product_path:
                yield element

    def _json(self, values_by_name: dict[str, list[Value]]) -> str:
        parts: dict[str, list[Value]] = defaultdict(list)  # of a name that comes late another may be the short one
        for name, values in values_by_name.items():
            parts[self._short_names.get(name, name)].extend(values)
        return json.dumps({name: self._value(name, values) for name, values in parts.items()})

    def _value(self, name: str, values: Sequence[Value]) -> Any:
        """Return a part's one value, or several as a list that the table keeps or chooses from, or as one text."""
        if len(values) > 1 and all(isinstance(value, dict) for value in values):
            return values
        texts = [text for value in values if (text := value["value"] if isinstance(value, dict) else value)]
        if len(texts) > 1 and self.keeps_lists(name):
            return texts
        return SEPARATOR.join(dict.fromkeys(texts))


def find_product_path(path: Path, encoding: str | None) -> ElementPath:
    """Return the names of the elements from the root down to the products, as the first 4 MB of the file tell.

    Products come several times, and their parts have the most of the usual names of columns; among such they are the
    nearest to the root, and the most.

    Raises:
        CatalogueError: no element has two parts, or the file is something else in XML, or not well-formed.
    """
    counts: Counter[ElementPath] = Counter()
    names: dict[ElementPath, set[str]] = defaultdict(set)
    for element in elements_of(path, encoding, most_bytes=LOOKED_AT_BYTES):
        if (kind := OTHERS.get(element.path[0].rpartition(":")[2].lower())) is not None:
            raise CatalogueError(
                f"Expected the catalogue to be a table, but {path} is {kind}, whatever its name says. Open it in a "
                "spreadsheet, and save it as .xlsx or CSV."
            )
        if len(parts := element.values()) >= LEAST_PARTS:
            counts[element.path] += 1
            names[element.path] |= parts.keys()
        element.children.clear()  # else all that is looked at would stay in memory
    if not counts:
        raise CatalogueError(
            f"Expected {path} to hold products, elements with a part for each column, but none has two parts. Write it "
            "as CSV or JSON."
        )

    def rank(path: ElementPath) -> tuple[bool, int, int, int]:
        n_roles = sum(bool(usual_columns(role, names[path])) for role in USUAL_NAMES)
        return counts[path] > 1, n_roles, -len(path), counts[path]

    return max(counts, key=rank)


def _short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names that have a prefix without it, where no two become one.

    >>> _short_names(["title", "g:title", "g:id"])
    {'g:id': 'id'}
    """
    shortened = {name: name.rpartition(":")[2] for name in names}
    counts = Counter(shortened.values())
    return {name: short for name, short in shortened.items() if short != name and counts[short] == 1}
