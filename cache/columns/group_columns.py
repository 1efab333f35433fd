"""Columns that seem to say which rows are of one product: its variants, its pictures, its sellers.

Rows of one product are alike whatever their bytes, so they belong on one side of a split. A column is taken for one of
products by its name, where its values repeat as those of products do; or, whatever its name, where many values of a few
rows each tell the label. What has more rows a value, or one value of very many rows, is a name of a kind of product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cache.columns.column_names import usual_columns
from cache.columns.column_types import is_missing
from cache.columns.leak import LEAK, is_beyond_chance, told_by_pairs

__all__ = ["GroupColumn", "find_group_column", "has_group_name"]

LEAST_VALUES = 20  # that several rows have
LEAST_SHARE = 0.1  # of the rows, that share their value with others
MOST_ROWS = 10  # of a value on average, in a column that tells the label
MOST_NAMED_ROWS = 50  # likewise, in a column whose name says that it groups products
MOST_IN_ONE = 0.02  # of the rows, in one value that has more than `MOST_ROWS`
LEAST_TIMES_CLASSES = 2  # values a class: a column of fewer is the label in other words


@dataclass(frozen=True)
class GroupColumn:
    """A column that seems to say which rows are of one product, and what makes it likely."""

    column: str
    n_values: int
    n_rows: int  # that have a value
    is_named: bool  # its name says so
    told: float  # the share of the labelled rows that share their value with others: those whose label the others tell
    is_sampled: bool  # the numbers are estimates, as there are too many values to count

    def sentence(self, label: str | None) -> str:
        """Return what makes it likely, without a full stop."""
        approximately = "some " if self.is_sampled else ""
        of_one_label = ""
        if label is not None and self.told >= LEAK:
            of_one_label = f", {'' if self.told == 1 else 'nearly '}each of one {label}"
        return (
            f"{self.column}: {approximately}{self.n_values:,} values over {self.n_rows:,} rows{of_one_label}: products "
            f"of one {self.column} are alike"
        )


def has_group_name(column: str) -> bool:
    """Return whether a column is called as those that say which rows are of one product.

    >>> has_group_name("Item Group ID"), has_group_name("colour")
    (True, False)
    """
    return bool(usual_columns("group", [column]))


def find_group_column(column: str, pairs: Mapping[tuple[Any, Any], int], *, times: int = 1) -> GroupColumn | None:
    """Return what makes a column likely to say which rows are of one product; None where it is not likely.

    Args:
        column: its name.
        pairs: the number of rows of each pair of a value and a label, "" for rows without a label.
        times: how many times as many values there are as `pairs` has, where these are a sample.

    >>> pairs = {(f"h{n}", f"class {n % 2}"): 3 for n in range(40)}
    >>> find_group_column("handle", pairs).sentence("category")
    'handle: 40 values over 120 rows, each of one category: products of one handle are alike'
    """
    sizes: Counter[str] = Counter()
    for (value, _), n in pairs.items():
        if not is_missing(value, "number"):
            sizes[value] += n
    repeated = [n for n in sizes.values() if n > 1]
    n_rows = sum(sizes.values())
    if len(repeated) < LEAST_VALUES or sum(repeated) < LEAST_SHARE * n_rows:
        return None
    labelled = {pair: n for pair, n in pairs.items() if pair[1] != "" and pair[0] in sizes}
    n_classes = len({label for _, label in labelled})
    if len(sizes) < LEAST_TIMES_CLASSES * n_classes:
        return None
    told_share = told_by_pairs(labelled)[0]
    is_named = has_group_name(column)
    max_rows = MOST_NAMED_ROWS if is_named else MOST_ROWS
    has_small_groups = n_rows <= max_rows * len(sizes) and max(repeated) <= max(max_rows, MOST_IN_ONE * n_rows * times)
    tells = told_share >= LEAK and is_beyond_chance(labelled, told_share)
    if not has_small_groups or not (is_named or tells):
        return None
    return GroupColumn(column, times * len(sizes), times * n_rows, is_named, told_share if tells else 0.0, times > 1)
