"""Shards: many workers each encode a share, whatever order they come in, and one last call seals what they made."""

import itertools
import os
import re
import shutil

import numpy as np
import pytest
from support import CountingEncoder, image_bytes, invoke, synthetic_cache, write_catalogue

import cache.system.file_identity
import embed.extraction.source.content_source
from cache import (
    Cache,
    CacheError,
    CacheLockedError,
    EncoderSpec,
    Inventory,
    Journal,
    Part,
    SpecConflictError,
    UnknownVersionError,
    VectorsByKey,
    content_key,
    verify,
)
from cache.commands.info import info
from cache.journal.part_file import load_part, read_heading
from cache.rebuilding.merging import merge
from cache.rebuilding.unused import drop_unused
from cache.system.lock import BY_NAME
from embed import SettingError, extract, extract_shard
from embed.commands.extract import extract as extract_command
from embed.extraction import work_of_shards
from embed.extraction.shard import NEIGHBOURS, Shard, find_shard

pytestmark = pytest.mark.slow

N = 12  # products, of which two share a picture under two paths, and one has a broken one


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    rows = [{"id": f"{n:02}", "image": f"{n}.png", "text": f"product {n // 2}", "label": "x"} for n in range(N)]
    images = {f"{n}.png": image_bytes((n, 7, 9)) for n in range(N)} | {"1.png": image_bytes((0, 7, 9)), "5.png": b"no"}
    return write_catalogue(tmp_path_factory.mktemp("shop"), rows, images)


@pytest.fixture(autouse=True)
def _pictures_are_settled(monkeypatch):
    monkeypatch.setattr(cache.system.file_identity, "SETTLED_NS", -(10**15))
    monkeypatch.setattr(cache.system.file_identity, "COARSE_SETTLED_NS", -(10**15))


def encoders(**fields):
    return [CountingEncoder("image", **fields), CountingEncoder("text", dim=3, **fields)]


def run(shop, cache_path, shard=None, *, settings=None, **fields):
    """Run a shard, or the last call; return how many contents were encoded, and the report."""
    made = encoders(**fields)
    if shard is None:
        report = extract(shop, cache_path, encoders=made, settings=settings)
    else:
        report = extract_shard(shop, cache_path, shard=shard, encoders=made, settings=settings)
    return sum(encoder.n_encoded for encoder in made), report


@pytest.fixture(scope="module")
def local(shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "c.h5"
    assert run(shop, path)[0] == N - 2 + N // 2
    return path


def assert_equal(path, other):
    assert verify(path) == []
    with Cache(path) as ours, Cache(other) as theirs:
        assert ours.ids() == theirs.ids()
        for modality in ("image", "text"):
            assert ours.statuses(modality) == theirs.statuses(modality)
            assert ours.matrix(modality).tobytes() == theirs.matrix(modality).tobytes()
            assert ours.content_sha256 == theirs.content_sha256
    failures = [one.with_name(f"{one.name}.failures.csv").read_text() for one in (path, other)]
    assert failures[0] == failures[1]
    assert not path.with_name(f"{path.name}.journal").exists()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[::2], ids=str)
