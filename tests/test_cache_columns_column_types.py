"""A column's kind is guessed once, for who looks at a catalogue and for who learns from it."""

import numpy as np
import pytest

from cache.columns.column_types import (
    date_order,
    guess_kind,
    is_missing,
    parse_dates,
    parse_numbers,
    parse_plain_numbers,
)
from embed.inspection.column_profile import ColumnCounter
from heads.data.metadata.fitted_metadata import fit_metadata

TABLE = [
    (["12", "1.5e3", "-.5", " 7 "], "number"),
    (["12", "5", "", "NaN", "n/a", "null", "-", "--", "?", "#N/A", "nil"], "number"),
    (["1", "2", "inf", "-Infinity", "1e400"], "number"),
    (["1,299.00", "5", "12,345,678"], "number"),
    (["20%", "7.5 %", "-3%"], "number"),
    (["0.5", "0", "2"], "number"),
    (["0", "1", "2"], "number"),
    (["inf", "1e400"], "categorical"),
    (["12 cm", "12"], "categorical"),
    (["$5", "$1,299.00", "-"], "number"),
    (["5 €", "1.299,00 €"], "number"),
    (["EUR 5", "6 eur", "7"], "number"),
    (["$5", "6 €"], "categorical"),  # which are no amounts of one kind
    (["Rs 500", "Rs. 600", "₹1,00,000", "INR 5"], "number"),
    (["€5", "6 EUR"], "number"),
    (["1234,567", "2"], "number"),
    (["--5", "5"], "categorical"),
    (["+-5", "5"], "categorical"),
    (["$20%", "$5"], "categorical"),
    (["12 cm", "5 cm"], "categorical"),
    (["$", "$5"], "categorical"),
    (["$007", "$123"], "categorical"),
    (["1.299,00", "5"], "number"),
    (["1,29", "5"], "number"),
    (["0,123", "5"], "number"),
    (["12,5 %", "7 %"], "number"),
    (["1 299,00", "1'000.50"], "categorical"),  # both marks are for decimals
    (["1,29", "5.50"], "categorical"),
    (["1,299", "5,5"], "categorical"),  # a thousand, or one and a bit
    (["1 299", "1\u00a0299\u00a0000"], "number"),
    (["1_000", "5"], "categorical"),
    (["00123", "00124"], "categorical"),
    (["007", "123"], "categorical"),
    (["True", "false", "", "true", "-"], "boolean"),
    (["yes", "NO", "TRUE", "0", "1", "f"], "boolean"),
    (["yes", "maybe"], "categorical"),
    (["2024-02-29", "2023-01-01T23:59:59+02:00", "2023-01-01 00:00"], "date"),
    (["2024-02-28", "2023-1-9", "", "2024-02-28T10:00:00Z"], "date"),
    (["2024/02/29", "2023.1.9"], "date"),
    (["31/12/2020", "1/2/2020", "-"], "date"),
    (["12/31/2020 5:00 PM", "1/2/2020 11:30 am"], "date"),
    (["31.12.2020", "2020-12-30"], "date"),
    (["1/1/2020", "02.02.2020"], "date"),  # whichever comes first
    (["3 May 2021", "Jan 4, 1999", "4-Sept-2020", "December 31, 1999"], "date"),
    (["01/02/2024", "05/06/2024"], "categorical"),  # nobody knows
    (["31/12/2020", "12/31/2020"], "categorical"),
    (["31/12/20", "30/12/20"], "categorical"),
    (["2023-02-29", "2024-02-29"], "categorical"),
    (["2024-13-01", "2024-01-01"], "categorical"),
    (["2024-01-01T25:00", "2024-01-01"], "categorical"),
    (["1/1/2024 13:00 PM", "2/2/2024"], "categorical"),
    (["3 Mat 2021", "3 May 2021"], "categorical"),
    (["1/2-2024", "3/2-2024"], "categorical"),
    (["קטן", "👟", "e\u0301"], "categorical"),
]


@pytest.mark.parametrize(("cells", "kind"), TABLE, ids=str)
def test_a_catalogue_is_shown_with_the_kinds_that_heads_learn_from(cells, kind):
    """What is shown calls a category that recurs one, and others a text; so each cell comes several times."""
    cells = cells * 3
    assert fit_metadata({"column": cells}, np.arange(len(cells)), columns=["column"]).columns[0].kind == kind
    counter = ColumnCounter("column")
    counter.add(cells)
    assert counter.profile("").kind == kind


