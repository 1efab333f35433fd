"""Columns of a catalogue as vectors: what their cells are taken for, and how they are encoded."""

import numpy as np
import pytest
import torch

from cache import EncoderSpec
from heads.data.metadata import fitted_metadata
from heads.data.metadata.fitted_metadata import HASH_WIDTH, FittedMetadata, fit_metadata
from heads.data.metadata.metadata_columns import (
    CONSTANT,
    EMPTY,
    FOLLOWS,
    FREE_TEXT,
    GIVES_AWAY,
    LONG_TEXT,
    NAMES,
    fault_of,
    near_leaks,
)
from heads.errors import HeadError
from heads.modules.parts.standardiser import Standardise


def fit(cells, *, rows=None, counts=()):
    columns = [name for name in cells if name not in counts]
    n_rows = len(next(iter(cells.values())))
    return fit_metadata(cells, np.arange(n_rows) if rows is None else np.asarray(rows), columns=columns, counts=counts)


def encoded(**cells):
    """Return the vectors of columns that are fitted on all of their rows."""
    return fit(cells).transform(cells)


def test_missing_cells_are_a_category_and_missing_numbers_the_median_that_says_so():
    cells = {"colour": ["red", "blue", "", "red"], "price": ["1", "3", "8", " NA "]}
    deviation = np.std([1, 3, 8])
    expected = [  # missing, blue, red, price, whether it is missing
        [0, 0, 1, -2 / deviation, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 5 / deviation, 0],
        [0, 0, 1, 0, 1],
    ]
    np.testing.assert_allclose(encoded(**cells), expected, rtol=1e-6)


