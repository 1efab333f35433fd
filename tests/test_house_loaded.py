"""What commands import: none waits for libraries that it does not need."""

import json
import subprocess
import sys

import numpy as np
import pytest
from house import HEAVY, SCRIPTS, modules_after
from support import ROOT, class_vectors, small_catalogue, synthetic_cache

pytestmark = pytest.mark.slow

HELP = """
import contextlib, io, json, runpy, sys

for launcher in sys.argv[1:]:
    output = io.StringIO()
    sys.argv, sys.path[0] = [launcher, "--help"], launcher.rpartition("/")[0]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        runpy.run_path(launcher, run_name="__main__")
    print(json.dumps([launcher.rpartition("/")[2], output.getvalue(), sorted(sys.modules)]))
"""


def test_help_answers_without_torch():
    """One process asks all launchers in turn: what one has imported stays, so that the last has what any has."""
    line = [sys.executable, "-c", HELP, *(str(ROOT / "bin" / name) for name in SCRIPTS)]
    completed = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")
    answers = [json.loads(answer) for answer in completed.stdout.splitlines()]
    assert [name for name, _, _ in answers] == list(SCRIPTS)
    for name, output, modules in answers:
        assert output.startswith(f"Usage: {name} ")
        assert "click" in modules
        assert not HEAVY & set(modules), name


@pytest.mark.parametrize("name", ["cache-info", "cache-verify", "cache-gc"])
def test_cache_commands_never_import_torch(name, tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.eye(3)}, {"label": ["a", "b", "c"]})
    completed, modules = modules_after(name, path, folder=tmp_path)
    assert completed.returncode == 0
    assert "h5py" in modules
    assert not modules & HEAVY


def test_inspection_without_an_estimate_never_imports_torch(tmp_path):
    path = small_catalogue(tmp_path / "shop")
    completed, modules = modules_after("embed-inspect", path, "--no-estimate", folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "inspect.html").is_file()
    assert "PIL" in modules
    assert not modules & HEAVY


def test_training_by_steps_imports_neither_an_encoder_s_library_nor_scikit_learn(tmp_path):
    codes = np.arange(60) % 2
    vectors = {"image": class_vectors(codes, 4), "text": class_vectors(codes, 3, seed=1)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in codes]})
    by_steps = ("--fusion", "early,attention,gated,lowrank,late", "--max-epochs", "1")
    little = ("--controls", "none", "--resamples", "100")
    completed, modules = modules_after("heads-train", path, *by_steps, *little, folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "runs").is_dir()
    assert "torch" in modules
    assert not modules & {"torchvision", "transformers", "embed", "sklearn"}
