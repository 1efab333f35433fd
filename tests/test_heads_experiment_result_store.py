"""The memo: what is put in is there, whoever else writes, whoever is killed, and nothing else is taken for a memo."""

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import fork_server
import numpy as np
import pytest
from support import ROOT

from cache import UnreadableError
from heads.data.splitting.splits import Split
from heads.errors import MemoError
from heads.experiment.result_store import ResultCache, _digest, job_key
from heads.experiment.results import Outcome, Trained, outcome_of
from heads.metrics.answers import Answers

pytestmark = pytest.mark.slow

WRITER = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from test_heads_experiment_result_store import outcome
from heads.experiment.result_store import ResultCache
with ResultCache(sys.argv[1]) as memo:
    for number in range(int(sys.argv[3])):
        memo.put(f"{{sys.argv[2]}} {{number}}", outcome(number))
        print(number, flush=True)
"""


def outcome(seed=0, n_rows=50):
    generator = np.random.default_rng(seed)
    return Outcome(
        predictions=generator.integers(9, size=n_rows).astype(np.int32),
        test={"accuracy": generator.random(), "macro_f1": 0.5},
        validation={"accuracy": 0.5, "macro_f1": generator.random()},
        best_epoch=3,
        history=[{"train_loss": 0.5}],
        elapsed_s=1.5,
    )


def remembered(memo, key):
    return memo.get(key, n_rows=50, n_classes=9)


def assert_same(found, expected):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(np.array(getattr(found, name)), np.array(value), err_msg=name)
        if isinstance(value, np.ndarray):
            assert getattr(found, name).dtype == value.dtype


def start_writer(path, name, n_outcomes):
    code = WRITER.format(root=str(ROOT), tests=str(ROOT / "tests"))
    return fork_server.Popen(
        [sys.executable, "-c", code, path, name, str(n_outcomes)], stdout=subprocess.PIPE, text=True, cwd=path.parent
    )


def test_what_is_put_in_comes_out(tmp_path):
    with ResultCache(tmp_path / "new" / "m.sqlite") as memo:
        memo.put("a", outcome())
        memo.put("b", Outcome(error="it diverged"))
    with ResultCache(tmp_path / "new" / "m.sqlite") as memo:
        assert_same(remembered(memo, "a"), outcome())
        assert_same(remembered(memo, "b"), Outcome(error="it diverged"))
        assert remembered(memo, "c") is None
        assert len(memo) == 2


def test_numbers_that_are_none_are_kept(tmp_path):
    with ResultCache(tmp_path / "m.sqlite") as memo:
        memo.put("a", replace(outcome(), history=[{"train_loss": float("nan")}]))
        assert np.isnan(remembered(memo, "a").history[0]["train_loss"])


def test_the_first_outcome_stays(tmp_path):
    with ResultCache(tmp_path / "m.sqlite") as memo:
        memo.put("a", outcome(1))
        memo.put("a", outcome(2))
        assert remembered(memo, "a").test == outcome(1).test


def test_what_a_signal_left_half_begun_hinders_nobody(tmp_path):
    """A Ctrl-C may come when a transaction has begun and nobody is there yet to end it."""
    with ResultCache(tmp_path / "memo.sqlite") as memo:
        memo._connection.execute("BEGIN IMMEDIATE")
        memo.put("a", outcome())
        assert not memo._connection.in_transaction
        assert_same(remembered(memo, "a"), outcome())


def test_a_key_follows_from_every_field():
    fields = {"vectors": {"image": "1"}, "seed": 0}
    assert job_key(fields) == job_key(dict(reversed(fields.items())))
    assert len({job_key(fields), job_key({**fields, "seed": 1}), job_key({**fields, "vectors": {"text": "1"}})}) == 3


def test_a_key_follows_from_the_version_of_the_engine(monkeypatch):
    before = job_key({})
    monkeypatch.setitem(job_key.__globals__, "ENGINE_VERSION", 99)
    assert job_key({}) != before


def test_two_processes_write_and_read_one_memo(tmp_path):
    path = tmp_path / "m.sqlite"
    writers = [start_writer(path, name, 60) for name in ("one", "two")]
    for writer in writers:
        writer.stdout.readline()  # both are at it
    with ResultCache(path) as memo:
        while any(writer.poll() is None for writer in writers):
            remembered(memo, "one 0")
            memo.put(f"three {len(memo)}", outcome())
        assert [writer.wait() for writer in writers] == [0, 0]
        for name in ("one", "two"):
            for number in range(60):
                assert_same(remembered(memo, f"{name} {number}"), outcome(number))
    for writer in writers:
        writer.stdout.close()


@pytest.mark.parametrize("n_done", [1, 7, 30])
def test_a_process_that_is_killed_loses_nothing_that_it_finished(tmp_path, n_done):
    path = tmp_path / "m.sqlite"
    writer = start_writer(path, "one", 100_000)
    told = [int(writer.stdout.readline()) for _ in range(n_done)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    with ResultCache(path) as memo:
        for number in told:
            assert_same(remembered(memo, f"one {number}"), outcome(number))
        memo.put("more", outcome())
        assert len(memo) in (len(told) + 1, len(told) + 2)  # and perhaps one that it had no time to tell of
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_change_to_an_outcome_is_found(tmp_path):
    path = tmp_path / "m.sqlite"
    with ResultCache(path) as memo:
        memo.put("a", outcome())
    for change in ("about = replace(about, '1.5', '1.6')", "answers = zeroblob(204)", "answers = 'x'"):
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(f"UPDATE outcome SET {change}")  # noqa: S608 - our own words
        connection.close()
        with ResultCache(path) as memo, pytest.raises(MemoError, match="is damaged or none .* Delete it"):
            remembered(memo, "a")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predictions": np.zeros(49)}, "other rows or classes"),
        ({"predictions": np.full(50, 9)}, "other rows or classes"),
        ({"predictions": np.full(50, -1)}, "other rows or classes"),
        ({"test": {"accuracy": 1.0}}, "lacks scores"),
        ({"validation": {"accuracy": 1.0, "macro_f1": "x"}}, "lacks scores"),
        ({"validation": [1]}, "fields of another type"),
        ({"elapsed_s": None}, "fields of another type"),
        ({"error": "it diverged"}, "an error has answers"),
    ],
    ids=str,
)
def test_what_is_no_outcome_of_the_fold_is_a_named_error(tmp_path, changes, words):
    with ResultCache(tmp_path / "m.sqlite") as memo:
        memo.put("a", replace(outcome(), **changes))
        with pytest.raises(MemoError, match=rf"is damaged or none .*{words}.* Delete it"):
            remembered(memo, "a")


@pytest.mark.parametrize("about", [b"[]", b"{}", b"no JSON", b"[" * 100_000, b'{"answers": 1}'])
def test_other_fields_are_a_named_error(tmp_path, about):
    """The row's digest is right: whoever wrote it meant it."""
    path = tmp_path / "m.sqlite"
    with ResultCache(path) as memo:
        memo.put("a", outcome())
    connection = sqlite3.connect(path)
    answers = outcome().predictions.tobytes()
    with connection:
        connection.execute("UPDATE outcome SET about = ?, digest = ?", (about.decode(), _digest("a", about, answers)))
    connection.close()
    with ResultCache(path) as memo, pytest.raises(MemoError, match="is damaged or none"):
        remembered(memo, "a")


