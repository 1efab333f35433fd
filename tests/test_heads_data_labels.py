"""From a column of cells to classes, and the rules for what is left out."""

import re

import numpy as np
import pytest
from support import synthetic_cache

from cache import Cache
from embed.catalogue.row_filter import Where
from heads.data.labels import choice_notes, find_label_column, make_labels
from heads.errors import LabelError


@pytest.fixture
def column_of(tmp_path):
    """Find the label column of a cache with the columns named."""

    def find(columns, asked=None):
        path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((2, 3))}, {name: ["a", "b"] for name in columns})
        with Cache(path) as cache:
            return find_label_column(cache, asked)

    return find


def test_a_full_column_wins_over_one_that_is_nearly_empty(tmp_path):
    columns = {"label": ["a", " "] + [""] * 18, "category": list("ab") * 10}
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((20, 3))}, columns)
    with Cache(path) as cache:
        assert find_label_column(cache, None) == "category"
        assert find_label_column(cache, "label") == "label"
        assert choice_notes(cache, "category") == [
            "category is taken for the label (20 rows have one); so might be label (1): --label names it."
        ]


def test_a_more_telling_name_wins_over_a_fuller_column_and_both_are_named(tmp_path):
    columns = {"product_type": list("abcd") * 5, "category": ["a", "b", "", "", ""] * 4}
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((20, 3))}, columns)
    with Cache(path) as cache:
        assert find_label_column(cache, None) == "category"
        assert choice_notes(cache, "category") == [
            "category is taken for the label (8 rows have one); so might be product_type (20): --label names it."
        ]


def labels_of(cells, *, min_rows=1, usable=None):
    usable = np.ones(len(cells), dtype=bool) if usable is None else np.array(usable)
    return make_labels("kind", cells, usable=usable, min_rows=min_rows)


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        (["label"], "label"),
        (["category"], "category"),
        (["class"], "class"),
        (["target"], "target"),
        (["Label"], "Label"),
        ([" CATEGORY "], " CATEGORY "),
        (["target", "class", "category", "label"], "label"),
        (["colour", "class", "category"], "category"),
    ],
)
def test_label_column_is_found_by_its_usual_names(column_of, columns, column):
    assert column_of(columns) == column


def test_asked_column_wins_over_a_usual_one(column_of):
    assert column_of(["label", "colour"], asked="colour") == "colour"


def test_asked_column_that_is_not_there_lists_the_columns(column_of):
    with pytest.raises(LabelError, match=r"\(label, colour\), got 'color'"):
        column_of(["label", "colour"], asked="color")


def test_no_usual_column_lists_the_columns_and_the_option(column_of):
    with pytest.raises(LabelError, match=r"columns are colour, brand\. Name it with --label"):
        column_of(["colour", "brand"])


def test_catalogue_without_columns_says_so(column_of):
    with pytest.raises(LabelError, match="columns are none"):
        column_of([])


def test_classes_are_sorted_and_codes_are_their_positions():
    labels = labels_of(["shoe", "hat", "shoe", "bag"])
    assert labels.classes == ["bag", "hat", "shoe"]
    assert labels.targets.tolist() == [2, 1, 2, 0]
    assert labels.notes == []


def test_labels_are_text_whatever_they_look_like():
    labels = labels_of(["00123", "123", "NA", "null", "1.0", "Hat", "hat"])
    assert len(labels.classes) == 7


def test_white_space_makes_no_class():
    labels = labels_of(["blue shirt", " blue shirt", "blue shirt ", "blue\t shirt", "red shirt"])
    assert labels.classes == ["blue shirt", "red shirt"]
    assert labels.targets.tolist() == [0, 0, 0, 0, 1]


def test_rows_with_an_empty_cell_are_left_out_and_counted():
    labels = labels_of(["a", "", "b", "  ", "\t", "a"])
    assert labels.targets.tolist() == [0, -1, 1, -1, -1, 0]
    assert labels.notes == ["3 rows left out: kind is empty."]


def test_rows_without_a_vector_are_left_out_and_counted():
    labels = labels_of(["a", "b", "a", "b"], usable=[True, True, False, True])
    assert labels.targets.tolist() == [0, 1, -1, 1]
    assert len(labels.notes) == 1
    assert labels.notes[0].startswith("1 row left out")


