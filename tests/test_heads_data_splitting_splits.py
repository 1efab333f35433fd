"""Splits: every row on one side, classes in proportion, duplicates together, drawn from a seed."""

import numpy as np
import pytest

from heads.data.splitting.groups import share_content
from heads.data.splitting.splits import Split, split_by_column, split_rows, straddlers
from heads.errors import SplitError

SEEDS = range(8)
SIDES = ("train", "validation", "test")


def draw(targets, groups, *, seed=0, test_share=0.2, validation_share=0.15):
    return split_rows(
        np.asarray(targets),
        np.asarray(groups),
        test_share=test_share,
        validation_share=validation_share,
        generator=np.random.default_rng(seed),
    )


def by_column(cells, targets=None, groups=None, *, validation_share=0.25, seed=0):
    targets = np.arange(len(cells)) % 2 if targets is None else np.asarray(targets)
    groups = np.arange(len(cells)) if groups is None else np.asarray(groups)
    generator = np.random.default_rng(seed)
    return split_by_column("side", cells, targets, groups, validation_share=validation_share, generator=generator)


def sides_of(split, n_rows):
    """Return each row's side, "" where it has none; a row on two sides is an error."""
    sides = [""] * n_rows
    for side in SIDES:
        for row in getattr(split, side).tolist():
            assert sides[row] == ""
            sides[row] = side
    return sides


