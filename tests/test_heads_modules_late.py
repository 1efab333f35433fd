"""Late fusion's averages: temperatures, fitted weights, and the sweep over all of them."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import class_vectors, invoke, synthetic_cache
from torch import nn

from cache import Cache
from heads.commands.train import train as train_command
from heads.errors import SettingError
from heads.experiment.findings.evaluation import find_out
from heads.experiment.weight_sweep import sweep_simplex
from heads.metrics.scores import log_loss, scores
from heads.modules.guard import fit_guard
from heads.modules.late import Late, row_weights
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.training.scheduler import fit_jobs
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

QUICK = TrainSettings(fusions=("late",), hidden_dim=32, max_epochs=10, n_resamples=100, controls=())
SHORT = ("--max-epochs", 3, "--hidden-dim", 16, "--resamples", 100, "--details", "--no-report")


class Fixed(nn.Module):
    """Answers with its own input as logits."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, inputs, present):  # noqa: ARG002 - a head's
        return inputs[self.name]


def late_of(weights, **options):
    return Late({name: Fixed(name) for name in weights}, weights=weights, **options)


def random_logits(n_rows=40, n_classes=5):
    generator = torch.Generator().manual_seed(0)
    inputs = {name: 3 * torch.randn(n_rows, n_classes, generator=generator) for name in ("image", "text")}
    present = {name: torch.rand(n_rows, generator=generator) < 0.7 for name in inputs}
    return inputs, present


def shop(path, *, image_signal=1.0, n_products=1000, **options):
    targets = np.random.default_rng(0).integers(3, size=n_products)
    vectors = {
        "image": class_vectors(targets, 8, spread=3.0, seed=1, signal=image_signal),
        "text": class_vectors(targets, 12, spread=3.5, seed=2),
    }
    return synthetic_cache(path, vectors, {"label": [f"class {code}" for code in targets]}, **options)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("late")


@pytest.fixture(scope="module")
def cache_path(folder):
    return shop(folder / "c.h5")


@pytest.fixture(scope="module")
def auto(folder, cache_path):
    return train(cache_path, settings=replace(QUICK, weights="auto"), runs_path=folder / "runs")


@pytest.fixture(scope="module")
def swept(folder, cache_path):
    return train(cache_path, settings=replace(QUICK, weights="sweep"), runs_path=folder / "runs")


def answers_of(report, cache_path):
    """Return each saved head's probabilities for all rows, and the rows of each side."""
    with Cache(cache_path) as cache:
        answers = {
            name: head.probabilities(head.vectors_of(cache)) for name, head in load_heads(report.run_path).items()
        }
        targets = np.array([int(cell.split()[1]) for cell in cache.column("label")])
    return answers, targets, sides_of(report)


def sides_of(report):
    split = json.loads((report.run_path / "config.json").read_text())["split"]
    return {side: np.array([int(row) for row in rows]) for side, rows in split.items()}


def test_temperatures_divide_each_members_logits_and_the_averages():
    inputs, present = random_logits()
    present = {name: torch.ones_like(mask) for name, mask in present.items()}
    late = late_of({"image": 0.3, "text": 0.7}, temperatures={"image": 0.5, "text": 2.0}, temperature=1.5)
    average = 0.3 * softmax(inputs["image"].numpy() / 0.5) + 0.7 * softmax(inputs["text"].numpy() / 2.0)
    expected = average ** (1 / 1.5)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(late(inputs, present).exp().numpy(), expected, atol=1e-6)


def test_a_row_of_one_modality_gets_that_heads_answer_at_its_temperature_and_the_last():
    inputs, present = random_logits()
    late = late_of({"image": 0.3, "text": 0.7}, temperatures={"image": 0.5, "text": 2.0}, temperature=1.5)
    only_text = (present["text"] & ~present["image"]).numpy()
    assert only_text.any()
    expected = softmax(inputs["text"].numpy()[only_text] / (2.0 * 1.5))
    np.testing.assert_allclose(late(inputs, present).exp().numpy()[only_text], expected, atol=1e-6)