def test_an_unusable_row_with_an_empty_cell_is_counted_once():
    labels = labels_of(["a", "b", "", ""], usable=[True, True, False, True])
    assert [note.split(":")[0] for note in labels.notes] == ["1 row left out", "1 row left out"]


def test_small_classes_are_left_out_by_a_rule_that_is_said():
    labels = labels_of([*"aaa", *"bbb", *"cc", "d"], min_rows=3)
    assert labels.classes == ["a", "b"]
    assert labels.targets.tolist() == [0, 0, 0, 1, 1, 1, -1, -1, -1]
    assert labels.notes == ["2 classes with fewer than 3 rows left out (3 rows: c, d); --min-rows changes the rule."]


def test_one_class_left_out_is_told_in_the_singular():
    assert labels_of([*"aabb", "c"], min_rows=2).notes == [
        "1 class with fewer than 2 rows left out (1 row: c); --min-rows changes the rule."
    ]


def test_only_usable_rows_count_for_the_rule():
    labels = labels_of([*"aa", *"bb", *"cc"], min_rows=2, usable=[True, True, True, True, True, False])
    assert labels.classes == ["a", "b"]


def test_one_class_is_no_classification():
    with pytest.raises(LabelError, match=r"two classes or more of at least 1 rows, got 1: a \(3\)"):
        labels_of(["a", "a", " a"])


def test_one_class_left_by_the_rule_names_the_counts_and_the_way_out():
    with pytest.raises(LabelError, match=r"got 1: b \(3\), a \(2\)\..*lower --min-rows"):  # the largest first
        labels_of([*"aabbb"], min_rows=3)


def test_many_small_classes_are_not_all_listed():
    with pytest.raises(LabelError, match=r"got 0: 0 \(1\), 1 \(1\), 2 \(1\), 3 \(1\), 4 \(1\), …"):
        labels_of([*"0123456789"], min_rows=2)


@pytest.mark.parametrize("cells", [["", " "], []])
def test_no_labels_at_all_is_an_error(cells):
    with pytest.raises(LabelError, match="got 0: no labels"):
        labels_of(cells)


def test_labels_that_are_not_unicode_are_classes_too():
    bad = b"caf\xe9".decode(errors="surrogateescape")
    labels = labels_of(["tea", bad, bad])
    assert labels.classes == ["caf\udce9", "tea"]
    assert labels.targets.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "name", ["category", "gender2", "genders", "usage_v2", "articleType_clean", "subCategoryFixed", "old gender"]
)
def test_a_name_that_adds_to_a_column_s_is_a_new_column(tmp_path, name):
    columns = {key: ["a", "b"] for key in ("gender", "usage", "articleType", "subCategory")}
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((2, 3))}, columns)
    with Cache(path) as cache:
        assert find_label_column(cache, name, may_be_new=True) == name
        for slip in ("gendr", "Usage", "article_type", "artcleTyp", "subCategroy"):
            with pytest.raises(LabelError, match="Did you mean"):
                find_label_column(cache, slip, may_be_new=True)


def test_labels_that_look_alike_are_classes_of_their_own_and_a_note_says_so():
    labels = labels_of(["Mug", "mug", "lamp", "1", "1.0"])
    assert labels.classes == ["1", "1.0", "Mug", "lamp", "mug"]
    assert any("2 groups of labels" in note and "'1' = '1.0'; 'Mug' = 'mug'" in note for note in labels.notes)
    assert labels_of(["Mug", "lamp"]).notes == []


def test_a_label_in_two_forms_of_unicode_is_one_class():
    """A folder's name from a Mac says Cafe and an accent of its own."""
    labels = labels_of(["Caf\u00e9", "Cafe\u0301", "lamp"])
    assert labels.classes == ["Caf\u00e9", "lamp"]
    assert labels.targets.tolist() == [0, 0, 1]


def test_labels_that_differ_in_what_nobody_sees_are_named_with_it():
    labels = labels_of(["Plate", "Pl\u200bate", "Men's", "Men\u2019s", "\uff2dug", "Mug", "T-Shirt", "T\u2013Shirt"])
    assert len(labels.classes) == 8
    (note,) = [note for note in labels.notes if "look alike" in note]
    assert "4 groups of labels" in note
    assert "'Pl\\u200bate'" in labels_of(["Plate", "Pl\u200bate"]).notes[0]


