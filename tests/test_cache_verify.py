"""Whatever happens to a cache's bytes is either found by `verify` or changes nothing that anybody reads."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from altered import changed, combined, datasets_of, drop, put, read_all
from support import ROOT, synthetic_cache

from cache import Cache, CacheError, DamagedCacheError, EncoderSpec, Journal, Part, content_key, verify
from cache.tokens import MOST_TOKENS

N_FLIPS, N_CUTS = 80, 12


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A cache with nothing wrong in it."""
    generator = np.random.default_rng(0)
    return synthetic_cache(
        tmp_path_factory.mktemp("intact") / "c.h5",
        {"image": generator.standard_normal((40, 16)), "text": generator.standard_normal((40, 8))},
        {"label": [f"class {n % 3}" for n in range(40)], "a/b": ["", "NA", "é", "00123"] * 10},
        present={"image": np.arange(40) % 7 != 3},
        contents={"text": [f"text {n // 2}" for n in range(40)]},
        tokens={"text": [generator.standard_normal((1 + n % 5, 6)) for n in range(40)]},
    )


@pytest.fixture
def path(intact, tmp_path):
    return Path(shutil.copy(intact, tmp_path / "c.h5"))


def publish(cache_path):
    """Leave one part in the journal, as a stopped extraction does; return its path."""
    spec = EncoderSpec("image", {"weights": "synthetic"})
    with Journal(cache_path) as journal:
        return journal.publish(Part("synthetic", spec, [content_key(b"new")], np.ones((1, 16), np.float32), {}))


def test_whole_cache_has_no_problems_and_is_not_touched(path):
    before = path.stat()
    assert verify(path) == []
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert list(path.parent.glob("c.h5*")) == [path]


def test_whole_journal_is_no_problem(path):
    publish(path)
    assert verify(path) == []


def test_damaged_part_is_reported_and_left_for_the_writer(path):
    part_path = publish(path)
    os.truncate(part_path, part_path.stat().st_size - 1)
    (problem,) = verify(path)
    assert part_path.name in problem
    assert "damaged" in problem
    assert part_path.exists()


def test_part_that_is_sealed_meanwhile_is_no_problem(path, monkeypatch):
    """An extraction may run beside us: what was listed a moment ago can be gone."""
    monkeypatch.setattr(Journal, "paths", lambda journal: [journal.folder / f"image.synthetic.{'0' * 64}.part.h5"])
    assert verify(path) == []


def test_damaged_part_is_reported_beside_a_damaged_cache(path):
    part_path = publish(path)
    os.truncate(part_path, 100)
    os.truncate(path, 1000)
    problems = verify(path)
    assert len(problems) == 2
    assert part_path.name in problems[1]


