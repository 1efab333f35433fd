"""What one pass over a catalogue counts: kinds of columns, slips, copies, samples, what goes with the label."""

from collections import Counter

import numpy as np
import pytest
import scipy.stats
from PIL import Image
from support import image_bytes
from tiny_models import write_two_towers

from cache.columns.group_columns import find_group_column
from cache.columns.leak import gives_away, told_by_others
from embed.amounts import plural, show_bytes, show_seconds
from embed.inspection import association, column_profile
from embed.inspection.association import PairCounter, associate, cramers_v
from embed.inspection.cell_kind import kind_of
from embed.inspection.column_profile import ColumnCounter, is_mojibake
from embed.inspection.duplicate_counter import Digests
from embed.inspection.label_profile import profile_label
from embed.inspection.picture_profile import inspect_picture, profile_pictures
from embed.inspection.sampling import Sample
from embed.inspection.text_profile import WORDS, TextCounter, find_tokenizer

# Columns


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("empty", ["", "  ", "NaN", "null"]),
        ("boolean", ["1", "1", "1"]),
        ("text", ["e5", "1"]),
        ("categorical", ["00123", "00123", "00124", "00124"]),
        ("text", ["2024-13-28", "2024-02-28"]),
        ("number", ["2011", "2012"]),
        ("categorical", ["red", "red", "blue", "blue"]),
        ("text", ["red", "blue", "green"]),
        ("id", [f"SKU-{n}" for n in range(20)]),
        ("text", [f"SKU-{n}" for n in range(19)]),
        ("id", [str(n) for n in range(1000, 1050)]),
        ("number", [f"{n}.5" for n in range(50)]),
        ("text", [f"a blue shirt {n}" for n in range(50)]),
        ("text", ["a long sentence about one and the same thing, again and again"] * 9),
        ("categorical", ["a long sentence about one and the same thing, again and again"] * 20),
    ],
)
def test_kind_is_guessed_from_all_cells(kind, cells):
    assert kind_of(Counter(cells)) == kind


def profile_of(cells, *, role="", size=4):
    counter = ColumnCounter("column")
    for start in range(0, len(cells), size):
        counter.add(cells[start : start + size])
    return counter.profile(role)


def test_labels_that_differ_in_blanks_alone_are_one_as_in_training():
    cells = ["Mug", "Mug ", "Mug\N{NO-BREAK SPACE}", "lamp", "Lamp"] * 3
    assert profile_of(cells, role="label").variants == [[("Lamp", 3), ("lamp", 3)]]
    assert len(profile_of(cells).variants) == 2


def test_cells_are_counted_across_batches():
    cells = ["Men", "men", "Men ", "Men ", "", " ", "Women", "NaN", "Women", "caf\udce9", "cafÃ©", "Men"]
    profile = profile_of(cells, size=5)
    assert (profile.n_rows, profile.n_distinct, profile.n_empty) == (12, 7, 2)
    assert (profile.n_padded, profile.padded_example) == (2, "Men ")
    assert (profile.n_missing_words, profile.missing_words) == (1, ["NaN"])
    assert (profile.n_not_unicode, profile.n_mojibake, profile.mojibake_example) == (1, 1, "cafÃ©")
    assert profile.example == "Men"


def test_values_that_differ_in_case_or_blanks_alone_stand_together():
    cells = ["Men", "Men", "men", "Men ", "Women", "Women", "women"] + ["Kids"] * 9
    assert profile_of(cells).variants == [[("Men", 2), ("Men ", 1), ("men", 1)], [("Women", 2), ("women", 1)]]
    titles = [f"Title {n}" for n in range(20)] + ["title 1"]
    assert profile_of(titles).variants == []  # of free text nobody keeps to a spelling
    assert profile_of(titles, role="label").n_variants == 1


def test_values_beyond_the_limit_are_dropped_and_still_checked(monkeypatch):
    monkeypatch.setattr(column_profile, "MOST_DISTINCT", 30)
    counter = ColumnCounter("column")
    counter.add([f"SKU-{n}" for n in range(31)])
    assert counter.counts is None
    counter.add(["SKU-0 ", "", "caf\udce9"])
    profile = counter.profile("")
    assert (profile.kind, profile.is_capped, profile.n_distinct) == ("id", True, 30)
    assert (profile.n_padded, profile.n_empty, profile.n_not_unicode) == (1, 1, 1)
    assert profile.common == []