def test_a_word_for_nothing_is_learnt_as_a_class_and_a_note_leaves_it_out():
    labels = labels_of(["mug", "None", "None", "lamp"])
    assert labels.classes == ["None", "lamp", "mug"]
    assert "2 rows have a word for nothing" in labels.notes[0]
    assert "--where \"kind != 'None'\"" in labels.notes[0]
    assert not any("nothing" in note for note in labels_of(["mug"] * 2 + ["lamp"] * 2 + ["None"], min_rows=2).notes)


def test_lists_of_one_and_of_none_are_lists():
    labels = labels_of(['["red"]', '["red", "blue"]', "[]", '["green"]'])
    assert "1 row has a word for nothing as the label ([])" in labels.notes[0]
    assert "are paths or lists" in labels.notes[1]
    half = labels_of(["A > B", "A > C", "A", "B"])
    assert any("are paths or lists (A > B)" in note for note in half.notes)
    for cells in (["A > B", "A", "B", "C"], [">50K", ">50K", "<=50K"], ["up >", "down >"]):
        assert not any("paths" in note for note in labels_of(cells).notes)


@pytest.mark.parametrize(
    ("cells", "are"), [(["5.99", "7", "1,299.00"], "numbers"), (["2020-01-01", "2020-02-03"], "dates")]
)
def test_numbers_and_dates_of_which_each_is_a_class_are_told(cells, are):
    with pytest.raises(LabelError, match=f"Its labels are {are}, each of which is a class: a column of ranges"):
        labels_of(cells, min_rows=10)


def test_all_words_for_nothing_are_left_out_by_a_condition_that_is_one():
    cells = ["mug", "None", "n/a", "lamp"]
    labels = make_labels("class", cells, usable=np.ones(4, dtype=bool), min_rows=1)
    condition = re.search(r'--where "(.*?)"', labels.notes[0])[1]
    assert condition == "`class` != 'None' and `class` != 'n/a'"
    assert Where(condition, ["class"]).rows({"class": cells}) == [0, 3]
    levels = make_labels("kind", ["A > None", "A > mug"], usable=np.ones(2, dtype=bool), min_rows=1, level=-1)
    assert any("nothing" in note and "--where" not in note for note in levels.notes)


def test_labels_that_are_paths_or_lists_are_named_where_no_level_is_learnt():
    cells = ["Home > Mugs", "Home > Lamps"]
    assert any("--label-level 1" in note and "Home > " in note for note in labels_of(cells).notes)
    usable = np.ones(2, dtype=bool)
    assert make_labels("kind", cells, usable=usable, min_rows=1, level=-1).notes == []
    assert labels_of(["mug > 5", "lamp", "rug"]).notes == []


def test_labels_that_name_several_at_once_are_told():
    cells = ["red", "blue", "red; blue", "red", "blue"]
    assert labels_of(cells).notes[-1].startswith("1 of 5 rows name several labels of kind at once (red; blue)")
    assert labels_of(["a, b", "b, c", "a, c"]).notes[-1].startswith("3 of 3 rows name several labels")
    for cells in (["Pots, Pans", "Mugs"], ["1,5", "1", "5"], ["red"] * 30 + ["blue"] * 30 + ["red, blue"]):
        assert labels_of(cells).notes == []


def test_labels_whose_parts_have_a_place_each_name_one():
    """Authors, or kinds with their sizes."""
    for cells in (["Doe, Jane", "Doe, John", "Roe, Jane", "Roe, John"], ["mug, L", "mug, S", "cup, L", "cup, S"]):
        assert labels_of(cells).notes == []


def test_columns_that_may_be_labels_are_named_where_none_has_a_usual_name(tmp_path):
    columns = {"colour": ["a", "b", "a", "b"], "sku": ["1", "2", "3", "4"]}
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((4, 3))}, columns)
    with Cache(path) as cache, pytest.raises(LabelError, match="--label; colour may be one"):
        find_label_column(cache, None)


@pytest.mark.parametrize("name", ["labels", "Categories", "Class_Name", "Product Type"])
def test_labels_have_more_usual_names(column_of, name):
    assert column_of(["colour", name]) == name
