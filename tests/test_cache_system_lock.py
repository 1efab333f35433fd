"""One writer at a time, among real processes; the lock dies with its holder."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import fork_server
import pytest
from support import ROOT

from cache import CacheError, CacheLockedError, Journal

pytestmark = pytest.mark.slow

HOLDS = """
import sys
sys.path.insert(0, sys.argv[2])
from cache import Journal
with Journal(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

TAKES_TURNS = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
from cache import CacheLockedError, Journal
path = pathlib.Path(sys.argv[1])
counter = path.with_name("counter")
n_turns = 0
while n_turns < 50:
    try:
        with Journal(path):
            count = int(counter.read_text())
            counter.write_text(str(count + 1))
            n_turns += 1
    except CacheLockedError:
        pass
"""


@pytest.fixture
def cache_path(tmp_path):
    return tmp_path / "c.h5"


@contextmanager
def holder(cache_path):
    """Yield a process that holds the lock of `cache_path`; it lets go when its input ends."""
    command = [sys.executable, "-c", HOLDS, cache_path, ROOT]
    with fork_server.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def files_beside(cache_path):
    return list(cache_path.parent.glob("c.h5*"))


def test_second_writer_gets_an_error_that_names_the_first(cache_path):
    with holder(cache_path) as process, pytest.raises(CacheLockedError, match=rf"process {process.pid} on .*-o"):
        Journal(cache_path).__enter__()


def test_second_writer_does_not_disturb_the_first(cache_path):
    with holder(cache_path) as process:
        for _ in range(3):
            with pytest.raises(CacheLockedError, match=str(process.pid)):
                Journal(cache_path).__enter__()
    assert process.returncode == 0
    assert files_beside(cache_path) == []


def test_two_journals_of_one_process_exclude_each_other_too(cache_path):
    with Journal(cache_path):
        with pytest.raises(CacheLockedError):
            Journal(cache_path).__enter__()
        assert (Journal(cache_path).folder / "lock").exists()


def test_other_caches_of_the_folder_are_not_locked(cache_path):
    with holder(cache_path), Journal(cache_path.with_name("other.h5")) as journal:
        assert journal.folder.is_dir()


def test_lock_dies_with_its_holder(cache_path):
    with holder(cache_path) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert (Journal(cache_path).folder / "lock").exists()
    with Journal(cache_path) as journal:
        assert str(process.pid) not in (journal.folder / "lock").read_text()
    assert files_beside(cache_path) == []


def test_nothing_is_left_after_release(cache_path):
    with holder(cache_path):
        assert files_beside(cache_path) == [Journal(cache_path).folder]
    assert files_beside(cache_path) == []


def test_file_in_place_of_the_journal_is_a_named_error(cache_path):
    Journal(cache_path).folder.write_text("somebody's notes")
    with pytest.raises(CacheError, match="folder"):
        Journal(cache_path).__enter__()
    assert Journal(cache_path).folder.read_text() == "somebody's notes"


def test_lock_is_released_when_the_work_fails(cache_path):
    with pytest.raises(RuntimeError), Journal(cache_path):
        raise RuntimeError("the work failed")
    assert files_beside(cache_path) == []
    with Journal(cache_path):
        pass


def test_writers_that_take_turns_never_overlap(cache_path):
    """Each adds one to a number in a file, which loses additions as soon as two do it at the same time."""
    counter = cache_path.with_name("counter")
    counter.write_text("0")
    command = [sys.executable, "-c", TAKES_TURNS, cache_path, ROOT]
    writers = [fork_server.Popen(command) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert counter.read_text() == "200"
    assert files_beside(cache_path) == []


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def without_locks(request, monkeypatch):
    """A file system that has no locks."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        yield patch


def test_without_locks_whoever_made_the_file_writes_alone(cache_path, without_locks):
    with Journal(cache_path) as journal:
        with pytest.raises(
            CacheLockedError, match=rf"process {os.getpid()} on .* remove {journal.folder / 'lock'} and"
        ):
            Journal(cache_path).__enter__()
        assert (journal.folder / "lock").exists()
        without_locks.undo()  # the system has them again, and the other does not hold one
        with pytest.raises(CacheLockedError, match=f"process {os.getpid()} on"):
            Journal(cache_path, is_patient=True).__enter__()
    assert files_beside(cache_path) == []
    with Journal(cache_path):
        pass


def test_without_locks_a_killed_writer_is_named_and_a_person_decides(cache_path, without_locks):
    lock = Journal(cache_path).folder / "lock"
    lock.parent.mkdir()
    lock.write_text(f"process 1234 on {socket.gethostname()}, by the name of this file alone")
    for _ in range(2):
        with pytest.raises(CacheLockedError, match="process 1234 on .* is writing this one or was killed"):
            Journal(cache_path).__enter__()
    lock.unlink()
    with Journal(cache_path):
        pass
    assert files_beside(cache_path) == []


def test_other_errors_of_locks_stay_what_they_are(cache_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "lock")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CacheError, match="Input/output error"):
        Journal(cache_path).__enter__()
