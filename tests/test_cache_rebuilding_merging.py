"""Merging: several caches as one, whatever their order, and what speaks against it is named."""

import os
import shutil

import numpy as np
import pytest
from small_caches import SPEC, cache_content, key_of, part_of, shop_cache
from support import invoke

import cache.rebuilding.source as source_module
from cache import (
    Cache,
    CacheError,
    CacheLockedError,
    ContentSpec,
    EncoderSpec,
    Journal,
    NotACacheError,
    SpecConflictError,
    merge,
    verify,
)
from cache.commands.merge import merge as merge_command

TEXT = EncoderSpec("text", {"weights": "drawn"})


@pytest.fixture
def two(tmp_path):
    """Two caches that share a product and two contents; of each a product lacks its vector."""
    first = shop_cache(
        tmp_path / "a.h5", {"1": "red", "2": "", "3": "torn"}, columns={"label": ["a", "b", "c"]},
        failures={"torn": "truncated"}, others=["old"], samples=["red"],
    )  # fmt: skip
    second = shop_cache(
        tmp_path / "b.h5", {"4": "blue", "1": "red", "5": "torn"},
        columns={"label": ["d", "a", "e"], "price": ["4", "5", "6"]}, failures={"torn": "truncated"}, samples=["blue"],
    )  # fmt: skip
    return first, second


def content_of(path):
    with Cache(path) as cache:
        return cache.content_sha256


def test_merged_cache_has_the_products_and_vectors_of_all(two, tmp_path):
    report = merge(two, tmp_path / "out.h5")
    assert (report.n_caches, report.n_products, report.n_vectors) == (2, 5, {"image/net": 3})
    assert verify(tmp_path / "out.h5") == []
    with Cache(tmp_path / "out.h5") as cache, Cache(two[0]) as first, Cache(two[1]) as second:
        assert cache.ids() == ["1", "2", "3", "4", "5"]
        assert cache.column("label") == ["a", "b", "c", "d", "e"]
        assert cache.column("price") == ["5", "", "", "4", "6"]
        assert cache.statuses("image") == ["ok", "absent", "truncated", "ok", "truncated"]
        np.testing.assert_array_equal(cache.matrix("image")[:3], first.matrix("image"))
        np.testing.assert_array_equal(cache.matrix("image")[[3, 0, 4]], second.matrix("image"))
        assert set(cache.samples("image")) == {key_of("red"), key_of("blue")}


@pytest.mark.slow
def test_order_of_the_caches_changes_nothing(two, tmp_path):
    third = shop_cache(tmp_path / "c.h5", {"0": "green"}, columns={"label": ["g"]})
    merge([*two, third], tmp_path / "x.h5")
    merge([third, *two[::-1]], tmp_path / "y.h5")
    merge([two[1], third], tmp_path / "z.h5")
    merge([two[0]], tmp_path / "z.h5")
    assert content_of(tmp_path / "x.h5") == content_of(tmp_path / "y.h5") == content_of(tmp_path / "z.h5")


def test_same_merge_again_writes_nothing(two, tmp_path):
    leftover = tmp_path / "out.h5.journal" / "rebuilt"  # of a merge that was killed
    leftover.mkdir(parents=True)
    (leftover / "out.h5").write_text("half")
    merge(two, tmp_path / "out.h5")
    before = (tmp_path / "out.h5").stat()
    report = merge(two, tmp_path / "out.h5")
    assert (report.was_written, report.n_caches) == (False, 3)
    assert (tmp_path / "out.h5").stat().st_ino == before.st_ino
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["a.h5", "b.h5", "out.h5"]


def test_merge_of_a_cache_with_itself_changes_nothing_that_is_seen(two, tmp_path):
    before = cache_content(two[0])
    link = tmp_path / "link.h5"
    link.symlink_to(two[0])
    report = merge([two[0], two[0], link, shutil.copy(two[0], tmp_path / "copy.h5")], link)
    assert report.n_caches == 2
    assert cache_content(two[0]) == before
    assert link.is_symlink()
    assert verify(two[0]) == []


def test_parts_that_wait_are_merged_and_those_of_a_source_stay(two, tmp_path):
    waiting = tmp_path / "never sealed.h5"
    for path, word in ((waiting, "alone"), (two[0], "new"), (tmp_path / "out.h5", "before")):
        with Journal(path) as journal:
            journal.publish(part_of([word]))
    merge([waiting, *two], tmp_path / "out.h5")
    with Cache(tmp_path / "out.h5") as cache:
        keys = set(cache.keys("image").astype(str))
        assert {key_of(word) for word in ("alone", "new", "before", "old", "blue")} <= keys
        assert len(cache) == 5
    assert len(Journal(waiting).paths()) == len(Journal(two[0]).paths()) == 1
    assert not Journal(tmp_path / "out.h5").folder.exists()


def test_damaged_part_of_a_source_is_left_out_and_told(two, tmp_path, caplog):
    with Journal(two[0]) as journal:
        os.truncate(journal.publish(part_of(["new"])), 100)
    report = merge(two, tmp_path / "out.h5")
    assert report.n_vectors == {"image/net": 3}
    assert "is damaged. It is left out." in caplog.text
    assert len(Journal(two[0]).paths()) == 1


