"""The replica pool: replicas share the work, the model is loaded by one thread, and what does not fit is halved."""

import logging
import threading

import numpy as np
import pytest
import torch
from support import CountingEncoder, small_catalogue, vector_of

import embed.encoders.device
import embed.extraction.encoding.replica_pool
import embed.extraction.estimate
from cache import Cache, Tokens
from embed import Encoded, EncoderError, ExtractSettings, SettingError, WeightsError, estimate, extract
from embed.encoders.device import one_core_each
from embed.encoders.weights import seeded
from embed.extraction.encoding.replica_pool import ReplicaPool
from embed.extraction.thread_map import completed


class Small(CountingEncoder):
    """Holds `most` contents at a time; more are out of memory."""

    def __init__(self, most, error):
        super().__init__("image")
        self.most, self.error = most, error
        self.refused = []

    def encode(self, batch):
        if len(batch) > self.most:
            self.refused.append(len(batch))
            raise self.error
        return super().encode(batch)


def extract_in_halves(catalogue, cache_path, caplog, **arguments):
    """Extract where the memory is too small, and check that the user can read so; return the report."""
    with caplog.at_level(logging.INFO, logger="embed_once"):
        report = extract(catalogue, cache_path, **arguments)
    assert "so they are halved" in caplog.text
    return report


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: out of memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_a_batch_that_does_not_fit_is_halved_and_no_vector_is_lost(error):
    encoder = Small(3, error)
    batch = [bytes([n]) for n in range(16)]
    with ReplicaPool([encoder]) as pool:
        assert np.array_equal(pool.encode(batch).vectors, np.stack([vector_of(item, 4) for item in batch]))
        assert encoder.refused == [16, 8, 4]
        pool.encode(batch)
    assert encoder.refused == [16, 8, 4]  # it is known by now
    assert max(encoder.batch_sizes) == 2


def test_one_content_that_does_not_fit_is_a_named_error():
    words = "at least one content at a time, got an error that mostly means too little memory: CUDA out of memory"
    with ReplicaPool([Small(0, OUT_OF_MEMORY[0])]) as pool, pytest.raises(EncoderError, match=words):
        pool.encode([b"a", b"b"])


def test_another_error_is_not_taken_for_want_of_memory():
    encoder = Small(0, RuntimeError("device-side assert triggered"))
    with ReplicaPool([encoder]) as pool, pytest.raises(RuntimeError, match="device-side assert"):
        pool.encode([b"a"])


def test_an_extraction_goes_on_with_smaller_batches(tmp_path, caplog):
    catalogue = small_catalogue(tmp_path / "shop", 9)
    encoder = Small(2, OUT_OF_MEMORY[0])
    settings = ExtractSettings(batch_size=8)
    report = extract_in_halves(catalogue, tmp_path / "c.h5", caplog, settings=settings, encoders=[encoder])
    assert report.encoders[0].n_encoded == encoder.n_encoded == 9
    with Cache(tmp_path / "c.h5") as cache:
        assert len(np.unique(cache.matrix("image"), axis=0)) == 9


class Meeting(CountingEncoder):
    """Waits in its second batch until as many threads are in `encode` as it allows."""

    def __init__(self, n_parallel):
        super().__init__("image")
        self.n_parallel = n_parallel
        self.together = threading.Barrier(n_parallel, timeout=60)
        self.n_inside, self.most_inside, self.lock = 0, 0, threading.Lock()
        self.is_loaded = False

    def encode(self, batch):
        with self.lock:
            self.n_inside += 1
            self.most_inside = max(self.most_inside, self.n_inside)
            is_first, self.is_loaded = not self.is_loaded, True
        if not is_first and self.n_parallel > 1:
            self.together.wait()
        with self.lock:
            self.n_inside -= 1
        return super().encode(batch)


@pytest.mark.parametrize("n_parallel", [1, 2, 4])
def test_an_encoder_takes_as_many_batches_at_once_as_it_says(tmp_path, n_parallel):
    encoder = Meeting(n_parallel)
    catalogue = small_catalogue(tmp_path / "shop", 9)  # the first batch alone, then eight
    extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(batch_size=1, n_workers=4), encoders=[encoder])
    assert encoder.most_inside == n_parallel


def test_encoders_of_one_name_and_spec_share_the_work(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 40)

    class Waiting(CountingEncoder):
        both = threading.Barrier(2, timeout=60)

        def encode(self, batch):
            if not self.batch_sizes:
                self.both.wait()  # neither goes on before the other has work too
            return super().encode(batch)

    team = [Waiting("image"), Waiting("image")]
    report = extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(batch_size=2, n_workers=2), encoders=team)
    assert [entry.n_encoded for entry in report.encoders] == [40]
    assert sum(encoder.n_encoded for encoder in team) == 40
    assert all(encoder.n_encoded for encoder in team)


