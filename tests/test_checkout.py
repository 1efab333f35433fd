"""What a newcomer meets: commands of a fresh clone, the environment they make, a wheel, and a foreign `cache`."""

import configparser
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from drawn import draw_catalogue
from support import ROOT

pytestmark = pytest.mark.slow

COMMANDS = ("embed-extract", "heads-train", "cache-info")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


@pytest.fixture
def empty_python(tmp_path):
    """A Python without any library."""
    venv.create(tmp_path / "empty", with_pip=False)
    return tmp_path / "empty" / "bin" / "python"


@pytest.fixture
def environment(tmp_path):
    """An environment that notes what pip is asked for, and has all libraries whatever pip does."""
    python = tmp_path / "made" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\nif [ "$1 $2" = "-m pip" ]; then shift 2; echo "$@" >> {tmp_path}/pip; exit 0; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return {**os.environ, "EMBED_ONCE_VENV": str(tmp_path / "made")}


def pip_calls(tmp_path):
    path = tmp_path / "pip"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_a_command_without_its_libraries_makes_the_environment_and_runs_there(empty_python, environment, tmp_path):
    line = (empty_python, ROOT / "bin" / "cache-info", tmp_path / "no.h5")
    first = run(*line, env=environment)
    assert first.returncode == 1
    assert first.stderr.splitlines()[-1].startswith("Error: Expected a cache, but")
    assert "Installing into" in first.stderr
    assert pip_calls(tmp_path) == [f"install --quiet --editable {ROOT}"]
    again = run(*line, env=environment)
    assert "Installing" not in again.stderr
    assert pip_calls(tmp_path) == []


def test_tests_and_linters_are_installed_when_they_are_wanted_and_kept(environment, tmp_path):
    tool = ROOT / "bin" / "environment"
    for extras, installed in (
        ("", ""),
        ("test,lint", "[test,lint]"),
        ("lint", None),
        ("", None),
        ("docs", "[test,lint,docs]"),
    ):
        completed = run(tool, *([extras] if extras else []), env=environment)
        assert completed.stdout == f"{tmp_path}/made/bin/python\n"
        assert pip_calls(tmp_path) == ([] if installed is None else [f"install --quiet --editable {ROOT}{installed}"])


def test_torch_comes_from_the_index_that_is_named(environment, tmp_path):
    run(ROOT / "bin" / "environment", env={**environment, "EMBED_ONCE_TORCH_INDEX": "file:///wheels"})
    assert pip_calls(tmp_path)[0] == "install --quiet --index-url file:///wheels torch torchvision"


N_CORES = os.sysconf("SC_NPROCESSORS_ONLN")
PARALLEL = "--dist loadfile --no-loadscope-reorder"


@pytest.mark.parametrize(
    ("arguments", "pytest_arguments"),
    [
        ((), f"-n {N_CORES + 1} {PARALLEL}"),
        (("--quick", "-x"), f"-n {N_CORES} {PARALLEL} -m not slow -x"),
        (("tests/test_house.py", "-q"), "tests/test_house.py -q"),
    ],
)
def test_tests_run_in_parallel_or_as_the_arguments_say(arguments, pytest_arguments, environment, tmp_path):
    run(ROOT / "bin" / "environment", "test,lint", env=environment)
    (tmp_path / "made" / "bin" / "python").write_text('#!/bin/sh\necho "$@"\n')
    assert run(ROOT / "bin" / "test", *arguments, env=environment).stdout == f"-m pytest {pytest_arguments}\n"


@pytest.mark.parametrize("command", ["cache-info", "cache-verify", "embed-extract", "heads-train"])
def test_a_foreign_module_named_cache_is_named(command, tmp_path):
    (tmp_path / "cache.py").write_text("")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (target,) = re.findall(rf"^{command} = (.+)$", setup["options.entry_points"]["console_scripts"], re.MULTILINE)
    module, _, function = target.partition(":")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; from {module} import {function}"
    completed = run(sys.executable, "-c", code, cwd=tmp_path)
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1].startswith("ImportError: Expected the module cache to be embed-once's")
    assert str(tmp_path / "cache.py") in completed.stderr


# What each imports alone takes longer than all that they do.
ONE_AFTER_ANOTHER = """
import json, runpy, sys

for sys.argv in json.loads(sys.argv[1]):
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
"""


def test_a_wheel_has_all_that_the_commands_need(empty_python, tmp_path):
    """Built from the files that git knows, and installed where there is no checkout; the libraries are lent."""
    clone = tmp_path / "clone"
    tracked_files = run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, tracked_files):
        if name.partition("/")[0] not in ("tests", "docs") and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    backend = "import sys, setuptools.build_meta; setuptools.build_meta.build_wheel(sys.argv[1])"  # what pip calls
    build = run(sys.executable, "-c", backend, tmp_path, cwd=clone)
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = Path(run(empty_python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    install = ("install", "--no-deps", "--no-index", "--no-compile", wheel)
    completed = run(sys.executable, "-m", "pip", "--python", empty_python, *install)
    assert completed.returncode == 0, completed.stderr
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")  # after what is installed
    draw_catalogue(tmp_path / "shop", n_products=60)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 500, **sizes}))
    lines = (
        ("embed-inspect", "--no-estimate"),
        ("embed-extract", "--modalities", "text", "--text-encoder", tmp_path / "bert", "--text-weights", "random"),
        ("heads-train", "--max-epochs", "1", "--min-rows", "2", "--resamples", "100", "--controls", "none"),
        ("cache-info",),
    )
    scripts = [[str(word) for word in (empty_python.parent / name, *options)] for name, *options in lines]
    completed = run(empty_python, "-c", ONE_AFTER_ANOTHER, json.dumps(scripts), cwd=tmp_path / "shop")
    assert completed.returncode == 0, completed.stderr
    where = run(empty_python, "-c", "import heads; print(heads.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(site))
    assert list((tmp_path / "shop" / "runs").glob("*/report.html"))
