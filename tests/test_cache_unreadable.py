"""What the system refuses to read is neither damaged nor absent: its errno is told, and all stays as it is."""

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from altered import read_all
from support import ROOT, synthetic_cache

from cache import (
    Cache,
    CacheError,
    Contents,
    EncoderSpec,
    Inventory,
    Journal,
    Part,
    Products,
    Tokens,
    UnreadableError,
    content_key,
    seal,
    verify,
)
from cache.journal.part_file import PartTokens, PartVectors
from cache.system.reading import facts_of, names_in

pytestmark = pytest.mark.slow

ERRNOS = [errno.EIO, errno.ENOMEM, errno.EMFILE, errno.EACCES]
NAMES = [f"product {n}" for n in range(6)]
UNWANTED = ("damage", "delete", "remove", "restore", "set aside")
SPECS = {"image": EncoderSpec("image", {"weights": "drawn"}), "text": EncoderSpec("text", {"tokens": True})}


class Refusal:
    """Lets the n-th call of the system's ways to read fail, where it is about a path below a folder."""

    calls = ("open", "preadv", "stat", "listdir")

    def __init__(self, folder, fail_at, number):
        self.folder, self.fail_at, self.number = str(folder), fail_at, number
        self.n_calls = 0
        self.failed_on = None
        self.real = {name: getattr(os, name) for name in self.calls}

    def __enter__(self):
        for name in self.calls:
            setattr(os, name, self._counting(name))
        return self

    def __exit__(self, *_):
        for name, function in self.real.items():
            setattr(os, name, function)

    def _counting(self, name):
        def call(path, *arguments, **options):
            where = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
            if where.startswith(self.folder):
                self.n_calls += 1
                if self.n_calls == self.fail_at:
                    self.failed_on = f"{name} of {where}"
                    raise OSError(self.number, os.strerror(self.number), where)
            return self.real[name](path, *arguments, **options)

        return call


STRIDE = int(os.environ.get("EMBED_ONCE_REFUSAL_STRIDE", "0"))  # 1: each call fails once, which takes minutes


def each_refusal(folder, *, stride):
    """Yield a refusal for every n-th call that the loop's body makes, and end when it makes no more."""
    for fail_at, number in zip(itertools.count(1, STRIDE or stride), itertools.cycle(ERRNOS), strict=False):
        refusal = Refusal(folder, fail_at, number)
        yield refusal
        if refusal.failed_on is None:
            assert fail_at > 20
            return


def products():
    keys = [content_key(name.encode()) for name in NAMES]
    return Products(NAMES, {"label": list("abcabc")}, {name: Contents(keys, ["ok"] * len(keys)) for name in SPECS})


