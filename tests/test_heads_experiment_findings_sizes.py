"""Sizes side by side: each is what it is alone, and the sentences say what they came to."""

import json

import numpy as np
import pytest
from browser import opened
from support import class_vectors, invoke, synthetic_cache

from heads.commands.train import train as command
from heads.errors import SettingError
from heads.experiment.findings.sizes import _ANSWERS
from heads.option_texts import parse_sizes
from heads.settings import SIZES

QUICK = (
    "--fusion", "early,late,logistic", "--controls", "none", "--max-epochs", 4, "--hidden-dim", 16,
    "--precision", "fp32", "--resamples", 100,
)  # fmt: skip


def found_of(*, train, test=0.5, losses=(2.0, 0.5)):
    history = [{"train_loss": loss} for loss in losses]
    return {"train": {"accuracy": train}, "test": {"accuracy": test}, "history": history}


@pytest.mark.parametrize(
    ("size", "found", "words"),
    [
        (
            "small", {"train": 0.61},
            "small runs: in 2 epochs the training loss of early went from 2.00 to 0.50, and 61.0 % of the training "
            "rows are right, where the commonest class is 20.0 %.",
        ),
        ("small", {"train": 0.2}, "small does not run: "),
        ("small", {"train": 0.6, "losses": (1.0, 1.1)}, "small does not run: "),
        ("small", {"train": 0.6, "losses": (1.0,)}, "small runs: in 1 epoch the"),
        ("large", {"train": 0.99}, "large memorises: early has 99.0 % of the training rows right after 2 epochs."),
        ("large", {"train": 0.98}, "large does not memorise: early has 98.0 %"),
        (
            "regularised", {"train": 0.9, "test": 0.85},
            "regularised generalises: early has 90.0 % of the training rows and 85.0 % of the test rows right, a gap "
            "of 5.0 points.",
        ),
        ("regularised", {"train": 0.9, "test": 0.75}, "regularised does not generalise: "),
        (
            "regularised", {"train": 0.21, "test": 0.19},
            "regularised learns nothing that the commonest class, 20.0 %, does not say: early has 21.0 %",
        ),
    ],
)  # fmt: skip
def test_a_sentence_answers_the_question_of_its_size(size, found, words):
    assert _ANSWERS[size]("early", found_of(**found), 0.2).startswith(words)


def test_every_size_has_its_answer():
    assert list(_ANSWERS) == list(SIZES)


def test_sizes_are_named():
    assert parse_sizes("large, small,large") == ("large", "small")
    assert parse_sizes("small,all") == tuple(SIZES)
    assert parse_sizes(None) == ()
    for text in ("", "huge", ","):
        with pytest.raises(SettingError, match="--size: expected some of small, large, regularised, or all"):
            parse_sizes(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of all sizes at once, and of the small one."""
    folder = tmp_path_factory.mktemp("sizes")
    targets = np.arange(120) % 3
    vectors = {name: class_vectors(targets, 6, seed=n) for n, name in enumerate(("image", "text"))}
    cache = synthetic_cache(folder / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})
    for sizes in ("all", "small"):
        more = () if sizes == "all" else ("--no-report",)
        result = invoke(command, cache, *QUICK, *more, "--size", sizes, "--runs", folder, "--name", sizes)
        assert result.exit_code == 0, result.stderr
        (folder / f"{sizes}.txt").write_text(result.stdout)
    return folder


def read(folder, *, run):
    return [json.loads((folder / run / name).read_text()) for name in ("config.json", "metrics.json")]


@pytest.mark.slow
def test_the_last_size_is_the_run_s_and_the_others_stand_beside_it(folder):
    config, metrics = read(folder, run="all")
    sizes = {one["name"]: one["heads"] for one in metrics["sizes"]}
    assert list(sizes) == list(config["sizes"]) == ["small", "large", "regularised"]
    assert config["settings"]["dropout"] == 0.5
    assert config["sizes"]["large"] == {
        "dropout": 0.0, "modality_dropout": 0.0, "weight_decay": 0.0, "schedule": "none", "batch_size": 256,
        "patience": 60, "keep": "last",
    }  # fmt: skip
    for head, own in sizes["regularised"].items():
        assert own["test"]["accuracy"] == metrics["heads"][head]["accuracy"]
        assert own["history"] == metrics["heads"][head]["history"]
    assert sizes["large"].keys() == {"image", "text", "early", "late"}  # to logistic a size is nothing
    assert len(sizes["large"]["early"]["history"]) == 4


@pytest.mark.slow
def test_a_size_beside_others_is_what_it_is_alone(folder):
    (beside, *_), (alone,) = (read(folder, run=run)[1]["sizes"] for run in ("all", "small"))
    for head, own in beside["heads"].items():
        for epoch, expected in zip(own["history"], alone["heads"][head]["history"], strict=True):
            assert epoch == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_the_terminal_and_the_page_say_the_same_three_sentences(folder):
    sentences = [one["sentence"] for one in read(folder, run="all")[1]["sizes"]]
    printed = " ".join((folder / "all.txt").read_text().split())
    assert all(sentence in printed for sentence in sentences)
    (head,) = {one["head"] for one in read(folder, run="all")[1]["sizes"]}
    told = f"Sizes, by {head}: of the heads that are trained by steps it has the best macro-F1 on the validation rows."
    assert told in printed
    with opened(folder / "all" / "report.html") as page:
        assert page.locator("#sizes ~ ul").first.locator("li").all_inner_texts() == sentences
        assert page.locator("nav a[href='#sizes']").count() == 1
        assert page.get_by_text(told).count() == 1
        table = page.locator("#sizes ~ .wide").first
        assert table.evaluate("table => table.scrollWidth <= table.clientWidth")  # it was cut at the right edge
        assert page.locator("#sizes ~ .wide").first.locator("tbody tr").count() == 12  # four heads in three sizes
        for size in SIZES:
            assert page.locator(f"svg[aria-label='Training of {size}']").count() == 1