def test_cache_of_three_shards_in_any_order_is_the_local_one(shop, local, tmp_path, order):
    path = tmp_path / "c.h5"
    n_encoded = [run(shop, path, f"{number}/3")[0] for number in order]
    assert not path.exists()
    assert sum(n_encoded) in (N - 2 + N // 2, N - 1 + N // 2)  # one picture stands under two paths
    assert run(shop, path)[0] == 0
    assert_equal(path, local)


def test_tokens_of_shards_are_sealed_with_their_vectors(tmp_path):
    spec = EncoderSpec("text", {"weights": "drawn", "tokens": True})
    parts = {"00000-of-00002": ["a", "b"], "00001-of-00002": ["c"]}
    from cache import Products, Tokens, seal

    for shard, names in parts.items():
        with Journal(tmp_path / "c.h5", shard=shard) as journal:
            tokens = Tokens.of([np.full((ord(name) - 96, 2), ord(name), np.float16) for name in names])
            vectors = np.array([[ord(name)] for name in names], dtype=np.float32)
            journal.publish(Part("drawn", spec, [content_key(name.encode()) for name in names], vectors, {}, tokens))
    with Journal(tmp_path / "c.h5") as journal:
        seal(tmp_path / "c.h5", journal, Products([], {}, {}))
    with Cache(tmp_path / "c.h5") as cache:
        assert sorted(cache.token_counts("text", "drawn").tolist()) == [1, 2, 3]
    assert verify(tmp_path / "c.h5") == []


def test_repeated_and_late_shards_encode_nothing_again(shop, local, tmp_path):
    path = tmp_path / "c.h5"
    assert run(shop, path, "0/2")[0] > 0
    assert run(shop, path, "0/2")[0] == 0
    n_of_all = run(shop, path, "0/1")[0]  # another number of shards shares otherwise
    assert run(shop, path, "1/2")[0] == 0
    assert n_of_all > 0
    assert run(shop, path)[0] == 0
    assert_equal(path, local)
    for shard in ("0/2", "1/2"):  # late: all is sealed
        assert run(shop, path, shard)[0] == 0
    assert run(shop, path)[1].was_written is False
    assert_equal(path, local)


def test_shard_reads_of_others_parts_their_keys_alone(shop, local, tmp_path, monkeypatch):
    """What all have published may be more than one machine's network brings in an hour."""
    path = tmp_path / "c.h5"
    run(shop, path, "0/1")
    (damaged, *_) = Journal(path).paths()
    content = bytearray(damaged.read_bytes())
    content[content.index(load_part(damaged).vectors[0].tobytes())] ^= 1
    damaged.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr("cache.journal.journal.load_part_file", lambda _: pytest.fail("a part was read whole"))
        assert run(shop, path, "0/2")[0] == run(shop, path, "1/2")[0] == 0
    assert run(shop, path)[0] > 0  # the last call finds the damage
    journal = path.with_name("c.h5.journal")
    assert [name.name for name in journal.iterdir()] == [f"{damaged.name}.damaged"]
    shutil.rmtree(journal)
    assert_equal(path, local)


def test_last_call_encodes_what_no_shard_has(shop, local, tmp_path):
    path = tmp_path / "c.h5"
    n_encoded = run(shop, path, "1/3")[0]
    assert run(shop, path)[0] == N - 2 + N // 2 - n_encoded > 0
    assert_equal(path, local)


def test_what_a_shard_publishes_after_the_seal_is_taken_by_the_next_call(shop, local, tmp_path):
    path = tmp_path / "c.h5"
    run(shop, path)
    with Journal(path, shard="00001-of-00002") as journal:
        spec = EncoderSpec("image", {"weights": "counted"})
        late = content_key(b"late")
        journal.publish(Part("counting", spec, [late], np.ones((1, 4), np.float32), {}))
    assert invoke(info, path).stdout.count("1 part waits in the journal (vectors not sealed yet: 1 of image/counting)")
    assert VectorsByKey(path, "counting", spec).knows(late)
    assert run(shop, path)[0] == 0
    with Cache(path) as cache:
        assert late.encode() in cache.keys("image")
    assert not path.with_name("c.h5.journal").exists()


def test_whoever_reads_a_journal_reads_those_of_shards_too(shop, tmp_path):
    """They are merged into another cache, taken for the same encoder elsewhere, checked, and left alone by cache-gc."""
    path = tmp_path / "c.h5"
    run(shop, path, "0/2")
    n_first = run(shop, path)[0]
    assert n_first > 0
    with Journal(path, shard="00001-of-00002") as journal:
        spec = EncoderSpec("image", {"weights": "counted"})
        part = journal.publish(Part("counting", spec, [content_key(b"late")], np.ones((1, 4), np.float32), {}))
    assert drop_unused(path).n_unsealed_parts == 1
    merge([path], tmp_path / "merged.h5")
    with Cache(tmp_path / "merged.h5") as merged:
        assert content_key(b"late").encode() in merged.keys("image")
    (waiting,) = Journal(path).paths()
    assert (waiting.name, verify(path)) == (part.name, [])
    os.truncate(waiting, 100)
    assert verify(path) == [f"The journal's part {part.name} is damaged."]
    run(shop, path)
    assert verify(path) == []


def test_each_picture_is_read_by_one_shard_and_not_by_the_last_call(shop, tmp_path, monkeypatch):
    """But for the few that the cache keeps as they are."""
    read = []
    plain = embed.extraction.source.content_source.read_image

    def noted(place, **options):
        read.append((shard, place.name))
        return plain(place, **options)

    monkeypatch.setattr(embed.extraction.source.content_source, "read_image", noted)
    path = tmp_path / "c.h5"
    for shard in ("0/3", "1/3", "2/3"):
        run(shop, path, shard)
    assert len({name for _, name in read}) == len(set(read)) == N
    read.clear()
    shard = None
    monkeypatch.setattr(embed.extraction.source.content_source, "choose_samples", lambda *_, **__: {})
    run(shop, path)
    assert not (tmp_path / "c.h5.journal").exists()
    run(shop, path)  # whose hints are all in one file by now
    assert read == []


def test_shards_share_all_contents_out():
    cells = [f"{n}.png" for n in range(1000)]
    shares = [Shard(number, 7).pictures(cells) for number in range(7)]
    assert sorted(itertools.chain(*shares)) == sorted(cells)
    assert min(map(len, shares)) > 100
    assert sorted(Shard(3, 7).pictures(cells[::-1])) == sorted(shares[3])  # whatever the order
    keys = [content_key(cell.encode()) for cell in cells]
    assert [sum(Shard(number, 7).takes_key(key) for number in range(7)) for key in keys] == [1] * 1000


def test_pictures_inside_one_file_stay_with_their_neighbours():
    from embed.contents.file_ranges import FilePart, PlacedCell

    cells = [PlacedCell(f"{n}", FilePart(None, n, 1)) for n in range(4 * NEIGHBOURS)]
    shares = [Shard(number, 2).pictures(cells) for number in range(2)]
    assert sorted(itertools.chain(*shares)) == sorted(cells)
    assert {len(share) % NEIGHBOURS for share in shares} == {0}


def test_same_shard_twice_at_once_is_a_named_error(shop, tmp_path):
    path = tmp_path / "c.h5"
    with Journal(path, shard="00000-of-00002"):
        with pytest.raises(CacheLockedError, match=f"process {os.getpid()} on .* is writing this one"):
            run(shop, path, "0/2")
        run(shop, path, "1/2")  # another shard is not disturbed


def test_last_call_waits_for_no_shard_and_names_those_at_work(shop, local, tmp_path):
    path = tmp_path / "c.h5"
    run(shop, path, "1/2")
    with (
        Journal(path, shard="00000-of-00002"),
        pytest.raises(CacheLockedError, match=r"1 is still at work \(00000-of-00002 in .*type the same line again"),
    ):
        run(shop, path)
    assert not path.exists()
    run(shop, path)
    assert_equal(path, local)


def test_last_call_waits_for_the_workers_of_an_engine_whose_run_has_ended(shop, local, tmp_path, monkeypatch):
    """They end by themselves; a call that came at once was refused."""
    path = tmp_path / "c.h5"
    worker = Journal(path, shard="ray-8c7eacd0a66d-3724dee9b335").__enter__()
    monkeypatch.setattr(work_of_shards.time, "sleep", lambda _: worker.__exit__())
    run(shop, path)
    assert_equal(path, local)


def test_shard_that_was_killed_where_there_are_no_locks_is_named_with_what_to_remove(shop, local, tmp_path):
    """The last call said to wait for its end, for ever."""
    path = tmp_path / "c.h5"
    run(shop, path, "0/2")
    run(shop, path, "1/2")
    (lock := tmp_path / "c.h5.journal" / "shards" / "00000-of-00002" / "lock").write_text(f"process 1 on x{BY_NAME}")
    with pytest.raises(CacheLockedError, match=rf"If one was killed, .* remove its lock, such as {lock}\."):
        run(shop, path)
    lock.unlink()
    run(shop, path)
    assert_equal(path, local)


def test_second_last_call_is_a_named_error(shop, tmp_path):
    path = tmp_path / "c.h5"
    run(shop, path, "0/1")
    with Journal(path), pytest.raises(CacheLockedError, match="is writing this one"):
        run(shop, path)
    assert run(shop, path)[0] == 0


def test_shard_works_while_another_process_writes_the_cache(shop, local, tmp_path):
    path = tmp_path / "c.h5"
    with Journal(path):
        run(shop, path, "0/1")
    assert run(shop, path)[0] == 0
    assert_equal(path, local)


def test_shard_with_another_spec_is_refused_before_it_works(shop, tmp_path):
    path = tmp_path / "c.h5"
    run(shop, path, "0/2")
    with pytest.raises(SpecConflictError, match="has it with size"):
        run(shop, path, "1/2", size=7)
    assert run(shop, path, "1/2")[0] > 0


def test_shards_of_two_specs_at_once_are_named_and_nothing_of_them_is_lost(shop, local, tmp_path):
    """Neither saw the other's: their journals are put side by side here."""
    path = tmp_path / "c.h5"
    run(shop, path, "0/2")
    run(shop, tmp_path / "other.h5", "1/2", size=7)
    shutil.copytree(tmp_path / "other.h5.journal", tmp_path / "c.h5.journal", dirs_exist_ok=True)
    folder = tmp_path / "c.h5.journal" / "shards" / "00001-of-00002"
    for _ in range(2):
        with pytest.raises(SpecConflictError, match=re.escape(f"{folder} has text/counting with size: 7, not nothing")):
            run(shop, path)
    assert len(list(folder.glob("*.part.h5"))) == 2
    shutil.rmtree(folder)
    assert run(shop, path)[0] > 0
    assert_equal(path, local)


def test_shard_of_another_spec_than_was_sealed_meanwhile_is_named_and_stays_apart(shop, local, tmp_path):
    """It began before there was anything to compare with, and ended after the seal."""
    path = tmp_path / "c.h5"
    run(shop, path)
    run(shop, tmp_path / "other.h5", "1/2", size=7)
    shutil.copytree(tmp_path / "other.h5.journal", tmp_path / "c.h5.journal")
    folder = tmp_path / "c.h5.journal" / "shards" / "00001-of-00002"
    with pytest.raises(SpecConflictError, match=re.escape(f"{folder} has ")):
        run(shop, path)
    assert len(list(folder.glob("*.part.h5"))) == 2
    shutil.rmtree(folder.parent)
    assert run(shop, path)[0] == 0
    assert_equal(path, local)


def test_vectors_of_a_shard_of_another_catalogue_stay_and_harm_nothing(shop, local, tmp_path):
    other = write_catalogue(
        tmp_path / "other", [{"id": "x", "image": "x.png", "text": "none of them"}], {"x.png": image_bytes("navy")}
    )
    path = tmp_path / "c.h5"
    assert run(other, path, "0/1")[0] == 2
    run(shop, path)
    with Cache(path) as ours, Cache(local) as theirs:
        assert ours.matrix("image").tobytes() == theirs.matrix("image").tobytes()
        assert len(ours.keys("text")) == len(theirs.keys("text")) + 1
    assert run(other, path)[0] == 0


def test_part_that_a_newer_version_wrote_is_refused_and_stays(shop, tmp_path, monkeypatch):
    path = tmp_path / "c.h5"
    with monkeypatch.context() as patch:
        patch.setattr("cache.format.writer.FORMAT_VERSION", 99)
        run(shop, path, "0/2")
    for shard in ("1/2", None):
        with pytest.raises(UnknownVersionError, match="99"):
            run(shop, path, shard)
    assert len(list(path.with_name("c.h5.journal").rglob("*.part.h5"))) == 2


def test_shard_on_a_full_disk_is_a_named_error_and_goes_on_afterwards(shop, local, tmp_path, monkeypatch):
    path = tmp_path / "c.h5"
    with monkeypatch.context() as patch:
        patch.setattr(
            "cache.journal.journal.write_aside", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(CacheError, match=r"could not be written to .*00000-of-00002 \(No space left\)"):
            run(shop, path, "0/2")
    assert run(shop, path, "0/2")[0] > 0
    run(shop, path)
    assert_equal(path, local)


@pytest.mark.parametrize("time_s", [0, 2**33])
def test_clocks_of_other_machines_say_nothing(shop, local, tmp_path, time_s):
    path = tmp_path / "c.h5"
    n_encoded = run(shop, path, "0/2")[0]
    for written in path.with_name("c.h5.journal").rglob("*"):
        os.utime(written, (time_s, time_s))
    assert run(shop, path, "0/2")[0] == 0
    assert run(shop, path)[0] == N - 2 + N // 2 - n_encoded
    assert_equal(path, local)


def test_parts_that_go_while_they_are_merged_are_merged_without(tmp_path, monkeypatch):
    """Where locks do not reach another machine it may seal a shard's parts under the shard."""
    spec = EncoderSpec("image", {"weights": "drawn"})
    journal = Journal(tmp_path / "c.h5", shard="00000-of-00002")
    with journal:
        keys = [content_key(bytes([n])) for n in range(8)]
        paths = [journal.publish(Part("drawn", spec, [key], np.ones((1, 2), np.float32), {})) for key in keys]
        parts_to_merge = journal._parts_to_merge

        def sealed_meanwhile(*names):
            chosen = parts_to_merge(*names)
            for path in paths[:3]:
                path.unlink(missing_ok=True)
            return chosen

        monkeypatch.setattr(journal, "_parts_to_merge", sealed_meanwhile)
        journal.merge("image", "drawn")
        (merged,) = journal.paths()
        assert len(Inventory(tmp_path / "c.h5", journal).entries["image", "drawn"].keys) == 5
        assert merged.parent == journal.folder


def test_nothing_is_known_of_a_part_whose_keys_are_damaged_or_that_has_gone(shop, tmp_path):
    path = tmp_path / "c.h5"
    run(shop, path, "0/1")
    part = Journal(path).paths()[0]
    key, content = read_heading(part).keys[0].encode(), part.read_bytes()
    part.write_bytes(content.replace(key, b"0" * 64))
    assert read_heading(part) is None
    part.write_bytes(content[:100])
    assert read_heading(part) is None
    part.unlink()
    assert read_heading(part) is None


@pytest.mark.parametrize("way", ["merged", "taken", "sealed"])
def test_whoever_misses_a_part_looks_where_it_went(tmp_path, monkeypatch, way):
    """Parts go between the moment that a shard lists them and the moment that it reads them."""
    path = tmp_path / "c.h5"
    spec = EncoderSpec("image", {"weights": "synthetic"})
    parts = [Part("synthetic", spec, [content_key(bytes([n]))], np.ones((1, 2), np.float32), {}) for n in range(8)]
    with Journal(path, shard="00000-of-00002") as journal:
        for part in parts:
            journal.publish(part)
    plain, is_first = Inventory._read, True

    def late(self, paths):
        nonlocal is_first
        if is_first:
            is_first = False
            if way == "sealed":
                synthetic_cache(path, {"image": np.ones((1, 2))}, {"label": ["a"]})
            else:
                with Journal(path, shard="00000-of-00002" if way == "merged" else None) as other:
                    other.merge("image", "synthetic")
        return plain(self, paths)

    monkeypatch.setattr(Inventory, "_read", late)
    shard = Journal(path, shard="00001-of-00002")
    assert Inventory(path, shard).entries["image", "synthetic"].keys >= {part.keys[0] for part in parts}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({"RANK": "3", "WORLD_SIZE": "16"}, Shard(3, 16)),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}, Shard(0, 4)),
        ({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "3"}, Shard(2, 3)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_MAX": "9",
                "SLURM_ARRAY_TASK_COUNT": "5",
            },
            Shard(3, 5),
        ),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Shard(0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, Shard(1, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "RANK": "1", "WORLD_SIZE": "2"}, Shard(1, 2)),  # no step of srun's
    ],
)
def test_auto_is_what_whoever_started_the_process_says(environment, shard):
    assert find_shard("auto", environment) == shard


