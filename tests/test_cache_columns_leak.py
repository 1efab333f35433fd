"""A column is told apart from its label by what the other rows of a value say."""

from collections import Counter

import numpy as np
import pytest

from cache.columns.leak import LEAK, gives_away, pairs_give_away, pairs_hint, told_by_others


def plainly(values, labels):
    """Return the same row by row."""
    is_told, n_companions = [], 0
    for row, (value, label) in enumerate(zip(values, labels, strict=True)):
        companion_labels = Counter(labels[n] for n in range(len(values)) if values[n] == value and n != row)
        if companion_labels:
            n_companions += 1
            is_told.append(
                all(
                    companion_labels[label] > count
                    for other_label, count in companion_labels.items()
                    if other_label != label
                )
                and label in companion_labels
            )
    return float(np.mean(is_told)) if is_told else 0.0, n_companions / len(values)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_plain_loop_finds(seed):
    generator = np.random.default_rng(seed)
    labels = [f"class {n}" for n in generator.integers(4, size=80)]
    values = [str(n // (1 + seed)) + label * (generator.random() < 0.3) for n, label in enumerate(labels)]
    assert told_by_others(values, labels) == pytest.approx(plainly(values, labels))


def test_ids_tell_nothing_and_the_label_in_other_words_tells_all():
    labels = ["shoe", "shirt", "shoe", "bag"] * 20
    assert told_by_others([str(n) for n in range(80)], labels) == (0.0, 0.0)
    assert told_by_others([label.upper() for label in labels], labels) == (1.0, 1.0)
    assert told_by_others(labels, labels)[0] >= LEAK
    assert told_by_others([""] * 80, labels)[0] == pytest.approx(0.5)  # the commonest class


def test_no_rows_tell_nothing():
    assert told_by_others([], []) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "labels", "is_leak"),
    [
        (["a", "b"] * 50, ["x", "y"] * 50, True),
        (["a", "b"] * 50, ["x", "y"] * 49 + ["y", "y"], True),  # one slip
        (["a", "b"] * 50, ["x", "y"] * 45 + ["y", "x"] * 5, False),
        (["a"] * 100, ["x"] * 99 + ["y"], False),  # which any column is as good at
        (["a"] * 100, ["x"] * 100, False),
        ([str(n // 2) if n < 40 else f"own {n}" for n in range(100)], ["x", "x", "y", "y"] * 25, False),  # mostly ids
        ([], [], False),
    ],
)
def test_a_leak_is_the_label_in_other_words(values, labels, is_leak):
    assert gives_away(values, labels) is is_leak


@pytest.mark.parametrize(
    ("n_wrong", "is_hint"), [(0, False), (2, False), (6, True), (20, True), (45, False), (100, False)]
)
def test_a_column_that_nearly_tells_the_label_is_a_hint_and_no_leak(n_wrong, is_hint):
    """Of 200 rows so many have the other class's value."""
    labels = ["x", "y"] * 100
    values = [("b" if label == "x" else "a") if n < n_wrong else label for n, label in enumerate(labels)]
    values = [{"x": "a", "y": "b"}.get(value, value) for value in values]
    pairs = Counter(zip(values, labels, strict=True))
    assert pairs_hint(pairs) is is_hint
    assert not (is_hint and pairs_give_away(pairs))
