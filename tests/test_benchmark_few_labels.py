"""The labelled products, intervals and kept results of the benchmark of few labels."""

import sys

import numpy as np
import pytest
from support import ROOT

sys.path.append(str(ROOT / "tests" / "benchmarks"))

from kept_results import KeptResults
from labelled_products import N_FOLDS, Protocol, folds_of
from paired_interval import interval

RESULT = {"accuracy": 50.004, "macro_f1": 40.0, "seconds": 0.5}


@pytest.fixture
def rows():
    """Classes of 40 products, in groups of up to two; the last class has too few."""
    targets = np.append(np.repeat(np.arange(4), 40), [4] * 6)
    return targets, np.arange(len(targets)) // 2


@pytest.mark.parametrize("validation", ["inside", "beside"])
def test_folds_test_every_product_once_and_label_those_of_the_others(rows, validation):
    targets, groups = rows
    kept, splits = folds_of(
        targets, groups, 20, Protocol(validation=validation, copies="all"), seed=3, folds=range(N_FOLDS)
    )
    assert sorted(np.concatenate([one.test for one in splits])) == list(range(160))
    assert set(kept[160:]) == {-1}
    n_validation = 4
    for split in splits:
        counts = [np.bincount(kept[rows], minlength=4).tolist() for rows in (split.train, split.validation)]
        assert counts == [[20 if validation == "beside" else 16] * 4, [n_validation] * 4]
        labelled = np.concatenate([split.train, split.validation])
        assert len(set(labelled)) == len(labelled)
        assert not set(groups[labelled]) & set(groups[split.test])


def test_test_rows_may_be_all_that_have_no_label(rows):
    _, (split,) = folds_of(*rows, 20, Protocol(test="rest"), seed=0, folds=range(1, 2))
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(160))


def test_folds_follow_from_the_seed_and_products_from_the_fold_too(rows):
    def of(seed, folds):
        return folds_of(*rows, 5, Protocol(), seed=seed, folds=folds)[1]

    assert np.array_equal(of(0, range(5))[2].train, of(0, range(2, 3))[0].train)
    assert not np.array_equal(of(0, range(5))[2].test, of(1, range(5))[2].test)


def test_results_that_share_rows_have_a_wider_interval():
    differences = np.array([1.0, 2.0, 3.0])
    wide, mean = interval(differences)
    assert (wide, mean) == pytest.approx((4.302653 * (1 / 3) ** 0.5, 2))  # Student's t of two degrees of freedom
    assert interval(differences, test_to_train=0.25)[0] == pytest.approx(4.302653 * (1 / 3 + 1 / 4) ** 0.5)
    assert np.isnan(interval(differences[:1])[0])


def test_kept_results_go_on_where_they_were_and_refuse_another_protocol(tmp_path):
    path = tmp_path / "kept.json"
    kept = KeptResults(path, command="python x.py", protocol={"folds": 5})
    kept.add(kept.cell("xor", 5), "text", RESULT)
    kept.save()
    again = KeptResults(path, command="python x.py", protocol={"folds": 5})
    again.add(again.cell("xor", 5), "text", RESULT)
    assert again.cell("xor", 5)["heads"]["text"]["accuracy"] == [50.0, 50.0]
    assert again.cell("xor", 20)["heads"] == {}
    with pytest.raises(SystemExit, match="Name another --json"):
        KeptResults(path, command="python x.py", protocol={"folds": 4})