def publish(journal, names):
    keys = [content_key(name.encode()) for name in names]
    for modality, spec in SPECS.items():
        vectors = np.array([[len(name), ord(name[-1])] for name in names], dtype=np.float32)
        tokens = Tokens.of([np.full((n + 1, 2), n, np.float16) for n in range(len(names))])
        journal.publish(Part("drawn", spec, keys, vectors, {}, tokens if modality == "text" else None))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with a sealed cache of two products, and a journal with four more in two parts a modality."""
    folder = tmp_path_factory.mktemp("shop")
    with Journal(folder / "c.h5") as journal:
        publish(journal, NAMES[:2])
        seal(folder / "c.h5", journal, products())
        publish(journal, NAMES[2:4])
        publish(journal, NAMES[4:])
    return folder


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_told(refusal, error):
    assert not any(word in str(error).lower() for word in UNWANTED), f"{refusal.failed_on}: {error}"
    assert os.strerror(refusal.number) in str(error), f"{refusal.failed_on}: {error}"


@pytest.mark.parametrize("look", [read_all, verify], ids=["a reader's questions", "verify"])
def test_any_read_of_a_cache_that_fails_is_told_by_its_errno(shop, look):
    path = shop / "c.h5"
    before, expected = files_of(shop), look(path)
    for refusal in each_refusal(shop, stride=3):
        with refusal:
            try:
                answer = look(path)
            except UnreadableError as error:
                assert_told(refusal, error)
            else:
                assert refusal.failed_on is None, f"{refusal.failed_on} was swallowed"
                assert answer == expected
    assert files_of(shop) == before


def test_any_read_that_fails_while_a_run_resumes_and_seals_costs_nothing(shop, tmp_path):
    undisturbed = shutil.copytree(shop, tmp_path / "whole")
    with Journal(undisturbed / "c.h5") as journal:
        seal(undisturbed / "c.h5", journal, products())
    expected, before = read_all(undisturbed / "c.h5"), files_of(shop)
    for refusal in each_refusal(tmp_path / "here", stride=67):
        folder = shutil.copytree(shop, tmp_path / "here")
        path = folder / "c.h5"
        with refusal:
            try:
                with Journal(path) as journal:
                    seal(path, journal, products())
            except CacheError as error:
                assert_told(refusal, error)
                assert isinstance(error, UnreadableError) or ".part.h5" not in refusal.failed_on, refusal.failed_on  # noqa: PT017
                after = files_of(folder)
                assert {name for name in after if name.name != "lock"} == before.keys(), refusal.failed_on
                # What fails after the new file is in its place leaves it there, and the parts too.
                assert all(after[name] == before[name] for name in before if "part" in name.name), refusal.failed_on
            else:
                assert refusal.failed_on is None, f"{refusal.failed_on} was swallowed"
        with Journal(path) as journal:
            assert len(Inventory(path, journal).entries["text", "drawn"].keys) == len(NAMES), refusal.failed_on
            seal(path, journal, products())
        assert read_all(path) == expected, refusal.failed_on
        shutil.rmtree(folder)


def test_cache_that_may_be_there_is_not_taken_for_absent(shop, tmp_path):
    """Else all would be encoded again, and sealed over it."""
    path = shutil.copytree(shop, tmp_path / "here") / "c.h5"
    before = path.read_bytes()
    with Journal(path) as journal, Refusal(path, 2, errno.EIO) as refusal:
        with pytest.raises(UnreadableError, match="Input/output error"):
            seal(path, journal, products())
        assert refusal.failed_on == f"stat of {path}"
    assert path.read_bytes() == before


def test_journal_that_cannot_be_listed_is_not_taken_for_empty(shop):
    with Refusal(shop / "c.h5.journal", 1, errno.EACCES), pytest.raises(UnreadableError, match="Permission denied"):
        Journal(shop / "c.h5").paths()


def test_lock_that_fails_on_the_way_is_let_go(shop, tmp_path):
    path = shutil.copytree(shop, tmp_path / "here") / "c.h5"
    with Refusal(path.parent / "c.h5.journal" / "lock", 2, errno.EIO) as refusal, pytest.raises(UnreadableError):
        Journal(path).__enter__()
    assert refusal.failed_on.startswith("stat of ")
    with Journal(path) as journal:
        assert len(journal.paths()) == 4


def test_absent_is_what_the_system_calls_absent(tmp_path):
    (tmp_path / "file").touch()
    for absent in (tmp_path / "none", tmp_path / "file" / "below"):
        assert facts_of(absent) is None
        assert names_in(absent) == []


def test_cache_that_failed_once_says_so_until_it_is_opened_again(shop):
    with Cache(shop / "c.h5") as cache:
        with Refusal(shop, 1, errno.EIO), pytest.raises(UnreadableError):
            cache.vectors("image", "drawn")
        with pytest.raises(UnreadableError):
            cache.ids()
    with Cache(shop / "c.h5") as cache:
        assert len(cache.vectors("image", "drawn")) == 2


def test_file_that_ends_while_it_is_read_is_unreadable(tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.ones((4000, 8))}, {"label": ["a"] * 4000})
    with Cache(path) as cache:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(UnreadableError, match="Input/output error"):
            cache.keys("image"), cache.vectors("image", "synthetic"), cache.ids()


def test_reads_that_give_less_than_asked_for_are_gone_on_with(shop, monkeypatch):
    expected = read_all(shop / "c.h5")
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, views, offset: preadv(descriptor, [views[0][:7]], offset))
    assert read_all(shop / "c.h5") == expected


def test_ctrl_c_amid_a_read_is_raised_after_it_and_the_cache_stays_good(shop, monkeypatch):
    preadv, n_calls = os.preadv, itertools.count(1)

    def interrupted(*arguments):
        if next(n_calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return preadv(*arguments)

    with Cache(shop / "c.h5") as cache:
        monkeypatch.setattr(os, "preadv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.vectors("image", "drawn")
        assert cache.vectors("image", "drawn").tolist() == [[9, 48], [9, 49]]


def test_part_that_is_another_file_than_the_one_that_was_hashed_is_refused_and_kept(shop, tmp_path):
    path = shutil.copytree(shop, tmp_path / "here") / "c.h5"
    with Journal(path) as journal:
        files = [file for file, part in journal.parts() if part.tokens is not None]
        tokens_of_parts = [PartTokens(file) for file in files]
        for file in files:
            content = file.path.read_bytes()
            file.path.unlink()
            file.path.write_bytes(content)
        for file, part_tokens in zip(files, tokens_of_parts, strict=True):
            for use in (lambda: PartVectors(file), lambda: PartTokens(file), lambda: part_tokens.take(np.array([0]))):  # noqa: B023
                with pytest.raises(CacheError, match="to stay as it was when its digest was checked"):
                    use()
        assert set(files_of(path.parent)) - {path.relative_to(path.parent)} >= {
            file.path.relative_to(path.parent) for file in files
        }


def test_threads_may_read_one_cache(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    path = synthetic_cache(tmp_path / "c.h5", {"image": vectors}, {"label": ["a"] * 3000})
    with Cache(path) as cache, ThreadPoolExecutor(4) as pool:
        starts = [n % 30 * 100 for n in range(200)]
        blocks = pool.map(lambda start: cache.vector_block("image", "synthetic", start, start + 100), starts)
        assert all(np.array_equal(block, vectors[n : n + 100]) for n, block in zip(starts, blocks, strict=True))


def test_forked_process_may_read_its_parent_s_cache(shop):
    with Cache(shop / "c.h5") as cache:
        child = os.fork()
        if child == 0:
            os._exit(0 if len(cache.vectors("image", "drawn")) == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(cache.vectors("image", "drawn")) == 2


UNCLOSED = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[2])
from cache import Cache, CacheError
preadv, n_left = os.preadv, int(sys.argv[3])
def failing(*arguments):
    global n_left
    n_left -= 1
    if n_left == 0:
        raise OSError(5, "Input/output error")
    return preadv(*arguments)
os.preadv = failing
try:
    kept = Cache(sys.argv[1])
    threading.Thread(target=lambda cache: time.sleep(60), args=(kept,), daemon=True).start()
except CacheError as error:
    kept = error
print(type(kept).__name__)
"""


@pytest.mark.parametrize(
    ("fail_at", "content", "kind"),
    [(0, None, "Cache"), (1, None, "UnreadableError"), (2, None, "UnreadableError"), (3, None, "UnreadableError"),
     (0, b"", "NotACacheError"), (0, b"\x89HDF\r\n\x1a\n" + bytes(500), "DamagedCacheError")],
)  # fmt: skip
def test_cache_or_error_that_is_kept_to_the_end_does_not_crash_the_process(shop, tmp_path, fail_at, content, kind):
    """HDF5 gives back what it holds when Python is gone, unless that was done before."""
    path = shop / "c.h5"
    if content is not None:
        path = tmp_path / "other.h5"
        path.write_bytes(content)
    line = [sys.executable, "-c", UNCLOSED, path, ROOT, str(fail_at)]
    process = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{kind}\n", "")
