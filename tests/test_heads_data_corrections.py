"""Corrections of labels: what a file says, what is no such file, and what they do to a training and an ablation."""

import json

import numpy as np
import pytest
from support import class_vectors, invoke, synthetic_cache

import heads
from heads.commands.ablate import ablate
from heads.commands.train import train
from heads.data.corrections import Corrections, read_corrections
from heads.data.labels import make_labels
from heads.errors import LabelError
from heads.export.run_facts import read_run
from heads.export.validation_rows import read_validation_rows
from heads.runs.folder import load_heads

QUICK = (
    "--fusion", "image", "--controls", "none", "--max-epochs", "1", "--resamples", "100", "--no-report",
    "--precision", "fp32",
)  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "fixes.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def applied(path, labels, ids, **options):
    corrected, notes = read_corrections(path).applied(np.array(labels, dtype=object), ids, **options)
    return corrected.tolist(), notes


@pytest.mark.parametrize(
    "content",
    [
        "product,label\n2,hat\n",
        "﻿product;label\r\n2;hat\r\n",  # as a spreadsheet saves it
        'kind,label,suggested,product\nlabel,"  hat ",shoe,2\nlabel,,shoe,1\nmerge,,,\n\n',
        "product,label\n2,hat\n2, hat\n2,\n",
    ],
)
def test_label_of_a_named_product_is_changed_and_no_other(write, content):
    corrected, notes = applied(write(content), ["bag", "bag", "", "hat"], ["1", "2", "3", "4"])
    assert corrected == ["bag", "hat", "", "hat"]
    assert notes == ["fixes.csv changes the labels of 1 products."]


def test_labels_that_are_so_already_are_told_apart(write):
    _, notes = applied(write("product,label\n1,bag\n2,hat\n"), ["bag", "bag", "hat"], ["1", "2", "3"])
    assert notes == ["fixes.csv changes the labels of 1 products; 1 had theirs already."]


def test_ids_and_labels_that_changed_since_the_audit_are_told(write):
    path = write("product,label,given\n1,hat,bag\n2,hat,bag\n3,,bag\n4,hat,\n")
    assert applied(path, ["bag", "bag", "hat", "bag"], list("1234"))[1] == [
        "fixes.csv changes the labels of 3 products."
    ]
    assert applied(path, ["shoe", "bag", "hat", "hat"], list("1234"))[1] == [  # such as with the next one's id
        "fixes.csv changes the labels of 2 products; 1 had theirs already.",
        "1 of these had another label when fixes.csv was written (its column given): look whether ids or labels have "
        "changed since.",
    ]


@pytest.mark.parametrize("given", ["Home > Mugs", "Mugs"])
def test_a_path_that_an_audit_without_levels_gave_is_no_other_label(write, given):
    corrections = read_corrections(write(f"product,label,given\n1,Home > Cups,{given}\n"))
    _, notes = corrections.applied(np.array(["Mugs", "Cups"], dtype=object), ["1", "2"], level=-1)
    assert notes == ["fixes.csv changes the labels of 1 products."]


@pytest.mark.parametrize("given", ["Home > Mugs, Sale", "Home > Mugs"])
def test_several_paths_that_an_audit_gave_are_no_other_label(write, given):
    """What begins another path is known of the column, and not of one label."""
    cells = ["Home > Mugs, Sale", "Sale > Lamps"]
    corrections = read_corrections(write(f'product,label,given\n1,"Home > Cups, Sale","{given}"\n'))
    labels = make_labels(
        "kind", cells, usable=np.ones(2, dtype=bool), min_rows=1, ids=["1", "2"], corrections=corrections, level=2
    )
    assert labels.classes == ["Cups", "Lamps"]
    assert labels.notes[0] == "fixes.csv changes the labels of 1 products."
    assert not any("another label" in note for note in labels.notes)