def test_values_of_too_many_characters_are_dropped(monkeypatch):
    monkeypatch.setattr(column_profile, "MOST_CHARACTERS", 1000)
    counter = ColumnCounter("column")
    for _ in range(5):
        counter.add(["a" * 300, "b" * 300, ""])  # 600 characters, however often they come
    assert counter.counts is not None
    counter.add(["c" * 300, "d" * 300])
    assert counter.counts is None
    profile = counter.profile("")
    assert (profile.is_capped, profile.n_distinct) == (True, 3)  # there are more: four


@pytest.mark.parametrize("cell", ["cafÃ©", "â€œquoteâ€\x9d", "\N{REPLACEMENT CHARACTER}", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚"])
def test_text_of_a_wrong_encoding_is_seen(cell):
    assert is_mojibake(cell)


@pytest.mark.parametrize("cell", ["café", "Größe", "São Paulo", "привет", "日本語", "naïve Ångström", "👟", "£5"])
def test_text_of_other_alphabets_is_no_slip(cell):
    assert not is_mojibake(cell)


# Copies


def plainly_repeated(digests):
    counts = Counter(digest for digest in digests if digest != Digests.NONE)
    several = {digest: n for digest, n in counts.items() if n > 1}
    largest = sorted(
        ((n, digests.index(digest)) for digest, n in several.items()), key=lambda pair: (-pair[0], pair[1])
    )
    return counts.total(), len(counts), len(several), largest


@pytest.mark.parametrize("seed", range(6))
def test_copies_are_those_that_a_plain_count_finds(seed):
    drawn = np.random.default_rng(seed).integers(-3 - seed, 4 + 20 * seed, size=60).tolist()
    digests = Digests()
    digests.add(drawn[:25])
    digests.add(iter(drawn[25:]))
    repeats = digests.repeats(n_largest=100)
    n_rows, n_distinct, n_repeated, largest = plainly_repeated(drawn)
    assert (repeats.n_rows, repeats.n_distinct, repeats.n_repeated) == (n_rows, n_distinct, n_repeated)
    assert [(one.n_rows, one.row) for one in repeats.largest] == largest
    assert repeats.n_surplus == n_rows - n_distinct


@pytest.mark.parametrize("digests", [[], [0], [0, 0, 0], [5]])
def test_few_rows_have_no_copies(digests):
    collected = Digests()
    collected.add(digests)
    repeats = collected.repeats(n_largest=3)
    assert (repeats.n_rows, repeats.n_surplus, repeats.largest) == (sum(d != 0 for d in digests), 0, [])


# Samples


def test_short_stream_is_its_own_sample():
    sample = Sample(10, np.random.default_rng(0))
    sample.offer(4, "abcd".__getitem__)
    sample.offer(2, "ef".__getitem__)
    assert sample.items() == list(enumerate("abcdef"))


def test_every_item_of_a_stream_is_as_likely_in_the_sample():
    n_runs, size, batches = 2000, 5, [1, 20, 3, 16]
    seen = np.zeros(sum(batches))
    for seed in range(n_runs):
        sample = Sample(size, np.random.default_rng(seed))
        for n in batches:
            sample.offer(n, lambda place: place)
        items = sample.items()
        assert len(items) == size
        seen[[place for place, _ in items]] += 1
    expected = n_runs * size / sum(batches)
    assert scipy.stats.chisquare(seen).pvalue > 1e-3, (seen, expected)


@pytest.mark.parametrize("seed", range(20))
def test_sample_is_of_those_that_drew_the_smallest_numbers(seed):
    batches = [30, 500, 1, 200, 40]
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([generator.random(n) for n in batches])
    sample = Sample(25, np.random.default_rng(seed))
    for n in batches:
        sample.offer(n, lambda place: place)
    assert [place for place, _ in sample.items()] == sorted(np.argsort(drawn)[:25].tolist())


def test_sample_keeps_few_items_at_a_time():
    sample = Sample(10, np.random.default_rng(0))
    taken = []
    for _ in range(50):
        sample.offer(1000, taken.append)
        assert len(sample._drawn) <= 30
    assert len(taken) < 500  # the others were never asked for


# Columns beside the label


def plain_v(values, labels):
    """Return Bergsma's corrected V from the whole table of counts."""
    rows, columns = sorted(set(values)), sorted(set(labels))
    table = np.zeros((len(rows), len(columns)))
    for value, label in zip(values, labels, strict=True):
        table[rows.index(value), columns.index(label)] += 1
    n = table.sum()
    expected = np.outer(table.sum(1), table.sum(0)) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    r, c = table.shape
    corrected = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    r_corrected, c_corrected = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    return (corrected / min(r_corrected - 1, c_corrected - 1)) ** 0.5, table


@pytest.mark.parametrize("seed", range(5))
def test_cramers_v_is_that_of_the_whole_table(seed):
    generator = np.random.default_rng(seed)
    labels = [f"class {n}" for n in generator.integers(4, size=200)]
    values = [label if generator.random() < 0.2 * seed else str(generator.integers(6)) for label in labels]
    expected, table = plain_v(values, labels)
    pairs = Counter(zip(values, labels, strict=True))
    assert cramers_v(pairs) == pytest.approx(expected)
    large = Counter({pair: 10**6 * n for pair, n in pairs.items()})  # of so many rows there is nothing to correct
    assert cramers_v(large) == pytest.approx(scipy.stats.contingency.association(table.astype(int)), abs=1e-4)


def test_cramers_v_of_many_values_by_chance_is_small():
    generator = np.random.default_rng(0)
    values = [str(n) for n in generator.integers(100, size=400)]
    labels = [str(n) for n in generator.integers(20, size=400)]
    table = plain_v(values, labels)[1]
    assert scipy.stats.contingency.association(table.astype(int)) > 0.45
    assert cramers_v(Counter(zip(values, labels, strict=True))) < 0.15


@pytest.mark.parametrize(
    "pairs",
    [
        {},
        {("a", "x"): 1},
        {("a", "x"): 9},
        {("a", "x"): 4, ("b", "x"): 5},
        {(str(n), "xy"[n % 2]): 1 for n in range(8)},
    ],
)
def test_cramers_v_of_what_cannot_vary_is_none(pairs):
    assert cramers_v(pairs) is None


def test_parent_and_child_of_the_label_are_told_apart():
    labels = [f"class {n % 12}" for n in range(240)]
    parents = [f"parent {n % 12 // 4}" for n in range(240)]
    children = [f"child {n % 12} {n % 24}" for n in range(240)]
    parent = associate("parent", "categorical", Counter(zip(parents, labels, strict=True)))
    child = associate("child", "categorical", Counter(zip(children, labels, strict=True)))
    assert (parent.follows, parent.is_leak, parent.told_by_label) == (True, False, 1.0)
    assert (child.follows, child.is_leak, child.tells_label) == (False, True, 1.0)
    assert (child.is_leak, child.tells_label) == (gives_away(children, labels), told_by_others(children, labels)[0])
    assert parent.tells_label == told_by_others(parents, labels)[0]


def test_rows_without_a_label_have_no_say():
    pairs = {("a", "x"): 5, ("b", "y"): 5, ("c", ""): 90}
    association = associate("column", "categorical", pairs)
    assert (association.n_rows, association.n_values, association.v) == (10, 2, 1.0)
    assert associate("column", "categorical", {("a", ""): 3}) is None


def test_column_of_most_pairs_is_given_up_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(association, "MOST_PAIRS", 6)
    counter = PairCounter(["few", "many"])
    counter.add({"few": list("aabb"), "many": list("abcd")}, list("xxyy"))
    assert (list(counter.pairs), counter.given_up) == (["few", "many"], [])
    counter.add({"few": ["a"], "many": ["e"]}, ["x"])
    assert (counter.pairs, counter.given_up) == ({"few": {("a", "x"): 3, ("b", "y"): 2}}, ["many"])


def test_pairs_of_a_batch_are_counted_column_by_column_within_the_limit(monkeypatch):
    monkeypatch.setattr(association, "MOST_PAIRS", 6)
    held = []
    give_up = PairCounter.give_up
    monkeypatch.setattr(
        PairCounter,
        "give_up",
        lambda self, name: held.append(sum(map(len, self.pairs.values()))) or give_up(self, name),
    )
    names = [f"column {n}" for n in range(10)]
    counter = PairCounter(names)
    counter.add({name: list("abcdefgh") for name in names}, list("xxxxyyyy"))
    assert counter.given_up == names
    assert max(held) == 8  # the pairs of one column, not of ten


def test_of_a_column_that_is_given_up_some_values_are_counted_on_with_all_their_rows(monkeypatch):
    monkeypatch.setattr(association, "MOST_PAIRS", 600)
    monkeypatch.setattr(association, "MOST_SAMPLED", 200)
    counter = PairCounter(["handle"])
    for start in range(0, 3000, 500):  # 1,000 values of three rows
        rows = range(start, start + 500)
        counter.add({"handle": [f"h{row // 3}" for row in rows]}, [f"class {row // 3 % 2}" for row in rows])
    sample = counter.sampled["handle"]
    assert set(sample.pairs.values()) == {3}
    assert sample.times == 8
    group_column = find_group_column("handle", sample.pairs, times=sample.times)
    assert group_column.sentence("kind").startswith(f"handle: some {8 * len(sample.pairs):,} values")
    assert 700 < group_column.n_values < 1300


def test_a_column_with_gaps_gives_the_label_away_where_it_is_filled():
    pairs = {("a", "x"): 120, ("b", "y"): 80, ("", "x"): 400, ("", "y"): 400}
    assert associate("column", "categorical", pairs).is_leak
    few = {("a", "x"): 2, ("b", "y"): 2, ("", "x"): 100, ("", "y"): 100}
    assert not associate("column", "categorical", few).is_leak  # which may be chance


def test_label_distribution_counts_the_tail():
    profile = profile_label("label", {"shoe": 50, " shoe": 2, "tie": 10, "bag": 9, "cap": 1, "hat": 1, "": 3, "  ": 4})
    assert profile.classes == [("shoe", 52), ("tie", 10), ("bag", 9), ("cap", 1), ("hat", 1)]
    assert (profile.n_classes, profile.n_labelled, profile.n_unlabelled) == (5, 73, 7)
    assert (profile.n_rare, profile.n_rare_rows) == (3, 11)
    assert profile.majority_share == pytest.approx(52 / 73)
    assert profile.smallest == [("hat", 1), ("cap", 1), ("bag", 9), ("tie", 10), ("shoe", 52)]


# Texts


def text_profile(cells, *, text_encoder="no-such-model", max_length=5, sample_size=100):
    counter = TextCounter(sample_size, np.random.default_rng(0))
    counter.add(cells)
    return counter.profile(
        "text", counter.digests.repeats(n_largest=3), text_encoder=text_encoder, max_length=max_length
    )


def test_texts_are_compared_as_they_are_encoded():
    profile = text_profile(["a  b", "a b", " a b ", "A b", "", "e\u0301", "é", "caf\udce9"])
    assert profile.statuses == {"ok": 6, "absent": 1, "not_unicode": 1}
    assert (profile.repeats.n_rows, profile.repeats.n_distinct, profile.repeats.n_surplus) == (6, 3, 3)
    assert [(one.row, one.n_rows) for one in profile.repeats.largest] == [(0, 3), (5, 2)]


def test_lengths_are_words_and_signs_where_there_is_no_tokenizer():
    profile = text_profile(["one", "one two three", "one two three four", "so, it's."])
    assert (profile.tokenizer, profile.is_exact) == (WORDS, False)
    assert profile.lengths == {3: 1, 5: 1, 6: 1, 8: 1}  # [CLS] and [SEP] count
    assert (profile.n_cut, profile.mean_length) == (2, 5.5)
    assert profile.tokens_cut_share == pytest.approx((1 + 3) / 22)
    assert (profile.quantiles["p0"], profile.quantiles["p50"], profile.quantiles["p100"]) == (3, 6, 8)


def test_lengths_are_tokens_of_the_encoder_s_own_tokenizer(tmp_path):
    folder = write_two_towers(tmp_path / "model", "chinese_clip")
    profile = text_profile(["blue shirt", "a red shirt, cotton"], text_encoder=f"{folder},other")
    assert (profile.tokenizer, profile.is_exact) == (str(folder), True)
    assert profile.lengths == {4: 1, 7: 1}  # <s> blue shirt </s>


def test_damaged_tokenizer_leaves_words(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    assert find_tokenizer(str(tmp_path))[0] == WORDS


def test_no_texts_have_no_lengths():
    profile = text_profile(["", " "])
    assert (profile.n_measured, profile.quantiles, profile.lengths, profile.n_cut) == (0, {}, {}, 0)


# Pictures


def test_pictures_are_measured_by_their_headers(tmp_path):
    files = {
        "wide.png": image_bytes(size=(40, 20)), "copy.png": image_bytes(size=(40, 20)),
        "grey.jpg": image_bytes(128, size=(10, 30), mode="L", kind="JPEG"), "no.png": b"no picture", "none.png": b"",
        "half.png": image_bytes(size=(64, 64))[:90],
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    cells = [*files, "gone.png", "", "../outside.png"]
    named = [(row, (f"id {row}", cell)) for row, cell in enumerate(cells, start=100)]
    options = {"n_rows": len(cells), "root": tmp_path, "allow_outside": False, "n_workers": 2}
    profile = profile_pictures("image", named, deep=False, **options)
    counts = {"ok": 4, "not_an_image": 1, "empty": 1, "absent": 1}
    assert profile.statuses in (counts | {"missing": 2}, counts | {"missing": 1, "outside": 1})
    assert profile.sizes[0] == (40, 20, 2)
    assert (profile.n_portrait, profile.n_square, profile.n_landscape) == (1, 1, 2)
    assert (profile.modes, profile.formats) == ({"RGB": 3, "L": 1}, {"PNG": 3, "JPEG": 1})
    assert profile.n_bytes == sum(len(files[name]) for name in ("wide.png", "copy.png", "grey.jpg", "half.png"))
    assert [(one.row, one.n_rows, one.example) for one in profile.repeats.largest] == [(100, 2, "wide.png")]
    assert [(one.id, one.cell, one.status) for one in profile.bad][:2] == [
        ("id 103", "no.png", "not_an_image"), ("id 104", "none.png", "empty")
    ]  # fmt: skip
    deep = profile_pictures("image", named, deep=True, **options)
    assert deep.statuses["truncated"] == 1  # which only the pixels tell
    assert deep.statuses["ok"] == 3


@pytest.mark.parametrize("mode", ["F", "I"])
def test_header_tells_of_numbers_without_a_known_scale(tmp_path, mode):
    Image.new(mode, (9, 7)).save(tmp_path / "a.tif")
    Image.new("I;16", (9, 7)).save(tmp_path / "b.tif")
    for deep in (False, True):
        options = {"root": tmp_path.resolve(), "allow_outside": False, "deep": deep}
        assert inspect_picture(0, "a.tif", **options).status == "unsupported_mode"
        assert inspect_picture(0, "b.tif", **options).status == "ok"


def test_header_alone_is_read_unless_all_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(image_bytes(size=(9, 7)))
    monkeypatch.setattr("embed.inspection.picture_profile.decode", lambda _: pytest.fail("it was decoded"))
    picture = inspect_picture(0, "a.png", root=tmp_path.resolve(), allow_outside=False, deep=False)
    assert (picture.status, picture.width, picture.height, picture.mode, picture.format) == ("ok", 9, 7, "RGB", "PNG")


# Amounts


def test_amounts_have_three_digits():
    assert [show_bytes(n) for n in (0, 999, 1000, 999_600, 12_200_000, 3e9)] == [
        "0 B", "999 B", "1 KB", "1 MB", "12.2 MB", "3 GB"
    ]  # fmt: skip
    assert [show_seconds(s) for s in (0.04, 9.96, 99, 100, 7200, 4 * 86400)] == [
        "0.0 s", "10 s", "99 s", "2 min", "2.0 h", "4.0 days"
    ]  # fmt: skip
    assert [plural(1, "class", "classes"), plural(1200, "class", "classes")] == ["1 class", "1,200 classes"]


def test_a_column_that_is_given_up_for_another_before_its_turn_loses_no_rows(monkeypatch):
    monkeypatch.setattr("embed.inspection.association.MOST_PAIRS", 100)
    counter = PairCounter(["first", "second"])
    handles = [f"h{n}" for n in range(60)]
    counter.add({"first": ["a"] * 60, "second": handles}, [""] * 60)
    # There is room for "second" no longer while the rows of "first" are counted.
    counter.add({"first": handles[:45] + ["h0"] * 15, "second": handles}, [""] * 60)
    assert list(counter.sampled) == ["second"]
    assert sum(counter.sampled["second"].pairs.values()) == 120
