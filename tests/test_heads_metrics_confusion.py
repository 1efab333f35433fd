"""Which classes are taken for which, by hand."""

import numpy as np

from heads.metrics.confusion import Pair, count_confusions

CLASSES = ["a", "b", "c"]


def test_a_few_classes_are_all_shown_in_their_order():
    targets = np.array([0, 0, 0, 1, 1, 2])
    answers = np.array([0, 1, 1, 0, 1, 2])
    found = count_confusions(targets, answers, CLASSES)
    assert found.classes == CLASSES
    assert found.counts.tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert found.pairs == [Pair("a", "b", 2, 3), Pair("b", "a", 1, 2)]
    assert (found.n_mistakes, found.n_shown, found.n_pairs, found.n_classes) == (3, 3, 2, 3)


def test_of_many_classes_those_in_the_most_mistakes_are_shown_first():
    """30 classes: n is taken for n + 1 as many times as its pair's number says, from 15 down to 1."""
    targets = np.concatenate([np.full(15 - pair, 2 * pair) for pair in range(15)] + [np.arange(30)])
    answers = np.concatenate([np.full(15 - pair, 2 * pair + 1) for pair in range(15)] + [np.arange(30)])
    found = count_confusions(targets, answers, [f"{n:02}" for n in range(30)])
    assert found.classes == [f"{n:02}" for n in range(20)]
    assert found.counts[0, 1] == 15
    assert found.counts[18, 19] == 6
    assert np.trace(found.counts) == 20
    assert found.n_mistakes == sum(range(1, 16))
    assert found.n_shown == sum(range(6, 16))
    assert [pair.count for pair in found.pairs] == list(range(15, 0, -1))
    assert found.pairs[0] == Pair("00", "01", 15, 16)


def test_a_class_counts_as_truth_and_as_answer():
    """Class 24 is never the truth of a mistake, and the answer of two: it comes first, equals in their order."""
    targets = np.array([3, 7, 9])
    answers = np.array([24, 24, 8])
    assert count_confusions(targets, answers, [str(n) for n in range(25)]).classes == ["24", "3", "7", "8", "9"]


def test_of_many_classes_without_mistakes_none_is_shown():
    targets = np.arange(25)
    found = count_confusions(targets, targets, [str(n) for n in range(25)])
    assert (found.classes, found.pairs, found.n_mistakes) == ([], [], 0)
