"""A long table, with a row for each attribute of a product, as one with a column for each attribute."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from cache.columns.column_names import plain_name
from embed.amounts import plural
from embed.contents.texts import join

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
    ids: Sequence[str], columns: Mapping[str, Sequence[str]], path: Path, *, named: Collection[str | None] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the ids of a long table, each once, and a column for each attribute that 1 % of them have.

    Several values of one attribute are joined. A line says how many attributes are columns, and how many are not.

    Args:
        ids: of the rows.
        columns: the rows' names of attributes, and their values.
        path: the table's, for the line.
        named: attributes that an option names, which are columns however few products have them.
    """
    names = [name.strip() for name in columns[_find(columns, ATTRIBUTES) or ""]]
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for product_id, name, value in zip(ids, names, columns[_find(columns, VALUES) or ""], strict=True):
        texts[product_id, name].append(value)
    distinct_ids = list(dict.fromkeys(ids))
    n_products = Counter(name for _, name in texts)
    kept = [name for name, n in n_products.items() if name and (n >= LEAST_SHARE * len(distinct_ids) or name in named)]
    n_left_out = len(n_products) - len(kept)
    log.info(
        "%s has a row for each attribute of a product: %s, each with a column%s.",
        path, plural(len(kept), "attribute"),
        f"; {n_left_out:,} that less than 1 % of its products have are left out" if n_left_out else "",
    )  # fmt: skip
    cells = {name: [join(texts.get((product_id, name), ())) for product_id in distinct_ids] for name in kept}
    return distinct_ids, cells


def _find(columns: Iterable[str], usual_names: Collection[str]) -> str | None:
    return next((name for name in columns if plain_name(name) in usual_names), None)