def test_yes_and_no_are_the_same_in_any_words():
    cells = {"new": ["yes", "NO", "", "TRUE", "0", "1"], "colour": list("aababb")}
    false, true = encoded(**cells)[:, 1:3].T
    np.testing.assert_array_equal(false, [0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(true, [1, 0, 0, 1, 0, 1])


def test_the_parts_of_a_date_are_missing_together():
    cells = {"since": ["2024-02-29", "2023-01-01T10:30:00Z", "", "2024-02-29"], "colour": list("aabb")}
    fitted = fit(cells)
    assert fitted.columns[0].dim == 6
    vectors = fitted.transform(cells)
    np.testing.assert_array_equal(vectors[2], [0, 1, 0, 0, 0, 0, 0, 1])  # the medians, where the indicator is 1
    assert vectors[1, 5] == np.float32(10 / np.std([0, 10, 0]))  # the hour, whose median is 0


def test_the_order_of_day_and_month_is_kept_for_cells_that_do_not_tell_it():
    fitted = fit({"since": ["31/12/2020", "2/1/2020", "5/8/2021"], "colour": list("aab")})
    assert fitted.spec.fields["columns"][0]["order"] == "day"
    again = FittedMetadata.from_spec(EncoderSpec("metadata", fitted.spec.fields))
    cells = {"since": ["1/2/2020"], "colour": ["a"]}
    np.testing.assert_array_equal(again.transform(cells), again.transform(cells | {"since": ["2020-02-01"]}))
    assert not np.array_equal(again.transform(cells), again.transform(cells | {"since": ["2020-01-02"]}))


def test_an_encoding_of_0_1_0_gives_the_vectors_that_it_gave():
    """Fields and vectors were written by 0.1.0, which knew no thousands, shares, or dates but ISO's."""
    columns = [
        {"name": "new", "kind": "boolean", "categories": ["", "false", "true"]},
        {"name": "price", "kind": "number", "numbers": [{"low": 1.0, "median": 3.0, "high": 8.0, "scale": 2.0}]},
        {
            "name": "since",
            "kind": "date",
            "numbers": [
                {"low": low, "median": median, "high": high, "scale": scale}
                for low, median, high, scale in (
                    (2020, 2022, 2024, 2.0), (1, 2, 12, 1.0), (1, 15, 31, 5.0), (0, 3, 6, 2.0), (0, 0, 23, 10.0),
                )
            ],
        },
        {"name": "size", "kind": "categorical", "categories": ["1,299.00", "20%", "31/12/2020", "-"]},
    ]  # fmt: skip
    fields = {"encoding": "columns", "version": 1, "columns": columns, "kept": list(range(15))}
    cells = {
        "new": ["yes", "", "F", "maybe"],
        "price": ["007", "1.5e3", "NaN", " 5. "],
        "since": ["2023-03-01T17:00Z", "", "2023-02-29", "2024-02-29"],
        "size": ["1,299.00", "20%", "31/12/2020", "-"],
    }
    expected = [
        [0, 0, 1, 2, 0, 0.5, 0, 1, -2.8, -0.5, 1.7, 1, 0, 0, 0],
        [1, 0, 0, 2.5, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 1, 0, 1, 0, 0, 2.8, 0, 0, 0, 0, 0, 1],
    ]
    again = FittedMetadata.from_spec(EncoderSpec("metadata", fields))
    np.testing.assert_allclose(again.transform(cells), expected, rtol=1e-6)
    assert again.spec.fields == fields


def test_counts_are_those_of_words_and_characters():
    cells = {"title": ["a  red\tshoe", "", "shoe"], "colour": list("aab")}
    vectors = fit(cells, counts=["title"]).transform(cells)
    words, characters = [3, 1], [10, 4]
    expected = [  # words, whether there are any, characters
        [1 / np.std(words), 0, 3 / np.std(characters)],
        [0, 1, 0],
        [-1 / np.std(words), 0, -3 / np.std(characters)],
    ]
    np.testing.assert_allclose(vectors[:, 2:], expected, rtol=1e-6)


def test_a_category_that_was_never_seen_is_no_error_and_no_category():
    fitted = fit({"colour": ["red", "blue", "red", "blue"]})
    vectors = fitted.transform({"colour": ["red", "Red", "purple", "", "  red "]})
    np.testing.assert_array_equal(vectors, [[0, 1], [0, 0], [0, 0], [0, 0], [0, 1]])


@pytest.mark.parametrize(("cell", "like"), [("1e30", "7"), ("-9", "1"), ("1e400", ""), ("12 cm", ""), ("inf", "nan")])
def test_a_wild_number_stays_within_the_range_that_was_seen(cell, like):
    fitted = fit({"price": ["1", "3", "7", "3", ""], "colour": list("aabbb")})
    vectors, expected = (fitted.transform({"price": [price], "colour": ["a"]}) for price in (cell, like))
    np.testing.assert_array_equal(vectors, expected)


def test_only_the_rows_given_are_looked_at():
    rows = [0, 2, 3, 5, 6]
    cells = {
        "colour": ["a", "X", "b", "a", "Y", "", "b"],
        "price": ["1", "-900", "5", "2", "oops", "NA", "4"],
        "brand": ["u", "v", "u", "w", "u", "w", "w"],
    }
    altered = {name: list(values) for name, values in cells.items()}
    for name in altered:
        altered[name][1], altered[name][4] = "2024-01-01", ""
    fitted, others = fit(cells, rows=rows), fit(altered, rows=rows)
    assert others == fitted
    assert fitted.columns[1].kind == "number"
    assert np.array_equal(others.transform(altered)[rows], fitted.transform(cells)[rows])


def test_a_spec_is_all_of_an_encoding():
    cells = {
        "colour": ["red", "👟 ", "", "קטן", "\udcff", "red"],
        "price": ["0.1", "1e-9", "", "7", "3.3333333333333335", "NA"],
        "since": ["2024-02-29", "2023-01-01", "", "2024-02-29", "2023-01-01", "1999-12-31"],
        "brand": [f"brand {n}" for n in range(6)],
        "title": ["a b", "c", "", "d e f", "g", "h"],
    }
    cells = {name: values * 40 for name, values in cells.items()}
    cells["brand"] = [f"brand \udcff {n % 120}" for n in range(240)]
    fitted = fit(cells, counts=["title"])
    assert [column.kind for column in fitted.columns] == ["categorical", "number", "date", "hashed", "counts"]
    loaded = FittedMetadata.from_spec(EncoderSpec.from_json(fitted.spec.to_json()))
    assert loaded == fitted
    assert loaded.spec.fingerprint == fitted.spec.fingerprint
    assert loaded.transform(cells).tobytes() == fitted.transform(cells).tobytes()


@pytest.mark.parametrize("changes", [{"colour": ["red", "blue", "green"]}, {"price": ["1", "2", "4"]}], ids=str)
def test_another_encoding_has_another_fingerprint(changes):
    cells = {"colour": ["red", "blue", "red"], "price": ["1", "2", "3"]}
    assert fit(cells | changes).spec.fingerprint != fit(cells).spec.fingerprint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 3}, "to be of a version up to 2, got 3: update embed-once"),
        ({"version": True}, "to be of a version up to 2, got True"),
        ({"version": None}, "to be of a version up to 2, got None"),
        ({"columns": [{"kind": "number"}]}, "to say how its columns are encoded"),
        ({"columns": None}, "to say how its columns are encoded"),
        ({"kept": [0, 99]}, "not sound: "),
        ({"kept": [-1]}, "not sound: "),
    ],
    ids=str,
)
def test_a_spec_that_is_none_is_a_named_error(fields, message):
    spec = fit({"colour": ["red", "blue", "red"]}).spec
    with pytest.raises(HeadError, match=message):
        FittedMetadata.from_spec(EncoderSpec("metadata", {**spec.fields, **fields}))


