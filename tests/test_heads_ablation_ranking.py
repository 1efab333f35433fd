"""The ranking: validation rows choose, test rows tell, on resamples that all configurations share."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from heads.ablation.grid import span
from heads.ablation.naming import Naming
from heads.ablation.ranking import Spread, rank
from heads.ablation.ranking_table import differences_text, ranking_lines, verdict_text
from heads.commands.live_progress import Progress
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.results import Outcome
from heads.metrics.differences import compare
from heads.metrics.scores import scores as scores_of

pytestmark = pytest.mark.slow

BOTH = {"image": "a", "text": "b"}
N_ROWS, N_CLASSES, N_FOLDS, SEEDS, N_RESAMPLES = 60, 3, 2, (0, 1), 12


def shop(seed=0):
    """Return what a ranking needs to know of a problem: classes, duplicates, and which rows each fold tests."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(N_ROWS)
    folds = [SimpleNamespace(test=np.sort(order[:33])), SimpleNamespace(test=np.sort(order[33:]))]
    return SimpleNamespace(
        labels=SimpleNamespace(targets=generator.integers(N_CLASSES, size=N_ROWS), classes=["a", "b", "c"]),
        is_placeholder=np.zeros(N_ROWS, dtype=bool),
        groups=generator.integers(40, size=N_ROWS),
        folds=folds,
        test_rows=np.concatenate([fold.test for fold in folds]),
    )


def outcomes_of(problem, configurations, *, luck, validation):
    """Return outcomes whose answers are right in so many of all cases, and what the validation rows say of each."""
    generator = np.random.default_rng(7)
    found = {}
    for one in configurations:
        for seed in SEEDS:
            for place, fold in enumerate(problem.folds):
                targets = problem.labels.targets[fold.test]
                guesses = generator.integers(N_CLASSES, size=len(targets))
                answers = np.where(generator.random(len(targets)) < luck[one], targets, guesses).astype(np.int32)
                test = {
                    "accuracy": accuracy_score(targets, answers),
                    "macro_f1": f1_score(targets, answers, average="macro"),
                }
                found[FoldJob(one, place, seed)] = Outcome(
                    predictions=answers,
                    test=test,
                    validation={"macro_f1": validation[one] + 0.01 * seed},
                    elapsed_s=2.0,
                )
    return found


@pytest.fixture
def problem():
    return shop()


@pytest.fixture
def configurations():
    """Two image heads, a text head, and two fusions."""
    slow, fast = span({"learning_rate": (1e-3, 1e-2)})
    return [
        Configuration.of("image", {"image": "a"}, slow),
        Configuration.of("image", {"image": "a"}, fast),
        Configuration.of("text", {"text": "b"}, slow),
        Configuration.of("early", BOTH, slow),
        Configuration.of("early", BOTH, fast),
    ]


def ranked(problem, configurations, *, luck, validation, outcomes=None):
    luck, validation = (dict(zip(configurations, values, strict=True)) for values in (luck, validation))
    outcomes = outcomes or outcomes_of(problem, configurations, luck=luck, validation=validation)
    jobs = {one: [job for job in outcomes if job.configuration == one] for one in configurations}
    ranking = rank(problem, jobs, outcomes, n_resamples=N_RESAMPLES, generator=np.random.default_rng(3))
    return ranking, outcomes


def test_the_validation_rows_choose_whatever_the_test_rows_say(problem, configurations):
    """The second image head and the second fusion are best on the test rows, and not chosen."""
    ranking, _ = ranked(problem, configurations, luck=(0.2, 0.9, 0.3, 0.4, 0.95), validation=(0.5, 0.4, 0.6, 0.8, 0.7))
    assert ranking.single == configurations[2]
    assert ranking.fusion == configurations[3]
    assert [row.configuration for row in ranking.rows] == [configurations[n] for n in (3, 4, 2, 0, 1)]
    assert (ranking.verdict.single, ranking.verdict.fusion, ranking.verdict.others) == ("text", "early", ["image"])