def test_missing_cache_is_an_error_and_no_problem_of_the_cache(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5 is not there"):
        verify(tmp_path / "none.h5")


def test_each_missing_dataset_is_named(intact, tmp_path):
    names = datasets_of(intact)
    assert len(names) > 15
    for n, name in enumerate(names):
        path = Path(shutil.copy(intact, tmp_path / f"{n}.h5"))
        assert name.split("/utf8")[0].split("/offset")[0] in " ".join(verify(changed(path, drop(name)))), name


@pytest.mark.slow
def test_each_changed_dataset_is_found_though_every_checksum_of_hdf5_is_right(intact, tmp_path):
    """HDF5 wrote the change itself, so that only the digests can tell."""
    for n, name in enumerate(datasets_of(intact)):
        path = Path(shutil.copy(intact, tmp_path / f"{n}.h5"))
        with h5py.File(path, "r+") as file:
            dataset = file[name]
            content = bytearray(np.asarray(dataset[()]).tobytes())
            content[0] ^= 1
            dataset[()] = np.frombuffer(content, dataset.dtype).reshape(dataset.shape)
        assert any(name in problem for problem in verify(path)), name


def test_value_that_became_nan_is_found(path):
    def spoil(file):
        file["image/synthetic/vector"][5, 3] = np.nan

    assert verify(changed(path, spoil)) == ["image/synthetic/vector does not match its digest."]


@pytest.mark.parametrize("where", ["image/synthetic/extra", "image/extra", "catalogue/extra", "catalogue/id/extra"])
def test_dataset_too_many_is_named(path, where):
    problems = verify(changed(path, put(where, np.zeros(3))))
    assert any("extra" in problem for problem in problems)


def test_datasets_that_changed_places_are_found(path):
    def swap(file):
        file.move("image/synthetic", "image/other")
        file.move("text/synthetic", "image/synthetic")
        file.move("image/other", "text/synthetic")

    assert verify(changed(path, swap)) != []


def test_list_of_digests_that_is_another_cache_s_is_found(path):
    def replace(file):
        digests = json.loads(file["digests"][()])
        digests["image/key"] = "0" * 64
        put("digests", np.bytes_(json.dumps(digests).encode()))(file)

    assert "digests" in " ".join(verify(changed(path, replace)))


def same_key_twice(file):
    keys = file["image/key"][:]
    keys[1] = keys[0]
    put("image/key", keys)(file)


def vector_that_is_not_finite(file):
    file["image/synthetic/vector"][0, 0] = np.inf


def nan_where_a_vector_should_be(file):
    file["text/synthetic/vector"][2] = np.nan


def number_where_no_vector_should_be(file):
    file["image/synthetic/encoded"][0] = False


def token_that_is_not_finite(file):
    file["text/synthetic/token"][-1, -1] = np.inf


def every_token_to_one_content(n_tokens):
    """Return a change to one content with so many tokens, of one value each."""

    def change(file):
        for where in ("text/key", "text/status", "text/synthetic/vector", "text/synthetic/encoded"):
            put(where, file[where][:1])(file)
        put("text/synthetic/token_offset", np.array([0, n_tokens]))(file)
        put("text/synthetic/token", np.zeros((n_tokens, 1), "f2"))(file)
        file["catalogue/text/row"][:] = 0

    return change


def tokens_of_no_dimensions(file):
    """They take no bytes, and so claim no more than the file holds."""
    del file["text/synthetic/token"]
    file.create_dataset("text/synthetic/token", (10**12, 0), "f2")
    file["text/synthetic/token_offset"][-1] = 10**12


def content_without_tokens(file):
    file["text/synthetic/token_offset"][1] = 0


def tokens_without_a_vector(file):
    file["text/synthetic/encoded"][3] = False


def offsets_out_of_order(file):
    file["text/synthetic/token_offset"][1] = 50


def wrapped(path):
    """Return a change to offsets whose differences, in int64, are all positive."""

    def change(file):
        offsets = file[path][:]
        offsets[1:4] = 2**63 - 1, -(2**63), -1
        file[path][:] = offsets

    return change


def offsets_that_end_too_early(file):
    file["text/synthetic/token_offset"][-1] -= 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (same_key_twice, "image/key"),
        (vector_that_is_not_finite, "image/synthetic"),
        (nan_where_a_vector_should_be, "text/synthetic"),
        (number_where_no_vector_should_be, "image/synthetic"),
        (every_token_to_one_content(MOST_TOKENS + 1), "a content has 65537 tokens, more than 65536"),
        (token_that_is_not_finite, "text/synthetic/token"),
        (content_without_tokens, "text/synthetic/token_offset (expected tokens where there is a vector"),
        (offsets_out_of_order, "text/synthetic/token_offset"),
        (wrapped("text/synthetic/token_offset"), "text/synthetic/token_offset (the offsets are out of order)"),
        (wrapped("catalogue/id/offset"), "catalogue/id/offset (the offsets are out of order)"),
        (offsets_that_end_too_early, "text/synthetic/token_offset"),
        (drop("text/synthetic/token"), "text/synthetic/token is missing"),
        (drop("text/synthetic/token_offset"), "text/synthetic/token_offset is missing"),
        (put("text/synthetic/token_offset", np.arange(7)), "text/synthetic/token_offset to be i8"),
        (put("text/synthetic/token", np.zeros((9, 6), "f4")), "text/synthetic/token to be f2"),
        (combined(drop("text/synthetic"), drop("text/status"), drop("text/key"), drop("text")), "text"),
        (put("image/synthetic/spec", np.bytes_(b'{"modality": "text", "weights": "synthetic"}')), "image/synthetic"),
    ],
)
def test_tables_that_contradict_each_other_are_found_though_the_digests_fit(path, change, named):
    assert any(named in problem for problem in verify(changed(path, change, digests_fit=True)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (content_without_tokens, "tokens where there is a vector"),
        (tokens_without_a_vector, "tokens where there is a vector"),
        (every_token_to_one_content(MOST_TOKENS + 1), "more than 65536"),
        (tokens_of_no_dimensions, "no dimensions"),
    ],
)
def test_tokens_that_claim_what_cannot_be_are_not_read(path, change, reason):
    """Nobody runs cache-verify before each training."""
    changed(path, change, digests_fit=change is not tokens_of_no_dimensions)
    with pytest.raises(DamagedCacheError, match=reason), Cache(path) as cache:
        cache.tokens("text")


