"""Threads that share work: all of it is done once, and what is done is not lost when one fails."""

import threading

import pytest

from embed.extraction.thread_map import completed


@pytest.mark.parametrize(("n_workers", "n_ahead"), [(1, 1), (1, 5), (3, 3), (8, 100)])
def test_every_item_is_worked_on_once(n_workers, n_ahead):
    results = list(completed(lambda n: n * n, range(50), n_workers=n_workers, n_ahead=n_ahead))
    assert sorted(results) == [n * n for n in range(50)]


def test_no_more_items_are_begun_than_may_wait():
    taken = []

    def items():
        for n in range(20):
            taken.append(n)
            yield n

    for n_done, _ in enumerate(completed(lambda n: n, items(), n_workers=2, n_ahead=4), start=1):
        assert len(taken) <= n_done + 4


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_what_runs_beside_a_failure_is_kept_and_nothing_new_is_begun(error):
    both_run = threading.Barrier(2, timeout=60)
    has_failed = threading.Event()

    def work(n):
        if n < 2:
            both_run.wait()
        if n == 0:
            has_failed.set()
            raise error
        has_failed.wait(60)
        return n

    results = completed(work, range(100), n_workers=2, n_ahead=2)
    kept = []
    with pytest.raises(type(error)):
        kept.extend(results)
    assert kept[0] == 1
    assert len(kept) <= 3


def test_each_worker_starts_as_it_is_told():
    started = set()
    list(
        completed(
            lambda n: n, range(9), n_workers=3, n_ahead=9, start_worker=lambda: started.add(threading.get_ident())
        )
    )
    assert 1 <= len(started) <= 3


class Interrupting:
    """Items of which the first comes with a Ctrl-C, before any work is begun."""

    def __iter__(self):
        raise KeyboardInterrupt
        yield


def test_ctrl_c_before_any_work_is_no_success():
    with pytest.raises(KeyboardInterrupt):
        list(completed(lambda n: n, (item for item in Interrupting()), n_workers=2, n_ahead=2))