def test_differences_are_those_of_a_plain_bootstrap(problem, configurations):
    """Groups are drawn with the same generator, and each resample's rows are scored one after another."""
    ranking, outcomes = ranked(
        problem, configurations, luck=(0.2, 0.5, 0.6, 0.8, 0.3), validation=(0.5, 0.4, 0.6, 0.8, 0.7)
    )
    targets, groups = problem.labels.targets[problem.test_rows], problem.groups[problem.test_rows]
    ids = np.unique(groups)
    draws = np.random.default_rng(3).integers(len(ids), size=(N_RESAMPLES, len(ids)))

    def pooled(one, seed):
        return np.concatenate([outcomes[FoldJob(one, fold, seed)].predictions for fold in range(N_FOLDS)])

    def scores(one, rows):
        return np.mean(
            [
                (accuracy_score(targets[rows], own[rows]), f1_score(targets[rows], own[rows], average="macro"))
                for own in (pooled(one, seed) for seed in SEEDS)
            ],
            axis=0,
        )

    every = np.arange(N_ROWS)
    samples = [np.concatenate([np.flatnonzero(groups == ids[group]) for group in draw]) for draw in draws]
    values = {row.configuration: scores(row.configuration, every) for row in ranking.rows}
    resampled = {one: np.array([scores(one, rows) for rows in samples]) for one in values}
    others = [one for one in values if one != ranking.single]

    found_of_all = compare(
        others, ranking.single, scores=values, resampled=resampled, n_groups=len(ids), rivals=configurations[:3]
    )
    for row in ranking.rows:
        if row.configuration == ranking.single:
            assert row.macro_f1_difference is None
            continue
        for found, expected in zip(
            (row.accuracy_difference, row.macro_f1_difference), found_of_all[row.configuration], strict=True
        ):
            assert vars(found) == pytest.approx(vars(expected))


def test_of_several_folds_the_verdict_allows_for_the_choice_and_of_one_it_is_one_test(problem, configurations):
    """What one fold tests is among the validation rows of others: the chosen was lucky on the test rows, too."""
    luck, validation = (0.2, 0.5, 0.6, 0.8, 0.3), (0.5, 0.4, 0.6, 0.8, 0.7)
    ranking, outcomes = ranked(problem, configurations, luck=luck, validation=validation)
    first, verdict = ranking.rows[0], ranking.verdict
    assert first.configuration == ranking.fusion
    assert (verdict.accuracy, verdict.macro_f1) == (first.accuracy_difference, first.macro_f1_difference)
    assert verdict.n_together == 4
    problem.folds, problem.test_rows = problem.folds[:1], problem.folds[0].test
    outcomes = {job: outcome for job, outcome in outcomes.items() if job.fold == 0}
    alone, _ = ranked(problem, configurations, luck=luck, validation=validation, outcomes=outcomes)
    assert alone.verdict.n_together == 1
    assert alone.rows[0].accuracy_difference.low < alone.verdict.accuracy.low


def test_scores_are_over_the_test_rows_of_all_folds_and_agree_with_the_differences(problem, configurations):
    """A mean of the folds' macro-F1 is another number, and stood beside differences of the other sign."""
    ranking, outcomes = ranked(
        problem, configurations, luck=(0.2, 0.5, 0.6, 0.8, 0.3), validation=(0.5, 0.4, 0.6, 0.8, 0.7)
    )
    targets = problem.labels.targets[problem.test_rows]
    single = next(row for row in ranking.rows if row.configuration == ranking.single)
    for row in ranking.rows:
        for score in ("accuracy", "macro_f1"):
            spread, jobs = getattr(row, score), [job for job in outcomes if job.configuration == row.configuration]
            pooled = [
                scores_of(
                    targets,
                    np.concatenate([outcomes[FoldJob(row.configuration, fold, seed)].predictions for fold in (0, 1)]),
                    N_CLASSES,
                )[score]
                for seed in SEEDS
            ]
            assert spread.mean == pytest.approx(np.mean(pooled))
            assert spread.deviation == pytest.approx(np.std([outcomes[job].test[score] for job in jobs], ddof=1))
            if row is not single:
                difference = getattr(row, f"{score}_difference")
                assert difference.value == pytest.approx(spread.mean - getattr(single, score).mean)
    assert ranking.rows[0].validation.mean == pytest.approx(0.805)
    assert (ranking.rows[0].n_jobs, ranking.rows[0].elapsed_s) == (4, 8.0)


def test_the_table_says_what_its_intervals_hold_for(problem, configurations):
    ranking, _ = ranked(problem, configurations, luck=(0.2, 0.5, 0.6, 0.8, 0.3), validation=(0.5, 0.4, 0.6, 0.8, 0.7))
    assert "hold for all 4 differences together." in differences_text(ranking)
    two, _ = ranked(problem, [configurations[n] for n in (2, 3)], luck=(0.3, 0.4), validation=(0.5, 0.6))
    assert differences_text(two) == ""
    assert vars(two.rows[0].accuracy_difference) == vars(two.verdict.accuracy)


def test_one_job_has_no_deviation():
    """It stood as ± 0.0, as though every fold came to the same."""
    assert Spread.of([0.25]) == Spread(0.25, None)
    assert [str(Spread.of(values)) for values in ([0.25], [0.25, 0.25])] == ["25.0", "25.0 ± 0.0"]


def test_what_failed_in_one_fold_is_not_ranked(problem, configurations):
    luck, validation = (0.2, 0.5, 0.6, 0.8, 0.3), (0.5, 0.4, 0.6, 0.8, 0.7)
    _, outcomes = ranked(problem, configurations, luck=luck, validation=validation)
    outcomes[FoldJob(configurations[3], 1, 0)] = Outcome(error="no number any more")
    ranking, _ = ranked(problem, configurations, luck=luck, validation=validation, outcomes=outcomes)
    last = ranking.rows[-1]
    assert (last.configuration, last.n_failed, last.error) == (configurations[3], 1, "no number any more")
    assert last.accuracy is None
    assert ranking.fusion == configurations[4]


