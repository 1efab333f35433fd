"""An ablation: every job once, remembered, on the same folds; late fusion from its members; nothing lost by Ctrl-C."""

import csv
import itertools
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import words
from support import FUSIONS, class_vectors, synthetic_cache
from user_heads import PLAIN_SOURCE

import heads
from cache import Cache
from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.job_keys import JobKeys
from heads.data.vectors import load_vectors
from heads.errors import HeadError, LabelError, RunError, SplitError
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.fold_inputs import FoldInputs
from heads.experiment.late_fusion import Weighting
from heads.experiment.pending_fusions import Pending
from heads.experiment.problem import pose
from heads.experiment.result_store import ResultCache
from heads.experiment.results import Trained, outcome_of
from heads.head_types import HEAD_TYPES
from heads.metrics.answers import Answers
from heads.modules.parts.standardiser import Standardise
from heads.settings import FitSettings, TrainSettings
from heads.training.direct import fit_direct
from heads.training.job import Job
from heads.training.row_source import open_source
from heads.training.scheduler import fit, fit_jobs
from heads.workflows.ablate import ablate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

QUICK = AblationSettings(
    fusions=("early", "late"),
    grid={"hidden_dim": (16,), "max_epochs": (2,)},
    n_folds=2,
    seeds=(0, 1),
    n_resamples=100,
    precision="fp32",
)


def shop(path, *, encoders=("first",), n_products=120, columns=None, **options):
    """Seal a cache of products whose picture and text both tell something of the class; each encoder's pictures do."""
    targets = np.random.default_rng(0).integers(3, size=n_products)
    text = class_vectors(targets, 6, spread=1.5, seed=2)
    for place, name in enumerate(encoders):
        vectors = {"image": class_vectors(targets, 8, spread=2.0, seed=10 + place), "text": text}
        labels = {"label": [f"class {code}" for code in targets], **(columns or {})}
        synthetic_cache(path, vectors, labels, encoder=name, **options)
    return path


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("ablation") / "c.h5")


@pytest.fixture
def run(cache_path, tmp_path):
    def run(settings=QUICK, *, cache=cache_path, **options):
        return ablate(cache, settings=settings, runs_path=tmp_path / "runs", **options)

    return run


@pytest.fixture(scope="module")
def quick(cache_path, tmp_path_factory):
    """The report of the quick ablation."""
    return ablate(cache_path, settings=QUICK, runs_path=tmp_path_factory.mktemp("remembered"))


@pytest.fixture
def done_before(quick, tmp_path):
    """Let the quick ablation have been done in this test's folder."""
    shutil.copytree(quick.run_path.parent, tmp_path / "runs")


@pytest.fixture
def fitted(monkeypatch):
    """The heads that are trained, in the order in which they are asked for."""
    found = []

    def noting(jobs, **options):
        found.extend(job.description.name for job in jobs)
        return fit_jobs(jobs, **options)

    monkeypatch.setattr("heads.experiment.experiment.fit_jobs", noting)
    return found


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scores_of(report):
    """Return each job's scores by what it is, without times and where they come from.

    To six digits: the sums of a batch may be rounded otherwise in a stack of another size.
    """
    kept = ("test_accuracy", "test_macro_f1", "test_log_loss", "validation_macro_f1", "best_epoch")
    return {
        tuple(row[name] for name in ("head", "image_encoder", "text_encoder", "learning_rate", "fold", "seed")): tuple(
            round(float(row[name]), 6) for name in kept
        )
        for row in read_csv(report.run_path / "jobs.csv")
    }


def test_every_head_is_trained_on_every_fold_from_every_seed(run, fitted):
    report = run()
    assert (report.n_jobs, report.n_trained, report.n_remembered, report.n_again) == (16, 16, 0, 0)
    assert sorted(fitted) == ["early"] * 4 + ["image"] * 4 + ["text"] * 4  # late is made of their answers
    jobs = read_csv(report.run_path / "jobs.csv")
    assert {(row["head"], row["fold"], row["seed"]) for row in jobs} == {
        (head, fold, seed) for head in ("image", "text", "early", "late") for fold in "01" for seed in "01"
    }


