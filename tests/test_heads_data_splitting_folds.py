"""Folds: every row is tested once, classes in proportion, duplicates together."""

import numpy as np
import pytest

from heads.data.splitting.folds import split_folds
from heads.errors import SplitError


def draw(targets, groups, *, n_folds=5, validation_share=0.15, seed=0):
    return split_folds(
        np.asarray(targets),
        np.asarray(groups),
        n_folds=n_folds,
        validation_share=validation_share,
        generator=np.random.default_rng(seed),
    )


def random_shop(seed, n_rows=600):
    """Return classes of which some rows have none, and groups of one to many rows that go across classes."""
    generator = np.random.default_rng(seed)
    targets = generator.choice([-1, 0, 1, 2, 3], size=n_rows, p=[0.05, 0.5, 0.25, 0.15, 0.05])
    return targets, generator.integers(n_rows // 2, size=n_rows)


def folds_of_rows(folds, n_rows):
    """Return the folds that test each row."""
    tested_in = [[] for _ in range(n_rows)]
    for place, fold in enumerate(folds):
        for row in fold.test.tolist():
            tested_in[row].append(place)
    return tested_in


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_every_row_with_a_class_is_tested_once(seed, n_folds):
    targets, groups = random_shop(seed)
    tested_in = folds_of_rows(draw(targets, groups, n_folds=n_folds, seed=seed), len(targets))
    assert [len(places) for places in tested_in] == [int(code >= 0) for code in targets]


@pytest.mark.parametrize("seed", range(6))
def test_no_group_straddles_the_sides_of_a_fold(seed):
    targets, groups = random_shop(seed)
    for fold in draw(targets, groups, seed=seed):
        sides = [set(groups[rows].tolist()) for rows in (fold.train, fold.validation, fold.test)]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]


@pytest.mark.parametrize("seed", range(4))
def test_the_sides_of_a_fold_are_all_rows_with_a_class(seed):
    targets, groups = random_shop(seed)
    for fold in draw(targets, groups, seed=seed):
        rows = np.concatenate([fold.train, fold.validation, fold.test])
        assert sorted(rows.tolist()) == np.flatnonzero(targets >= 0).tolist()
        assert all((np.diff(side) > 0).all() for side in (fold.train, fold.validation, fold.test))


@pytest.mark.parametrize("seed", range(4))
def test_each_fold_has_its_share_of_every_class(seed):
    """Without duplicates the shares are exact but for one row."""
    targets = np.repeat([0, 1, 2], [50, 23, 11])
    for fold in draw(targets, np.arange(84), n_folds=5, seed=seed):
        for code, count in enumerate((50, 23, 11)):
            assert abs((targets[fold.test] == code).sum() - count / 5) <= 1
            assert abs((targets[fold.validation] == code).sum() - 0.15 * count) <= 1.5


def test_many_small_classes_fill_all_folds_alike():
    """Four rows in three folds are one, two and one; without a random start the second fold would have half of all."""
    targets = np.repeat(np.arange(300), 4)
    sizes = [len(fold.test) for fold in draw(targets, np.arange(1200), n_folds=3)]
    assert max(sizes) < 450


def test_a_group_of_more_than_half_of_its_class_always_trains():
    targets = np.array([0] * 20 + [1] * 20)
    groups = np.arange(40)
    groups[:11] = 99
    folds = draw(targets, groups, n_folds=3)
    tested_in = folds_of_rows(folds, 40)
    assert [len(places) for places in tested_in] == [0] * 11 + [1] * 29
    assert all(set(range(11)) <= set(fold.train.tolist()) for fold in folds)


def test_a_group_of_half_of_its_class_is_tested():
    groups = np.arange(40)
    groups[:10] = 99
    tested_in = folds_of_rows(draw([0] * 20 + [1] * 20, groups, n_folds=3), 40)
    assert all(len(places) == 1 for places in tested_in)
    assert len({places[0] for places in tested_in[:10]}) == 1


def test_the_generator_draws_the_folds():
    targets, groups = random_shop(0)
    same, again, other = (draw(targets, groups, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(one.test, two.test) for one, two in zip(same, again, strict=True))
    assert not all(np.array_equal(one.test, two.test) for one, two in zip(same, other, strict=True))


def test_too_many_folds_are_an_error_with_the_way_out():
    with pytest.raises(SplitError, match=r"Fold \d+ of 50: .* fewer --folds"):
        draw(np.arange(20) % 2, np.arange(20), n_folds=50)
