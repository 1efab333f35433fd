"""`--where`, `--per-class` and `--sample`: some products of many, and a language in which nothing can be run."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from support import CountingEncoder, small_catalogue

from cache import Cache
from embed import CatalogueError, ExtractSettings, SettingError, extract, read_catalogue
from embed.catalogue.row_filter import Where
from embed.catalogue.subsample import choose_rows

ROWS = {
    "gender": ["Men", "Women", "Men", "", "men"],
    "price": ["9", "10", "9.50", "", "cheap"],
    "base colour": ["Red", "Blue", "it's", 'a "b"', "`"],
    "year": ["2012", "1e3", " 7 ", "1_0", "nan"],
}
COLUMNS = list(ROWS)


def holds(condition):
    return "".join("x" if one else "." for one in Where(condition, COLUMNS).holds(ROWS))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("gender == 'Men'", "x.x.."),
        ("'Men' == gender", "x.x.."),
        ("gender != 'Men'", ".x.xx"),
        ('gender == ""', "...x."),
        ("price < 10", "x.x.."),
        ("10 > price", "x.x.."),
        ("price < '10'", "...x."),  # as text
        ("price == 9.5", "..x.."),
        ("price == '9.5'", "....."),
        ("price >= 9 and price <= 9.5", "x.x.."),
        ("9 < price <= 10", ".xx.."),
        ("price != 9", ".xxxx"),  # what is no number is unequal to each
        ("not price == 9", ".xxxx"),
        ("price > -1", "xxx.."),
        ("year == 10", "....."),  # 1_0 is no number
        ("year == 1000", ".x..."),
        ("year == 7", "..x.."),
        ("year < 1 or year >= 1", "xxx.."),  # NaN is neither
        ("gender in ('Men', 'men')", "x.x.x"),
        ("gender not in ['Men', 'men']", ".x.x."),
        ("price in (9, 'cheap')", "x...x"),
        ("gender in ()", "....."),
        ("'en' in gender", "xxx.x"),
        ("'en' not in gender", "...x."),
        ("`base colour` == 'Red'", "x...."),
        ('`base colour` == "it\'s"', "..x.."),
        ("`base colour` == 'a \"b\"'", "...x."),
        ("`base colour` == '`'", "....x"),
        ("gender == 'Men' and (price < 9.1 or price > 9.4) and not `base colour` == 'Red'", "..x.."),
        ("gender < price", "...x."),
        ("  gender == 'Men'\n", "x.x.."),
    ],
)
def test_a_condition_holds_where_it_says(condition, rows):
    expected = (
        rows
        if condition != "gender < price"
        else "".join("x" if a < b else "." for a, b in zip(ROWS["gender"], ROWS["price"], strict=True))
    )
    assert holds(condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "", "gender", "'Men'", "1", "True", "gender ==", "gender = 'Men'", "gender == Men", "size == 'XL'",
        "gender is 'Men'", "gender == None", "price == True", "price + 1 == 2", "gender.lower() == 'men'",
        "len(gender) == 3", "@x == 1", "__import__('os').system('touch hacked')", "[x for x in gender] == 1",
        "gender == 'Men' and __import__('os')", "gender == f'{1}'", "lambda: 1", "(gender := 'x') == 'x'",
        "gender[0] == 'M'", "1 == 1", "'a' in 'abc'", "5 in gender", "gender in price", "gender in (price,)",
        "`no such` == 'x'", "__column_0__ == 'x'", "`gender == 'x'", "-'a' == gender", "~1 == price",
        "gender == 'Men' if price else 1", "gender == b'Men'", "price == 1j", "gender == 'M\0'",
        "not " * 3000 + "gender == 'x'", "gender == '" + "x" * 20_000 + "'",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_a_named_error_and_runs_nothing(condition):
    with pytest.raises(SettingError, match=r"--where: expected a condition such as gender == 'Men'"):
        Where(condition, COLUMNS)
    assert not Path("hacked").exists()


def test_a_condition_nested_as_deeply_as_it_can_be_read_is_answered_or_a_named_error():
    outcomes = set()
    for depth in (10, 100, 200, 300, 400, 600, 900, 1500):
        try:
            outcomes.add(Where("not " * depth + "gender == 'Men'", COLUMNS).holds(ROWS)[0])
        except SettingError:
            outcomes.add("error")
    assert outcomes == {True, "error"}


def test_an_unknown_column_is_named_with_those_there_are():
    with pytest.raises(
        SettingError, match=r"Men is none of the columns \(gender, price, base colour, year\); text stands"
    ):
        Where("gender == Men", COLUMNS)


# --- drawing


def test_so_many_of_each_class_are_drawn():
    labels = ["a"] * 50 + ["b"] * 3 + [""] * 20 + ["A"] * 50
    rows = choose_rows(len(labels), labels=labels, per_class=5, sample=None, seed=0)
    assert Counter(labels[row] for row in rows) == {"a": 5, "b": 3, "A": 5}
    assert rows == sorted(rows)


def test_a_larger_sample_of_one_seed_holds_the_smaller():
    def draw(n, seed=0):
        return set(choose_rows(1000, labels=None, per_class=None, sample=n, seed=seed))

    assert len(draw(10)) == 10
    assert draw(10) < draw(100) < draw(5000) == set(range(1000))
    assert draw(10) != draw(10, seed=1)


def test_a_draw_is_even():
    counts = Counter(
        row for seed in range(400) for row in choose_rows(10, labels=None, per_class=None, sample=3, seed=seed)
    )
    assert all(80 <= counts[row] <= 160 for row in range(10))  # 120 ± 4 standard deviations


# --- catalogues


def write(n_rows=60):
    with Path("c.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "price"])
        writer.writerows((f"text {n}", f"class {n % 3}", n) for n in range(n_rows))
    return Path("c.csv")


def read(**settings):
    return read_catalogue(write(), ExtractSettings(modalities=("text",), **settings))


def test_where_comes_first_then_the_classes_then_the_sample(caplog):
    caplog.set_level("INFO", "embed_once")
    catalogue = read(where="price >= 30 and label != 'class 0'", label="label", per_class=5, sample=7)
    assert len(catalogue.ids) == 7
    assert all(int(cell) >= 30 for cell in catalogue.columns["price"])
    counts = Counter(catalogue.columns["label"])
    assert set(counts) == {"class 1", "class 2"}
    assert max(counts.values()) <= 5
    assert "7 of the 60 products of c.csv are taken (--where, --per-class, --sample)." in caplog.text


@pytest.mark.parametrize("n_rows", [7, 1000])
def test_a_product_keeps_its_row_number_and_its_cells(monkeypatch, n_rows):
    monkeypatch.setattr("embed.catalogue.formats.csv.BATCH_ROWS", n_rows)
    monkeypatch.setattr("embed.catalogue.formats.csv.PIECE_ROWS", n_rows)
    catalogue = read(where="price > 50", sample=4)
    assert catalogue.ids == catalogue.columns["price"]
    assert catalogue.cells("text") == [f"text {n}" for n in catalogue.ids]
    assert catalogue.ids == sorted(catalogue.ids)


def test_the_same_seed_takes_the_same_products():
    assert read(sample=5).ids == read(sample=5).ids != read(sample=5, seed=1).ids


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"where": "price > 100"}, "--where to leave products, but of 60 in c.csv none is left"),
        ({"label": "size", "per_class": 3}, r"--label: expected one of .*\(text, label, price\), got 'size'"),
    ],
)
def test_a_subset_of_nothing_is_a_named_error(settings, message):
    with pytest.raises(CatalogueError, match=message):
        read(**settings)


def test_ids_that_repeat_among_those_taken_are_named_by_their_rows():
    Path("c.csv").write_text("id,text\n1,a\n2,b\n3,c\n2,d\n1,e\n")
    with pytest.raises(CatalogueError, match=r"'2' 2 times \(rows 2 and 4 below"):
        read_catalogue("c.csv", ExtractSettings(modalities=("text",), where="id != '1'"))


@pytest.mark.slow
def test_the_cache_holds_the_products_taken_and_keeps_the_vectors_of_others(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 10)

    def run(**settings):
        encoders = [CountingEncoder("image"), CountingEncoder("text")]
        extract(catalogue, "cache.h5", settings=ExtractSettings(**settings), encoders=encoders)
        with Cache("cache.h5") as cache:
            return [encoder.n_encoded for encoder in encoders], cache.ids(), len(cache.keys("image"))

    assert run(where="label == 'class 1'") == ([5, 5], ["001", "003", "005", "007", "009"], 5)
    encoded, ids, n_keys = run(sample=4)
    assert len(ids) == 4
    assert n_keys == 5 + encoded[0]
    assert run()[2] == 10
    assert run(sample=4)[0] == [0, 0]


def test_columns_are_compared_as_numbers_where_both_cells_are():
    rows = {"price": ["9", "10", "10.0", "cheap", "9", "1,299.00"], "was": ["10", "9", "10", "dear", "x", "1300"]}
    assert Where("price < was", list(rows)).holds(rows) == [True, False, False, True, True, True]
    assert Where("price == was", list(rows)).holds(rows) == [False, False, True, False, False, False]


def test_what_has_signs_beside_its_digits_is_no_number():
    rows = {"price": ["1,299.00", "20%", "$5", "7"]}
    assert Where("price < 2000", ["price"]).holds(rows) == [False, False, False, True]


def test_numbers_that_the_condition_does_not_read_are_told_once(caplog):
    rows = [("1", "1,299.00"), ("2", "1,299.00"), ("3", "20 €"), ("4", "cheap"), ("5", ""), ("6", "7"), ("7", "2000")]
    with Path("c.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "price"), *rows])
    settings = ExtractSettings(modalities=("text",), where="price > 100 or 5 > price or price in (8, 9)")
    assert read_catalogue("c.csv", settings).columns["price"] == ["2000"]
    (told,) = [one for one in caplog.messages if "for no numbers" in one]
    assert told.startswith("--where takes 3 cells of price for no numbers, such as '1,299.00'")
    caplog.clear()
    read_catalogue("c.csv", ExtractSettings(modalities=("text",), where="price != 'cheap' and price > '1'"))
    assert "no numbers" not in caplog.text


def test_labels_that_differ_in_blanks_are_one_class():
    labels = ["A", "A ", " A", "a  b", "a b", "\ta b"]
    assert len(choose_rows(6, labels=labels, per_class=1, sample=None, seed=0)) == 2