def test_caches_of_two_modalities_make_one_of_both(tmp_path):
    pictures = shop_cache(tmp_path / "a.h5", {"1": "red", "2": "blue"})
    texts = shop_cache(tmp_path / "b.h5", {"1": "a tea", "2": "", "3": "a cup"}, spec=TEXT, has_tokens=True)
    merge([texts, pictures], tmp_path / "out.h5")
    with Cache(tmp_path / "out.h5") as cache, Cache(texts) as source:
        assert cache.statuses("image") == ["ok", "ok", "not_encoded"]
        assert cache.statuses("text") == ["ok", "absent", "ok"]
        for key in source.keys("text"):
            merged_row, source_row = (int(np.flatnonzero(opened.keys("text") == key)[0]) for opened in (cache, source))
            np.testing.assert_array_equal(cache.tokens("text")[merged_row], source.tokens("text")[source_row])


@pytest.mark.parametrize(
    ("ids", "columns", "is_told"),
    [(("0", "1"), ("title",), True), (("0", "1"), ("title", "file"), False), (("7", "1"), ("title",), False)],
    ids=["row numbers", "with a column in common", "ids"],
)
def test_products_that_only_the_numbers_of_their_rows_join_are_told(ids, columns, is_told, tmp_path, caplog):
    pictures = shop_cache(tmp_path / "a.h5", {"0": "red", "1": "blue"}, columns={"file": ["a", "b"]})
    cells = {"title": ["a tea", "a cup"], "file": ["a", "b"]}
    texts = shop_cache(
        tmp_path / "b.h5",
        dict(zip(ids, cells["title"], strict=True)),
        spec=TEXT,
        columns={name: cells[name] for name in columns},
    )
    merge([texts, pictures], tmp_path / "out.h5")
    assert ("rows of one number are taken for one product" in caplog.text) is is_told


def test_blocks_are_of_few_bytes_and_give_the_same(tmp_path, monkeypatch):
    words = {str(n): "x" * (n + 1) for n in range(9)}
    path = shop_cache(tmp_path / "a.h5", words, has_tokens=True, others=["y"])
    merge([path], tmp_path / "whole.h5")
    n_rows = []
    real_vector_block = source_module.Cache.vector_block
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 40)
    monkeypatch.setattr(
        source_module.Cache, "vector_block",
        lambda cache, *arguments: n_rows.append(arguments[3] - arguments[2]) or real_vector_block(cache, *arguments),
    )  # fmt: skip
    merge([path], tmp_path / "blocks.h5")
    assert n_rows[:8] == [2, 1, 1, 1, 1, 1, 1, 1]  # 12 bytes of a vector, 4 of a token
    assert content_of(tmp_path / "blocks.h5") == content_of(tmp_path / "whole.h5")


