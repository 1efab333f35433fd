"""`cache-info` and `cache-verify` as a person and as a program use them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, invoke, synthetic_cache

from cache import Cache, Contents, EncoderSpec, Journal, Part, Products, content_key, seal
from cache.commands.info import info
from cache.commands.verify import verify

NEW = (content_key(b"new"),)
COMMANDS = pytest.mark.parametrize("command", [info, verify], ids=["cache-info", "cache-verify"])


@pytest.fixture
def path(tmp_path):
    return synthetic_cache(
        tmp_path / "c.h5",
        {"image": np.arange(12).reshape(4, 3), "text": np.arange(8).reshape(4, 2)},
        {"label": ["a", "b", "a", "b"], "note": ["", "", "", ""]},
        present={"image": np.array([True, True, False, True])},
        contents={"text": ["same", "other", "same", "third"]},
    )


@pytest.fixture
def damaged(path):
    os.truncate(path, path.stat().st_size // 2)
    return path


def leave_a_part(path, *, keys=NEW, encoder="synthetic"):
    spec = EncoderSpec("image", {"weights": "synthetic"})
    with Journal(path) as journal:
        return journal.publish(Part(encoder, spec, list(keys), np.ones((len(keys), 3), "f4"), {}))


def test_info_tells_what_there_is(path):
    result = invoke(info, path)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith(f"{path}: 4 products, ")
    assert "columns: label, note" in lines
    assert "image: 3 ok, 1 absent (of columns not known)" in lines
    assert "text: 4 ok (of columns not known)" in lines
    assert ["image/synthetic", "3", "3"] in [line.split() for line in lines]
    assert ["text/synthetic", "3", "2"] in [line.split() for line in lines]
    assert "journal" not in result.stdout


def test_info_tells_by_option_what_made_the_vectors(path):
    result, detailed = invoke(info, path), invoke(info, path, "--details")
    assert detailed.stdout.startswith(result.stdout)
    extra_lines = [line.split() for line in detailed.stdout.removeprefix(result.stdout).splitlines()]
    with Cache(path) as cache:
        assert ["content", cache.content_sha256] in extra_lines
    assert ["image/synthetic"] in extra_lines
    assert ["weights", "synthetic"] in extra_lines
    assert "weights" not in result.stdout


def test_info_names_a_few_columns_of_many(tmp_path):
    columns = {f"column {n}": ["a", "b"] for n in range(300)}
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.eye(2)}, columns)
    result = invoke(info, path)
    assert len(result.stdout.splitlines()) <= 10
    assert "and 290 more" in result.stdout
    assert "column 299" in invoke(info, path, "--details").stdout


def test_info_keeps_long_names_apart(tmp_path):
    names = [f"model-of-{'a' * 40}-whose-name-is-long-{kind}" for kind in ("trained", "drawn")]
    path = tmp_path / "c.h5"
    with Journal(path) as journal:
        for name in names:
            vectors = np.eye(2, dtype="f4")
            journal.publish(Part(name, EncoderSpec("image", {"weights": name}), ["a" * 64, "b" * 64], vectors, {}))
        seal(path, journal, Products(["1"], {}, {"image": Contents(["a" * 64], ["ok"], None)}))
    rows = [line.split() for line in invoke(info, path).stdout.splitlines() if line.startswith("image/model")]
    assert len({row[0] for row in rows}) == 2
    assert [row[0][-7:] for row in rows] == ["g-drawn", "trained"]


def test_info_prints_one_json_object(path):
    result = invoke(info, path, "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    with Cache(path) as cache:
        assert facts.pop("content_sha256") == cache.content_sha256
    assert facts == {
        "cache": str(path),
        "bytes": path.stat().st_size,
        "n_products": 4,
        "columns": ["label", "note"],
        "contents": {"image": "of columns not known", "text": "of columns not known"},
        "statuses": {"image": {"ok": 3, "absent": 1}, "text": {"ok": 4}},
        "encoders": [
            {
                "name": "image/synthetic",
                "n_vectors": 3,
                "dimension": 3,
                "spec": {"weights": "synthetic"},
                "side_notes": {},
            },
            {
                "name": "text/synthetic",
                "n_vectors": 3,
                "dimension": 2,
                "spec": {"weights": "synthetic"},
                "side_notes": {},
            },
        ],
        "n_unsealed_parts": 0,
        "n_unsealed_vectors": {},
    }


def test_info_tells_of_parts_where_nothing_is_sealed_yet(tmp_path):
    path = tmp_path / "new.h5"
    assert "is not there. Make one with embed-extract." in invoke(info, path).stderr
    leave_a_part(path)
    result = invoke(info, path)
    assert result.exit_code == 1
    assert f"of {path} there is none yet: 1 part waits in its journal. Type the line of embed-extract" in result.stderr


def test_info_tells_of_parts_that_wait_and_of_their_vectors(path):
    leave_a_part(path)
    facts = json.loads(invoke(info, path, "--json").stdout)
    assert (facts["n_unsealed_parts"], facts["n_unsealed_vectors"]) == (1, {"image/synthetic": 1})
    message = "1 part waits in the journal (vectors not sealed yet: 1 of image/synthetic)"
    assert message in invoke(info, path).stdout.replace("\n", " ")


def test_info_counts_no_vector_twice_and_none_that_is_sealed(path):
    """A writer that is killed may leave parts that are merged or sealed; a damaged one has nothing to count."""
    with Cache(path) as cache:
        sealed = cache.keys("image")[0].decode()
    keys = [sealed, *(content_key(name) for name in (b"new", b"newer"))]
    leave_a_part(path)
    damaged = leave_a_part(path, keys=keys[1:2], encoder="other")
    os.truncate(damaged, damaged.stat().st_size // 2)
    leave_a_part(path, keys=keys)
    facts = json.loads(invoke(info, path, "--json").stdout)
    assert (facts["n_unsealed_parts"], facts["n_unsealed_vectors"]) == (3, {"image/synthetic": 2})


def test_info_of_a_cache_without_contents_is_no_error(tmp_path):
    path = synthetic_cache(
        tmp_path / "c.h5", {"image": np.zeros((2, 3))}, {}, present={"image": np.zeros(2, dtype=bool)}
    )
    result = invoke(info, path)
    assert result.exit_code == 0
    assert "image: 2 absent" in result.stdout


def test_verify_of_an_intact_cache_says_so(path):
    result = invoke(verify, path)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{path} is intact.\n", "")
    result = invoke(verify, path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"cache": str(path), "problems": []}


def test_verify_of_a_damaged_cache_names_the_problem_and_fails(damaged):
    result = invoke(verify, damaged)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{damaged} is damaged")
    result = invoke(verify, damaged, "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert "is damaged" in problem


def test_verify_names_a_damaged_part_and_fails(path):
    part_path = leave_a_part(path)
    os.truncate(part_path, 100)
    result = invoke(verify, path)
    assert result.exit_code == 1
    assert part_path.name in result.stdout


def test_info_of_a_damaged_cache_is_one_line_that_says_what_to_do(damaged):
    for arguments in ([damaged], [damaged, "--json"]):
        result = invoke(info, *arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith(f"Error: {damaged} is damaged")
        assert "embed-extract again" in result.stderr
        assert result.stderr.count("\n") == 1


@COMMANDS
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_missing_file_is_one_line_that_says_what_to_do(command, options, tmp_path):
    result = invoke(command, tmp_path / "none.h5", *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: Expected a cache, but")
    assert "embed-extract" in result.stderr
    assert result.stderr.count("\n") == 1


@COMMANDS
def test_cache_is_embeddings_h5_unless_it_is_named(command, path, tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(path, folder / "embeddings.h5")
    monkeypatch.chdir(folder)
    result = invoke(command)
    assert result.exit_code == 0
    assert result.stdout.startswith("embeddings.h5")


@COMMANDS
def test_folder_is_no_cache(command, tmp_path):
    result = invoke(command, tmp_path)
    assert result.exit_code == 1
    assert "is a folder" in result.output


@COMMANDS
def test_file_of_another_kind_is_named(command, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id,text\n1,a\n")
    result = invoke(command, path)
    assert result.exit_code == 1
    assert f"Expected {path} to be an HDF5 file" in result.output


@COMMANDS
@pytest.mark.parametrize("arguments", [["--what"], ["a.h5", "b.h5"]])
def test_wrong_usage_ends_with_2(command, arguments):
    result = invoke(command, *arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def run(name, *arguments, **options):
    """Run a launcher in a process of its own, with standard streams as a terminal in English has them."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    return subprocess.run([sys.executable, ROOT / "bin" / name, *arguments], env=environment, check=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("cache-info", ["--json"]), ("cache-verify", [])])
def test_path_that_is_not_unicode_can_be_printed(name, options, path, tmp_path):
    try:
        odd = shutil.copy(path, tmp_path / os.fsdecode(b"caf\xe9.h5"))
    except OSError:
        pytest.skip("this file system knows Unicode names only")
    process = run(name, odd, *options, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert process.stderr == b""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cache-info", "cache-verify"])
def test_reader_that_goes_away_is_no_mistake_of_ours(name, path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        process = run(name, path, stdout=write_end, stderr=subprocess.PIPE)
    finally:
        os.close(write_end)
    assert process.returncode == 1
    assert process.stderr == b""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_a_named_error(path):
    with open("/dev/full", "wb") as full:
        process = run("cache-info", path, stdout=full, stderr=subprocess.PIPE)
    assert process.returncode == 1
    assert process.stderr == b"Error: No space left on device\n"


@pytest.mark.slow
def test_a_process_that_runs_a_command_looks_for_garbage_seldom():
    code = (
        "import gc, atexit; from cache.commands.info import info; "
        "atexit.register(lambda: print(gc.get_threshold())); info()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1] == "(5000, 10, 10)"
