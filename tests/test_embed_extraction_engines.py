"""What a worker is told and says, and what the driver makes of it; with a real cluster: test_embed_extraction_ray."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray_encoders
from support import image_bytes, write_catalogue

import embed.extraction.encoding.run_encoders
from cache import Cache, Journal, content_key
from cache.journal.part_file import load_part
from cache.workers.ray_cluster import RaySettings
from embed import ExtractSettings, SettingError, WorkerError, extract, extract_shard
from embed.extraction.engines import ray_engine
from embed.extraction.engines.worker import Task, Worker, WorkerPlan, code_version, lock_text

TEXTS = [f"product {n}" for n in range(20)]
MAKER = "ray_encoders:make_encoders"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_catalogue(
        tmp_path_factory.mktemp("shop"), [{"id": f"{n}", "text": text} for n, text in enumerate(TEXTS)]
    )


@pytest.fixture
def notes(tmp_path, monkeypatch):
    monkeypatch.setattr(embed.extraction.encoding.run_encoders, "make_encoders", ray_encoders.make_encoders)
    monkeypatch.setattr(ray_engine, "MAKER", MAKER)
    monkeypatch.setattr(ray_engine, "FEWEST_KEYS", 1)
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def settings_of(notes, engine="ray"):
    return ExtractSettings(modalities=("text",), text_encoder=str(notes), part_s=0.0, engine=engine, ray=RaySettings())


def committed(path):
    return {key for part in Journal(path).paths() for key in load_part(part).keys}


class PoolHere:
    """A `RayPool` with one worker, in this process; each task's first worker is lost when it is through, or amid it."""

    n_wanted = 2

    def __init__(self, kind, arguments, **_):
        self.worker = kind(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.worker._journal.__exit__()

    def run(self, tasks, *, rest_after_result, rest_after_loss):
        for n, task in enumerate(tasks):
            half = replace(task, places=dict(list(task.places.items())[: len(task.places) // (1 + n % 2)]))
            self.worker.do(half)  # and no receipt comes back
            left = rest_after_loss(task)
            while left is not None:
                receipt = self.worker.do(left)
                yield left, receipt
                left = rest_after_result(left, receipt)


def test_what_lost_workers_published_is_not_encoded_again(shop, notes, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "RayPool", PoolHere)
    path = tmp_path / "c.h5"
    report = extract(shop, path, settings=settings_of(notes))
    assert report.encoders[0].n_encoded == len(TEXTS)
    assert sorted((notes / "encoded").read_text().split()) == sorted(content_key(text.encode()) for text in TEXTS)
    assert not (tmp_path / "c.h5.journal").exists()
    extract(shop, tmp_path / "local.h5", settings=settings_of(notes, "local"))
    with Cache(path) as ours, Cache(tmp_path / "local.h5") as theirs:
        assert ours.content_sha256 == theirs.content_sha256


def test_a_worker_that_takes_a_moment_to_end_leaves_nothing_behind(shop, notes, tmp_path, monkeypatch):
    """Ray has a worker killed, and says so before it is dead."""

    killed = []

    class SlowToEnd(PoolHere):
        def __init__(self, kind, arguments, **_):
            super().__init__(kind, arguments)
            killed.append(kind(*arguments))

    def sleep(_):
        killed.pop()._journal.__exit__()

    monkeypatch.setattr(ray_engine, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    monkeypatch.setattr(ray_engine, "RayPool", SlowToEnd)
    extract(shop, tmp_path / "c.h5", settings=settings_of(notes))
    assert not killed
    assert not (tmp_path / "c.h5.journal").exists()


def test_parts_that_never_come_are_named(shop, notes, tmp_path, monkeypatch):
    """As where a worker's journal is on another disk than it seemed."""

    class Elsewhere(PoolHere):
        def __exit__(self, *_):
            for part in self.worker._journal.folder.glob("*.part.h5"):
                part.unlink()
            super().__exit__()

    monkeypatch.setattr(ray_engine, "RayPool", Elsewhere)
    monkeypatch.setattr(ray_engine, "LAST_PARTS_S", 0.0)
    with pytest.raises(WorkerError, match=r"all that workers published, but 20 contents are not there"):
        extract(shop, tmp_path / "c.h5", settings=settings_of(notes))


@pytest.fixture
def plan(notes, tmp_path):
    """A plan for a worker in this process, where the cache is locked by this one, too."""
    path = tmp_path / "c.h5"
    settings = settings_of(notes, "local")
    (encoder,) = ray_encoders.make_encoders(settings)
    with Journal(path):
        yield WorkerPlan(
            "ray-test",
            path,
            Path.cwd(),
            settings,
            {("text", "counting"): encoder.spec},
            MAKER,
            code_version(),
            lock_text(path),
        )


def test_worker_says_what_it_did_and_what_is_left(plan, monkeypatch):
    places = {content_key(text.encode()): text for text in TEXTS[:20]}
    task = Task("text", "counting", places, (0, 0))
    worker = Worker(plan)
    monkeypatch.setattr("embed.extraction.engines.worker.WORK_S", -1.0)
    assert not worker.do(task).tried  # no time is left
    monkeypatch.undo()
    receipt = worker.do(task)
    assert receipt.tried == places.keys()
    assert task.without(receipt.tried) is None
    assert committed(plan.cache_path) == places.keys()
    worker._journal.__exit__()


def test_content_that_is_another_by_now_is_named_in_the_receipt(plan, tmp_path):
    (tmp_path / "a.png").write_bytes(image_bytes("red"))
    key = content_key(b"other bytes")
    worker = Worker(plan)
    receipt = worker.do(Task("text", "counting", {key: tmp_path / "a.png"}, (0, 0)))
    assert (receipt.tried, receipt.changed, receipt.n_encoded) == ({key}, {key}, 0)
    worker._journal.__exit__()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda _: {"code": "embed-once 0.0.1 (0123)"},
            r"to run embed-once 0\.0\.1 \(0123\), but process .* runs .*Install",
        ),
        (
            lambda _: {"lock": "process 1 on elsewhere"},
            "as this machine does, but .* does not. Use folders on a disk",
        ),
        (lambda plan: {"folder": plan.folder / "none"}, "as this machine does, but .* does not. Use folders on a disk"),
        (
            lambda plan: {
                "specs": {("text", "counting"): replace(plan.specs["text", "counting"], fields={"weights": "x"})}
            },
            "to make text/counting in one way, but .* makes it with weights",
        ),
        (
            lambda plan: {
                "specs": {("text", "other"): replace(plan.specs["text", "counting"], fields={"weights": "x"})}
            },
            "with nothing of this name",
        ),
    ],
    ids=["version", "other disk", "no folder", "weights", "name"],
)
def test_worker_that_does_not_fit_the_plan_is_refused(plan, change, message):
    with pytest.raises(WorkerError, match=message):
        Worker(replace(plan, **change(plan)))


def test_worker_goes_on_under_the_name_that_the_cache_has(plan):
    worker = Worker(replace(plan, specs={("text", "earlier"): plan.specs["text", "counting"]}))
    assert list(worker._teams) == [("text", "earlier")]
    worker._journal.__exit__()


def test_engine_takes_settings_and_no_shard(shop, notes, tmp_path):
    settings = settings_of(notes)
    with pytest.raises(SettingError, match="got encoders"):
        extract(shop, tmp_path / "c.h5", settings=settings, encoders=ray_encoders.make_encoders(settings))
    with pytest.raises(SettingError, match="--shard or --engine ray, got both"):
        extract_shard(shop, tmp_path / "c.h5", shard="0/1", settings=settings)
    with pytest.raises(SettingError, match="expected local or ray, got 'spark'"):
        extract(shop, tmp_path / "c.h5", settings=replace(settings, engine="spark"))