def random_shop(seed, n_rows=400):
    """Return classes, and rows of pictures and texts of which many are shared; some products lack one or both."""
    generator = np.random.default_rng(seed)
    targets = generator.choice(6, size=n_rows, p=[0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
    targets[generator.random(n_rows) < 0.05] = -1
    contents = []
    for n_contents in (3 * n_rows, 2 * n_rows):
        rows = generator.integers(n_contents, size=n_rows)
        rows[generator.random(n_rows) < 0.1] = -1
        contents.append(rows)
    return targets, contents


def plain_groups(contents):
    """Return groups by walking from product to product, slowly."""
    n_rows = len(contents[0])
    groups = [-1] * n_rows
    for start in range(n_rows):
        waiting = [start] if groups[start] < 0 else []
        while waiting:
            row = waiting.pop()
            groups[row] = start
            for rows in contents:
                if rows[row] >= 0:
                    waiting += [other for other in np.flatnonzero(rows == rows[row]).tolist() if groups[other] < 0]
    return groups


def same_partition(some, others):
    return len(set(zip(some, others, strict=True))) == len(set(some)) == len(set(others))


def test_products_that_share_a_picture_or_a_text_are_a_group_through_others_too():
    pictures = np.array([0, 0, 1, 2, 3, -1, -1])
    texts = np.array([5, 6, 6, 7, -1, -1, 7])
    groups = share_content([pictures, texts])
    assert same_partition(groups.tolist(), [0, 0, 0, 1, 2, 3, 1])


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_are_those_of_a_plain_walk(seed):
    _, contents = random_shop(seed, n_rows=150)
    assert same_partition(share_content(contents).tolist(), plain_groups(contents))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_labelled_row_is_on_one_side_and_no_other(seed):
    targets, contents = random_shop(seed)
    sides = sides_of(draw(targets, share_content(contents), seed=seed), len(targets))
    assert [side == "" for side in sides] == (targets == -1).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_picture_and_no_text_stands_on_two_sides(seed):
    targets, contents = random_shop(seed)
    sides = sides_of(draw(targets, share_content(contents), seed=seed), len(targets))
    for rows in contents:
        for content in set(rows.tolist()) - {-1}:
            assert len({sides[row] for row in np.flatnonzero(rows == content)} - {""}) <= 1


def test_a_naive_split_leaks_the_duplicates_that_ours_keeps_together():
    targets, contents = random_shop(0)
    groups = share_content(contents)
    order = np.random.default_rng(0).permutation(np.flatnonzero(targets >= 0))
    naive = Split(train=order[100:], validation=order[:0], test=order[:100])
    split = draw(targets, groups)
    for rows in contents:
        assert set(rows[naive.test]) & set(rows[naive.train]) - {-1}
        assert not set(rows[split.test]) & {*rows[split.train], *rows[split.validation]} - {-1}
    assert straddlers(naive, groups) > 0
    assert straddlers(split, groups) == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_copies", [1, 2])
@pytest.mark.parametrize(("test_share", "validation_share"), [(0.2, 0.15), (0.3, 0.1), (0.1, 0.4)])
def test_each_class_has_its_share_on_each_side_within_a_row_or_two(seed, n_copies, test_share, validation_share):
    targets = np.repeat([0, 1, 2, 3], [200, 60, 24, 10])
    groups = np.arange(len(targets)) // n_copies
    split = draw(targets, groups, seed=seed, test_share=test_share, validation_share=validation_share)
    for side, share in (("test", test_share), ("validation", validation_share)):
        counts = np.bincount(targets[getattr(split, side)], minlength=4)
        assert (np.abs(counts - share * np.bincount(targets)) <= n_copies).all(), (side, counts)


def test_same_seed_draws_the_same_split_and_another_seed_another():
    targets, contents = random_shop(0)
    groups = share_content(contents)
    first, same, other = (draw(targets, groups, seed=seed) for seed in (1, 1, 2))
    for side in SIDES:
        assert np.array_equal(getattr(first, side), getattr(same, side))
        assert not np.array_equal(getattr(first, side), getattr(other, side))


def test_every_row_comes_to_be_tested_under_some_seed():
    """Nothing about a row, such as its place in the catalogue, keeps it from the test rows."""
    targets = np.repeat([0, 1], 10)
    tested = {row for seed in range(200) for row in draw(targets, np.arange(20), seed=seed).test.tolist()}
    assert tested == set(range(20))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_class_that_is_one_big_group_is_learned(seed):
    targets = np.repeat([0, 1, 2], [50, 50, 30])
    groups = np.where(targets == 2, 1000, np.arange(130))
    sides = sides_of(draw(targets, groups, seed=seed), 130)
    assert set(sides[100:]) == {"train"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_largest_group_of_each_class_is_learned(seed):
    targets = np.repeat([0, 1], 50)
    groups = np.arange(100)
    groups[10:25] = 10  # of class 0
    groups[70:78] = 70  # of class 1
    sides = sides_of(draw(targets, groups, seed=seed), 100)
    assert set(sides[10:25]) == set(sides[70:78]) == {"train"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n_large", "n_tested", "n_validated"), [(40, 20, 15), (80, 4, 3)])
def test_beside_a_large_group_the_others_are_shared_out(seed, n_large, n_tested, n_validated):
    """Of 100 rows: up to half of them leave the shares as they are; more, and the shares are those of the others."""
    targets = np.repeat([0, 1], [100, 50])
    groups = np.where(np.arange(150) < n_large, 1000, np.arange(150))
    split = draw(targets, groups, seed=seed)
    assert abs((split.test < 100).sum() - n_tested) <= 1
    assert abs((split.validation < 100).sum() - n_validated) <= 1
    assert set(range(n_large)) <= set(split.train.tolist())


def test_a_group_of_two_classes_stays_together():
    targets = np.array([0, 1] * 30)
    groups = np.arange(60) // 2
    sides = sides_of(draw(targets, groups), 60)
    assert sides[::2] == sides[1::2]
    assert set(sides) == set(SIDES)


@pytest.mark.parametrize(
    ("targets", "groups", "empty"),
    [([0, 1], [0, 1], "validation|test"), ([0, 0, 1, 1], [0, 0, 0, 0], "validation|test"), ([-1, -1], [0, 1], "train")],
)
def test_a_side_without_rows_is_an_error_that_counts(targets, groups, empty):
    with pytest.raises(SplitError, match=rf"but ({empty}) has too few \(train \d"):
        draw(targets, groups)


@pytest.mark.parametrize(
    ("words", "side"),
    [
        (("train", "training", "TRAIN", " Train "), "train"),
        (("validation", "valid", "val", "dev", "Val"), "validation"),
        (("test", "testing", "Test\t"), "test"),
    ],
)
def test_a_column_may_use_the_usual_words(words, side):
    others = [other for other in SIDES if other != side]
    targets = [*np.arange(len(words)) % 2, 0, 0, 1, 1]
    sides = sides_of(by_column([*words, *others, *others], targets=targets), len(words) + 4)
    assert sides == [side] * len(words) + 2 * others


def test_a_column_is_taken_as_it_is():
    cells = ["test", "train", "", "val", "train", "test", "  ", "train"]
    sides = sides_of(by_column(cells, targets=[0, 1, 0, 1, -1, 1, 0, 0]), 8)
    assert sides == ["test", "train", "", "validation", "", "test", "", "train"]


def test_words_that_name_no_side_are_listed():
    with pytest.raises(SplitError, match=r"--split-column side to say .* but it says holdout, query"):
        by_column(["train", "query", "Holdout", "test", "val"])


@pytest.mark.parametrize(
    "cells", [["train", "val"] * 4, ["test", "val"] * 4, ["test"] * 8, [""] * 8, ["train", "val", "test"]]
)
def test_a_column_without_one_of_the_sides_is_an_error(cells):
    with pytest.raises(SplitError, match="has too few"):
        by_column(cells)


def test_a_column_whose_training_rows_are_of_one_class_is_an_error():
    with pytest.raises(SplitError, match="training rows of --split-column side to be of two classes or more"):
        by_column(["train", "train", "val", "test"] * 4, targets=[0, 0, 1, 1] * 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_validation_rows_that_no_cell_names_are_drawn_from_the_training_rows(seed):
    targets, contents = random_shop(seed)
    groups = share_content(contents)
    cells = np.random.default_rng(seed).choice(["train", "test", ""], p=[0.7, 0.2, 0.1], size=len(targets)).tolist()
    split = by_column(cells, targets, groups, validation_share=0.25, seed=seed)
    sides = sides_of(split, len(targets))
    for row, cell in enumerate(cells):
        allowed = {"train": {"train", "validation"}, "test": {"test"}, "": {""}}[cell]
        assert sides[row] in (allowed if targets[row] >= 0 else {""})
    assert not set(groups[split.train]) & set(groups[split.validation])
    assert abs(len(split.validation) / (len(split.train) + len(split.validation)) - 0.25) < 0.05


@pytest.mark.parametrize("validation_share", [0.15, 0.25, 0.5, 0.6])
def test_validation_rows_are_drawn_from_few_training_rows_too(validation_share):
    """Four rows a class are enough for a training and a validation side."""
    cells, targets = ["train"] * 8 + ["test"] * 2, np.repeat([0, 1, 0, 1], [4, 4, 1, 1])
    split = by_column(cells, targets, validation_share=validation_share)
    assert sorted([*split.train, *split.validation]) == list(range(8))
    assert np.bincount(targets[split.validation]).tolist() == [round(4 * validation_share)] * 2
    assert split.test.tolist() == [8, 9]


def test_drawn_validation_rows_follow_the_seed():
    cells = ["train"] * 80 + ["test"] * 20
    first, same, other = (by_column(cells, seed=seed).validation.tolist() for seed in (1, 1, 2))
    assert first == same != other


def test_straddlers_are_the_test_rows_that_share_a_group_with_other_rows():
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 3, 4])
    split = Split(train=np.array([0, 3]), validation=np.array([5]), test=np.array([1, 2, 6, 7, 8]))
    assert straddlers(split, groups) == 3
