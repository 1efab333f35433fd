"""What is said of a problem before its scores."""

from __future__ import annotations

import numpy as np
import pytest
from support import synthetic_cache

from cache import Cache, ContentSpec
from heads.data.labels import make_labels
from heads.data.splitting.splits import Split
from heads.data.vectors import load_vectors
from heads.errors import LabelError
from heads.experiment.problem import pose
from heads.experiment.problem_notes import coverage_notes, fold_notes, redraw_notes, split_column_notes
from heads.reports.report_settings import ReportSettings, choose_columns
from heads.settings import TrainSettings


@pytest.mark.parametrize(
    ("cells", "is_told"),
    [
        (["train", "Test", "VAL", ""], True),
        (["train", "valid", "train", "valid"], False),  # nothing to test on
        (["train", "test", "holdout", ""], False),
        (["mug", "rug", "mug", "rug"], False),
    ],
)
def test_a_column_that_says_train_and_test_is_named(tmp_path, cells, is_told):
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((4, 3))}, {"part": cells})
    with Cache(path) as cache:
        assert [
            note.startswith("part says train and test: --split-column part")
            for note in split_column_notes(cache, label="label")
        ] == ([True] if is_told else [])


@pytest.mark.parametrize(
    ("n_absent", "n_of_one_label", "n_of_it_present", "is_told"),
    [
        (40, 36, 0, True),
        (40, 30, 0, False),
        (19, 19, 0, False),  # some rows may be of one label by chance
        (40, 36, 80, False),  # it is as usual where nothing is absent
    ],
)
def test_where_absence_tells_the_label_it_is_said(tmp_path, n_absent, n_of_one_label, n_of_it_present, is_told):
    labels = ["card"] * n_of_one_label + ["mug", "rug"] * ((200 - n_of_one_label) // 2)
    labels += ["mug"] * (200 - len(labels))
    labels[len(labels) - n_of_it_present :] = ["card"] * n_of_it_present
    present = np.arange(200) >= n_absent
    vectors = {name: np.random.default_rng(0).random((200, 3)) for name in ("image", "text")}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": labels}, present={"image": present})
    with Cache(path) as cache:
        notes = pose(cache, TrainSettings()).notes
    told = [note for note in notes if "its absence tells label" in note]
    assert bool(told) is is_told
    if is_told:
        assert told[0].startswith("90 % of the 40 rows without image are card, and 0 % of the others: ")


def test_a_row_that_shares_nothing_is_no_group_however_few_rows_there_are():
    labels = make_labels("label", ["a", "b"] * 6, usable=np.ones(12, dtype=bool), min_rows=1)
    split = Split(train=np.arange(8), validation=np.arange(8, 10), test=np.arange(10, 12))
    assert not any("share" in note for note in fold_notes(labels, np.arange(12), [split], split_column=None))
    groups = np.array([0, 0, *range(1, 11)])
    notes = fold_notes(labels, groups, [split], split_column=None)
    assert any(note.startswith("2 of 12 rows share") for note in notes)


def test_what_rows_share_is_named_with_the_column_of_groups():
    labels = make_labels("label", ["a", "b"] * 6, usable=np.ones(12, dtype=bool), min_rows=1)
    split = Split(train=np.arange(8), validation=np.arange(8, 10), test=np.arange(10, 12))
    groups = np.array([*range(11), 0])
    notes = fold_notes(labels, groups, [split], split_column="part", group_column="handle")
    assert notes[0].startswith("1 of 2 test rows share a picture, a text or a handle with training rows: part lets")


@pytest.mark.parametrize(("asked", "n_times"), [("1000000", "250,000"), ("7", None), ("largest", None), (None, None)])
def test_a_number_of_rows_of_each_class_that_draws_all_again_and_again_is_told(asked, n_times):
    labels = make_labels("label", ["a", "b"] * 6, usable=np.ones(12, dtype=bool), min_rows=1)
    split = Split(train=np.arange(8), validation=np.arange(8, 10), test=np.arange(10, 12))
    notes = redraw_notes(labels, [split], ["5", None, asked])
    assert len(notes) == (n_times is not None)
    if notes:
        assert f"the largest class has 4 training rows, so that an epoch draws each row {n_times} times" in notes[0]


def test_test_rows_of_classes_without_a_training_row_are_counted():
    labels = make_labels("label", ["a", "b"] * 4 + ["c"] * 3, usable=np.ones(11, dtype=bool), min_rows=1)
    split = Split(train=np.arange(4), validation=np.arange(4, 6), test=np.arange(6, 11))
    (note,) = fold_notes(labels, np.arange(11), [split], split_column=None)
    assert note.startswith("1 of 3 classes have no training row in this split. 3 of 5 test rows are of them")


def test_a_report_shows_the_columns_that_vectors_were_made_of(tmp_path):
    columns = {"image": ["u", "v"], "Bild": ["a.jpg", "b.jpg"], "Bezeichnung": ["a", "b"]}
    vectors = {"image": np.eye(2), "text": np.eye(2)}
    made_of = {
        "image": ContentSpec("image", {"columns": ["Bild"]}),
        "text": ContentSpec("text", {"columns": ["Bezeichnung"]}),
    }
    path = synthetic_cache(tmp_path / "c.h5", vectors, columns, made_of=made_of)
    with Cache(path) as cache:
        chosen = choose_columns(cache, ReportSettings())
    assert (chosen.image, chosen.title) == ("Bild", "Bezeichnung")


def test_a_report_shows_the_pictures_of_a_template(tmp_path):
    columns = {"image": ["a", "b"], "title": ["a", "b"], "image_path": ["x/a.jpg", "x/b.jpg"]}
    made_of = {"image": ContentSpec("image", {"templates": ["x/{image}.jpg"]})}
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.eye(2)}, columns, made_of=made_of)
    with Cache(path) as cache:
        assert choose_columns(cache, ReportSettings()).image == "image_path"


def test_a_label_of_too_few_rows_names_the_others_that_it_was_chosen_among(tmp_path):
    columns = {"product_type": list("ab") * 20, "category": [*"aabb", *[""] * 36]}
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.random.default_rng(0).normal(size=(40, 3))}, columns)
    with Cache(path) as cache, pytest.raises(LabelError, match=r"at least 10 rows.* so might be product_type \(40\)"):
        pose(cache, TrainSettings())


def test_rows_that_an_encoder_has_not_seen_are_told_with_what_encodes_them(tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((3, 3))}, {})
    present = {"text": np.arange(6) != 5}
    synthetic_cache(path, {"text": np.zeros((6, 3))}, {}, encoder="later", present=present)
    with Cache(path) as cache:
        several = [load_vectors(cache, encoders={"text": name}) for name in ("synthetic", "later")]
        assert coverage_notes(cache, several) == [
            "3 of 6 rows have no vector of text/synthetic: 1 absent, 2 not encoded. embed-extract with the options of "
            "that encoder encodes them.",
            "1 of 6 rows have no vector of text/later: 1 absent.",
        ]
