"""What a newcomer meets: commands of a fresh clone, the environment they make, and a foreign `cache`."""

import configparser
import os
import re
import subprocess
import sys
import venv

import pytest
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