def test_labels_that_the_catalogue_no_longer_has_are_told(write):
    path = write("product,label\n1,hat\n2,hat\n")
    assert applied(path, ["cap", "bag"], ["1", "2"])[1] == [
        "fixes.csv changes the labels of 2 products.",
        "fixes.csv gives labels that no product has without it: hat.",
    ]
    assert len(applied(path, ["", ""], ["1", "2"])[1]) == 1  # of a column that is new


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "columns product and label once each, got none"),
        ("id,label\n1,hat\n", "once each, got id, label"),
        ("product,label,label\n1,hat,hat\n", "once each"),
        ("product,label\n1\n", "line 2 of .* to have 2 cells as the header, got 1"),
        ('product,label\n1,"hat\n', "got one that is not .line"),
        ("product,label\n1,hat\n1,bag\n", r"one label, got hat and bag for 1 \(line 3\)"),
        ("product,label\n1,hat\n7,hat\n8,bag\n", r"got 2 that are not there \(7, 8\)"),
        ("product,label\n1,caf\u00e9\n".encode("latin-1"), r"to be UTF-8, got the label caf\\xe9\."),
        ("product,label\n1,hat\n".encode("utf-16"), "zero bytes"),
    ],
)
def test_file_that_says_something_else_is_named(write, content, message):
    with pytest.raises(LabelError, match=message):
        applied(write(content), ["bag"], ["1"])


def test_missing_file_and_folder_are_named(tmp_path):
    for path in (tmp_path / "gone.csv", tmp_path):
        with pytest.raises(LabelError, match="--corrections: expected a CSV file, but"):
            read_corrections(path)


def test_stray_bytes_that_the_catalogue_has_too_are_taken(write):
    path = write(b"product,label\n\xe9,\xe8\n")
    assert applied(path, ["a", "\udce8"], ["\udce9", "2"])[0] == ["\udce8", "\udce8"]


@pytest.mark.parametrize(
    ("label", "expected"), [("Mugs", "Mugs"), ("Kitchen > Mugs", "Mugs"), ("a|b", "a|b"), ("Home >> x", "x")]
)
def test_label_of_a_path_is_a_class_or_the_path(write, label, expected):
    """A class that there is may hold what separates levels, too."""
    corrected, _ = applied(write(f"product,label\n1,{label}\n"), ["Cups", "a|b"], ["1", "2"], level=2)
    assert corrected[0] == expected


def test_label_with_slashes_is_a_class_where_paths_of_the_catalogue_have_other_marks(write):
    path = write("product,label\n1,TV/Audio/Video\n")
    assert applied(path, ["Cups"], ["1"], level=2, roots={"Home"})[0] == ["TV/Audio/Video"]
    assert applied(path, ["Cups"], ["1"], level=2, roots={"TV"})[0] == ["Audio"]


def test_label_that_lacks_the_level_is_an_error(write):
    with pytest.raises(LabelError, match=r"to have a level 3, got 'Kitchen > Mugs'"):
        applied(write("product,label\n1,Kitchen > Mugs\n"), ["Cups"], ["1"], level=3)


def test_written_corrections_are_read_as_they_were(tmp_path):
    given = Corrections("fixes.csv", {"1": "caf\udce9", "a,b": 'the "best"'})
    given.write(tmp_path)
    assert read_corrections(tmp_path / "corrections.csv").labels == given.labels


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Eighty products of two classes, the first five of which have the other's label; and what corrects them."""
    folder = tmp_path_factory.mktemp("shop")
    targets = np.arange(80) % 2
    labels = [f"class {code ^ (row < 5)}" for row, code in enumerate(targets.tolist())]
    synthetic_cache(folder / "c.h5", {"image": class_vectors(targets, 4)}, {"label": labels})
    lines = [f"{row:05},class {row % 2}" for row in range(5)]
    (folder / "fixes.csv").write_text("product,label\n" + "\n".join(lines) + "\n")
    return folder


def train_in(shop, *options):
    return invoke(train, shop / "c.h5", *QUICK, "--runs", shop / "runs", *options)