def test_without_temperatures_a_row_of_one_modality_gets_that_heads_answer_to_the_bit():
    inputs, present = random_logits()
    only_text = present["text"] & ~present["image"]
    answers = late_of({"image": 0.3, "text": 0.7})(inputs, present)
    assert torch.equal(answers[only_text], inputs["text"].log_softmax(1)[only_text])


def test_fitted_weights_are_of_sum_one_and_within_their_intervals(auto):
    assert sum(auto.weights.values()) == pytest.approx(1)
    for name, weight in auto.weights.items():
        low, high = auto.weight_intervals[name]
        assert 0 <= low <= weight <= high <= 1


def test_a_loaded_head_has_the_temperatures_that_were_fitted(auto, cache_path):
    answers, _, _ = answers_of(auto, cache_path)
    late = load_heads(auto.run_path)["late"].module
    temperatures, temperature = late.temperatures.tolist(), float(late.temperature)
    assert len({1.0, *temperatures}) == 3
    assert temperature != 1
    average = sum(
        weight * softmax(np.log(answers[name]) / own_temperature)
        for (name, weight), own_temperature in zip(auto.weights.items(), temperatures, strict=True)
    )
    expected = softmax(np.log(average) / temperature)
    np.testing.assert_allclose(answers["late"], expected, atol=1e-5)


def test_fitted_weights_are_no_worse_on_validation_rows_than_the_best_single_head(auto, cache_path):
    answers, targets, sides = answers_of(auto, cache_path)
    rows = sides["validation"]
    losses = {name: log_loss(matrix[rows], targets[rows]) for name, matrix in answers.items()}
    assert losses["late"] <= min(losses["image"], losses["text"]) + 1e-3


def test_fitted_weights_are_no_worse_on_validation_rows_than_any_given_ones(auto, cache_path):
    answers, targets, sides = answers_of(auto, cache_path)
    rows = sides["validation"]
    given = [
        log_loss(weight * answers["image"][rows] + (1 - weight) * answers["text"][rows], targets[rows])
        for weight in np.linspace(0, 1, 21)
    ]
    assert log_loss(answers["late"][rows], targets[rows]) <= min(given) + 1e-3


def test_a_modality_of_noise_gets_next_to_no_weight(folder):
    path = shop(folder / "noise.h5", image_signal=0.0)
    report = train(path, settings=replace(QUICK, weights="auto"), runs_path=folder / "runs")
    assert report.weights["image"] < 0.1


def test_the_weights_of_fitted_fusion_stand_in_the_run_folder(auto):
    written = json.loads((auto.run_path / "metrics.json").read_text())["late"]
    assert written["weights"] == auto.weights
    assert {name: tuple(both) for name, both in written["intervals"].items()} == auto.weight_intervals
    assert set(written["temperatures"]) == {"image", "text"}
    assert json.loads((auto.run_path / "config.json").read_text())["late_weights"] == auto.weights


def test_the_sweep_chooses_by_validation_rows(swept):
    best = max(swept.sweep, key=lambda point: (point.macro_f1, point.accuracy, -point.log_loss))
    assert swept.weights == best.weights
    scored = swept.metrics["late"]["validation"]
    assert (scored["accuracy"], scored["macro_f1"]) == pytest.approx((best.accuracy, best.macro_f1))


