"""The check for a GPU runs dry on the CPU, so that it is whole on the day that there is one."""

import json
import subprocess
import sys
from importlib import import_module

import pytest
import test_heads_cuda
import torch
from support import ROOT

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "tests" / "benchmarks" / "gpu.py"


def run_dry(folder, *arguments):
    """Run it in a folder, and return what it found and what was kept as it came."""
    completed = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cpu", "--output", "found.json", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    figures = json.loads((folder / "found.json").read_text())
    assert json.loads(completed.stdout) == figures
    return figures, [json.loads(line) for line in (folder / "found.json.lines").read_text().splitlines()]


def test_a_dry_run_measures_on_the_cpu(tmp_path):
    figures, lines = run_dry(tmp_path, "--only", "grid")
    assert list(figures) == ["grid"]
    assert [part["exit"] for part in figures.values()] == [0]
    (bf16, fp32) = (figure for name, figure in figures["grid"].items() if "settings" in name)
    assert bf16["epochs"] == fp32["epochs"] == 20  # two settings, five folds, two epochs
    assert [line["found"] for line in lines] == [figure for part in figures.values() for figure in part.values()]


def test_a_part_that_fails_or_has_no_time_says_so_and_the_others_go_on(tmp_path):
    figures, _ = run_dry(tmp_path, "--only", "embed-extract,catalogue")  # there is no catalogue yet
    assert figures["embed-extract"]["exit"] == 1, figures
    assert "data.csv" in figures["embed-extract"]["said last"]
    assert figures["catalogue"]["exit"] == 0
    figures, _ = run_dry(tmp_path, "--only", "machine", "--seconds", "1")
    assert figures == {"machine": {"left out": "there was no time left"}}


def test_the_tests_of_heads_on_cuda_would_run(monkeypatch):
    """On the CPU, where nothing is counted: a name that is gone would be found on the day that there is a GPU."""
    monkeypatch.setattr(test_heads_cuda, "CUDA", torch.device("cpu"))
    for name in ("empty_cache", "memory_allocated", "reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda: 0)
    test_heads_cuda.test_a_stack_learns_what_it_learns_on_the_cpu("early")
    test_heads_cuda.test_a_stack_takes_no_more_than_was_counted("early")
    test_heads_cuda.test_what_comes_to_the_host_is_what_was_computed()


def test_another_cuda_device_is_the_current_one(monkeypatch):
    """Else another one would be waited for, and its memory counted."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setattr(torch.cuda, "set_device", (chosen := []).append)
    gpu_parts = import_module("gpu_parts")
    assert all(gpu_parts.Bench(name, 1.0).is_cuda == (name != "cpu") for name in ("cpu", "cuda", "cuda:1"))
    assert chosen == ["cuda:1"]
