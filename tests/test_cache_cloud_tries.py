"""What a bucket is asked again, and how long, by a clock and a store of our own."""

from types import SimpleNamespace

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from cache.cloud import buckets
from cache.cloud.buckets import Bucket
from cache.errors import CloudError


class FlakyStore:
    """obstore, but that each answer takes some seconds of `now`, and those whose numbers are in `cut` break off."""

    def __init__(self, *, takes_s, cut):
        self.takes_s, self.cut = takes_s, cut
        self.now, self.n_asked = 0.0, 0

    def answer(self):
        self.now += self.takes_s
        self.n_asked += 1
        if self.n_asked - 1 in self.cut:
            raise GenericError("error decoding response body")

    def get(self, store, key):
        self.answer()
        return obstore.get(store, key)

    def list(self, _store, _prefix, offset):
        for page in range(0 if offset is None else int(offset) + 1, 40):
            self.answer()
            yield [{"path": f"{page:02}", "e_tag": '"x"', "size": 1, "version": None}]


@pytest.fixture
def flaky(monkeypatch):
    """What makes a bucket of one object, ``k``, that answers so."""

    def make(**options):
        bucket = Bucket(MemoryStore(), "s3", "shop")
        obstore.put(bucket._store, "k", b"1")
        bucket._obstore = FlakyStore(**options)
        monkeypatch.setattr(buckets, "time", SimpleNamespace(monotonic=lambda: bucket._obstore.now))
        return bucket

    return make


def test_the_time_in_which_answers_came_counts_as_none_of_the_tries(flaky):
    pages = flaky(takes_s=10, cut={20, 35, 36}).list("x")
    assert [key for key, _ in pages] == [f"{page:02}" for page in range(40)]


def test_an_answer_that_was_long_on_its_way_before_it_broke_is_asked_for_again(flaky):
    bucket = flaky(takes_s=200, cut={0})
    assert bucket.get("k")[1] == b"1"


def test_tries_end_by_number_and_by_time(flaky):
    for takes_s, n_asked in ((1, 11), (100, 3)):
        for ask in (lambda bucket: bucket.get("k"), lambda bucket: list(bucket.list("x"))):
            bucket = flaky(takes_s=takes_s, cut=range(99))
            with pytest.raises(CloudError, match="did not answer"):
                ask(bucket)
            assert bucket._obstore.n_asked == n_asked


@pytest.mark.parametrize("odd", ["x//y", "caf\udce9"])
def test_objects_behind_one_of_an_odd_name_are_removed(odd):
    bucket = Bucket(MemoryStore(), "s3", "shop")
    for key in "abc":
        obstore.put(bucket._store, key, b"1")
    with pytest.raises(CloudError, match="no request may have"):
        bucket.delete(["a", "gone", odd, "b"])
    assert [key for key, _ in bucket.list("")] == ["c"]


def test_a_mistake_of_ours_is_no_missing_object():
    with pytest.raises(TypeError):
        Bucket(MemoryStore(), "s3", "shop").get(3)
