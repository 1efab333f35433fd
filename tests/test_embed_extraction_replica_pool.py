"""Lanes: replicas share the work, the model is loaded by one thread, and what does not fit is halved."""

import threading

import numpy as np
import pytest
import torch
from support import CountingEncoder, small_catalogue, vector_of

from cache import Cache, Tokens
from embed import Encoded, EncoderError, ExtractSettings, SettingError, WeightsError, extract
from embed.encoders.weights import seeded
from embed.extraction.replica_pool import Lanes


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


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_batch_that_does_not_fit_is_halved_and_no_vector_is_lost(error):
    encoder = Small(3, error)
    batch = [bytes([n]) for n in range(16)]
    lanes = Lanes([encoder])
    assert np.array_equal(lanes.encode(batch).vectors, np.stack([vector_of(item, 4) for item in batch]))
    assert encoder.refused == [16, 8, 4]
    lanes.encode(batch)
    assert encoder.refused == [16, 8, 4]  # it is known by now
    assert max(encoder.batch_sizes) == 2


def test_one_content_that_does_not_fit_is_a_named_error():
    with pytest.raises(EncoderError, match="image/counting needs more memory than there is"):
        Lanes([Small(0, OUT_OF_MEMORY[0])]).encode([b"a", b"b"])


def test_another_error_is_not_taken_for_want_of_memory():
    with pytest.raises(RuntimeError, match="device-side assert"):
        Lanes([Small(0, RuntimeError("device-side assert triggered"))]).encode([b"a"])


def test_an_extraction_goes_on_with_smaller_batches(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 9)
    encoder = Small(2, OUT_OF_MEMORY[0])
    report = extract(catalogue, tmp_path / "c.h5", settings=ExtractSettings(batch_size=8), encoders=[encoder])
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

    lanes = Lanes([Broken("image")])
    for _ in range(5):
        with pytest.raises(WeightsError, match="no weights"):
            lanes.encode([b"a", b"b"])
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
        (np.ndarray.tolist, "must give a numpy array, or embed.Encoded, however its encode gave list"),
        (np.float64, "finite float32 vectors of 4 dimensions, however it gave float64"),
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
    with pytest.raises(EncoderError, match=r"must give tokens of 3 dimensions .* gave such of 0"):
        extract(small_catalogue(tmp_path / "shop", 5), tmp_path / "c.h5", settings=settings, encoders=[Untidy(make)])