def test_an_encoding_of_before_prices_were_numbers_reads_them_as_it_did():
    numbers = [{"low": 3.0, "median": 9.0, "high": 1200.0, "scale": 400.0}]
    fields = {
        "encoding": "columns", "version": 1, "kept": [0, 1],
        "columns": [{"name": "price", "kind": "number", "numbers": numbers}],
    }  # fmt: skip
    old = FittedMetadata.from_spec(EncoderSpec("metadata", fields))
    cells = {"price": ["$5", "390,60", "1 299", "1,200", "", "20%", "7"]}
    missing = [0, 1]
    expected = [
        missing,
        missing,
        missing,
        [1191 / 400, 0],
        missing,
        [11 / 400, 0],
        [-2 / 400, 0],
    ]  # of the code of then
    np.testing.assert_allclose(old.transform(cells), expected, rtol=1e-6)
    assert old.spec.fields == fields
    new = FittedMetadata.from_spec(EncoderSpec("metadata", fields | {"version": 2}))
    np.testing.assert_allclose(new.transform({"price": ["$5", "390,60"]}), [[-4 / 400, 0], [381.6 / 400, 0]], rtol=1e-6)


def test_many_categories_are_hashed_and_what_no_row_hits_is_left_out():
    names = [f"brand {n}" for n in range(5000)]
    fitted = fit({"brand": names * 2})
    assert fitted.columns[0].kind == "hashed"
    assert fitted.dim == HASH_WIDTH
    vectors = fitted.transform({"brand": ["brand 7", "brand 7", "never seen", ""]})
    assert (np.abs(vectors).sum(1) == 1).all()
    np.testing.assert_array_equal(vectors[0], vectors[1])
    few = fit({"brand": [f"brand {n % 101}" for n in range(1010)]})
    assert few.columns[0].kind == "hashed"
    assert few.dim < 101


