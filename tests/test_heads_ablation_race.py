"""A race: who is certainly behind stops, nobody else; survivors come to what they come to without it."""

import csv
import itertools
import json
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_heads_ablation import shop

from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.job_runner import JobRunner
from heads.ablation.race import Race
from heads.ablation.units import units_of
from heads.errors import SettingError
from heads.experiment.configuration import Configuration
from heads.experiment.result_store import ResultCache
from heads.experiment.results import Outcome
from heads.metrics.race import FoldScores, Noise, macro_f1_influences, measure_noise, predict_differences
from heads.metrics.scores import scores
from heads.settings import FitSettings
from heads.workflows.ablate import ablate

FOLDS_AT_ONCE = JobRunner.folds_at_once
RACE = AblationSettings(
    fusions=("early", "late"),
    grid={"hidden_dim": (16,), "max_epochs": (3,), "learning_rate": (1e-5, 3e-3, 1e-2), "schedule": ("none",)},
    n_folds=3,
    n_resamples=100,
    precision="fp32",
    race=True,
)


def test_influences_are_the_derivatives_of_macro_f1():
    generator = np.random.default_rng(0)
    targets, predictions = generator.integers(5, size=(2, 60))
    value, influences = macro_f1_influences(targets, predictions, 7)
    assert value == pytest.approx(scores(targets, predictions, 7)["macro_f1"])
    for row in range(60):
        weights = np.ones(60)
        weights[row] += 1e-6
        changed = scores(targets, predictions, 7, weights)["macro_f1"]
        assert influences[row] == pytest.approx((changed - value) / 1e-6, abs=1e-6)


def drawn_folds(generator, *, n_folds, n_groups=100, noise=0.0, behind=()):
    """Return folds of configurations whose rows differ by chance alone, and that are some points behind."""
    folds = []
    for _ in range(n_folds):
        rows = generator.normal(scale=0.3, size=(20, n_groups)) / n_groups
        off = generator.normal(scale=noise, size=20)
        off[: len(behind)] -= behind
        folds.append(FoldScores(0.5 + off + rows.sum(1), (rows - rows.mean(1, keepdims=True)).astype(np.float32)))
    return folds


def test_noise_is_what_rows_do_not_explain():
    generator = np.random.default_rng(1)
    measured = [measure_noise([drawn_folds(generator, n_folds=4, noise=noise)]) for noise in (0.05, 0.0)]
    assert [one.n_free for one in measured] == [57, 57]
    assert measured[0].variance == pytest.approx(0.05**2, rel=0.5)
    assert measured[1].variance < 0.01**2
    assert measure_noise([drawn_folds(generator, n_folds=1)]) == Noise()


def test_the_winner_of_all_folds_is_rarely_dropped_where_all_are_alike():
    generator = np.random.default_rng(2)
    n_lost = 0
    for _ in range(30):
        folds = drawn_folds(generator, n_folds=5, noise=0.02)
        winner = int(np.mean([fold.scores for fold in folds], axis=0).argmax())
        noise = measure_noise([folds[:2]])
        _, differences = predict_differences(folds[:1], n_all=5, noise=noise, risk=0.05, generator=generator)
        n_lost += differences[winner].high < 0
    assert n_lost <= 5  # as of a binomial of 30 and 5 % in 99.7 % of draws


def test_who_is_far_behind_is_dropped_and_after_all_folds_nothing_is_unsure():
    generator = np.random.default_rng(3)
    folds = drawn_folds(generator, n_folds=3, noise=0.01, behind=(0.3, 0.3))
    after = {
        n_folds: predict_differences(folds[:n_folds], n_all=3, noise=Noise(1e-4, 19), risk=0.01, generator=generator)
        for n_folds in (1, 3)
    }
    best, differences = after[1]
    assert {place for place, one in enumerate(differences) if one.high < 0} == {0, 1}
    assert differences[best].value == 0
    assert all(one.low == one.value == one.high for one in after[3][1])


