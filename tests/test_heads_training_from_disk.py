"""Whole trainings and ablations of a cache that is larger than the memory they may take: the same numbers."""

import csv

import numpy as np
import pytest
from support import class_vectors, synthetic_cache

import heads
from heads.ablation.ablation_settings import AblationSettings
from heads.errors import SettingError
from heads.settings import TrainSettings
from heads.training.row_source import DiskSource
from heads.workflows.ablate import ablate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

WINDOW_ROWS = 32
LITTLE = "8K"  # the vectors of `cache_path` are 15 KiB, a window of them 2 KiB


@pytest.fixture
def cache_path(tmp_path):
    targets = np.random.default_rng(0).integers(3, size=140)
    vectors = {
        "image": class_vectors(targets, 8, spread=2.0, seed=1),
        "text": class_vectors(targets, 6, spread=1.5, seed=2),
    }
    return synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    for module in ("sampler", "batch_loader", "stack_planner"):
        monkeypatch.setattr(f"heads.training.{module}.WINDOW_ROWS", WINDOW_ROWS)


@pytest.fixture
def blocks(monkeypatch):
    """How many rows were read at a time for learning."""
    sizes = []
    view = DiskSource.view

    def noting(self, rows, names, versions):
        sizes.append(rows.numel())
        return view(self, rows, names, versions)

    monkeypatch.setattr(DiskSource, "view", noting)
    return sizes


def trained(cache_path, tmp_path, memory):
    settings = TrainSettings(
        hidden_dim=16, max_epochs=2, n_resamples=100, precision="fp32", memory=memory, weights="auto", guard=True
    )
    return heads.train(cache_path, settings=settings, runs_path=tmp_path / "runs")


def test_heads_train_finds_the_same_from_the_disk(cache_path, tmp_path, blocks):
    from_memory = trained(cache_path, tmp_path, "1M")
    assert not blocks
    from_disk = trained(cache_path, tmp_path, LITTLE)
    assert blocks
    assert max(blocks) <= 512  # a block of validation rows is filled up
    assert from_memory.metrics.keys() - from_disk.metrics.keys() == {"logistic"}  # which is fitted at once
    for name, metrics in from_disk.metrics.items():
        for score in ("accuracy", "macro_f1", "log_loss"):
            assert from_memory.metrics[name][score] == pytest.approx(metrics[score], abs=1e-6), (name, score)
    assert from_disk.weights == pytest.approx(from_memory.weights, abs=1e-5)
    answers = [(report.run_path / "predictions.csv").read_text().count("\n") for report in (from_memory, from_disk)]
    assert answers[0] == answers[1] > 1


def test_heads_ablate_finds_the_same_from_the_disk(cache_path, tmp_path, blocks):
    scores = []
    for memory in ("1M", LITTLE):
        settings = AblationSettings(
            fusions=("early", "late"), n_folds=2, seeds=(0, 1), grid={"hidden_dim": (8, 16), "max_epochs": (2,)},
            n_resamples=100, precision="fp32", memory=memory,
        )  # fmt: skip
        memo_path = tmp_path / f"{memory}.sqlite"  # vectors are the same on the disk: one memo would remember them
        report = ablate(cache_path, settings=settings, runs_path=tmp_path / "runs", memo_path=memo_path)
        assert report.n_trained == 32
        with (report.run_path / "jobs.csv").open(newline="", encoding="utf-8") as file:
            scores.append({
                (row["head"], row["hidden_dim"], row["fold"], row["seed"]): float(row["test_log_loss"])
                for row in csv.DictReader(file)
            })  # fmt: skip
    assert blocks
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_an_ablation_from_the_disk_remembers_one_from_memory(cache_path, tmp_path):
    settings = {"fusions": ("early",), "n_folds": 2, "grid": {"max_epochs": (1,)}, "n_resamples": 100}
    reports = [
        ablate(cache_path, settings=AblationSettings(**settings, memory=memory), runs_path=tmp_path / "runs")
        for memory in ("1M", LITTLE)
    ]
    assert [report.n_trained for report in reports] == [6, 0]


def test_an_ablation_counts_a_standardised_copy_for_each_fold(cache_path, tmp_path, blocks):
    settings = {"fusions": ("early",), "grid": {"max_epochs": (1,)}, "n_resamples": 100, "memory": "32K"}
    for n_folds, is_on_disk in ((2, False), (5, True)):  # 23 and 46 KiB
        ablate(cache_path, settings=AblationSettings(**settings, n_folds=n_folds), runs_path=tmp_path / "runs")
        assert bool(blocks) is is_on_disk


def test_memory_for_less_than_a_window_is_an_error_that_says_how_much(cache_path, tmp_path):
    with pytest.raises(SettingError, match="--memory: expected room for 32 rows"):
        trained(cache_path, tmp_path, "1K")
