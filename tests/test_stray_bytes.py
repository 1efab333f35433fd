"""Cells that are not Unicode, from a Latin-1 catalogue to predictions: told, written as they were, shown escaped."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from support import CountingEncoder, invoke, synthetic_cache

from cache.commands.info import info
from cache.system.stray_bytes import shown, shown_values
from embed import ExtractSettings, extract, read_catalogue
from embed.catalogue.stray_cells import tell_stray_bytes
from heads.commands.ablate import ablate
from heads.commands.predict import predict
from heads.commands.train import train
from heads.tracking.trackers import TrackedRun, track

LABELS = ["Café", "Thé", "Tea"]
QUICK = ("--max-epochs", "2", "--precision", "fp32", "--resamples", "100")


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """A folder with a catalogue in Latin-1, its cache, a training and an ablation, and what was told of each."""
    folder = tmp_path_factory.mktemp("latin")
    lines = ["id,text,label", *(f"{'é' if n == 0 else ''}{n},cup {n},{LABELS[n % 3]}" for n in range(90))]
    lines += ["90,thé vert,Tea"]  # whose text has no vector
    (folder / "data.csv").write_bytes("\n".join(lines).encode("latin-1"))
    cache_path = folder / "c.h5"
    extract(
        folder / "data.csv", cache_path, settings=ExtractSettings(modalities=("text",)),
        encoders=[CountingEncoder("text")],
    )  # fmt: skip
    trained = invoke(train, cache_path, "--fusion", "text", "--runs", folder / "runs", "--name", "t", *QUICK)
    ablated = invoke(
        ablate, cache_path, "--fusion", "text", "--runs", folder / "runs", "--name", "a", "--folds", "2", *QUICK
    )
    assert trained.exit_code == ablated.exit_code == 0, trained.stderr + ablated.stderr
    return folder, trained, ablated


def columns_of(content):
    """Return the cells of a CSV file's bytes by column, in Latin-1, which reads every byte."""
    lines = list(csv.DictReader(content.decode("latin-1").splitlines()))
    return {name: [line[name] for line in lines] for name in lines[0]}


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("-o",)])
def test_predictions_have_the_bytes_of_the_catalogue(latin, tmp_path, more):
    folder, *_ = latin
    output = tmp_path / "answers.csv"
    result = invoke(predict, folder / "c.h5", "--run", folder / "runs" / "t", *more, *([output] if more else []))
    columns = columns_of(output.read_bytes() if more else result.stdout_bytes)
    assert columns["id"][:2] == ["é0", "1"]
    assert set(columns["text"]) - {""} <= set(LABELS)
    written = columns_of((folder / "runs" / "t" / "predictions.csv").read_bytes())
    assert set(written["label"]) == set(LABELS)
    both = dict(zip(columns["id"], columns["text"], strict=True))
    assert [both[one] for one in written["id"]] == written["text"]


@pytest.mark.slow
def test_the_list_of_failures_has_the_bytes_of_the_catalogue(latin):
    folder, *_ = latin
    assert columns_of((folder / "c.h5.failures.csv").read_bytes())["cell"] == ["thé vert"]


def test_every_other_file_is_unicode_and_shows_the_bytes_as_an_escape(latin):
    folder, *_ = latin
    paths = [path for path in folder.glob("runs/*/*.*") if path.suffix in (".json", ".html")]
    paths = [path for path in paths if path.name != "manifest.json"]  # names and digests alone
    assert len(paths) == 6  # text.json among them, whose classes are those of the answers
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json" and path.stem != "text":
            json.dumps(json.loads(text), ensure_ascii=False).encode()
        if path.parent.name == "t" and path.stem != "text":
            assert r"Caf\xe9" in text.replace("\\\\", "\\")
        assert path.stem == "text" or "udce9" not in text