def test_who_averages_others_is_trained_with_them():
    assert units_of("abcde", lambda one: {"a": "bc", "d": "c"}.get(one, "")) == [["a", "b", "c", "d"], ["e"]]


def test_answers_to_validation_rows_are_kept_beside_an_outcome(tmp_path):
    path, rows = tmp_path / "m.sqlite", {"n_rows": 4, "n_classes": 3}
    outcome = Outcome(
        predictions=np.array([0, 1, 2, 0], "<i4"),
        test={"accuracy": 0.5, "macro_f1": 0.5},
        validation={"accuracy": 0.5, "macro_f1": 0.5},
        validation_predictions=np.array([2, 1], "<i4"),
    )
    with ResultCache(path) as memo:
        memo.put("old", replace(outcome, validation_predictions=np.empty(0, "<i4")))
        memo.put("failed", Outcome(error="it diverged"))
        assert memo.get("old", **rows, n_validation=2) is None
        memo.put("old", outcome)
        assert memo.get("old", **rows, n_validation=2).validation_predictions.tolist() == [2, 1]
        assert memo.get("old", **rows).validation_predictions.tolist() == []
        assert memo.get("failed", **rows, n_validation=2).error == "it diverged"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE validation SET answers = x'0000000000000000'")
    connection.close()
    with ResultCache(path) as memo, pytest.raises(Exception, match="validation rows are not what was written"):
        memo.get("old", **rows, n_validation=2)


@pytest.mark.parametrize("changes", [{"n_folds": 1}, {"n_trials": 3}, {"n_folds": None, "split_column": "side"}])
def test_a_race_needs_folds_and_a_grid(changes):
    with pytest.raises(SettingError, match="--race"):
        replace(RACE, **changes)


@pytest.mark.parametrize(("fusions", "n_lines"), [(["early"], 0), (["early", "gated"], 1)])
def test_it_is_not_said_that_heads_are_small_where_none_has_another_to_race_with(fusions, n_lines):
    trained, lines = [], []
    runner = SimpleNamespace(
        problem=SimpleNamespace(folds=[None] * 3, groups=None),
        folds_at_once=lambda *_, **__: 3,
        run=lambda _, folds: trained.append(list(folds)),
        has_failed=lambda _: False,
        tell_dropped=lambda _, line: lines.append(line),
    )
    both = {"image": "a", "text": "b"}
    single = Configuration.of("image", {"image": "a"}, FitSettings())
    Race(runner, [single, *(Configuration.of(name, both, FitSettings()) for name in fusions)], seed=0).run()
    assert trained == [[0, 1, 2]]
    assert len(lines) == n_lines


