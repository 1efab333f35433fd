"""What waits is answered together, within bounds, and costs nothing once nobody waits for it."""

import asyncio
import socket
import threading
import time

import pytest

from heads.serving.batching import Batching, FullError
from heads.serving.serve_settings import ServeSettings
from heads.serving.server import listen


class Worker:
    """Squares numbers, and refuses negative ones; it begins a batch when it is let."""

    def __init__(self):
        self.batches = []
        self.may_begin = threading.Event()
        self.has_begun = threading.Event()

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        self.has_begun.set()
        assert self.may_begin.wait(30)
        if any(number < 0 for number in numbers):
            raise ValueError("negative")
        return [number**2 for number in numbers]


def soon():
    return time.monotonic() + 30


@pytest.fixture
def worker():
    return Worker()


@pytest.fixture
def batching(worker):
    dropped, sizes = [], []
    batching = Batching(
        worker, name="test", max_batch=4, max_waiting=6, dropped=dropped.append, answered=lambda n, _: sizes.append(n)
    )
    batching.noted = dropped, sizes
    yield batching
    worker.may_begin.set()
    batching.close()


def begun(batching, worker):
    """Submit a first number, whose batch has begun when this returns."""
    futures = batching.submit([1], deadline=soon())
    assert worker.has_begun.wait(30)
    return futures


def test_what_comes_while_a_batch_is_answered_is_answered_together(batching, worker):
    async def run():
        futures = begun(batching, worker)
        futures += [future for n in (2, 3, 4, 5, 6) for future in batching.submit([n], deadline=soon())]
        worker.may_begin.set()
        return await asyncio.gather(*futures)

    assert asyncio.run(run()) == [1, 4, 9, 16, 25, 36]
    assert worker.batches == [[1], [2, 3, 4, 5], [6]]
    batching.close()  # its thread tells of a batch after it has answered
    assert batching.noted == ([], [1, 4, 1])


def test_no_more_wait_than_may_and_all_of_a_request_or_none(batching, worker):
    async def run():
        futures = begun(batching, worker) + batching.submit([2, 3, 4, 5], deadline=soon())
        with pytest.raises(FullError):
            batching.submit([6, 7, 8], deadline=soon())
        assert batching.n_waiting() == 4
        futures += batching.submit([6, 7], deadline=soon())
        worker.may_begin.set()
        return await asyncio.gather(*futures)

    assert asyncio.run(run()) == [1, 4, 9, 16, 25, 36, 49]


def test_what_nobody_waits_for_any_more_costs_nothing(batching, worker):
    async def run():
        first = begun(batching, worker)
        gone, kept = batching.submit([2, 3], deadline=soon())
        late = batching.submit([4], deadline=time.monotonic() - 1)
        gone.cancel()
        await asyncio.sleep(0)
        worker.may_begin.set()
        with pytest.raises(TimeoutError):
            await late[0]
        return await asyncio.gather(*first, kept)

    assert asyncio.run(run()) == [1, 9]
    assert worker.batches == [[1], [3]]
    assert sorted(batching.noted[0]) == ["gone", "late"]


def test_one_that_fails_does_not_spoil_the_others(batching, worker):
    async def run():
        futures = begun(batching, worker) + batching.submit([2, -3, 4], deadline=soon())
        worker.may_begin.set()
        return await asyncio.gather(*futures, return_exceptions=True)

    results = asyncio.run(run())
    assert [repr(one) for one in results] == ["1", "4", "ValueError('negative')", "16"]


def test_what_waits_when_it_is_closed_is_answered(worker):
    async def run():
        batching = Batching(worker, name="test", max_batch=2, max_waiting=9)
        futures = begun(batching, worker) + batching.submit([2, 3, 4], deadline=soon())
        worker.may_begin.set()
        await asyncio.to_thread(batching.close)
        return await asyncio.gather(*futures)

    assert asyncio.run(run()) == [1, 4, 9, 16]


def test_answers_are_not_held_back_for_more_to_send():
    """asyncio turns Nagle's algorithm off where a socket says that it is TCP's; else each answer takes 40 ms."""

    async def accepted():
        delays = asyncio.get_running_loop().create_future()

        def note(_, writer):
            delays.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen(ServeSettings(port=0)) as listener:
            server = await asyncio.start_server(note, sock=listener)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            no_delay = await delays
            writer.close()
            server.close()
        return no_delay

    assert asyncio.run(accepted()) == 1
