"""The campaigns of `bin/torture`, a trial or two of each, and the program around them."""

import json
import os
import random

import pytest
from click.testing import CliRunner
from failing_writes import ERRNOS
from torture.campaign import Campaign, LossError, Tools, require
from torture.disk import Disk
from torture.registry import CAMPAIGNS
from torture.run import torture

from cache.errors import DamagedCacheError
from cache.system.lock import WriterLock

pytestmark = pytest.mark.slow

SEED = 16


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    tools = Tools(tmp_path_factory.mktemp("torture"), SEED)
    yield tools
    tools.close()


@pytest.mark.parametrize("name", [name for name, campaign in CAMPAIGNS.items() if campaign.n_unit])
def test_nothing_is_lost_in_a_small_campaign(name, tools, tmp_path):
    campaign = CAMPAIGNS[name]
    run = campaign.prepare(tools)
    for number in range(campaign.n_unit):
        trial = campaign.trial(number, seed=SEED, folder=tmp_path / "trial", is_small=True)
        run(trial)
        assert trial.counts


def losing(tools):
    def trial(trial):
        trial.counts["coins"] += 1
        (trial.folder / "coin").write_text(str(trial.random.random()))
        require(trial.number != 2, "lost", "the third coin")

    return trial


def test_the_first_loss_ends_with_what_makes_it_again(monkeypatch, tmp_path):
    campaigns = {"coins": Campaign("coins", "coins", losing)}
    monkeypatch.setattr("torture.run.CAMPAIGNS", campaigns)
    line = ["--minutes", "1", "--seed", "7", "--resume", str(tmp_path)]
    first = CliRunner().invoke(torture, line)
    assert first.exit_code == 1
    assert "coins: 2 trials: 2 coins, 1 lost, 0 encoded again, 0 wrong, 0 unnamed" in first.stdout
    assert f"bin/torture --minutes 0 --seed 7 --only coins --resume {tmp_path}" in first.stdout
    drawn = (tmp_path / "coins" / "coin").read_text()
    again = CliRunner().invoke(torture, ["--minutes", "0", "--resume", str(tmp_path)])
    assert again.exit_code == 1
    assert "Lost in coins, trial 2: lost: the third coin" in again.stdout
    assert (tmp_path / "coins" / "coin").read_text() == drawn
    assert json.loads((tmp_path / "state.json").read_text())["n_trials"] == {"coins": 2}


def test_two_tortures_do_not_share_a_folder(tmp_path):
    lock = WriterLock(tmp_path / "lock")
    lock.acquire()
    again = CliRunner().invoke(torture, ["--minutes", "0", "--resume", str(tmp_path)])
    lock.release()
    assert again.exit_code == 1
    assert "another is at work there" in again.stderr


def test_an_error_that_no_campaign_expects_is_a_loss_too(monkeypatch, tmp_path):
    """A reader that raises ended with a traceback, without figures and without the line that makes it again."""

    def damaged(trial):
        raise DamagedCacheError(f"trial {trial.number}")

    monkeypatch.setattr("torture.run.CAMPAIGNS", {"coins": Campaign("coins", "coins", lambda _: damaged)})
    ended = CliRunner().invoke(torture, ["--minutes", "1", "--seed", "7", "--resume", str(tmp_path)])
    assert ended.exit_code == 1
    assert "coins: 0 trials: 0 lost, 0 encoded again, 0 wrong, 1 unnamed" in ended.stdout
    assert "DamagedCacheError: trial 0" in ended.stdout
    assert f"bin/torture --minutes 0 --seed 7 --only coins --resume {tmp_path}" in ended.stdout
    assert CliRunner().invoke(torture, ["--resume", str(tmp_path)]).stdout.startswith("Seed 7, ")  # the first was lost


def test_cases_of_a_campaign_come_in_turn_and_in_an_order_of_the_seed(tmp_path):
    cases = list("abcdef")
    orders = {"".join(Tools(tmp_path, seed).pick(cases, n) for n in range(6)) for seed in range(9)}
    assert len(orders) > 5
    assert {"".join(sorted(order)) for order in orders} == {"abcdef"}


def test_a_loss_has_a_kind():
    with pytest.raises(LossError, match="wrong: this") as loss:
        require([], "wrong", "this")
    assert loss.value.kind == "wrong"


def states(start, changes, tmp_path):
    """Return all contents of the file `a` after 200 losses of power; None stands for no file."""
    contents = set()
    for n in range(200):
        disk = Disk(start)
        for change in changes:
            disk.change(change)
        disk.write_state(tmp_path / str(n), random.Random(n))
        path = tmp_path / str(n) / "a"
        contents.add(path.read_bytes() if path.exists() else None)
    return contents


def test_a_disk_keeps_what_was_synced_and_nothing_else_for_sure(tmp_path):
    """By hand: a file written aside as `b`, renamed to `a`, where another `a` stood."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "a").write_bytes(b"old")
    synced = {"change": "fsync", "path": "b", "file": 7, "content": "bmV3"}
    renamed = {"change": "rename", "source": "b", "path": "a", "file": 7, "content": "bmV3"}
    listed = {"change": "fsync", "path": ".", "folder": True}
    assert states(start, [synced, renamed, listed], tmp_path / "1") == {b"new"}
    assert states(start, [synced, renamed], tmp_path / "2") == {b"old", b"new"}
    assert states(start, [renamed, listed], tmp_path / "3") == {b"", b"n", b"ne", b"new", b"\0\0\0"}
    assert states(start, [{"change": "unlink", "path": "a"}], tmp_path / "4") == {b"old", None}


def test_errors_of_a_disk_are_those_that_systems_give():
    assert {os.strerror(number) for number in ERRNOS} == {
        "No space left on device", "Input/output error", "Disk quota exceeded", "Read-only file system",
    }  # fmt: skip