def test_the_sweep_trains_each_member_once_and_looks_at_test_rows_when_all_heads_are_done(
    folder, cache_path, monkeypatch
):
    """The guards are fitted last."""
    events, fitted = [], []

    def counting(jobs, **options):
        fitted.extend(job.description.name for job in jobs)
        return fit_jobs(jobs, **options)

    def noting(what, function):
        return lambda *arguments, **options: events.append(what) or function(*arguments, **options)

    monkeypatch.setattr("heads.experiment.experiment.fit_jobs", counting)
    monkeypatch.setattr("heads.experiment.late_fusion.sweep_simplex", noting("sweep", sweep_simplex))
    monkeypatch.setattr("heads.experiment.guards.fit_guard", noting("fit_guard", fit_guard))
    monkeypatch.setitem(train.__globals__, "find_out", noting("find_out", find_out))
    settings = replace(QUICK, weights="sweep", guard=True, max_epochs=3)
    report = train(cache_path, settings=settings, runs_path=folder / "runs")
    assert fitted == ["image", "text"]
    assert len(report.sweep) == 21
    assert [what for what in events if what != "fit_guard"] == ["sweep", "find_out", "sweep"]
    assert events[1] == "fit_guard"
    assert events[-2:] == ["find_out", "sweep"]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([1.0, 1.0, 1.0], [0.0, 0.25, 0.75]),
        ([1.0, 1.0, 0.0], [0.0, 0.25, 0.0]),
        ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),  # it weighs 0 and is all there is
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
    ],
)
def test_weights_are_of_what_a_row_has(mask, expected):
    weights = torch.tensor([0.0, 0.25, 0.75])
    assert row_weights(weights, torch.tensor([mask])).tolist() == [expected]
    several = row_weights(torch.stack([weights, weights.flip(0)]), torch.tensor([[mask]]))
    assert several.shape == (1, 2, 3)
    assert several[0, 0].tolist() == expected


def test_the_sweep_file_has_the_scores_of_both_sides(swept, cache_path):
    answers, targets, sides = answers_of(swept, cache_path)
    with (swept.run_path / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 21
    for line in lines:
        weight = float(line["weight_image"])
        assert weight + float(line["weight_text"]) == pytest.approx(1)
        average = weight * answers["image"] + (1 - weight) * answers["text"]
        for side in ("validation", "test"):
            rows = sides[side]
            expected = scores(targets[rows], average[rows].argmax(1), 3)
            assert float(line[f"{side}_accuracy"]) == pytest.approx(expected["accuracy"], abs=1e-5)
            assert float(line[f"{side}_macro_f1"]) == pytest.approx(expected["macro_f1"], abs=1e-5)
            assert float(line[f"{side}_log_loss"]) == pytest.approx(log_loss(average[rows], targets[rows]), abs=1e-4)


def test_the_ends_of_the_sweep_are_the_single_heads(swept):
    ends = {"text": swept.sweep[0], "image": swept.sweep[-1]}
    for name, point in ends.items():
        assert point.weights[name] == 1
        scored = swept.metrics[name]["validation"]
        assert (point.accuracy, point.macro_f1) == pytest.approx((scored["accuracy"], scored["macro_f1"]))


def test_weights_to_be_fitted_need_late_fusion():
    for weights in ("auto", "sweep"):
        with pytest.raises(SettingError, match="--weights are those of late fusion"):
            TrainSettings(fusions=("early",), weights=weights)


def test_a_run_without_a_sweep_has_no_sweep_file(auto):
    assert not (auto.run_path / "sweep.csv").exists()
    assert auto.sweep == []


def test_the_command_prints_validation_scores_to_choose_by(folder, cache_path):
    options = ("--fusion", "late", "--weights", "sweep", *SHORT)
    result = invoke(train_command, cache_path, *options, "--runs", folder / "r")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("image  text"))
    assert len(lines[start + 2 : lines.index("", start)]) == 21
    assert sum(line.endswith("chosen") for line in lines) == 1


def test_the_command_prints_fitted_weights_with_their_intervals(folder, cache_path):
    options = ("--fusion", "late", "--weights", "auto", *SHORT)
    text = " ".join(invoke(train_command, cache_path, *options, "--runs", folder / "r").stdout.split())
    number = r"[01]\.\d\d"
    interval = rf"{number} \[{number}, {number}\]"
    assert re.search(rf"image {interval}, text {interval}, fitted on the validation rows", text)