def test_one_name_for_two_encoders_is_a_named_error(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop")
    with pytest.raises(SettingError, match="two are called image/counting with layer: 2, not 1"):
        extract(
            catalogue,
            tmp_path / "c.h5",
            encoders=[CountingEncoder("image", layer=1), CountingEncoder("image", layer=2)],
        )
    assert not (tmp_path / "c.h5").exists()


def test_torch_computes_on_as_many_cores_afterwards_as_before(tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        extract(small_catalogue(tmp_path / "shop"), tmp_path / "c.h5", encoders=[CountingEncoder("image")])
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert [torch.get_num_threads(), *found] == [7, 7]
    finally:
        torch.set_num_threads(before)


def test_a_model_that_cannot_be_loaded_is_tried_once():
    n_tries = 0

    class Broken(CountingEncoder):
        n_parallel = 4

        def encode(self, batch):  # noqa: ARG002 - the protocol's
            nonlocal n_tries
            n_tries += 1
            raise WeightsError("no weights")

    with ReplicaPool([Broken("image")]) as pool:
        for _ in range(5):
            with pytest.raises(WeightsError, match="no weights"):
                pool.encode([b"a", b"b"])
    assert n_tries == 1


def test_two_networks_drawn_at_once_are_each_drawn_from_their_seed():
    """Replicas are loaded by threads of their own, and torch has one generator."""
    with seeded(1):
        expected = torch.randn(5)
    others = []

    def draw_another():
        with seeded(2):
            others.append(torch.randn(5))

    thread = threading.Thread(target=draw_another)
    with seeded(1):
        thread.start()
        thread.join(0.5)  # it has to wait, so that this ends by the clock
        found = torch.randn(5)
    thread.join()
    assert torch.equal(found, expected)
    assert not torch.equal(others[0], expected)


class Untidy(CountingEncoder):
    """Gives what `make` makes of its vectors."""

    def __init__(self, make):
        super().__init__("image")
        self.make = make

    def encode(self, batch):
        return self.make(super().encode(batch))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (np.ndarray.tolist, "to give a numpy array or embed.Encoded, got list"),
        (np.float64, "finite float32 vectors of 4 dimensions, got float64"),
        (lambda vectors: vectors * np.float32(np.nan), "some have NaN or infinity"),
    ],
)
def test_an_encoder_that_gives_no_vectors_is_a_named_error(tmp_path, make, words):
    with pytest.raises(EncoderError, match=words):
        extract(small_catalogue(tmp_path / "shop"), tmp_path / "c.h5", encoders=[Untidy(make)])


def test_an_encoder_that_gives_tokens_now_and_then_is_a_named_error(tmp_path):
    def make(vectors):
        return Encoded(vectors, None if len(vectors) < 2 else Tokens.of([np.ones((1, 3), np.float16)] * len(vectors)))

    settings = ExtractSettings(batch_size=2, n_workers=1)
    with pytest.raises(EncoderError, match=r"to give tokens of 3 dimensions .* got 0"):
        extract(small_catalogue(tmp_path / "shop", 5), tmp_path / "c.h5", settings=settings, encoders=[Untidy(make)])


class Noting(CountingEncoder):
    """Notes the threads that prepare and encode, and on how many cores torch computes in the latter."""

    n_parallel = 2
    together = None  # a barrier for two whole batches

    def __init__(self, device=None):
        super().__init__("image")
        self.device = device
        self.preparing, self.encoding, self.cores = set(), set(), set()

    def prepare(self, content):
        self.preparing.add(threading.current_thread())
        return super().prepare(content)

    def encode(self, batch):
        self.encoding.add(threading.current_thread())
        if self.together is not None and len(batch) == 2:
            self.together.wait()
        self.cores.add(torch.get_num_threads())
        return super().encode(batch)


def threads_of_ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("device", "worker"))]


ELSEWHERE = torch.device("mps")  # nothing is computed there, so it need not be here


def test_threads_of_a_device_do_nothing_but_encode(tmp_path):
    encoder = Noting(ELSEWHERE)
    settings = ExtractSettings(batch_size=1, n_workers=8)
    extract(small_catalogue(tmp_path / "shop", 40), tmp_path / "c.h5", settings=settings, encoders=[encoder])
    assert 1 <= len(encoder.encoding) <= 2
    assert not encoder.encoding & encoder.preparing
    assert not threads_of_ours()


@pytest.mark.parametrize("device", [None, "cuda", torch.device("cpu")])
def test_on_the_processor_and_where_an_encoder_does_not_say_the_worker_encodes(tmp_path, device):
    encoder = Noting(device)
    settings = ExtractSettings(batch_size=1, n_workers=1)
    extract(small_catalogue(tmp_path / "shop", 9), tmp_path / "c.h5", settings=settings, encoders=[encoder])
    assert encoder.encoding == encoder.preparing


