"""Dropping what no product uses: told first, and never more than that."""

import datetime
import json
from types import SimpleNamespace

import numpy as np
import pytest
from small_caches import cache_content, key_of, part_of, shop_cache
from support import invoke, synthetic_cache

from cache import (
    Cache,
    CacheError,
    Contents,
    EncoderSpec,
    Journal,
    Part,
    Products,
    drop_unused,
    find_unused,
    mean_key,
    seal,
    verify,
)
from cache.commands.gc import gc


@pytest.fixture
def path(tmp_path):
    return shop_cache(
        tmp_path / "c.h5", {"1": "red", "2": "torn", "3": ""}, others=["old", "older"], samples=["red"],
        failures={"torn": "truncated"}, columns={"label": ["a", "b", "c"]}, has_tokens=True,
    )  # fmt: skip


def words_in(path, words):
    with Cache(path) as cache:
        keys = cache.keys("image").astype(str).tolist()
        return [word for word in words if key_of(word) in keys]


def test_nothing_is_changed_until_it_is_meant(path):
    before = path.read_bytes()
    result = invoke(gc, path)
    assert " ".join(result.stdout.split()).endswith(
        "no product uses 2 of 4 image contents (0.0 MB of vectors). Nothing is changed yet: cache-gc --yes drops them."
    )
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.glob("*.h5*")] == ["c.h5"]


def test_what_is_used_stays_as_it_was(path):
    before = cache_content(path)
    with Cache(path) as cache:
        tokens = cache.tokens("image")[0]
    result = invoke(gc, path, "--yes", "--json")
    assert json.loads(result.stdout) == {
        "cache": str(path), "was_written": True, "counts": {"image": 2}, "n_kept": 0, "n_contents": {"image": 4},
        "n_bytes": 2 * 3 * 4 + 8 * 2 * 2, "n_unsealed_parts": 0,
    }  # fmt: skip
    after = cache_content(path)
    assert (after["ids"], after["products"]) == (before["ids"], before["products"])
    assert after["contents"] == {"image": {key_of("red").encode(): b"ok", key_of("torn").encode(): b"truncated"}}
    with Cache(path) as cache:
        np.testing.assert_array_equal(cache.tokens("image")[0], tokens)
        assert list(cache.samples("image")) == [key_of("red")]
    assert verify(path) == []
    output = "".join(invoke(gc, path, "--yes").stdout.split())  # a line may end at a hyphen of the path
    assert output == f"{path}:productsuseallcontents."


def test_samples_and_pictures_that_means_are_made_of_are_used(tmp_path):
    path = tmp_path / "c.h5"
    members = [key_of("front"), key_of("back")]
    spec = EncoderSpec("image", {"weights": "drawn"})
    with Journal(path) as journal:
        journal.publish(part_of(["front", "back", "kept", "old"]))
        journal.publish(Part("net", spec, [mean_key(members)], np.ones((1, 3), "f4"), {}))
        contents = Contents([mean_key(members)], ["ok"], samples={key_of("kept"): b"kept"})
        seal(path, journal, Products(["1"], {"picture_keys": [" ".join(members)]}, {"image": contents}))
    assert drop_unused(path).counts == {"image": 1}
    assert words_in(path, ["front", "back", "kept", "old"]) == ["front", "back", "kept"]
    with Cache(path) as cache:
        assert cache.matrix("image").tolist() == [[1, 1, 1]]


def test_a_column_of_the_catalogue_s_own_may_be_called_as_that_of_keys(tmp_path):
    cells = {"picture_keys": ["https://example.org/" + "a" * 60, "größe", ""]}
    cache = synthetic_cache(tmp_path / "c.h5", {"image": np.eye(3)}, cells)
    assert find_unused(cache).n == 0


def test_parts_that_wait_stay(path):
    with Journal(path) as journal:
        journal.publish(part_of(["coming"], has_tokens=True))
    assert drop_unused(path).n_unsealed_parts == 1
    assert "1 part waits in the journal and stays" not in invoke(gc, path).stdout  # there is nothing to drop by now
    with Journal(path) as journal:
        seal(path, journal, None)
    assert words_in(path, ["red", "old", "coming"]) == ["red", "coming"]


