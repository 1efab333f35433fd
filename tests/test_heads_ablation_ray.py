"""An ablation whose jobs go to workers of a Ray cluster comes to what one in this process does."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
from support import class_vectors, synthetic_cache
from user_heads import PLAIN_SOURCE

from cache import Cache
from cache.workers.ray_cluster import RaySettings
from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.engines.ray_engine import RayEngine, Trainer
from heads.ablation.grid import span
from heads.errors import HeadError, SettingError
from heads.experiment.configuration import configurations_of
from heads.experiment.experiment import Experiment
from heads.experiment.problem import pose
from heads.workflows.ablate import ablate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

SCORES = ("test_accuracy", "test_macro_f1", "test_log_loss", "validation_macro_f1", "best_epoch")


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    targets = np.random.default_rng(0).integers(3, size=90)
    vectors = {"image": class_vectors(targets, 8, spread=2.0), "text": class_vectors(targets, 6, spread=1.5, seed=2)}
    path = tmp_path_factory.mktemp("ablation") / "c.h5"
    synthetic_cache(path, vectors, {"label": [f"class {code}" for code in targets]})
    return path


def settings_on(address):
    return AblationSettings(
        fusions=("early", "late"),
        grid={"hidden_dim": (16,), "max_epochs": (2,), "learning_rate": (1e-3, 1e-2)},
        n_folds=2,
        n_resamples=100,
        precision="fp32",
        engine="ray",
        ray=RaySettings(address=address),
    )


def scores_of(report):
    """Return each job's scores, to six digits: the sums of a batch may be rounded otherwise in another stack."""
    with (report.run_path / "jobs.csv").open(newline="", encoding="utf-8") as file:
        return {
            (row["head"], row["learning_rate"], row["fold"]): [round(float(row[name]), 6) for name in SCORES]
            for row in csv.DictReader(file)
        }


def test_workers_come_to_the_same_answers_and_share_the_result_cache(cache_path, ray_cluster, tmp_path):
    settings = settings_on(ray_cluster.address)
    (tmp_path / "own.py").write_text(PLAIN_SOURCE)
    settings = replace(settings, fusions=(*settings.fusions, f"{tmp_path / 'own.py'}:Mine"))
    local = replace(settings, engine="local")
    far = ablate(cache_path, settings=settings, runs_path=tmp_path / "far")
    near = ablate(cache_path, settings=local, runs_path=tmp_path / "near")
    assert far.n_trained == near.n_trained == far.n_jobs
    assert far.n_failed == 0
    assert scores_of(far) == scores_of(near)
    memo_path = tmp_path / "far" / "memo.sqlite"
    again = ablate(cache_path, settings=local, runs_path=tmp_path / "again", memo_path=memo_path)
    assert again.n_trained == 0


class Here:
    """Takes the place of a pool: one worker, in this process."""

    n_wanted = 2

    def __init__(self, worker):
        self.worker = worker
        self.tasks = []

    def run(self, tasks, **_):
        self.tasks += tasks
        for task in tasks:
            yield task, self.worker.do(task)


@pytest.fixture
def opened(cache_path, monkeypatch):
    """An engine whose one worker is in this process, and all jobs there are."""
    monkeypatch.chdir(cache_path.parent)
    settings = AblationSettings(fusions=("early", "late"), grid={"max_epochs": (1,)}, n_folds=2, precision="fp32")
    with Cache(cache_path) as cache:
        problem = pose(cache, settings)
    experiment = Experiment.of(problem, settings, sides=("validation", "test"))
    engine = RayEngine(experiment, Here(Trainer(cache_path.parent, cache_path, settings)))
    quick = span({"max_epochs": (1,)})
    configurations = configurations_of(problem.fusions, problem.combinations, quick)
    return engine, [job for one in configurations for job in one.jobs(n_folds=2, seeds=(0,))]


def test_a_worker_with_another_cache_is_refused(opened):
    engine, jobs = opened
    engine._keys.of = lambda _: "of another cache"
    with pytest.raises(HeadError, match="Expected every worker to learn from the same cache"):
        engine.train(jobs, lambda _: None)


def test_a_worker_on_another_device_is_refused(opened):
    engine, jobs = opened
    engine.trained_on = {"device": "a GPU", "precision": "bf16"}
    with pytest.raises(HeadError, match=r"got a GPU in bf16 and cpu in fp32\. Name one with --device"):
        engine.train(jobs, lambda _: None)


def test_late_fusion_goes_with_its_members_and_all_else_alone(opened):
    """So each is trained once."""
    engine, jobs = opened
    outcomes = []
    engine.train(jobs, outcomes.append)
    assert sorted(done.job.configuration.head for done in outcomes) == sorted(job.configuration.head for job in jobs)
    heads = [sorted(job.configuration.head for job in task) for task in engine._pool.tasks if task]
    assert sorted(heads) == [["early"], ["early"], ["image", "late", "text"], ["image", "late", "text"]]


def test_a_node_without_the_cache_is_named(tmp_path):
    with pytest.raises(HeadError, match=r"Expected every node to have .*gone\.h5, but .* a file system that all share"):
        Trainer(tmp_path, tmp_path / "gone.h5", AblationSettings())


def test_ray_that_is_not_installed_is_named(cache_path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingError, match=r"Install it with pip install 'embed-once\[ray\]'"):
        ablate(cache_path, settings=AblationSettings(engine="ray"), runs_path=tmp_path / "runs")
    with pytest.raises(SettingError, match="--engine"):
        AblationSettings(engine="slurm")