def test_where_all_fail_there_is_no_verdict(problem, configurations):
    outcomes = {
        FoldJob(one, fold, seed): Outcome(error="no") for one in configurations for fold in (0, 1) for seed in SEEDS
    }
    ranking, _ = ranked(problem, configurations, luck=range(5), validation=range(5), outcomes=outcomes)
    assert (ranking.single, ranking.fusion, ranking.verdict) == (None, None, None)
    assert verdict_text(ranking, Naming(configurations)) == ""
    assert (
        sum(
            line.startswith("FAILED in 4 of 4 jobs: ") for line in ranking_lines(ranking, Naming(configurations), top=3)
        )
        == 5
    )


@pytest.mark.parametrize("name", ["m", "sentence-encoders/one-whose-name-leaves-no-room-beside"])
def test_the_table_is_no_wider_than_80_columns(problem, name):
    encoders = [{"image": "resnet18", "text": text} for text in (f"{name}-1", f"{name}-2")]
    configurations = [
        Configuration.of(head, {"text": own["text"]} if head == "text" else own, settings)
        for head in ("text", "attention")
        for own in encoders
        for settings in span({"learning_rate": (1e-3, 1e-2)})
    ]
    ranking, _ = ranked(problem, configurations, luck=[0.5] * 8, validation=[n / 10 for n in range(8)])
    lines = ranking_lines(ranking, Naming(configurations), top=5)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert f"text {name}-2 lr 0.01" in text
    assert "resnet18" not in text  # it does not vary
    assert "and 3 more (--top)" in text


def test_the_verdict_names_what_was_chosen(problem, configurations):
    ranking, _ = ranked(problem, configurations, luck=(0.2, 0.9, 0.3, 0.4, 0.95), validation=(0.5, 0.4, 0.6, 0.8, 0.7))
    text = verdict_text(ranking, Naming(configurations))
    assert "early (lr 0.001) among the fusions, text (lr 0.001) among the single modalities" in text
    assert ranking.verdict.sentence in text


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


def noted(progress, configuration, n_jobs, *, clock, seconds_a_job, **outcome):
    for fold in range(n_jobs):
        clock.now += seconds_a_job
        progress.note(FoldJob(configuration, fold, 0), Outcome(**outcome), remembered=False)


def test_without_a_terminal_there_is_a_line_now_and_then(configurations):
    file, clock = io.StringIO(), Clock()
    with Progress(file, clock=clock) as progress:
        progress.expect(40)
        noted(progress, configurations[0], 20, clock=clock, seconds_a_job=2, validation={"macro_f1": 0.5})
        noted(progress, configurations[3], 5, clock=clock, seconds_a_job=2, error="no")
    lines = file.getvalue().splitlines()
    assert len(lines) == 5  # one in ten seconds
    assert lines[0] == "5 of 40 jobs, 30.0/min, 1 min left, best so far image 50.0 (validation macro-F1)"
    assert lines[-1].startswith("25 of 40 jobs, 5 failed, 30.0/min, 30 s left")


def test_what_is_remembered_does_not_count_for_the_rate(configurations):
    clock = Clock()
    progress = Progress(io.StringIO(), clock=clock)
    progress.expect(10)
    for fold in range(6):
        progress.note(FoldJob(configurations[0], fold, 0), Outcome(error="no"), remembered=True)
    noted(progress, configurations[3], 2, clock=clock, seconds_a_job=4, error="no")
    assert progress.line() == "8 of 10 jobs, 6 remembered, 8 failed, 15.0/min, 8 s left"


def test_on_a_terminal_the_best_so_far_stand_in_a_table(configurations, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    file, clock = io.StringIO(), Clock()
    with Progress(file, is_live=True, clock=clock) as progress:
        progress.expect(2)
        noted(progress, configurations[0], 1, clock=clock, seconds_a_job=2, validation={"macro_f1": 0.25})
        noted(progress, configurations[3], 1, clock=clock, seconds_a_job=2, validation={"macro_f1": 0.75})
    drawn = file.getvalue()
    assert "2 of 2 jobs" in drawn
    assert drawn.rindex("75.0") < drawn.rindex("25.0")  # the best first


def test_the_test_rows_are_not_shown_before_all_is_done(configurations):
    progress = Progress(io.StringIO(), clock=Clock())
    outcome = Outcome(validation={"macro_f1": 0.5}, test={"macro_f1": 0.123, "accuracy": 0.123})
    progress.note(FoldJob(configurations[0], 0, 0), outcome, remembered=False)
    assert "12.3" not in progress.line()