def test_no_more_batches_are_prepared_than_there_are_workers(tmp_path):
    """What is prepared waits in memory; a device that is slow must not let it grow."""
    lock, waiting = threading.Lock(), []
    most = 0

    class Slow(Noting):
        def prepare(self, content):
            nonlocal most
            with lock:
                waiting.append(content)
                most = max(most, len(waiting))
            return super().prepare(content)

        def encode(self, batch):
            with lock:
                del waiting[: len(batch)]
            return super().encode(batch)

    settings = ExtractSettings(batch_size=1, n_workers=3)
    extract(small_catalogue(tmp_path / "s", 60), tmp_path / "c.h5", settings=settings, encoders=[Slow(ELSEWHERE)])
    assert 1 <= most <= 3


def test_all_threads_have_ended_when_an_error_is_caught(tmp_path):
    """The traceback keeps the frames alive, and with them all that only ends when it is forgotten."""
    encoder = Untidy(np.float64)
    encoder.device = ELSEWHERE
    with pytest.raises(EncoderError) as caught:
        extract(small_catalogue(tmp_path / "shop", 40), tmp_path / "c.h5", encoders=[encoder])
    assert caught.tb is not None
    assert not threads_of_ours()


def test_threads_end_when_what_they_make_is_not_wanted_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(embed.extraction.estimate, "SAMPLE_S", 0.0)
    catalogue = small_catalogue(tmp_path / "shop", 40)
    estimate(
        catalogue, tmp_path / "c.h5", settings=ExtractSettings(batch_size=1, n_workers=2), encoders=[Noting(ELSEWHERE)]
    )
    assert not threads_of_ours()


def test_a_model_that_cannot_be_loaded_is_one_error_for_all_and_no_thread_is_left(tmp_path):
    class Broken(Noting):
        def encode(self, batch):
            super().encode(batch)
            raise WeightsError("no weights")

    encoder = Broken(ELSEWHERE)
    with pytest.raises(WeightsError, match="no weights"):
        extract(
            small_catalogue(tmp_path / "shop", 40),
            tmp_path / "c.h5",
            settings=ExtractSettings(batch_size=2, n_workers=4),
            encoders=[encoder],
        )
    assert encoder.batch_sizes == [1]
    assert not threads_of_ours()


def test_who_comes_after_the_end_is_not_kept_waiting():
    with ReplicaPool([Noting(ELSEWHERE)]) as pool:
        pool.encode([b"a"])
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.encode([b"a"])


@pytest.fixture
def streams(monkeypatch):
    """Stand in for CUDA's streams; return those that were made, and what each thread was set to."""
    made, threads = [], {}

    class Stream:
        def __init__(self, device):
            self.device, self.waited_for = device, []
            made.append(self)

        def wait_stream(self, other):
            self.waited_for.append(other)

    def note(thing):
        threads.setdefault(threading.current_thread(), []).append(thing)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "set_device", note)
    monkeypatch.setattr(torch.cuda, "set_stream", note)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: f"default of {device}")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(embed.extraction.encoding.replica_pool, "count_cores", lambda: 16)
    embed.encoders.device._stream.cache_clear()
    yield made, threads
    embed.encoders.device._stream.cache_clear()


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_thread_on_cuda_has_a_stream_and_its_device_as_long_as_it_lives_and_one_core(streams, name):
    made, threads = streams
    device = torch.device("cuda:1")  # which is where the program around is
    for _ in range(2):  # the second time on the streams of the first
        encoder = Noting(torch.device(name))
        encoder.together = threading.Barrier(2, timeout=60)
        threads.clear()
        with one_core_each(), ReplicaPool([encoder], n_callers=2) as pool:
            torch.set_num_threads(7)  # which threads to come take
            pool.encode([b"a"])
            list(completed(lambda _: pool.encode([b"a", b"b"]), range(8), n_workers=2, n_ahead=2))
        assert encoder.cores == {1}
        assert encoder.encoding == threads.keys()
        assert [stream.device for stream in made] == [device] * 2
        assert all(f"default of {device}" in stream.waited_for for stream in made)
        assert all(taken == [device, taken[1]] for taken in threads.values())
        assert {taken[1] for taken in threads.values()} == set(made)


@pytest.mark.parametrize(("n_callers", "n_cores"), [(1, 16), (2, 8), (16, 8)])
def test_batches_on_the_processor_share_its_cores(streams, n_callers, n_cores):
    encoder = Noting()
    with one_core_each(), ReplicaPool([encoder], n_callers=n_callers) as pool:
        pool.encode([b"a", b"b"])
    assert encoder.cores == {n_cores}
    assert streams == ([], {})