class Lines:
    """A watcher that hears what is dropped, and may stop after some jobs."""

    def __init__(self, most=None):
        self.lines, self.most = [], most

    def expect(self, n_jobs):
        pass

    def note(self, *_, **__):
        self.most = None if self.most is None else self.most - 1
        if self.most == 0:
            raise KeyboardInterrupt

    def drop(self, _, line):
        self.lines.append(line)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def jobs_of(report):
    """Return each job's scores; losses to six digits: sums may be rounded otherwise in a stack of another size."""
    rows = read_csv(report.run_path / "jobs.csv")
    return {
        (row["head"], row["learning_rate"], row["fold"], row["seed"]): {
            name: round(float(row[name]), 6) if "los" in name else row[name]
            for name in ("test_accuracy", "test_macro_f1", "validation_macro_f1", "best_epoch", "test_log_loss")
        }
        for row in rows
    }


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """The same grid without a race and with one, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("race")
    cache_path = shop(folder / "c.h5", n_products=300)
    runs = itertools.count()

    def run(settings, **options):
        return ablate(cache_path, settings=settings, runs_path=folder / str(next(runs)), **options)

    watcher = Lines()
    full = run(replace(RACE, race=False), with_report=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobRunner, "folds_at_once", lambda *_, **__: 1)  # as of heads that are large
        yield full, run(RACE, watcher=watcher), watcher.lines, run


@pytest.mark.slow
def test_survivors_come_to_what_they_come_to_without_a_race(raced):
    full, race, *_ = raced
    every, left = jobs_of(full), jobs_of(race)
    assert 0 < race.n_jobs == race.n_trained == len(left) < len(every)
    assert left == {job: every[job] for job in left}
    assert (race.ranking.single, race.ranking.fusion) == (full.ranking.single, full.ranking.fusion)
    assert race.ranking.verdict.macro_f1.value == pytest.approx(full.ranking.verdict.macro_f1.value)
    late = [row.configuration for row in race.ranking.rows if row.configuration.head == "late" and not row.dropped]
    assert not {member for one in late for member in one.members} & {
        row.configuration for row in race.ranking.rows if row.dropped
    }


@pytest.mark.slow
def test_small_heads_are_trained_on_all_folds_at_once(raced, monkeypatch):
    """One fold after the other they would take longer than without a race."""
    full, *_, run = raced
    monkeypatch.setattr(JobRunner, "folds_at_once", FOLDS_AT_ONCE)
    watcher = Lines()
    race = run(RACE, watcher=watcher, with_report=False)
    assert jobs_of(race) == jobs_of(full)
    assert race.n_dropped == 0
    assert watcher.lines == ["All 3 folds are trained at once, and none stops: so small heads take as long on one."]


@pytest.mark.slow
def test_what_was_dropped_says_why_and_is_not_ranked(raced):
    _, race, lines, _ = raced
    dropped = [row for row in race.ranking.rows if row.dropped]
    assert race.n_dropped == len(dropped) > 0
    assert {1e-5} <= {row.configuration.settings.learning_rate for row in dropped} <= {1e-5, 3e-3}
    cells = read_csv(race.run_path / "ranking.csv")
    assert [bool(row["place"]) for row in cells] == [True] * (12 - len(dropped)) + [False] * len(dropped)
    for row in cells[-len(dropped) :]:
        assert row["validation_macro_f1_mean"] == row["macro_f1_mean"] == row["macro_f1_difference"] == ""
        assert float(row["dropped_difference_high"]) < 0
        assert row["dropped_behind"].endswith("(lr 0.01)")
    n_first = sum(row.dropped.n_folds == 1 for row in dropped)
    assert lines[0].startswith(f"After 1 of 3 folds {12 - n_first} configurations go on, {n_first} stop")
    page = (race.run_path / "report.html").read_text(encoding="utf-8")
    assert page.count("dropped after 1 fold: validation macro-F1 -") == n_first > 0
    assert json.loads(json.dumps(race.to_dict(), default=str))["n_dropped"] == len(dropped)


@pytest.mark.slow
def test_a_race_goes_on_where_it_was_stopped(raced, tmp_path):
    _, race, _, run = raced
    memo = {"memo_path": tmp_path / "memo.sqlite", "with_report": False}
    with pytest.raises(KeyboardInterrupt):
        run(RACE, watcher=Lines(20), **memo)
    again = run(RACE, **memo)
    assert 0 < again.n_trained < race.n_trained
    assert jobs_of(again) == jobs_of(race)
    assert [row.dropped for row in again.ranking.rows] == [row.dropped for row in race.ranking.rows]


class Here:
    """A pool of one worker, in this process."""

    n_wanted = 1

    def __init__(self, kind, arguments, **_):
        self.worker = kind(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, tasks, **_):
        return [(task, self.worker.do(task)) for task in tasks]


@pytest.mark.slow
def test_workers_race_as_this_process_does(raced, monkeypatch):
    _, race, _, run = raced
    monkeypatch.setattr("heads.ablation.engines.ray_engine.RayPool", Here)
    far = run(replace(RACE, engine="ray"), with_report=False)
    assert jobs_of(far).keys() == jobs_of(race).keys()
    assert [row.configuration for row in far.ranking.rows if row.dropped] == [
        row.configuration for row in race.ranking.rows if row.dropped
    ]