@pytest.mark.slow
def test_training_has_the_corrected_labels_and_keeps_what_it_was_given(shop):
    done = train_in(shop, "--corrections", shop / "fixes.csv", "--name", "corrected")
    assert done.exit_code == 0, done.stderr
    assert "fixes.csv changes the labels of 5 products." in done.stderr
    run = shop / "runs" / "corrected"
    assert read_corrections(run / "corrections.csv").labels == read_corrections(shop / "fixes.csv").labels
    assert json.loads((run / "config.json").read_text())["settings"]["corrections"] == str(shop / "fixes.csv")
    answers = (run / "predictions.csv").read_text().splitlines()[1:]
    assert all(line.split(",")[1] == f"class {int(line.split(',')[0]) % 2}" for line in answers)
    assert "corrections.csv" in json.loads((run / "manifest.json").read_text())
    rows = read_validation_rows(load_heads(run)["image"], read_run(run), shop / "c.h5")  # as exports measure int8
    assert rows.targets.tolist() == [row % 2 for row in rows.rows.tolist()]


@pytest.mark.slow
def test_ablation_trains_anew_what_corrections_change(shop):
    settings = heads.AblationSettings(
        fusions=("image",), grid={"max_epochs": (1,)}, n_folds=2, n_resamples=100, corrections=shop / "fixes.csv"
    )
    options = {"runs_path": shop / "ablations", "with_report": False}
    first = heads.ablate(shop / "c.h5", settings=settings, **options)
    plain = heads.ablate(
        shop / "c.h5", settings=heads.AblationSettings(**{**vars(settings), "corrections": None}), **options
    )
    again = heads.ablate(shop / "c.h5", settings=settings, **options)
    assert [report.n_trained for report in (first, plain, again)] == [2, 2, 0]
    assert (first.run_path / "corrections.csv").is_file()
    assert not (plain.run_path / "corrections.csv").exists()


@pytest.mark.parametrize("command", [train, ablate])
def test_unknown_product_ends_a_command_in_one_line(shop, tmp_path, command):
    (tmp_path / "fixes.csv").write_text("product,label\nnobody,class 1\n")
    done = invoke(command, shop / "c.h5", "--runs", tmp_path / "runs", "--corrections", tmp_path / "fixes.csv")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Expected fixes.csv to name products of the catalogue")
    assert not list((tmp_path / "runs").glob("*/config.json"))


def test_what_is_not_unicode_may_be_named_as_it_is_shown():
    corrections = Corrections("c.csv", {r"b\xe9": r"caf\xe9", "c": "tea"})
    labels, _ = corrections.applied(np.array(["caf\udce9", "tea", ""], dtype=object), ["a", "b\udce9", "c"])
    assert labels.tolist() == ["caf\udce9", "caf\udce9", "tea"]


def test_a_file_without_a_label_says_that_it_corrects_nothing():
    labels, notes = Corrections("c.csv", {}).applied(np.array(["a"], dtype=object), ["1"])
    assert (labels.tolist(), notes) == (["a"], ["c.csv has no label in any line: nothing is corrected."])


def test_ids_as_a_spreadsheet_writes_them_are_the_catalogue_s(write):
    path = write("product,label\n7,hat\n 00012 ,bag\n00020,cap\n")
    corrected, notes = applied(path, ["", "", "", ""], ["00007", "00012", "00020", "0020"])
    assert corrected == ["hat", "bag", "cap", ""]
    assert notes[-1] == (
        "2 ids of fixes.csv are the catalogue's but for blanks or the zeros before them, as spreadsheets write them "
        "('7' is '00007')."
    )


def test_an_id_that_may_be_of_two_products_is_of_none(write):
    with pytest.raises(LabelError, match=r"1 that are not there \(20\)"):
        applied(write("product,label\n20,hat\n"), ["", ""], ["00020", "0020"])
    with pytest.raises(LabelError, match="one label, got hat and bag for 00020. Empty one"):
        applied(write("product,label\n20,hat\n00020,bag\n"), ["", ""], ["00020", "1"])


def test_a_word_for_nothing_in_corrections_is_told_with_what_says_nothing(write):
    labels = make_labels(
        "kind",
        ["-", "mug", "", ""],
        usable=np.ones(4, dtype=bool),
        min_rows=1,
        corrections=read_corrections(write("product,label\n3,?\n4,lamp\n")),
        ids=list("1234"),
    )
    (note,) = [note for note in labels.notes if "nothing as the label" in note]
    assert "--where \"kind != '-'\"" in note
    assert note.endswith("An empty cell in the corrections, in place of ?, gives no label.")