@pytest.mark.parametrize("is_sound", [True, False])
def test_what_sqlite_takes_for_damage_is_looked_at_again(tmp_path, is_sound):
    """It calls a file malformed when a read of it fails with EIO."""
    path = tmp_path / "m.sqlite"
    with ResultCache(path) as memo:
        for n in range(30):
            memo.put(f"one {n}", outcome())
    if not is_sound:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    malformed = sqlite3.DatabaseError("database disk image is malformed")
    with pytest.raises(UnreadableError if is_sound else MemoError), memo._named():
        raise malformed


def test_a_file_that_cannot_be_looked_at_again_is_not_called_damaged(tmp_path, monkeypatch):
    """The disk fails still, or another process holds the file."""
    with ResultCache(tmp_path / "m.sqlite") as memo:
        memo.put("one", outcome())

    def fail(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", fail)
    with pytest.raises(UnreadableError, match="disk I/O error"), memo._named():
        raise sqlite3.DatabaseError("database disk image is malformed")


def test_a_damaged_file_is_a_named_error_with_the_way_out(tmp_path):
    path = tmp_path / "m.sqlite"
    with ResultCache(path) as memo:
        for number in range(40):
            memo.put(f"{number}", outcome(number))
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)
    with ResultCache(path) as memo, pytest.raises(MemoError, match="Delete it, which loses nothing but the time"):
        assert [remembered(memo, f"{number}") for number in range(40)] == []


