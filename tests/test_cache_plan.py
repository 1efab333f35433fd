"""What is to be encoded: everything wanted that is not there, once, in the order of its first mention."""

import numpy as np
import pytest

from cache import plan


def slow_plan(wanted, have):
    """Return the same, by looking at each key in turn."""
    missing = []
    for key in wanted:
        if key not in have and key not in missing:
            missing.append(key)
    return missing


@pytest.mark.parametrize(
    ("wanted", "have", "missing"),
    [
        ([], set(), []),
        ([], {"a"}, []),
        (["a", "b"], set(), ["a", "b"]),
        (["a", "b"], {"a", "b"}, []),
        (["b", "a", "b", "b"], set(), ["b", "a"]),
        (["c", "a", "c", "b"], {"a"}, ["c", "b"]),
        (["a"], {"b", "c"}, ["a"]),
    ],
)
def test_missing_keys_come_once_in_their_first_order(wanted, have, missing):
    assert plan(wanted, have) == missing


@pytest.mark.parametrize("seed", range(20))
def test_plan_agrees_with_the_slow_way(seed):
    generator = np.random.default_rng(seed)
    wanted = generator.integers(0, 30, size=generator.integers(0, 60)).astype(str).tolist()
    have = set(generator.integers(0, 30, size=generator.integers(0, 30)).astype(str).tolist())
    assert plan(wanted, have) == slow_plan(wanted, have)


def test_nothing_is_left_once_the_plan_is_done():
    wanted = ["a", "b", "c", "a"]
    have = {"b"}
    assert plan(wanted, have | set(plan(wanted, have))) == []


def test_order_of_what_is_wanted_does_not_change_what_is_missing():
    wanted = list("xaybzc")
    assert set(plan(wanted[::-1], {"x"})) == set(plan(wanted, {"x"}))


@pytest.mark.parametrize("have", [{"a"}, frozenset("a"), ["a"], {"a": 1}, {"a": 1}.keys()], ids=type)
def test_what_is_there_may_be_any_container(have):
    assert plan((key for key in "ab"), have) == ["b"]


def test_arguments_are_left_as_they_are():
    wanted, have = ["b", "a", "b"], {"a"}
    plan(wanted, have)
    assert (wanted, have) == (["b", "a", "b"], {"a"})