def test_a_repeated_ablation_trains_nothing(quick, done_before, run, fitted):
    again = run()
    assert fitted == []
    assert (again.n_trained, again.n_remembered) == (0, 16)
    assert scores_of(again) == scores_of(quick)
    assert again.ranking == quick.ranking
    assert {row["source"] for row in read_csv(again.run_path / "jobs.csv")} == {"remembered"}


def test_only_what_is_new_is_trained(done_before, run, fitted):
    report = run(replace(QUICK, grid={**QUICK.grid, "learning_rate": (2e-3, 1e-2)}))
    assert (report.n_trained, report.n_remembered) == (16, 16)
    assert len(fitted) == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"split_seed": 1},
        {"weights": "1,3"},
        {"weights": "auto"},
        {"validation_share": 0.3},
        {"precision": "bf16"},
        {"grid": {**QUICK.grid, "weight_decay": (0.5,)}},
        {"min_rows": 39},
    ],
    ids=str,
)
def test_what_changes_a_result_is_not_remembered(done_before, run, changes):
    again = run(replace(QUICK, seeds=(0,), **changes))
    assert again.n_trained == (2 if "weights" in changes else 8)
    assert again.n_jobs == 8


def test_what_another_device_came_to_is_not_remembered(done_before, run, monkeypatch):
    """The same seed gives other numbers there; each device's are remembered."""
    named = {"device": "a GPU", "precision": "fp32"}
    with monkeypatch.context() as patch:
        patch.setattr("heads.ablation.engines.local_engine.describe_device", lambda *_: named)
        assert run().n_trained == 16
        assert run().n_trained == 0
    assert run().n_trained == 0


