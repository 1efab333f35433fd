"""Pieces of work side by side: in their order, each on its share of torch's threads, which are as before afterwards."""

import threading

import pytest
import torch

from heads.threads import THREAD_COUNT, side_by_side


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_threads", "n_pieces", "each"), [(2, 5, 1), (4, 2, 2), (3, 2, 1), (16, 20, 2)])
def test_results_come_in_order_and_each_piece_has_its_share_of_the_threads(n_threads, n_pieces, each):
    torch.set_num_threads(n_threads)
    found = list(side_by_side(lambda piece: (piece, torch.get_num_threads()), range(n_pieces)))
    assert found == [(piece, each) for piece in range(n_pieces)]
    assert torch.get_num_threads() == n_threads


def test_two_pieces_are_under_way_at_once():
    torch.set_num_threads(2)
    both = threading.Barrier(2, timeout=60)
    assert len(list(side_by_side(lambda _: both.wait(), range(4)))) == 4


@pytest.mark.parametrize(("n_threads", "n_pieces"), [(1, 3), (4, 1), (4, 0)])
def test_where_there_is_nothing_to_share_the_caller_works_itself(n_threads, n_pieces):
    torch.set_num_threads(n_threads)
    caller = threading.get_ident(), n_threads
    found = side_by_side(lambda _: (threading.get_ident(), torch.get_num_threads()), range(n_pieces))
    assert list(found) == [caller] * n_pieces


def test_a_piece_that_fails_raises_where_the_results_are_taken():
    torch.set_num_threads(2)
    results = side_by_side(lambda piece: 1 / piece, [1, 0, 2])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert torch.get_num_threads() == 2


def test_a_caller_who_stops_listening_gets_its_threads_back():
    torch.set_num_threads(2)
    results = side_by_side(str, range(10))
    assert next(results) == "0"
    results.close()
    assert torch.get_num_threads() == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("piece")]


def test_a_caller_beside_trainings_keeps_the_threads_that_these_leave():
    torch.set_num_threads(8)
    THREAD_COUNT.enter()  # as a training does
    torch.set_num_threads(6)
    assert len(list(side_by_side(str, range(4)))) == 4
    assert torch.get_num_threads() == 6
    THREAD_COUNT.leave()
    assert torch.get_num_threads() == 8
