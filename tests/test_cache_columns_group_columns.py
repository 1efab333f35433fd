"""Columns that say which rows are of one product are known by name and cells; names of kinds and noise are none."""

from collections import Counter

import numpy as np
import pytest

from cache.columns.group_columns import find_group_column

N = 600
LABELS = np.arange(N) % 6
HANDLES = [f"h{label}-{n // 18}" for n, label in enumerate(LABELS)]  # of three rows, each of one label


def group_column_of(column, cells, labels=LABELS, **options):
    return find_group_column(column, Counter(zip(cells, map(str, labels), strict=True)), **options)


@pytest.mark.parametrize("column", ["handle", "made by"])
def test_many_values_that_each_tell_the_label_are_products_whatever_the_columns_name(column):
    group_column = group_column_of(column, HANDLES)
    assert (group_column.n_values, group_column.n_rows, group_column.told) == (204, 600, 1.0)
    assert group_column.sentence("kind") == (
        f"{column}: 204 values over 600 rows, each of one kind: products of one {column} are alike"
    )


def test_a_named_column_need_not_tell_the_label():
    values = [str(n // 3) for n in range(N)]
    assert group_column_of("shelf", values) is None
    group_column = group_column_of("Parent ASIN", values)
    assert (
        group_column.sentence("kind") == "Parent ASIN: 200 values over 600 rows: products of one Parent ASIN are alike"
    )
    assert group_column_of("parent_asin", values, [""] * N).n_values == 200  # nor need there be a label


@pytest.mark.parametrize(
    "cells",
    [
        [str(n) for n in range(N)],  # ids
        [f"kind {label} {n % 5}" for n, label in enumerate(LABELS)],  # finer names of the label, 20 rows each
        ["nan"] * N,
        [str(n // 40) for n in range(N)],  # a few large ones
        [*map(str, range(N - 30)), *["none"] * 30],  # one repeats, and it says nothing
        [
            *(f"{label} {n // 12}" for n, label in enumerate(LABELS[: N // 2])),
            *["3"] * (N // 2),
        ],  # one very common kind
    ],
    ids=["ids", "kinds", "words for nothing", "large", "missing", "tail"],
)
def test_other_columns_are_none(cells):
    assert group_column_of("code", cells) is None


def test_gaps_are_no_product():
    cells = ["NaN" if n % 3 == 0 else handle for n, handle in enumerate(HANDLES)]
    group_column = group_column_of("handle", cells)
    assert group_column.n_rows == 400


@pytest.mark.parametrize("n_values", [2, 50, 300])
def test_noise_is_none_even_where_one_class_is_nearly_all(n_values):
    for seed in range(50):
        generator = np.random.default_rng(seed)
        labels = generator.random(N) < 0.03
        assert group_column_of("code", map(str, generator.integers(n_values, size=N)), labels.astype(int)) is None
