"""A long table, with a row for each attribute of a product, as one with a column for each attribute."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from cache.columns.column_names import plain_name
from embed.amounts import plural
from embed.catalogue.list_columns import keeps_lists, list_cell
from embed.contents.texts import join
from embed.settings import ExtractSettings

__all__ = ["is_long", "spread"]

ATTRIBUTES = {
    "attribute", "attributecode", "attributename", "feature", "featurename", "field", "fieldname", "key", "metakey",
    "name", "param", "parameter", "property", "propertyname", "spec", "specname", "variable",
}  # fmt: skip
VALUES = {"attributevalue", "featurevalue", "fieldvalue", "metavalue", "propertyvalue", "specvalue", "val", "value"}
LEAST_SHARE = 0.01  # of the products, that have an attribute which becomes a column

log = logging.getLogger("embed_once")


def is_long(columns: Collection[str]) -> bool:
    """Return whether the columns of a table, but that of ids, are the name of an attribute and its value.

    >>> is_long(["attribute", "value"]), is_long(["name", "price"])
    (True, False)
    """
    return len(columns) == 2 and _find(columns, ATTRIBUTES) is not None and _find(columns, VALUES) is not None


def spread(
    ids: Sequence[str], columns: Mapping[str, Sequence[str]], path: Path, settings: ExtractSettings
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the ids of a long table, each once, and a column for each attribute that 1 % of them have.

    Columns are also those that an option names, however few products have them. Several values of one attribute are a
    list where it is pictures or the label, as in JSON, and else joined, each once. A line says how many attributes are
    columns, and how many are not.

    Args:
        ids: of the rows.
        columns: the rows' names of attributes, and their values.
        path: the table's, for the line.
        settings: the options that name columns.
    """
    names = [name.strip() for name in columns[_find(columns, ATTRIBUTES) or ""]]
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for product_id, name, value in zip(ids, names, columns[_find(columns, VALUES) or ""], strict=True):
        if name:
            texts[product_id, name].append(value)
    distinct_ids = list(dict.fromkeys(ids))
    n_products = Counter(name for _, name in texts)
    kept = [name for name, n in n_products.items() if n >= LEAST_SHARE * len(distinct_ids) or _is_named(name, settings)]
    n_left_out = len(n_products) - len(kept)
    log.info(
        "%s has a row for each attribute of a product: %s, each with a column%s.",
        path, plural(len(kept), "attribute"),
        f"; {n_left_out:,} that less than 1 % of its products have are left out" if n_left_out else "",
    )  # fmt: skip
    are_lists = {name: keeps_lists(name, settings) for name in kept}
    cells = {
        name: [_cell(texts.get((product_id, name), ()), is_list=is_list) for product_id in distinct_ids]
        for name, is_list in are_lists.items()
    }
    return distinct_ids, cells


def _is_named(name: str, settings: ExtractSettings) -> bool:
    """Return whether an option names a column, or a text of one that may: a condition, or a template."""
    return name in (
        settings.label, settings.image_column, settings.text_column, *settings.text_column_names
    ) or any(name in text for text in (settings.where, settings.image_template) if text)  # fmt: skip


def _cell(texts: Iterable[str], *, is_list: bool) -> str:
    distinct_texts = list(dict.fromkeys(stripped for text in texts if (stripped := text.strip())))
    return list_cell(distinct_texts) if is_list and len(distinct_texts) > 1 else join(distinct_texts)


def _find(columns: Iterable[str], usual_names: Collection[str]) -> str | None:
    return next((name for name in columns if plain_name(name) in usual_names), None)
