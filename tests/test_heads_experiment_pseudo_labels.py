"""Pseudo-labels: who gets one, by which threshold, and that no row that scores has a part in it."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from support import class_vectors, invoke, synthetic_cache

import heads.experiment.pseudo_training
import heads.modules.linear_member
from cache import Cache
from heads.commands.train import train as command
from heads.errors import HeadError, LabelError
from heads.experiment.experiment import Experiment
from heads.experiment.problem import pose
from heads.experiment.pseudo_labels import LEAST_HELD, Consensus, choose_pseudo_labels, precision_thresholds
from heads.experiment.pseudo_teacher import ask_teacher
from heads.metrics.differences import Difference
from heads.metrics.score_interval import wilson_interval
from heads.settings import TrainSettings
from heads.workflows.train import train

N, N_CLASSES = 400, 3
TRUTH = np.random.default_rng(0).integers(N_CLASSES, size=N)
COPIES = {395: 0, 396: 1, 397: 2, 398: 394}  # row -> the row whose picture it has
QUICK = TrainSettings(fusions=("early",), controls=(), hidden_dim=8, max_epochs=3, n_resamples=100, precision="fp32")


def consensus(classes, confidences, agrees=None):
    classes = np.asarray(classes)
    agrees = np.ones(len(classes), dtype=bool) if agrees is None else np.asarray(agrees)
    return Consensus(np.arange(len(classes)), classes, np.asarray(confidences, dtype=np.float32), agrees)


def test_a_threshold_is_the_least_confidence_with_enough_precision():
    """Three classes from sure to unsure; the first 200 answers are right, and from then on one of each is wrong."""
    classes = np.concatenate([np.arange(200) % 2, [0, 0, 1, 2], np.zeros(100, dtype=int)])
    held = consensus(classes, np.linspace(1, 0.5, len(classes)))
    targets = np.concatenate([classes[:200], [0, 1, 0, 0], np.ones(100, dtype=int)])
    right = np.cumsum(classes == targets)
    expected = []
    for number in range(3):
        enough = []
        for n in range(len(classes)):
            bound = wilson_interval(int(right[n]), n + 1)[1]
            is_own = classes[: n + 1] == number
            of_class = (is_own & (classes == targets)[: n + 1]).sum() + 10 * bound
            if is_own.any() and bound >= 0.9 and of_class / (is_own.sum() + 10) >= 0.9:
                enough.append(n)
        expected.append(held.confidences[enough[-1]] if enough else np.inf)
    assert expected[0] < held.confidences[203]
    assert expected[2] == np.inf  # one wrong answer, its only one
    assert precision_thresholds(held, targets, n_classes=3).tolist() == pytest.approx(expected)


def test_answers_of_heads_that_disagree_say_nothing():
    held = consensus(np.zeros(80, dtype=int), np.full(80, 0.9), np.arange(80) % 2 == 0)
    wrong = np.where(np.arange(80) % 2 == 0, 0, 1)  # where they disagree
    assert precision_thresholds(held, wrong, n_classes=2).tolist() == pytest.approx([0.9, np.inf])
    few = consensus(np.zeros(60, dtype=int), np.full(60, 0.9), np.arange(60) % 2 == 0)
    assert precision_thresholds(few, np.zeros(60, dtype=int), n_classes=2).tolist() == [np.inf, np.inf]


def test_labels_are_drawn_from_those_that_are_sure_one_of_a_group_and_no_more_than_the_cap():
    asked = consensus([0, 0, 0, 0, 1, 1, 2], [0.9, 0.99, 0.98, 0.97, 0.96, 0.5, 1.0], np.arange(7) < 6)
    given = {"groups": np.array([0, 1, 1, 2, 3, 4, 5]), "thresholds": np.array([0.8, 0.6, 0.1])}
    drawn = set()
    for seed in range(30):
        chosen = choose_pseudo_labels(asked, **given, caps=np.array([2, 9, 9]), generator=np.random.default_rng(seed))
        assert chosen.classes.tolist() == [0, 0, 1]
        assert chosen.confidences.tolist() == asked.confidences[chosen.rows].tolist()
        drawn.add(tuple(chosen.rows.tolist()))
    assert drawn == {(0, 1, 4), (0, 2, 4), (0, 3, 4), (1, 3, 4), (2, 3, 4)}  # 5 is unsure, of 6 the heads disagree


@pytest.fixture(scope="module", autouse=True)
def few_strengths():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads.modules.linear_member, "STRENGTHS", (0.01, 1.0))
        yield


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    """Products of which the last 100 have no label; a tenth of all has no title, some share a picture."""
    vectors = {name: class_vectors(TRUTH, 6, spread=0.4, seed=n) for n, name in enumerate(("image", "text"))}
    pictures = [f"image {COPIES.get(n, n)}" for n in range(N)]
    for row, first in COPIES.items():
        vectors["image"][row] = vectors["image"][first]
    labels = [f"class {code}" if n < 300 else "  " for n, code in enumerate(TRUTH)]
    sides = ["test" if 300 <= n < 310 else "" if n >= 300 else ("train", "train", "validation", "test")[n % 4]
             for n in range(N)]  # fmt: skip
    present = {"image": np.ones(N, dtype=bool), "text": np.arange(N) % 10 != 0}
    return synthetic_cache(
        tmp_path_factory.mktemp("pseudo") / "c.h5",
        vectors,
        {"label": labels, "side": sides, "path": [f"all > {one}" if one.strip() else "all" for one in labels]},
        present=present,
        contents={"image": pictures},
    )


def test_unlabelled_are_rows_without_label_that_share_nothing_with_one_that_has(cache_path):
    with Cache(cache_path) as cache:
        found = pose(cache, QUICK).unlabelled
        split = pose(cache, replace(QUICK, split_column="side")).unlabelled
        levels = pose(cache, replace(QUICK, label="path", label_level=2)).unlabelled
    every = [n for n in range(300, N) if n not in (395, 396, 397)]
    assert found.tolist() == every
    assert split.tolist() == [n for n in every if n >= 310]  # the column holds some of them out
    assert levels.tolist() == []  # they have a label, though none of that level


def test_the_teacher_looks_at_no_label_of_the_rows_that_score(cache_path):
    with Cache(cache_path) as cache:
        problem = pose(cache, QUICK)
    (split,) = problem.folds
    answers = []
    for change in (0, 1):
        targets = problem.labels.targets.copy()
        for rows in (split.validation, split.test):
            targets[rows] = (targets[rows] + change) % N_CLASSES
        other = replace(problem, labels=replace(problem.labels, targets=targets))
        held, asked = ask_teacher(Experiment.of(other, QUICK, sides=()), problem.unlabelled, seed=0)
        assert np.isin(held.rows, split.train).all()
        answers.append([*vars(held).values(), *vars(asked).values()])
    assert all((one == two).all() for one, two in zip(*answers, strict=True))
    assert asked.rows.tolist() == [n for n in problem.unlabelled if n % 10]  # those that all heads see
    assert (asked.classes[asked.agrees] == TRUTH[asked.rows[asked.agrees]]).mean() > 0.95
    assert held.agrees.mean() > 0.8


def test_vectors_on_the_disk_are_refused(cache_path, tmp_path):
    with pytest.raises(HeadError, match="--pseudo-label: expected all vectors in memory"):
        train(cache_path, settings=replace(QUICK, pseudo_label=True, memory="20K"), runs_path=tmp_path)


def shop(path, *, n=160, empty=(), sides=None, with_text=()):
    """Seal a cache of n products, of which some have no label; of these `with_text` alone have a text."""
    truth = np.arange(n) % N_CLASSES
    vectors = {"image": class_vectors(truth, 6, seed=1), "text": class_vectors(truth, 5, seed=2)}
    columns = {"label": ["" if row in empty else f"class {code}" for row, code in enumerate(truth)]}
    present = {"image": np.ones(n, bool), "text": np.array([row not in empty or row in with_text for row in range(n)])}
    return synthetic_cache(path, vectors, columns | ({"side": sides} if sides else {}), present=present)


@pytest.mark.parametrize(
    ("made", "changes", "words"),
    [
        ({}, {}, r"products whose label is empty, got none\. Extract some"),
        ({"empty": range(9)}, {}, r"products without a label that have image and text, got none of 9\."),
        ({"empty": range(9)}, {"modalities": ("image",)}, ""),
        (
            {"empty": range(9), "sides": ["test"] * 9 + ["train", "train", "validation", "test"] * 37 + ["train"] * 3},
            {"split_column": "side"},
            r"no column holds out, got none of the 9 whose label is empty\.",
        ),
        (
            {"n": 60, "empty": range(9), "with_text": range(9)},
            {},
            r"35 training rows or more that have image and text, for as many .* got \d\d\. Label more",
        ),
        ({"empty": range(9), "with_text": range(9)}, {}, ""),
    ],
    ids=["all labelled", "no text", "of the picture alone", "held out", "too few rows", "good"],
)
def test_what_cannot_get_pseudo_labels_is_refused_before_any_head_is_trained(
    tmp_path, monkeypatch, made, changes, words
):
    path = shop(tmp_path / "c.h5", **made)
    trained = []

    def noted(*_, **__):
        trained.append(1)
        raise HeadError("enough")

    monkeypatch.setattr("heads.workflows.train.train_heads", noted)
    settings = replace(QUICK, min_rows=3, fusions=() if changes.get("modalities") else ("early",), **changes)
    with pytest.raises(HeadError, match=f"--pseudo-label: expected .*{words}" if words else "enough"):
        train(path, settings=replace(settings, pseudo_label=True), runs_path=tmp_path)
    assert len(trained) == (not words)


def test_so_many_answers_have_to_be_right_before_one_is_believed():
    for n, are_enough in ((LEAST_HELD - 1, False), (LEAST_HELD, True)):
        held = Consensus(np.arange(n), np.zeros(n, dtype=np.int64), np.full(n, 0.9), np.ones(n, dtype=bool))
        assert np.isfinite(precision_thresholds(held, held.classes, n_classes=1)).all() == are_enough


def test_who_gets_a_label_is_known_before_any_head_is_trained(cache_path, tmp_path, monkeypatch):
    """So that what cannot be asked is told at once, and not after the heads."""

    def refuse(*_, **__):
        raise LabelError("one class")

    monkeypatch.setattr("heads.experiment.pseudo_training.ask_teacher", refuse)
    monkeypatch.setattr("heads.workflows.train.train_heads", lambda *_, **__: pytest.fail("heads were trained"))
    with pytest.raises(LabelError, match="one class"):
        train(cache_path, settings=replace(QUICK, pseudo_label=True), runs_path=tmp_path)


def gain(value):
    return lambda *_: (Difference(0.0, -0.1, 0.1), Difference(value, value - 0.1, value + 0.1), {})


def run(cache_path, folder, *more):
    options = ("--fusion", "early", "--controls", "none", "--max-epochs", 3, "--hidden-dim", 8, "--precision", "fp32",
               "--resamples", 100, "--no-report", "--runs", folder.parent, "--name", folder.name)  # fmt: skip
    result = invoke(command, cache_path, *options, *more)
    assert result.exit_code == 0, result.stderr
    return " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def without(cache_path, tmp_path_factory):
    """A run that was not asked for pseudo-labels."""
    folder = tmp_path_factory.mktemp("runs") / "without"
    run(cache_path, folder)
    return folder


def files_of(folder):
    """Return what a run answers, and what its heads weigh."""
    return [
        (path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".safetensors")
    ]


def test_labels_that_help_are_learned_from_and_scores_stay_of_true_labels(cache_path, without, tmp_path, monkeypatch):
    monkeypatch.setattr(heads.experiment.pseudo_training, "_effect", gain(0.01))
    said = run(cache_path, tmp_path / "with", "--pseudo-label")
    with (tmp_path / "with" / "pseudo_labels.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    numbers = [int(one["id"]) for one in written]
    assert min(numbers) >= 300
    assert not {395, 396, 397} & set(numbers)
    assert {one["label"] for one in written} == {"class 0", "class 1", "class 2"}
    config, plain = (json.loads((one / "config.json").read_text()) for one in (tmp_path / "with", without))
    assert config["split"] == plain["split"]  # with true labels
    assert files_of(tmp_path / "with") != files_of(without)
    metrics = json.loads((tmp_path / "with" / "metrics.json").read_text())
    found = metrics["pseudo_labels"]
    assert found["sentence"] == metrics["notes"][0]
    assert found["is_kept"]
    assert found["n_labelled"] == len(written) == sum(found["per_class"].values())
    assert found["sentence"] in said
    assert " of 97 products without a label (87 of which have all modalities) got one" in found["sentence"]
    assert found["sentence"].endswith(
        "the macro-F1 of early changes by +1.0 [-9.0, +11.0] points on the 44 validation rows: they are learned from."
    )


def test_labels_that_do_not_help_leave_the_run_as_it_is_without(cache_path, without, tmp_path, monkeypatch):
    monkeypatch.setattr(heads.experiment.pseudo_training, "_effect", gain(0.0))
    said = run(cache_path, tmp_path / "with", "--pseudo-label")
    assert said.count("no gain, so the run is the one without them.") == 1
    assert files_of(tmp_path / "with") == files_of(without)
    assert not json.loads((tmp_path / "with" / "metrics.json").read_text())["pseudo_labels"]["is_kept"]
    assert "pseudo_labels" not in json.loads((without / "metrics.json").read_text())
