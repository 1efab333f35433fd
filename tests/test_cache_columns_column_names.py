"""The usual names of columns, and what may stand around them."""

import pytest

from cache.columns.column_names import usual_columns


@pytest.mark.parametrize(
    ("role", "columns", "usual"),
    [
        ("text", ["title", "Text (optional)"], ["title"]),
        ("label", ["* Label", "Class"], ["Class"]),
        ("id", ["*ID", "sku", "g:id"], ["sku"]),
        ("label", ["Class*", "* Label"], ["* Label", "Class*"]),
    ],
)
def test_names_with_marks_count_only_where_none_is_without(role, columns, usual):
    assert usual_columns(role, columns) == usual


@pytest.mark.parametrize(
    "name", ["ID", "*id", "id:", "# ID", "ID* (required)", "[mandatory] id", "g:id", "og:ID", "dc:id"]
)
def test_marks_of_forms_and_feeds_change_no_name(name):
    assert usual_columns("id", [name]) == [name]


@pytest.mark.parametrize(
    "name", ["seller:id", "ID (parent)", "ID [old]", "id:name", "required:id", "id (required) of brand"]
)
def test_marks_that_say_what_a_name_is_of_are_part_of_it(name):
    assert not usual_columns("id", [name])


@pytest.mark.parametrize("name", ["a" + 30_000 * "-" + "b", 30_000 * "!(" + "a", 30_000 * "*" + "id"])
def test_names_of_whole_texts_are_no_usual_ones(name):
    assert not usual_columns("id", [name])