def test_a_rare_category_is_as_one_that_was_never_seen():
    cells = {"colour": ["red"] * 5000 + ["blue"] * 4989 + ["green"] * 10 + ["pink"]}
    fitted = fit(cells)
    vectors = fitted.transform({"colour": ["blue", "green", "pink", "never seen"]})
    np.testing.assert_array_equal(vectors, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert standardised(fitted, cells).abs().max() < 32  # 1 / sqrt of a thousandth


def test_prices_do_not_flatten_categories():
    generator = np.random.default_rng(0)
    cells = {
        "price": [str(price) for price in generator.lognormal(12, 1, 400).round()],
        "colour": generator.choice(["red", "blue", "green"], 400).tolist(),
    }
    vectors = standardised(fit(cells), cells)
    torch.testing.assert_close(vectors.std(0), torch.ones(4), rtol=1e-3, atol=0)


def standardised(fitted, cells):
    """Return the vectors of all rows as heads learn from them."""
    vectors = torch.from_numpy(fitted.transform(cells))
    present = torch.ones(len(vectors), dtype=torch.bool)
    standardise = Standardise({"metadata": fitted.dim})
    standardise.fit({"metadata": vectors}, {"metadata": present}, torch.arange(len(vectors)))
    return standardise({"metadata": vectors}, {"metadata": present})["metadata"]


def test_who_has_no_cell_at_all_has_no_metadata():
    cells = {"colour": ["red", "", " ", "blue"], "price": ["", "NaN", "2", "1"]}
    assert fit(cells).present(cells).tolist() == [True, False, True, True]


@pytest.mark.parametrize("cells", [["", "nan", "NA"], ["", "", ""]], ids=str)
def test_a_column_of_nothing_is_a_named_error(cells):
    with pytest.raises(HeadError, match="but size has none among the training rows"):
        fit({"size": cells, "colour": ["a", "b", "a"]})


def test_columns_that_do_not_vary_are_a_named_error():
    with pytest.raises(HeadError, match="none of size, title varies among the training rows"):
        fit({"size": ["L", "L"], "title": ["one", "two"]}, counts=["title"])


def test_blocks_of_rows_make_no_difference(monkeypatch):
    cells = {"colour": list("abcab") * 5, "price": [str(n % 7) for n in range(25)]}
    fitted = fit(cells)
    expected = fitted.transform(cells)
    monkeypatch.setattr(fitted_metadata, "BLOCK_ROWS", 4)
    assert np.array_equal(fitted.transform(cells), expected)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (["", "NaN"] * 20, EMPTY),
        (["one"] * 40, CONSTANT),
        (["shirt", "shoe"] * 20, GIVES_AWAY),
        (["Shirt", "SHOE"] * 20, GIVES_AWAY),
        (["A", "B", "B", "B"] * 10, None),
        ([str(n) for n in range(40)], NAMES),
        ([f"{n}.jpg" for n in range(40)], NAMES),
        ([f"{n}.5" for n in range(40)], None),
        ([f"title {n % 30}" for n in range(40)], FREE_TEXT),
        (["Red", "red", "RED", "blue", "green"] * 8, None),
    ],
    ids=str,
)
def test_what_speaks_against_a_column_is_said(values, fault):
    labels = ["shirt", "shoe"] * 20
    assert fault_of(values, labels) == fault


def test_a_column_that_follows_from_the_label_is_its_parent():
    labels = ["shirt", "vest", "shoe", "sandal"] * 10
    assert fault_of(["top", "top", "foot", "foot"] * 10, labels) == FOLLOWS


def test_a_text_that_several_products_share_is_a_text():
    generator = np.random.default_rng(0)
    texts = [f"a long text that says {n % 150}" for n in range(600)]
    labels = generator.choice(["shirt", "shoe"], 600).tolist()
    assert fault_of(texts, labels) == LONG_TEXT
    assert fault_of([text.split()[-1] + "k" for text in texts], labels) is None  # a brand


def test_labels_of_one_row_each_are_given_away_by_nothing():
    assert fault_of(["a", "b"] * 4, [f"class {n}" for n in range(8)]) is None


def test_labels_that_differ_in_case_are_two():
    labels = ["Shirt", "shirt"] * 20
    assert fault_of(["Shirt"] * 2 + ["shirt"] * 38, labels) is None
    assert fault_of(["SHIRT", "sHIRT"] * 20, labels) == GIVES_AWAY


