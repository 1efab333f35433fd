"""Workers of a real Ray cluster of several node processes on this machine: they die, hang, come and go."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from ray_cluster import Beside
from ray_workers import Squarer

from cache.errors import SettingError, WorkerError
from cache.workers.ray_cluster import connected, import_ray, start_arguments, worker_class
from cache.workers.ray_pool import RayPool, RaySettings, _Queue

pytestmark = pytest.mark.slow

TASKS = list(range(12))


@pytest.fixture
def pool(ray_cluster, tmp_path):
    """Return what makes a pool on the cluster."""

    def make(**changes):
        arguments = (str(tmp_path), changes.pop("complaint", None))
        return RayPool(Squarer, arguments, settings=RaySettings(address=ray_cluster.address, **changes))

    return make


def pids_in(folder):
    return {int(path.name.split("-")[1]) for path in folder.glob("worker-*")}


def n_tries(folder, number):
    return len(list(folder.glob(f"task-{number}-*")))


def test_all_tasks_are_done_by_as_many_workers_as_there_is_room_for(pool, tmp_path):
    (tmp_path / "wait").touch()
    with pool() as workers:
        with Beside(lambda: dict(workers.run(TASKS))) as run:
            run.await_(lambda: len(pids_in(tmp_path)) == 2)
            (tmp_path / "wait").unlink()
        assert run.result() == {number: number**2 for number in TASKS}
        assert dict(workers.run([20, 21])) == {20: 400, 21: 441}
    assert len(pids_in(tmp_path)) == 2
    assert all(n_tries(tmp_path, number) == 1 for number in TASKS)


def test_what_a_worker_had_that_is_killed_or_hangs_is_done_by_another(pool, tmp_path, caplog):
    """The deadline is moved for the one that hangs: no length of it is enough for all that a busy machine starts."""
    (tmp_path / "die-1").touch()
    (tmp_path / "hang-3").touch()
    with (
        caplog.at_level(logging.WARNING, "embed_once"),
        pool(n_workers=1) as workers,
        Beside(lambda: dict(workers.run(TASKS))) as run,
    ):
        run.await_(lambda: not (tmp_path / "hang-3").exists())
        next(worker for worker in list(workers._workers) if worker.task == 3).since_s = float("-inf")
        assert run.result() == {number: number**2 for number in TASKS}
    assert [n_tries(tmp_path, number) for number in range(4)] == [1, 2, 1, 2]
    assert caplog.text.count("A worker is gone") == 2


def test_what_a_worker_raises_by_name_is_raised_here(pool, ray_cluster):
    """And a connection that is there is used, and left."""
    ray = import_ray()
    with connected(ray, ray_cluster.address):
        with pool(n_workers=1) as workers, pytest.raises(SettingError, match="from 0 on"):
            dict(workers.run([-1]))
        assert ray.is_initialized()
        with (
            pool(n_workers=1, complaint="Expected another machine.") as workers,
            pytest.raises(SettingError, match="another machine"),
        ):
            dict(workers.run([1]))
    assert not ray.is_initialized()


def test_a_worker_of_another_version_is_refused(tmp_path, monkeypatch):
    """What it raises where it starts reaches the driver, as the complaint above does."""
    with monkeypatch.context() as patch:
        patch.setattr("cache.workers.ray_cluster.version_here", lambda: "99.0")
        arguments = start_arguments(Squarer, (str(tmp_path),), n_cores=1)
    with pytest.raises(SettingError, match=r"Expected embed-once 99\.0 on every node.*Install"):
        worker_class()().start(*arguments)


def test_nodes_may_come_and_go(pool, ray_cluster, tmp_path, caplog):
    """A node that joins gets work; what a node does that goes is done by another."""
    (tmp_path / "wait").touch()
    with caplog.at_level(logging.WARNING, "embed_once"), pool() as workers:
        with Beside(lambda: dict(workers.run(TASKS))) as run:
            node = ray_cluster.add_node(num_cpus=1)
            run.await_(lambda: len(pids_in(tmp_path)) == 3 and len(list(tmp_path.glob("task-*"))) == 3)
            ray_cluster.remove_node(node, allow_graceful=False)
            run.await_(lambda: "A worker is gone" in caplog.text)
            (tmp_path / "wait").unlink()
        assert run.result() == {number: number**2 for number in TASKS}
    assert sum(n_tries(tmp_path, number) for number in TASKS) == len(TASKS) + 1


def test_an_answer_that_is_lost_with_its_node_is_asked_for_again(pool, ray_cluster, tmp_path, monkeypatch, caplog):
    """A large one stays on the node that made it until it is fetched."""
    import ray

    answers = iter([1, 1, ray.exceptions.ObjectLostError("00", None, ""), *[1] * len(TASKS)])
    plain = ray.get

    def get(result):
        if isinstance(error := next(answers), ray.exceptions.RayError):
            raise error
        return plain(result)

    with caplog.at_level(logging.WARNING, "embed_once"), pool(n_workers=1) as workers:
        monkeypatch.setattr(ray, "get", get)
        assert dict(workers.run(TASKS[:3])) == {number: number**2 for number in TASKS[:3]}
    assert sorted(n_tries(tmp_path, number) for number in TASKS[:3]) == [1, 1, 2]
    assert caplog.text.count("A worker is gone") == 1


def test_a_cluster_whose_room_goes_for_good_is_named(pool, tmp_path):
    """Its worker dies, and there is no room for another."""
    for order in ("wait", "die-1"):
        (tmp_path / order).touch()

    def fail():
        with pytest.raises(WorkerError) as failed:
            dict(workers.run([1]))
        return str(failed.value)

    with pool(n_workers=1) as workers, Beside(fail) as run:
        run.await_(lambda: list(tmp_path.glob("task-*")))
        workers._needs = {"CPU": 3}
        workers.settings = replace(workers.settings, deadline_s=1.0)
        (tmp_path / "wait").unlink()
        assert "needs 3 CPU within 1 s, but none did" in run.result()


def test_a_task_that_was_done_by_the_third_worker_that_died_is_done():
    remainders = iter([1, 1, None])
    tasks = _Queue([1], str, lambda _: next(remainders))
    for _ in range(3):
        tasks.give_back(tasks.waiting.popleft())
    assert tasks.n_left == 0


def test_a_cluster_without_room_is_named(pool):
    with (
        pool(gpus_per_worker=1.0, deadline_s=2.0) as workers,
        pytest.raises(WorkerError, match="needs 1 CPU and 1 GPU"),
    ):
        dict(workers.run([1]))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"n_workers": 0}, "--workers"),
        ({"cpus_per_worker": 0}, "--cpus-per-worker"),
        ({"gpus_per_worker": -1.0}, "--gpus-per-worker"),
        ({"deadline_s": 0.0}, "--task-deadline"),
    ],
)
def test_settings_out_of_range_are_named(changes, option):
    with pytest.raises(SettingError, match=option):
        RaySettings(**changes)