def test_as_many_tokens_as_a_content_may_have_are_read(path):
    assert verify(changed(path, every_token_to_one_content(MOST_TOKENS), digests_fit=True)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (same_key_twice, "image/key"),
        (vector_that_is_not_finite, "image/synthetic"),
        (token_that_is_not_finite, "text/synthetic/token"),
        (content_without_tokens, "text/synthetic/token_offset"),
    ],
)
def test_tables_of_a_modality_that_the_catalogue_no_longer_has_are_checked_too(path, change, named):
    """The next catalogue may have it again."""
    past = combined(drop("catalogue/image"), drop("catalogue/text"))
    assert verify(changed(path, past, digests_fit=True)) == []
    assert any(named in problem for problem in verify(changed(path, change, digests_fit=True)))


@pytest.mark.slow
def test_every_flipped_bit_and_every_cut_is_found_or_harmless(intact, tmp_path):
    """A process of its own does it, which the system stops if damage makes HDF5 run in circles, or crash."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    process = subprocess.run(
        [sys.executable, __file__, intact, tmp_path],
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, (
        f"it ended with {process.returncode} at {process.stdout[-200:]}\n{process.stderr[-500:]}"
    )
    *_, summary = process.stdout.splitlines()
    counts = json.loads(summary)
    assert counts.pop("wrong") == []
    assert counts["found"] > N_CUTS + N_FLIPS // 10, "damage was hardly noticed, which cannot be"
    assert sum(counts.values()) == N_FLIPS + N_CUTS


def damages(content, seed):
    """Yield what is done and the damaged bytes; half of the flips are in bytes that are not zero."""
    draw = random.Random(seed)
    nonzero_positions = [position for position, byte in enumerate(content) if byte]
    for n in range(N_FLIPS):
        position, bit = draw.choice(nonzero_positions) if n % 2 else draw.randrange(len(content)), draw.randrange(8)
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        yield f"bit {bit} of byte {position}", damaged
    for _ in range(N_CUTS):
        n_left = draw.randrange(len(content))
        yield f"cut to {n_left} bytes", content[:n_left]


def outcome(path, intact):
    """Return "found" or "harmless", or in which way the damage in `path` got through."""
    try:
        problems = verify(path)
    except Exception as error:  # noqa: BLE001 - any is a finding
        return f"verify ended with {type(error).__name__}: {error}"
    try:
        is_same = read_all(path) == intact
    except CacheError:
        return "found" if problems else "verify found nothing, and it cannot be read"
    except Exception as error:  # noqa: BLE001 - any is a finding
        return f"reading ended with {type(error).__name__}: {error}"
    return "found" if problems else "harmless" if is_same else "verify found nothing, and other values are read"


def main(whole_path, folder):
    """Damage copies of a cache, one after the other, and print what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (240, 240))
    intact = read_all(whole_path)
    summary = {"found": 0, "harmless": 0, "wrong": []}
    for damage, content in damages(Path(whole_path).read_bytes(), seed=0):
        sys.stdout.write(f"{damage}\n")
        sys.stdout.flush()
        path = Path(folder) / "damaged.h5"
        path.write_bytes(content)
        result = outcome(path, intact)
        if result in summary:
            summary[result] += 1
        else:
            summary["wrong"].append(f"{damage}: {result}")
    sys.stdout.write(json.dumps(summary))


if __name__ == "__main__":
    main(*sys.argv[1:])