@pytest.mark.parametrize("share", [0.03, 0.05, 0.2, 0.5, 0.9])
def test_a_column_with_gaps_gives_the_label_away_where_it_has_a_value(share):
    generator = np.random.default_rng(0)
    labels = [f"class {code}" for code in generator.integers(4, size=2000)]
    gaps = generator.random(2000) < share
    assert fault_of(np.where(gaps, "", [label.upper() for label in labels]).tolist(), labels) == GIVES_AWAY
    parents = np.where(gaps, "", [str(int(label[-1]) // 2) + " old" for label in labels]).tolist()
    assert fault_of(parents, labels) == FOLLOWS
    sizes = [f"{n % 7}" if label == "class 1" else "" for n, label in enumerate(labels)]
    assert fault_of(sizes, labels) is None  # only shoes have one


SOUND = {
    "encoding": "columns", "version": 1, "kept": [0, 1, 3],
    "columns": [
        {"name": "a", "kind": "categorical", "categories": ["x", "y"]},
        {"name": "b", "kind": "number", "numbers": [{"low": 0.0, "median": 1.0, "high": 2.0, "scale": 1.0}]},
    ],
}  # fmt: skip


def unsound(column=None, **changes):
    """Return the sound fields with others, or with another second column."""
    columns = SOUND["columns"] if column is None else [SOUND["columns"][0], {"name": "b", **column}]
    return {**SOUND, "columns": columns, **changes}


@pytest.mark.parametrize(
    "fields",
    [
        unsound({"kind": "hashed", "width": 2**31 - 1}),
        unsound({"kind": "hashed", "width": -1}),
        unsound({"kind": "foo", "categories": ["x"]}),
        unsound({"kind": "date", "numbers": SOUND["columns"][1]["numbers"]}),
        unsound({"kind": "categorical", "categories": ["x", "x"]}),
        unsound({"kind": "number", "numbers": [{"low": "x", "median": 1.0, "high": 2.0, "scale": 1.0}]}),
        unsound({"kind": "number", "numbers": [{"low": 3.0, "median": 1.0, "high": 2.0, "scale": 1.0}]}),
        unsound({"kind": "number", "numbers": [{"low": 0.0, "median": 1.0, "high": 2.0, "scale": 0.0}]}),
        unsound({"kind": "number", "numbers": SOUND["columns"][1]["numbers"], "order": "day"}),
        unsound(kept=[]),
        unsound(kept=[1, 0]),
        unsound(kept=[0, 4]),
        unsound(columns=[], kept=[]),
    ],
    ids=str,
)
def test_an_encoding_that_is_not_sound_is_refused_before_anything_is_made_of_it(fields):
    FittedMetadata.from_spec(EncoderSpec("metadata", SOUND))
    with pytest.raises(HeadError, match="to say how its columns are encoded"):
        FittedMetadata.from_spec(EncoderSpec("metadata", fields))


def test_columns_that_nearly_tell_the_label_or_do_so_together_are_named():
    """Neither bit of a class alone tells it; a copy with slips does nearly; noise, an id and a gender do not."""
    generator = np.random.default_rng(0)
    codes = generator.integers(4, size=800)
    labels = [f"class {code}" for code in codes]
    slips = np.where(generator.random(800) < 0.1, generator.integers(4, size=800), codes)
    cells = {
        "copy": [f"other words {code}" for code in slips],
        "high": [str(code // 2) for code in codes],
        "low": [str(code % 2) for code in codes],
        "noise": [str(code) for code in generator.integers(4, size=800)],
        "id": [f"P{n}" for n in range(800)],
    }
    found = {one.columns: one.share for one in near_leaks(cells, labels, np.arange(800))}
    assert found == {("copy",): pytest.approx(0.925, abs=0.02), ("high", "low"): 1.0}
    assert {one.columns for one in near_leaks(cells, labels[:400], np.arange(400))} == found.keys()
    assert fault_of(cells["copy"], labels) is None  # no leak by the rule, which stays strict
