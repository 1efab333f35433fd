"""Extraction by workers of a real Ray cluster of several node processes: they die, and so does their driver."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray_encoders
from bucket_server import BUCKET
from support import ROOT, write_catalogue

import embed.extraction.encoding.run_encoders
from cache import Cache, Journal, content_key, verify
from cache.journal.part_file import load_part
from cache.workers.ray_cluster import RaySettings
from embed import ExtractSettings, WorkerError, extract
from embed.extraction.engines import ray_engine

pytestmark = pytest.mark.slow

TEXTS = [f"product {n}" for n in range(96)]
MAKER = "ray_encoders:make_workers_encoders"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    rows = [{"id": f"{n}", "text": text} for n, text in enumerate([*TEXTS, TEXTS[0], ""])]
    return write_catalogue(tmp_path_factory.mktemp("shop"), rows)


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """The folder in which encoders write down what they do, and find orders; tasks have twelve contents."""
    monkeypatch.setattr(embed.extraction.encoding.run_encoders, "make_encoders", ray_encoders.make_encoders)
    monkeypatch.setattr(ray_engine, "MAKER", MAKER)
    monkeypatch.setattr(ray_engine, "FEWEST_KEYS", 1)
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def settings_of(notes, *, n_workers=None, **ray):
    """Return settings by which each batch is published at once."""
    return ExtractSettings(
        modalities=("text",),
        text_encoder=str(notes),
        part_s=0.0,
        n_workers=n_workers,
        engine="ray" if ray else "local",
        ray=RaySettings(**ray),
    )


@pytest.fixture
def local(shop, notes, tmp_path):
    extract(shop, tmp_path / "local.h5", settings=settings_of(notes))
    (notes / "encoded").unlink()
    return tmp_path / "local.h5"


def encoded(notes):
    """Return the keys of all contents that were encoded, as often as they were."""
    path = notes / "encoded"
    return path.read_text().split() if path.exists() else []


def committed(path):
    return {key for part in Journal(path).paths() for key in load_part(part).keys}


def assert_equal(path, other):
    assert verify(path) == []
    with Cache(path) as ours, Cache(other) as theirs:
        assert ours.content_sha256 == theirs.content_sha256
    assert not path.with_name(f"{path.name}.journal").exists()


def workers(notes):
    return {int(path.name.partition("-")[2]) for path in notes.glob("worker-*")}


def test_cache_is_the_local_one_and_each_content_is_encoded_once(shop, notes, local, tmp_path, ray_cluster):
    path = tmp_path / "c.h5"
    report = extract(shop, path, settings=settings_of(notes, address=ray_cluster.address))
    assert [(one.n_unique, one.n_cached, one.n_encoded, one.n_failed) for one in report.encoders] == [(96, 0, 96, 0)]
    assert sorted(encoded(notes)) == sorted(content_key(text.encode()) for text in TEXTS)
    assert_equal(path, local)
    assert 1 <= len(workers(notes) - {os.getpid()}) <= 2  # one that is slow to start may find nothing left
    assert extract(shop, path, settings=settings_of(notes, address="nowhere:1")).was_written is False  # none is needed


def test_cache_in_a_bucket_is_the_local_one(shop, notes, local, ray_cluster, proxy, tmp_path):
    """Workers publish into the mirror, which nodes must share as any other folder."""
    url = f"s3://{BUCKET}/{tmp_path.name}/e.h5"
    report = extract(shop, url, settings=settings_of(notes, address=ray_cluster.address, n_workers=1))
    assert [one.n_encoded for one in report.encoders] == [96]
    with Cache(url) as ours, Cache(local) as theirs:
        assert ours.content_sha256 == theirs.content_sha256


def test_a_worker_is_killed_and_its_work_is_done_by_others(shop, notes, local, tmp_path, ray_cluster):
    """As is that of one that hangs, or goes with its node: the pool's tests."""
    (notes / f"die-{TEXTS[5]}").touch()
    path = tmp_path / "c.h5"
    report = extract(shop, path, settings=settings_of(notes, address=ray_cluster.address))
    assert report.encoders[0].n_encoded == 96
    assert_equal(path, local)
    assert not list(notes.glob("die-*"))
    batches_in_flight = 2  # of the worker that went: one encoded and one that was being published
    assert len(encoded(notes)) <= 96 + batches_in_flight * ray_encoders.NotingEncoder.batch_size


def test_content_that_kills_every_worker_is_named_and_all_else_is_kept(shop, notes, tmp_path, ray_cluster):
    """It is one of 24 of its task, as one worker has four, less those that a worker had published before it died."""
    (notes / f"die-{TEXTS[0]}-always").touch()
    path = tmp_path / "c.h5"
    with pytest.raises(
        WorkerError, match=r"\d+ contents? for text/counting, of which the first is 'product .*3 died or hung"
    ):
        extract(shop, path, settings=settings_of(notes, address=ray_cluster.address, n_workers=1))
    kept = committed(path)
    (notes / f"die-{TEXTS[0]}-always").unlink()
    n_before = len(encoded(notes))
    extract(shop, path, settings=settings_of(notes))
    again = encoded(notes)[n_before:]
    assert not set(again) & kept
    assert len(again) <= 24  # short texts come last: all other tasks were done


def test_driver_is_killed_and_the_same_line_encodes_the_rest(shop, notes, local, tmp_path, ray_cluster):
    path = tmp_path / "c.h5"
    (notes / f"stop-{TEXTS[40]}").touch()
    driver = (
        "import sys, pathlib, ray_encoders, test_embed_extraction_ray as ours\n"
        "import embed.extraction.extract_catalogue as loop\n"
        "import embed.extraction.encoding.run_encoders as made\n"
        "made.make_encoders, ours.ray_engine.MAKER = ray_encoders.make_encoders, ours.MAKER\n"
        "ours.ray_engine.FEWEST_KEYS = 1\n"
        "shop, path, notes, address = sys.argv[1:]\n"
        "loop.extract(shop, path, settings=ours.settings_of(pathlib.Path(notes), address=address))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", driver, shop, path, notes, ray_cluster.address],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stderr=subprocess.PIPE,
    )
    try:
        while process.poll() is None and not ((notes / "wait").exists() and len(committed_or_none(path)) >= 4):
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read().decode()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    while any(is_alive(pid) for pid in workers(notes) - {os.getpid()}):  # Ray ends those of a driver that is gone
        time.sleep(0.05)
    kept = committed(path)
    assert kept
    (notes / "wait").unlink()
    extract(shop, path, settings=settings_of(notes, address=ray_cluster.address, n_workers=1))
    assert_equal(path, local)
    counts = {key: encoded(notes).count(key) for key in kept}
    assert set(counts.values()) == {1}


def committed_or_none(path):
    try:
        return committed(path)
    except (FileNotFoundError, OSError):
        return set()


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
