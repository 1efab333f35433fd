"""A new head, a new score and a new encoder family are one file and one line; all else follows from the line."""

import csv
import json
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from extra_registrations import HEAD, SCORE
from support import class_vectors, synthetic_cache

import embed.encoders.factory
from cache import EncoderSpec
from embed import ExtractSettings, make_encoders
from heads.commands.ablate import ablate
from heads.commands.check import check
from heads.commands.train import train
from heads.head_types import HEAD_TYPES
from heads.metrics.registry import METRICS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(HEAD_TYPES, HEAD.name, HEAD)
    monkeypatch.setitem(METRICS, "top_two", SCORE)


@pytest.fixture
def cache_path(tmp_path):
    targets = np.arange(240) % 4
    vectors = {"image": class_vectors(targets, 5, spread=2.0), "text": class_vectors(targets, 6, seed=1, spread=2.0)}
    return synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(one) for one in arguments], prog_name=command.name)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_registered_head_and_score_stand_in_table_json_and_report(registered, cache_path, tmp_path):
    runs = tmp_path / "runs"
    line = (cache_path, "--max-epochs", 2, "--runs", runs)
    table = run(train, *line, "--name", "a", "--details")  # --fusion all is the default
    assert "sum" in table
    assert "top 2" in table
    metrics = json.loads((runs / "a" / "metrics.json").read_text())["heads"]
    assert metrics["sum"]["accuracy"] <= metrics["sum"]["top_two"] <= 1
    assert all("top_two" in scored for scored in metrics.values())
    report = (runs / "a" / "report.html").read_text()
    assert "<th>top 2</th>" in report
    assert re.search(r"<tr><td>[^\n]*\bsum\b[^\n]*</td><td>\d", report)  # a row of the table of heads
    assert (runs / "a" / "sum.safetensors").is_file()
    assert "top_two" in json.loads(run(train, *line, "--name", "b", "--fusion", "sum", "--json"))["metrics"]["sum"]


def test_a_registered_head_and_score_stand_in_an_ablation(registered, cache_path, tmp_path):
    runs = tmp_path / "runs"
    run(ablate, cache_path, "--fusion", "sum", "--folds", 2, "--max-epochs", 1, "--runs", runs, "--name", "a")
    with (runs / "a" / "jobs.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["head"] == "sum"]
    assert len(rows) == 2
    assert all(float(row["test_top_two"]) >= float(row["test_accuracy"]) for row in rows)
    assert "<th>top 2</th>" in (runs / "a" / "report.html").read_text()


def test_a_registered_head_is_checked(registered):
    found = json.loads(run(check, "sum", "--json"))
    assert "sum" in json.dumps(found)
    assert "failed" not in run(check, "sum").lower()


def test_a_registered_family_builds_the_encoders_that_it_knows(monkeypatch):
    class Family:
        @staticmethod
        def matches(model):
            return model.startswith("mine:")

        @staticmethod
        def build(choice, settings, device):
            spec = EncoderSpec("image", {"seed": settings.seed})
            return type("Mine", (), {"name": choice.model, "device": device, "spec": spec})()

    monkeypatch.setitem(embed.encoders.factory.FAMILIES, "image", ["mine", "embed.encoders.torchvision_image"])
    monkeypatch.setitem(sys.modules, "mine", Family)
    settings = ExtractSettings(
        modalities=("image",), image_encoder="mine:a,resnet18", image_weights="random", device="cpu"
    )
    assert [encoder.name for encoder in make_encoders(settings)] == ["mine:a", "resnet18-random"]