@pytest.mark.parametrize("cells", [["", "  ", "nan", "None", "<NA>", "NaT", "-"], []], ids=str)
def test_nothing_has_no_kind(cells):
    assert guess_kind(cells) is None
    counter = ColumnCounter("column")
    counter.add(cells)
    assert counter.profile("").kind == "empty"


def test_a_word_for_nothing_is_a_category_among_categories():
    assert is_missing("none", "number")
    assert not is_missing("none", "categorical")
    assert not is_missing("-", "categorical")
    assert is_missing("\u00a0 ", "categorical")


def test_numbers_that_are_none_are_missing():
    numbers = parse_numbers(["1e400", "-inf", "12 cm", "", "-2.5", "1e31", "nan", "-", "5 kg"])
    np.testing.assert_array_equal(np.isnan(numbers), [True, True, True, True, False, True, True, True, True])
    assert numbers[4] == -2.5


def test_what_is_longer_than_any_number_is_none_and_takes_no_time():
    """Of a regular expression's ways to read it there are as many as the square of its letters."""
    digits = "1" * 1_000_000
    assert guess_kind([digits, "5"]) == "categorical"
    for parse in (parse_numbers, parse_plain_numbers):
        assert np.isnan(parse([digits, digits + "x", f"1,{digits}x", f"1.{digits}x"])).all()


def test_heads_of_before_read_numbers_as_they_did():
    cells = ["1,299.00", "1,2995", "12,34", " 5. ", ".5", "+1e3", "7.5 %", "5 %e", "1.2.3", "0" * 70 + "5", "$5", "."]
    np.testing.assert_array_equal(
        parse_plain_numbers(cells), [1299, 12995, np.nan, 5, 0.5, 1000, 7.5, np.nan, np.nan, 5, np.nan, np.nan]
    )


def test_thousands_and_shares_are_numbers_as_they_are_written():
    numbers = parse_numbers(["1,299.00", "-12,345,678", "20%", "7.5 %", "007", " 5. ", "+1e3"])
    assert numbers.tolist() == [1299, -12345678, 20, 7.5, 7, 5, 1000]


def test_prices_and_decimal_commas_are_read_as_shops_write_them():
    numbers = parse_numbers(
        ["$1,299.00", "-$5", "$-5", "390,60 €", "1.299,00 €", "1\u202f299,5 kr", "CHF 1'299.00", "0,125"]
    )
    assert numbers.tolist() == [1299, -5, -5, 390.6, 1299, 1299.5, 1299, 0.125]


def test_lists_of_sizes_are_no_decimals():
    sizes = ["38,39", "36,38", "40,41", "39", "41,42"]
    assert guess_kind(sizes) == "categorical"
    prices = (["12,99", "24,99", "49,99"], ["89,95", "89,99"], ["10,12", "10,15"], [*sizes, "38,39 €"])
    ratings = [f"{stars},{tenths}" for stars in (3, 4) for tenths in range(5, 10)]
    for decimals in (*prices, ratings, ["1,2", "2,3", "3,4"]):
        assert guess_kind(decimals) == "number", decimals
    assert guess_kind([*sizes, "38,12"]) == guess_kind(["38,39"]) == "number"  # which few decimals would do by chance


def test_a_date_is_year_month_day_weekday_and_hour():
    dates = parse_dates(["2024-02-29T17:05:00+09:00", "1970-01-01", "2023-02-30"])
    assert dates[:2].tolist() == [[2024, 2, 29, 3, 17], [1970, 1, 1, 3, 0]]  # both were Thursdays
    assert np.isnan(dates[2]).all()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("3 May 2021", [2021, 5, 3, 0, 0]),
        ("Jan. 4, 1999 12:15 AM", [1999, 1, 4, 0, 0]),
        ("4-SEPT-2020 12:15 pm", [2020, 9, 4, 4, 12]),
        ("2020/3/1 7:00", [2020, 3, 1, 6, 7]),
    ],
    ids=str,
)
def test_dates_come_in_several_forms(cell, expected):
    assert parse_dates([cell]).tolist() == [expected]


def test_the_column_says_whether_the_day_comes_first():
    assert parse_dates(["1/2/2020"], "day")[0, 1:3].tolist() == [2, 1]
    assert parse_dates(["1/2/2020"], "month")[0, 1:3].tolist() == [1, 2]
    assert np.isnan(parse_dates(["1/2/2020"])).all()
    assert date_order(["1/2/2020", "31/12/2020", "2020-05-05", "NA"]) == "day"
    assert date_order(["1.2.2020", "12.31.2020"]) == "month"
    assert date_order(["2020-05-05", "5 May 2020"]) == ""
    assert date_order(["1/2/2020"]) is None
    assert date_order(["31/12/2020", "12/31/2020"]) is None