def test_cell_that_a_later_cache_has_otherwise_is_named_and_one_catalogue_can_be_chosen(tmp_path):
    first = shop_cache(tmp_path / "a.h5", {"1": "red", "2": "blue"}, columns={"price": ["3", "4"]})
    second = shop_cache(tmp_path / "b.h5", {"1": "red", "2": "blue", "3": "new"}, columns={"price": ["3", "5", "6"]})
    with pytest.raises(CacheError, match=r"between .*a.h5 and .*b.h5, such as '2': column price is '4' and '5'"):
        merge([second, first], tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
    merge([second, first], tmp_path / "out.h5", catalogue_path=first)
    with Cache(tmp_path / "out.h5") as cache:
        assert (cache.ids(), cache.column("price")) == (["1", "2"], ["3", "4"])
        assert cache.encoded("image", "net").sum() == 3
    with pytest.raises(CacheError, match="--catalogue: expected one of the caches that are merged"):
        merge([second], tmp_path / "out.h5", catalogue_path=tmp_path / "c.h5")


def test_product_of_another_content_is_named(tmp_path):
    first, second = (shop_cache(tmp_path / f"{word}.h5", {"1": word}) for word in ("red", "blue"))
    with pytest.raises(CacheError, match="such as '1': the content of image is"):
        merge([first, second], tmp_path / "out.h5")


def test_encoder_of_another_spec_is_named(tmp_path):
    first = shop_cache(tmp_path / "a.h5", {"1": "red"})
    second = shop_cache(tmp_path / "b.h5", {"2": "red"}, spec=EncoderSpec("image", {"weights": "others"}))
    with pytest.raises(SpecConflictError, match=r"image/net to be made in one way.*weights: .*not.*--reuse"):
        merge([first, second], tmp_path / "out.h5")


def test_encoder_of_two_names_has_one_in_the_merged_cache(tmp_path, caplog):
    """Whatever the order, and whichever are merged first; views are called as what they are views of."""
    view = EncoderSpec("image", {"weights": "drawn", "view": 1})
    names = {"a.h5": ("net-2", "red"), "b.h5": ("net", "blue"), "c.h5": ("other", "green")}
    for number, (file, (name, word)) in enumerate(names.items()):
        shop_cache(tmp_path / file, {str(number): word}, encoder=name)
        with Journal(tmp_path / file) as journal:
            journal.publish(part_of([word], encoder=f"{name}.view1", spec=view))
    a, b, c = (tmp_path / file for file in names)
    report = merge([c, a, b], tmp_path / "all.h5")
    assert report.n_vectors == {"image/net": 3, "image/net.view1": 3}
    assert "image/net-2 is made as net is: its vectors go by that name." in caplog.text
    merge([a, c], tmp_path / "some.h5")
    merge([b, tmp_path / "some.h5"], tmp_path / "stepwise.h5")
    assert cache_content(tmp_path / "stepwise.h5") == cache_content(tmp_path / "all.h5")
    np.testing.assert_array_equal(Cache(tmp_path / "all.h5").matrix("image", "net"), [
        Cache(tmp_path / file).matrix("image", name)[0] for file, (name, _) in names.items()
    ])  # fmt: skip


def test_one_spec_with_vectors_of_two_sizes_keeps_its_names(tmp_path):
    """It does not say what made them."""
    first = shop_cache(tmp_path / "a.h5", {"1": "red"}, encoder="net")
    second = shop_cache(tmp_path / "b.h5", {"2": "blue"}, encoder="wide", dim=5)
    assert merge([first, second], tmp_path / "out.h5").n_vectors == {"image/net": 1, "image/wide": 1}


def test_vectors_of_another_size_are_named(tmp_path):
    first, second = (shop_cache(tmp_path / f"{dim}.h5", {str(dim): "red"}, dim=dim) for dim in (3, 4))
    with pytest.raises(CacheError, match=r"have 3 \(no of tokens\) and 4 \(no of tokens\) dimensions"):
        merge([first, second], tmp_path / "out.h5")


def test_contents_made_of_other_columns_are_named(tmp_path):
    first, second = (
        shop_cache(tmp_path / f"{name}.h5", {name: "red"}, made_of=ContentSpec("image", {"columns": [name]}))
        for name in ("photo", "picture")
    )
    with pytest.raises(SpecConflictError, match=r"image to be made of the catalogue in one way.*columns"):
        merge([first, second], tmp_path / "out.h5")


def test_side_notes_are_no_difference_and_the_same_ones_stay(tmp_path):
    paths = [
        shop_cache(tmp_path / f"{n}.h5", {str(n): "red"}, spec=EncoderSpec("image", SPEC.fields, side_notes={"run": n}))
        for n in range(2)
    ]
    merge(paths, tmp_path / "x.h5")
    merge(paths[::-1], tmp_path / "y.h5")
    assert content_of(tmp_path / "x.h5") == content_of(tmp_path / "y.h5")
    with Cache(tmp_path / "x.h5") as cache:
        assert cache.spec("image", "net").side_notes == {"run": 0}


def test_bad_files_are_named_and_nothing_is_written(two, tmp_path):
    (tmp_path / "text.h5").write_text("no cache")
    with pytest.raises(NotACacheError, match="to be an HDF5 file"):
        merge([two[0], tmp_path / "text.h5"], tmp_path / "out.h5")
    with pytest.raises(FileNotFoundError, match="none.h5 is not there"):
        merge([two[0], tmp_path / "none.h5"], tmp_path / "out.h5")
    with Journal(tmp_path / "out.h5"), pytest.raises(CacheLockedError, match="One writer at a time"):
        merge(two, tmp_path / "out.h5")
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["a.h5", "b.h5", "text.h5"]


def test_full_disk_leaves_what_was_there(two, tmp_path, monkeypatch):
    merge([two[0]], tmp_path / "out.h5")
    before = content_of(tmp_path / "out.h5")

    def full(aside, *_):
        raise OSError(28, "No space left on device", str(aside))

    monkeypatch.setattr("cache.inventory.sealing._write", full)
    with pytest.raises(CacheError, match=r"out.h5 could not be written .*No space left.*Nothing was changed"):
        merge(two, tmp_path / "out.h5")
    assert content_of(tmp_path / "out.h5") == before
    assert not Journal(tmp_path / "out.h5").folder.exists()


@pytest.mark.slow
def test_command_tells_in_a_line_what_there_is(two, tmp_path):
    result = invoke(merge_command, *two, "-o", tmp_path / "out.h5")
    assert result.exit_code == 0, result.stderr
    assert " ".join(result.stdout.split()).endswith("out.h5: 5 products and vectors of 2 caches: 3 of image/net.")
    again = invoke(merge_command, *two, "-o", tmp_path / "out.h5")
    assert " ".join(again.stdout.split()).endswith("of 3 caches: 3 of image/net. Nothing was new.")
    assert '"n_products": 5' in invoke(merge_command, *two, "-o", tmp_path / "out.h5", "--json").stdout
    assert invoke(merge_command, "-o", tmp_path / "out.h5").exit_code == 2