def test_training_and_ablation_tell_of_labels_that_are_not_unicode(latin):
    for result in latin[1:]:
        told = [line for line in result.stderr.splitlines() if "not Unicode" in line]
        assert told == [
            r"60 rows of 2 classes have labels that are not Unicode (Caf\xe9, Th\xe9): they are learnt and answered as "
            "they are. embed-extract --encoding reads a CSV or JSON catalogue in its own encoding."
        ]
        assert "udce9" not in result.stdout + result.stderr


def test_extraction_names_the_columns_an_example_and_the_encoding(latin, caplog):
    path = latin[0] / "data.csv"
    read_catalogue(path, ExtractSettings(modalities=("text",)))
    assert caplog.messages == [
        rf"62 cells of {path} are not Unicode, in id (1), text (1), label (60), such as 'Caf\xe9' in label. Of a CSV "
        "or JSON file, --encoding cp1252 reads that as 'Café'."
    ]
    caplog.clear()
    read = read_catalogue(path, ExtractSettings(modalities=("text",), encoding="cp1252"))
    assert read.columns["label"][:3] == LABELS
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("text", "encoding", "remedy"),
    [
        ("Señor “Müller” – 5 €", "cp1252", "--encoding cp1252 reads that as 'Señor “Müller” – 5 €'"),
        ("кофе и чай", "cp1251", "Name the encoding of a CSV or JSON file"),
        ("珈琲と茶", "shift_jis", "Name the encoding of a CSV or JSON file"),
        ("café", "cp437", "Name the encoding of a CSV or JSON file"),
    ],
)
def test_an_encoding_is_named_where_it_is_likely(tmp_path, caplog, text, encoding, remedy):
    cells = [text.encode(encoding).decode("utf-8", "surrogateescape"), "tea"]
    tell_stray_bytes({"label": cells}, tmp_path)
    assert remedy in caplog.text
    caplog.clear()
    tell_stray_bytes({"label": cells, "text": ["thé", ""]}, tmp_path)
    assert "1 other cell of the file read as UTF-8, so that no one encoding reads all" in caplog.text


def test_what_is_unicode_is_not_told_of(tmp_path, caplog):
    tell_stray_bytes({"a": ["é", "👟", "tea", ""]}, tmp_path)
    assert caplog.messages == []


def test_what_is_shown_is_told_apart_and_never_fails():
    assert shown("caf\udce9 \udce8 é \ud800") == r"caf\xe9 \xe8 é \ud800"
    assert shown_values({"\udce9": ("\udcff", 1.5, None, [True])}) == {r"\xe9": [r"\xff", 1.5, None, [True]]}


def test_trackers_get_texts_that_are_unicode(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("heads.tracking.tensorboard_tracker.to_tensorboard", lambda run, _: seen.append(run) or "here")
    child = TrackedRun(name="b", parameters={"label": "th\udce9"}, metrics={})
    run = TrackedRun(name="a", parameters={}, metrics={}, tags={"verdict": "caf\udce9"}, children=[child])
    track(("tensorboard",), run, report=type("Report", (), {"run_path": tmp_path})())
    assert seen[0].tags == {"verdict": r"caf\xe9"}
    assert seen[0].children[0].parameters == {"label": r"th\xe9"}


def test_control_characters_of_names_do_not_reach_the_terminal(tmp_path):
    """A name must not clear the screen, set the title, or end a line that we began."""
    name = "a\x1b[2J\x9b31m\rb\x7f\u202ec\n"
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.zeros((2, 3))}, {name: ["x", "y"]})
    for arguments in ([path], [path, "--details"], [path, "--json"]):
        done = invoke(info, *arguments)
        assert done.exit_code == 0
        assert not set(done.output) & set("\x1b\x9b\r\u202e")
    assert r"a\x1b[2J\x9b31m\rb\x7f\u202ec" in invoke(info, path).output
    failed = invoke(train, path, "--label", "z\x1b]0;title\x07")
    assert failed.exit_code == 1
    assert not set(failed.output) & set("\x1b\x07")
    assert name in json.loads(invoke(info, path, "--json").stdout)["columns"]