def test_a_job_that_memory_was_missing_for_is_tried_again(run, monkeypatch):
    """Another time there may be more; what diverged is remembered as an error."""
    descend = heads.training.scheduler.descend

    def tight(jobs, *arguments, **options):
        if jobs[0].description.name in ("early", "text"):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        yield from descend(jobs, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("heads.training.scheduler.descend", tight)
        first = run()
    assert (first.n_trained, first.n_failed) == (16, 12)
    again = run()
    assert (again.n_trained, again.n_remembered, again.n_failed) == (12, 4, 0)


def test_a_head_that_is_fitted_at_once_is_fitted_once_a_fold(run, fitted):
    grid = {"learning_rate": (1e-3, 2e-3), "hidden_dim": (8,), "max_epochs": (1,)}
    settings = replace(QUICK, fusions=("logistic",), grid=grid, seeds=(5, 6))
    report = run(settings)
    assert fitted.count("logistic") == 2
    assert report.n_jobs == 2 + 2 * 2 * 2 * 2
    assert {row["seed"] for row in read_csv(report.run_path / "jobs.csv") if row["head"] == "logistic"} == {""}
    fitted.clear()
    run(replace(settings, grid={"hidden_dim": (32,), "dropout": (0.1,), "max_epochs": (1,)}, seeds=(1, 2)))
    assert fitted.count("logistic") == 0


IDLE = {"warmup": (0.0, 1.0), "patience": (6, 9)}  # of two epochs, of which one-cycle rises through one


def test_settings_that_train_the_same_are_one_job_and_the_report_says_so(run, fitted):
    report = run(replace(QUICK, grid={**QUICK.grid, **IDLE}))
    assert (report.n_jobs, report.n_trained, len(fitted)) == (16, 16, 12)
    assert len(report.ranking.rows) == 4
    said = [note for note in report.notes if "train the same" in note]
    assert [note.partition(" train ")[0] for note in said] == ["warmup 0 and 1", "patience 6 and 9"]
    config = json.loads((report.run_path / "ablation.json").read_text())
    assert config["notes"] == report.notes
    fitted.clear()
    again = run(replace(QUICK, grid={**QUICK.grid, "warmup": (1.0,), "patience": (30,)}))
    assert (again.n_trained, fitted) == (0, [])
    assert not any("train the same" in note for note in again.notes)


def test_settings_that_train_the_same_on_some_folds_are_one_job_there(run, fitted, monkeypatch):
    """On the first fold alone: who is ranked are two, of whom each has the first's one job there."""
    plain = FoldInputs.plain_settings
    monkeypatch.setattr(
        FoldInputs,
        "plain_settings",
        lambda self, one, fold: plain(self, replace(one, weight_decay=0.0) if fold == 0 else one, fold),
    )
    settings = replace(QUICK, grid={**QUICK.grid, "weight_decay": (0.0, 0.5)}, seeds=(0,))
    report = run(settings)
    assert len(report.ranking.rows) == 8
    assert (report.n_jobs, report.n_trained) == (4 + 8, 4 + 8)
    assert "12 jobs" in words(report.run_path / "report.html")
    assert len(fitted) == 9
    assert run(settings).n_trained == 0


def test_a_job_is_still_known_by_its_settings_as_they_were_told(run, fitted, monkeypatch):
    """So that nothing is forgotten of what was trained before those that train the same had one key."""
    settings = replace(QUICK, grid={**QUICK.grid, "patience": (9,)})
    with monkeypatch.context() as before:
        before.setattr(JobKeys, "of", JobKeys.legacy_of)
        first = run(settings)
    fitted.clear()
    again = run(settings)
    assert (again.n_trained, fitted) == (0, [])
    assert scores_of(again) == scores_of(first)
    assert run(replace(QUICK, grid={**QUICK.grid, "patience": (7,)})).n_trained == 0


def test_a_setting_that_no_head_looks_at_is_said_to_make_no_difference(done_before, run):
    report = run(replace(QUICK, grid={**QUICK.grid, "rank": (2, 4)}))
    assert len(report.ranking.rows) == 4
    assert "rank makes no difference to any of these heads: its 2 values are one." in report.notes


def test_a_class_whose_file_was_edited_is_trained_anew(run, fitted, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN_SOURCE)
    settings = replace(QUICK, fusions=(f"{path}:Mine",), seeds=(0,))
    counts = []
    for source in (PLAIN_SOURCE, PLAIN_SOURCE, PLAIN_SOURCE.replace("self.layer(", "2 * self.layer(")):
        path.write_text(source)
        fitted.clear()
        run(settings)
        counts.append(fitted.count("Mine"))
    assert counts == [2, 0, 2]


def test_a_head_that_the_memory_is_too_small_for_is_said_before_anything_is_trained(run, fitted, tmp_path):
    settings = replace(QUICK, fusions=("logistic",), seeds=(0,))
    with pytest.raises(HeadError, match="all vectors in memory for logistic.*--memory"):
        run(replace(settings, memory="1K"))
    assert fitted == []
    assert run(settings).n_failed == 0


def test_a_cache_that_is_sealed_anew_while_it_is_opened_is_a_named_error(tmp_path):
    path = shop(tmp_path / "c.h5")
    with Cache(path) as cache:
        there = load_vectors(cache, encoders={"text": None}, on_disk=True)
        shop(path, encoders=("second",))
        with pytest.raises(HeadError, match="to stay as it is while it is read.*Start again"):
            load_vectors(cache, encoders={"text": None}, on_disk=True)
        assert there.inputs["text"][torch.arange(3)].equal(
            load_vectors(cache, encoders={"text": None}).inputs["text"][:3]
        )


def test_other_vectors_are_not_remembered_and_another_encoder_forgets_nothing(run, tmp_path):
    path, settings = shop(tmp_path / "c.h5"), replace(QUICK, seeds=(0,))
    run(settings, cache=path)
    shop(path, encoders=("second",))  # the cache grows
    both = run(replace(settings, encoders=("first",)), cache=path)
    assert both.n_trained == 0
    other = tmp_path / "d.h5"
    targets = np.random.default_rng(0).integers(3, size=120)
    vectors = {"image": class_vectors(targets, 8, seed=77), "text": class_vectors(targets, 6, spread=1.5, seed=2)}
    synthetic_cache(other, vectors, {"label": [f"class {code}" for code in targets]}, encoder="first")
    report = run(settings, cache=other)
    trained = {row["head"] for row in read_csv(report.run_path / "jobs.csv") if row["source"] == "trained"}
    assert trained == {"image", "early", "late"}


def test_other_tokens_are_another_job_of_attention_alone(run, tmp_path):
    settings = replace(QUICK, fusions=("early", "attention"), n_folds=1, seeds=(0,))
    trained = []
    for seed in (1, 2, 2):
        generator = np.random.default_rng(seed)
        tokens = {"text": [generator.standard_normal((2, 5)) for _ in range(120)]}
        report = run(settings, cache=shop(tmp_path / f"{len(trained)}.h5", tokens=tokens))
        jobs = read_csv(report.run_path / "jobs.csv")
        trained.append({row["head"] for row in jobs if row["source"] == "trained"})
    assert trained == [{"image", "text", "early", "attention"}, {"attention"}, set()]


def test_late_fusion_that_is_not_remembered_has_its_members_trained_again(run, fitted):
    run(replace(QUICK, fusions=("early",)))
    fitted.clear()
    report = run()
    assert sorted(fitted) == ["image"] * 4 + ["text"] * 4
    assert (report.n_trained, report.n_again) == (4, 8)
    fresh = ablate(
        report_cache(report), settings=QUICK, runs_path=report.run_path.parent, memo_path=report.run_path / "m.sqlite"
    )
    assert scores_of(report) == scores_of(fresh)


def report_cache(report):
    return json.loads((report.run_path / "ablation.json").read_text())["cache"]


@pytest.mark.parametrize(
    ("has_tokens", "weights", "beside"),
    [(True, "1,3", {"grid": {**QUICK.grid, "learning_rate": (2e-3, 1e-2)}, "seeds": (0,)}), (False, "auto", {})],
)
def test_one_fold_is_what_heads_train_does(tmp_path, has_tokens, weights, beside):
    """The same split and seed give the same heads, however many are trained beside them."""
    generator = np.random.default_rng(5)
    tokens = {"text": [generator.standard_normal((1 + n % 3, 5)) for n in range(120)]} if has_tokens else {}
    cache_path = shop(tmp_path / "c.h5", tokens=tokens)
    trained = heads.train(
        cache_path,
        settings=TrainSettings(hidden_dim=16, max_epochs=2, n_resamples=100, precision="fp32", weights=weights),
        runs_path=tmp_path / "runs",
    )
    settings = replace(QUICK, fusions=(*FUSIONS, "logistic"), weights=weights, n_folds=1, **beside)
    report = ablate(cache_path, settings=settings, runs_path=tmp_path / "runs")
    found = {
        row["head"]: row
        for row in read_csv(report.run_path / "jobs.csv")
        if row["seed"] in ("0", "") and row["learning_rate"] in ("0.002", "")
    }
    assert found.keys() == trained.metrics.keys()
    for name, metrics in trained.metrics.items():
        for score in ("accuracy", "macro_f1", "log_loss", "calibration_error"):
            assert float(found[name][f"test_{score}"]) == pytest.approx(metrics[score], abs=1e-6), (name, score)
        assert float(found[name]["validation_macro_f1"]) == pytest.approx(metrics["validation"]["macro_f1"])


def test_a_head_that_diverges_is_shown_and_stops_no_other(run):
    settings = replace(QUICK, grid={**QUICK.grid, "learning_rate": (2e-3, 1e30)}, seeds=(0,))
    report = run(settings)
    assert (report.n_jobs, report.n_failed) == (16, 8)
    last = report.ranking.rows[-4:]
    assert all(row.n_failed == 2 and "Lower --learning-rate" in row.error for row in last)
    assert all(row.error is None for row in report.ranking.rows[:4])
    assert report.ranking.verdict is not None
    failed = [row for row in read_csv(report.run_path / "jobs.csv") if row["error"]]
    assert len(failed) == 8
    assert {row["test_accuracy"] for row in failed} == {""}
    assert run(settings).n_trained == 0


class StopAfter:
    """A watcher that types Ctrl-C after some jobs."""

    def __init__(self, n_jobs):
        self.n_left = n_jobs

    def expect(self, n_jobs):
        pass

    def note(self, *_, **__):
        self.n_left -= 1
        if not self.n_left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("n_done", [1, 11])
def test_ctrl_c_keeps_what_is_finished(quick, run, tmp_path, n_done):
    with pytest.raises(KeyboardInterrupt):
        run(watcher=StopAfter(n_done))
    with ResultCache(tmp_path / "runs" / "memo.sqlite") as memo:
        n_kept = len(memo)
    assert n_done <= n_kept <= 16
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["memo.sqlite"]
    report = run()
    assert report.n_remembered == n_kept
    assert report.n_trained == 16 - n_kept
    assert scores_of(report) == scores_of(quick)


@pytest.mark.parametrize("n_done", [1, 15])
def test_ctrl_c_keeps_what_waits_to_be_looked_at(run, tmp_path, monkeypatch, n_done):
    def all_at_once(jobs, **options):
        yield from list(fit_jobs(jobs, **options))

    monkeypatch.setattr("heads.experiment.experiment.fit_jobs", all_at_once)
    with pytest.raises(KeyboardInterrupt):
        run(watcher=StopAfter(n_done))
    with ResultCache(tmp_path / "runs" / "memo.sqlite") as memo:
        assert len(memo) == 16


def test_a_result_that_ctrl_c_meets_is_kept(run, tmp_path, monkeypatch):
    calls = []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) in (3, 9):
            raise KeyboardInterrupt
        return outcome_of(*arguments, **options)

    monkeypatch.setattr("heads.ablation.engines.local_engine.outcome_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(replace(QUICK, seeds=(0,), fusions=("early", "late"), n_folds=2, grid={"max_epochs": (1,)}))
    with ResultCache(tmp_path / "runs" / "memo.sqlite") as memo:
        assert len(memo) >= 3


def experiment_of(problem, **options):
    return Experiment(
        problem,
        sides=("validation", "test"),
        weighting=Weighting.parse(None, list(problem.encoders)),
        device=torch.device("cpu"),
        precision="fp32",
        **options,
    )


def majority_jobs(problem, n_jobs):
    job = FoldJob(Configuration.of("majority", problem.combinations[0], FitSettings()), 0, 0)
    task = FoldInputs(problem, sides=()).task(job.configuration.encoders, 0)
    return [Job(experiment_of(problem).describe(job), task, job.settings) for _ in range(n_jobs)]


@pytest.fixture
def problem(cache_path):
    with Cache(cache_path) as cache:
        return pose(cache, QUICK)


def test_what_is_fitted_when_the_caller_says_stop_is_still_given(problem, monkeypatch):
    n_fitted, all_fitted, stop = itertools.count(1), threading.Event(), threading.Event()

    def counting(job, **options):
        found = fit_direct(job, **options)
        if next(n_fitted) == 8:
            all_fitted.set()
        return found

    monkeypatch.setattr("heads.training.scheduler.fit_direct", counting)
    found = fit_jobs(majority_jobs(problem, 8), device=torch.device("cpu"), dtype=torch.float32, stop=stop)
    places = [next(found)[0]]
    assert all_fitted.wait(60)
    stop.set()
    places += [place for place, _ in found]
    assert sorted(places) == list(range(8))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_is_fitted_is_given_before_an_error_goes_on(problem, monkeypatch, error):
    n_fitted, both_fitted = itertools.count(1), threading.Event()

    def failing(job, **options):
        number = next(n_fitted)
        if number == 3:
            both_fitted.wait(60)
            raise error
        found = fit_direct(job, **options)
        if number == 2:
            both_fitted.set()
        return found

    monkeypatch.setattr("heads.training.scheduler.fit_direct", failing)
    monkeypatch.setattr("heads.training.scheduler.MOST_WAITING", 1)
    found = fit_jobs(majority_jobs(problem, 3), device=torch.device("cpu"), dtype=torch.float32)
    places = []
    with pytest.raises(error):
        places.extend(place for place, _ in found)
    assert len(places) == 2


def test_groups_are_part_of_the_key_of_a_head_that_makes_folds_by_them(problem):
    encoders = {"image": "first", "text": "first"}
    jobs = {name: FoldJob(Configuration.of(name, encoders, FitSettings()), 0, 0) for name in ("early", "stack")}
    keys, others = (
        {name: JobKeys(experiment_of(one), trained_on={}).of(job) for name, job in jobs.items()}
        for one in (problem, replace(problem, groups=problem.groups // 2))
    )
    assert {name for name in jobs if keys[name] != others[name]} == {"stack"}


def test_a_head_that_is_fitted_in_another_way_than_once_has_another_key_and_so_has_an_ensemble_of_it(problem):
    encoders = {"image": "first", "text": "first"}

    def keys():
        job_keys = JobKeys(experiment_of(problem), trained_on={})
        return {
            (name, beside): job_keys.of(FoldJob(Configuration.of(name, encoders, FitSettings(), beside=beside), 0, 0))
            for name in ("early", "stack", "ensemble")
            for beside in (("early",), ("early", "stack"))
        }

    before = keys()
    assert before["early", ("early",)] == before["early", ("early", "stack")]
    assert before["ensemble", ("early",)] != before["ensemble", ("early", "stack")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(HEAD_TYPES, "stack", replace(HEAD_TYPES["stack"], version=HEAD_TYPES["stack"].version + 1))
        after = keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {("stack", ("early",)), ("stack", ("early", "stack")), ("ensemble", ("early", "stack"))}


@pytest.mark.parametrize(("most_bytes", "n_standardised"), [(0, 3), (10**9, 2), (2000, 4)])
def test_rows_are_standardised_once_for_all_heads_and_answered_as_a_saved_head_does(
    problem, monkeypatch, most_bytes, n_standardised
):
    inputs = FoldInputs(problem, sides=("validation", "test"), most_bytes=most_bytes)
    encoders = {"image": "first", "text": "first"}
    job = FoldJob(Configuration.of("early", encoders, FitSettings(hidden_dim=8, max_epochs=1)), 0, 0)
    experiment = experiment_of(problem)
    task = inputs.task(job.configuration.encoders, 0)
    head = experiment.head(job, experiment.describe(job), fit(Job(experiment.describe(job), task, job.settings)).module)
    probabilities = head.log_probabilities(task.inputs, task.present).exp().numpy()
    sides = {side: getattr(task.split, side) for side in ("validation", "test")}
    expected = {side: Answers.of(probabilities[rows], task.targets.numpy()[rows]) for side, rows in sides.items()}
    standardised = []
    forward = Standardise.forward
    monkeypatch.setattr(Standardise, "forward", lambda self, *own: standardised.append(self) or forward(self, *own))
    for _ in range(3):
        found = inputs.answers(head, job.configuration.encoders, 0)
        for side, answers in expected.items():
            for name, numbers in vars(answers).items():
                assert np.array_equal(getattr(found[side], name), numbers), (side, name)
    assert len(standardised) == n_standardised


def test_several_encoders_are_compared_on_the_same_rows(run, tmp_path):
    """A product that one of the encoders has no vector of, and no text, is in no fold."""
    present = np.ones(120, dtype=bool)
    present[:7] = False
    path = shop(tmp_path / "c.h5", present={"text": present, "image": present})
    settings = replace(QUICK, seeds=(0,))
    report = run(replace(settings, encoders=(), fusions=()), cache=path)
    assert report.n_tested == 113
    shop(tmp_path / "d.h5", encoders=("first", "second"))
    report = run(settings, cache=tmp_path / "d.h5")
    found = {(row["head"], row["image_encoder"], row["text_encoder"]) for row in read_csv(report.run_path / "jobs.csv")}
    names = ("first", "second")
    assert found == {
        *(("image", name, "") for name in names),
        *(("text", "", name) for name in names),
        *((head, image, text) for head in ("early", "late") for image in names for text in names),
    }


def test_an_encoder_is_named_for_its_modality_and_the_others_keep_all(run, tmp_path):
    path = shop(tmp_path / "c.h5", encoders=("first", "second"))
    with pytest.raises(
        HeadError, match=r"--encoders: expected some of the cache's \(image: first, second; text: first"
    ):
        run(replace(QUICK, encoders=("third",)), cache=path)
    report = run(replace(QUICK, encoders=("second",)), cache=path)
    assert report.encoders == {"image": ["second"], "text": ["second"]}


def test_one_modality_has_no_verdict(run):
    report = run(replace(QUICK, modalities=("text",), fusions=FUSIONS))
    assert [row.configuration.head for row in report.ranking.rows] == ["text"]
    assert report.ranking.verdict is None


def test_a_column_may_say_the_sides(run, tmp_path):
    path = shop(tmp_path / "c.h5", columns={"side": ["train", "train", "val", "test"] * 30})
    report = run(replace(QUICK, n_folds=None, split_column="side"), cache=path)
    assert (report.n_folds, report.n_tested) == (1, 30)


def test_the_run_folder_says_how_to_do_it_again(done_before, run, cache_path):
    report = run(command=["heads-ablate", "c.h5"])
    names = {path.name for path in report.run_path.iterdir()}
    assert names == {"ranking.csv", "jobs.csv", "ablation.json", "report.html"}
    config = json.loads((report.run_path / "ablation.json").read_text())
    with Cache(cache_path) as cache:
        assert config["cache_content_sha256"] == cache.content_sha256
        ids = cache.ids()
    assert config["command"] == ["heads-ablate", "c.h5"]
    assert config["settings"]["seeds"] == [0, 1]
    assert config["settings"]["grid"] == {"hidden_dim": [16], "max_epochs": [2]}
    assert sorted(name for fold in config["split"] for name in fold["test"]) == ids
    assert all(sorted(name for side in fold.values() for name in side) == ids for fold in config["split"])


def test_the_ranking_s_means_are_those_of_the_jobs(quick):
    jobs = read_csv(quick.run_path / "jobs.csv")
    rows = read_csv(quick.run_path / "ranking.csv")
    means = [float(row["validation_macro_f1_mean"]) for row in rows]
    assert means == sorted(means, reverse=True)
    for row in rows:
        for cell, column in (("accuracy", "test_accuracy"), ("validation_macro_f1", "validation_macro_f1")):
            values = [float(job[column]) for job in jobs if job["head"] == row["head"]]
            assert float(row[f"{cell}_mean"]) == pytest.approx(np.mean(values))
            assert float(row[f"{cell}_deviation"]) == pytest.approx(np.std(values, ddof=1))


def test_a_setting_that_a_head_does_not_use_is_an_empty_cell(run):
    report = run(replace(QUICK, fusions=("early", "lowrank"), grid={**QUICK.grid, "rank": (2, 3)}))
    cells = {(row["head"], row["rank"]) for row in read_csv(report.run_path / "jobs.csv")}
    assert cells == {("image", ""), ("text", ""), ("early", ""), ("lowrank", "2"), ("lowrank", "3")}


def test_what_cannot_be_done_is_said_before_anything_is_trained(done_before, run, fitted, tmp_path):
    run(name="mine")
    fitted.clear()
    with pytest.raises(RunError, match="Choose another --name"):
        run(name="mine")
    with pytest.raises(LabelError, match="--label"):
        run(replace(QUICK, label="kind"))
    with pytest.raises(SplitError, match="--folds"):
        run(replace(QUICK, n_folds=100, min_rows=1))
    with pytest.raises(HeadError, match="two modalities"):
        run(replace(QUICK, modalities=("text",)))
    assert fitted == []


def test_waves_bound_what_is_at_hand_and_change_nothing(quick, run, monkeypatch):
    monkeypatch.setattr("heads.ablation.engines.local_engine.WAVE_BYTES", 1)
    calls = []
    monkeypatch.setattr(
        "heads.experiment.experiment.fit_jobs",
        lambda jobs, **options: calls.append(len(jobs)) or fit_jobs(jobs, **options),
    )
    alone = run()
    assert calls == [3, 3, 3, 3]  # a fold and a seed at a time
    assert scores_of(alone) == scores_of(quick)


def test_a_member_s_answers_are_kept_no_longer_than_late_fusion_waits():
    encoders = [{"image": image, "text": "t"} for image in ("a", "b")]
    late = [FoldJob(Configuration.of("late", own, FitSettings()), 0, 0) for own in encoders]
    pending = Pending(late)
    first, text, second = *late[0].members, late[1].members[0]
    results = {job: Trained(None, {}, float(place)) for place, job in enumerate((first, text, second))}
    assert list(pending.complete(first, results[first])) == []
    assert list(pending.complete(text, results[text])) == [(late[0], {"image": results[first], "text": results[text]})]
    assert pending.n_kept == 1  # the text waits for the other picture encoder
    assert list(pending.complete(second, results[second])) == [
        (late[1], {"image": results[second], "text": results[text]})
    ]
    assert pending.n_kept == 0


def test_each_fold_is_standardised_by_its_own_training_rows(cache_path):
    with Cache(cache_path) as cache:
        problem = pose(cache, QUICK)
    prepared = FoldInputs(problem, sides=())
    encoders = (("image", "first"), ("text", "first"))
    for place, fold in enumerate(problem.folds):
        task = prepared.task(encoders, place)
        view = open_source(task, torch.empty(0)).view(torch.arange(len(task.targets)), ["image", "text"])
        for name, raw in problem.joint_vectors(dict(encoders), place).inputs.items():
            rows = raw[fold.train].double()
            expected = (raw - rows.mean(0)) / rows.std(0)
            torch.testing.assert_close(view.inputs[name].double(), expected, rtol=1e-4, atol=1e-5)
    assert prepared.task(encoders[:1], 0).inputs["image"] is prepared.task(encoders, 0).inputs["image"]


@pytest.fixture
def optuna():
    return pytest.importorskip("optuna")


def test_a_search_gives_each_head_its_trials_and_is_remembered(run, optuna):
    from heads.ablation.grid import parse_axis

    grid = {
        **QUICK.grid,
        "learning_rate": parse_axis("learning_rate", "1e-4..1e-1"),
        "hidden_dim": parse_axis("hidden_dim", "8..32"),
    }
    settings = replace(QUICK, grid=grid, n_trials=6, seeds=(0,), fusions=("early",))
    report = run(settings)
    rows = read_csv(report.run_path / "ranking.csv")
    assert [sum(row["head"] == head for row in rows) for head in ("image", "text", "early")] == [6, 6, 6]
    assert all(1e-4 <= float(row["learning_rate"]) <= 1e-1 for row in rows)
    assert {row["hidden_dim"] for row in rows} <= {"8", "16", "32"}
    again = run(settings)
    assert again.n_trained == 0  # the same seed asks the same
    assert again.ranking == report.ranking


def test_a_search_is_judged_by_validation_rows(run, optuna, monkeypatch):
    told = []
    tell = optuna.study.Study.tell
    monkeypatch.setattr(
        optuna.study.Study,
        "tell",
        lambda self, trial, *values, **options: told.append(values) or tell(self, trial, *values, **options),
    )
    report = run(replace(QUICK, grid={**QUICK.grid, "learning_rate": (1e-3, 1e30)}, n_trials=6, fusions=()))
    means = {f"{row.validation.mean}" for row in report.ranking.rows if row.validation}
    assert {f"{values[0]}" for values in told if values} == means
    assert means != {f"{row.macro_f1.mean}" for row in report.ranking.rows if row.macro_f1}
    assert any(not values for values in told)  # diverged


def test_proposals_that_train_the_same_are_one_job(run, optuna):
    report = run(replace(QUICK, grid={**QUICK.grid, "patience": (6, 7, 8, 9)}, n_trials=6, seeds=(0,)))
    assert (len(report.ranking.rows), report.n_jobs) == (4, 8)
    assert any("train the same" in note for note in report.notes)


def test_a_search_of_what_a_head_does_not_use_is_one_trial(run, optuna, monkeypatch):
    asked = []
    ask = optuna.study.Study.ask
    monkeypatch.setattr(optuna.study.Study, "ask", lambda self, space: asked.append(sorted(space)) or ask(self, space))
    report = run(replace(QUICK, grid={**QUICK.grid, "rank": (2, 3, 4)}, n_trials=5, fusions=("lowrank",)))
    heads_tried = [row.configuration.head for row in report.ranking.rows]
    assert heads_tried.count("image") == heads_tried.count("text") == 1
    assert 1 <= heads_tried.count("lowrank") <= 3
    assert asked == [["rank"]] * 5