def test_damage_that_sqlite_quotes_is_a_named_error(tmp_path):
    """A flipped bit makes the table's definition no Unicode, and the message that has it none either."""
    path = tmp_path / "m.sqlite"
    with ResultCache(path) as memo:
        memo.put("one", outcome())
    content = path.read_bytes()
    assert content.count(b"ROWID") == 1
    path.write_bytes(content.replace(b"ROWID", b"ROWI\xc4"))
    with pytest.raises(MemoError, match="damaged"), ResultCache(path) as memo:
        memo.get("one", n_rows=3, n_classes=2)


@pytest.mark.parametrize("content", [b"id,label\n" * 99, b"SQLite format 3\0" + b"\1" * 200, b"\x89HDF" + bytes(999)])
def test_another_file_is_no_memo(tmp_path, content):
    path = tmp_path / "m.sqlite"
    path.write_bytes(content)
    with pytest.raises(MemoError, match=r"--memo to be a file that heads-ablate wrote"):
        ResultCache(path)
    assert path.read_bytes() == content


def test_another_program_s_database_is_no_memo_and_stays_as_it_is(tmp_path):
    path = tmp_path / "m.sqlite"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE outcome (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(MemoError, match="another program's database"):
        ResultCache(path)
    assert path.read_bytes() == before


def test_a_memo_of_a_later_version_says_what_to_do(tmp_path):
    path = tmp_path / "m.sqlite"
    ResultCache(path).__exit__(None, None, None)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(MemoError, match="version 2, but it is of version 9. Update embed-once"):
        ResultCache(path)


def test_a_folder_is_no_memo(tmp_path):
    with pytest.raises(MemoError, match="read and written"):
        ResultCache(tmp_path)


def test_an_outcome_is_of_the_rows_of_its_sides():
    """Rows 3 and 1 validate, rows 0 and 4 test: measured by hand."""
    targets = np.array([1, 0, -1, 1, 0])
    split = Split(train=np.array([2]), validation=np.array([1, 3]), test=np.array([0, 4]))
    probabilities = {"validation": [[0.9, 0.1], [0.6, 0.4]], "test": [[0.2, 0.8], [0.3, 0.7]]}
    answers = {side: Answers.of(np.array(rows), targets[getattr(split, side)]) for side, rows in probabilities.items()}
    found = outcome_of(Trained(None, answers, 1.0, best_epoch=2), targets, split, n_classes=2)
    assert found.predictions.tolist() == [1, 1]
    assert found.test["accuracy"] == 0.5
    assert found.test["macro_f1"] == pytest.approx((0 + 2 / 3) / 2)
    assert found.test["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.3)) / 2)
    assert found.validation["accuracy"] == 0.5
    assert found.validation["log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.4)) / 2)