ARRAY = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7"}


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("auto", {}, "SLURM_ARRAY_TASK_ID.*none is set.*--shard 3/16"),
        ("auto", {"JOB_COMPLETION_INDEX": "2"}, "Set JOB_COMPLETIONS"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "2"}, "expected RANK to be a number, got 'x'"),
        ("auto", {"RANK": "2", "WORLD_SIZE": "2"}, "expected one of 0/2 to 1/2, got 2/2"),
        (
            "auto",
            {"RANK": "1", "WORLD_SIZE": "2", "JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "2"},
            "expected one answer, got 1/2 of torchrun, 0/2 of a Kubernetes indexed job",
        ),
        ("auto", {**ARRAY, "SLURM_ARRAY_TASK_COUNT": "3"}, None),  # 1, 4, 7: 5 is none of them
        ("auto", {**ARRAY, "SLURM_ARRAY_TASK_COUNT": "5"}, "numbered evenly"),
        ("16/16", {}, "expected one of 0/16 to 15/16, got 16/16. The first is 0"),
        ("0/0", {}, "one or more shards"),
        ("3 of 16", {}, "such as 3/16, or auto, got '3 of 16'"),
        ("-1/4", {}, "such as 3/16"),
    ],
)
def test_shard_that_cannot_be_is_named(text, environment, message):
    with pytest.raises(SettingError, match=message or "numbered evenly"):
        find_shard(text, environment)


def test_command_says_what_a_shard_did_and_how_to_go_on(shop, tmp_path, monkeypatch):
    monkeypatch.setattr("embed.extraction.encoding.run_encoders.make_encoders", lambda _: encoders())
    line = (shop, "-o", tmp_path / "c.h5", "--device", "cpu")
    done = invoke(extract_command, *line, "--shard", "0/1")
    assert done.exit_code == 0, done.stderr
    assert "shard 0/1 is done" in done.stdout
    assert "missing" not in done.stdout
    assert "the same line without --shard seals the cache" in " ".join(done.stdout.split())
    assert invoke(extract_command, *line, "--shard", "0/1", "--estimate").exit_code == 2
    assert invoke(extract_command, *line, "--shard", "1/1").stderr.startswith("Error: --shard: expected one of 0/1 to")
    assert "sealed" in invoke(extract_command, *line).stdout