def test_modality_of_an_earlier_catalogue_goes_whole(path):
    text = EncoderSpec("text", {"weights": "drawn"})
    with Journal(path) as journal:
        journal.publish(part_of(["a tea"], spec=text))
        seal(path, journal, Products(["1"], {}, {"text": Contents([key_of("a tea")], ["ok"])}))
    assert drop_unused(path).counts == {"image": 4, "text": 0}
    with Cache(path) as cache:
        assert cache.content_modalities == ["text"]


def test_encoder_without_a_vector_of_use_keeps_its_name_and_spec(path):
    with Journal(path) as journal:
        journal.publish(part_of(["old"], encoder="other"))
        seal(path, journal, None)
    drop_unused(path)
    with Cache(path) as cache:
        assert cache.encoders("image") == ["net", "other"]
        assert not cache.encoded("image", "other").any()
    assert verify(path) == []


def test_cache_without_products_is_refused(tmp_path):
    path = shop_cache(tmp_path / "c.h5", {}, others=["red"])
    for find in (find_unused, drop_unused):
        with pytest.raises(CacheError, match="to have products, got none, so that all its vectors would go"):
            find(path)
    assert words_in(path, ["red"]) == ["red"]


def test_missing_cache_is_named_and_leaves_nothing_behind(tmp_path):
    result = invoke(gc, tmp_path / "none.h5", "--yes")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Expected a cache, but")
    assert list(tmp_path.glob("*.h5*")) == []


@pytest.fixture
def calendar(monkeypatch):
    """Sets the day that it is."""

    def it_is(day):
        today = SimpleNamespace(today=lambda: datetime.date(2026, 1, 1) + datetime.timedelta(day))
        monkeypatch.setattr("cache.rebuilding.unused.datetime", SimpleNamespace(date=today))

    it_is(0)
    return it_is


def test_what_is_not_unused_for_long_enough_stays(path, calendar):
    """The first call notes; a call without --yes does so too; what is not unused any more begins anew."""
    result = invoke(gc, path, "--keep-days", "30")
    answer = "no contents to drop. 2 are not known to be unused for 30 days, and stay."
    assert " ".join(result.stdout.split()).endswith(answer)
    calendar(29)
    assert drop_unused(path, keep_days=30).counts == {"image": 0}
    assert words_in(path, ["old", "older"]) == ["old", "older"]
    with Journal(path) as journal, Cache(path) as cache:
        keys = cache.keys("image").astype(str).tolist()
        ids, red = cache.ids(), cache.keys("image")[cache.rows("image")[0]].decode()
        contents = Contents([red, key_of("old"), key_of("torn")], ["ok", "ok", "truncated"])
        assert set(contents.keys) <= set(keys)
        seal(path, journal, Products(ids, {}, {"image": contents}))
    invoke(gc, path, "--keep-days", "30")
    with Journal(path) as journal:
        seal(path, journal, Products(["1"], {}, {"image": Contents([red], ["ok"])}))
    calendar(30)
    unused = drop_unused(path, keep_days=30)
    assert (unused.counts, unused.n_kept) == ({"image": 1}, 2)  # older; old and torn are unused since today
    assert words_in(path, ["old", "older", "torn"]) == ["old", "torn"]


def test_a_clock_that_was_set_back_drops_nothing_early(path, calendar):
    calendar(100)
    invoke(gc, path, "--keep-days", "30")
    calendar(0)
    assert find_unused(path, keep_days=30).n == 0
    calendar(29)
    assert find_unused(path, keep_days=30).n == 0
    calendar(30)
    assert find_unused(path, keep_days=30).n == 2


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no table", None], ids=["empty", "cut", "text", "other"])
def test_a_damaged_list_of_days_drops_nothing_early(path, calendar, content, caplog):
    invoke(gc, path, "--keep-days", "30")
    days = path.with_name("c.h5.unused")
    if content is None:
        with days.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        days.write_bytes(content)
    calendar(40)
    assert find_unused(path, keep_days=30).n == 0
    assert "days begin anew" in caplog.text
    calendar(70)
    assert drop_unused(path, keep_days=30).n == 2
