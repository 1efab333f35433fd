"""Scores against scikit-learn and plain formulas; intervals against a slow bootstrap; verdicts in words."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn import metrics

import heads.metrics.scores
from heads.metrics.answers import Answers
from heads.metrics.differences import Difference
from heads.metrics.registry import measure
from heads.metrics.score_interval import score_interval, wilson_interval
from heads.metrics.scores import log_loss, per_class, resampled_scores, scores
from heads.metrics.verdict import Verdict, judge

SEEDS = range(6)
K = 6


def random_answers(seed, n_rows=80):
    """Return labels and answers in which class 4 has no label, 5 no answer, and 3 neither."""
    generator = np.random.default_rng(seed)
    targets = generator.choice([0, 1, 2, 5], size=n_rows)
    answers = np.where(generator.random(n_rows) < 0.6, targets, generator.choice([0, 1, 4], size=n_rows))
    return targets, np.where(answers == 5, 0, answers)


def random_probabilities(seed, n_rows=200):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(K, 0.3), size=n_rows) + 1e-6
    probabilities /= probabilities.sum(1, keepdims=True)
    targets = np.where(generator.random(n_rows) < 0.7, probabilities.argmax(1), generator.integers(K, size=n_rows))
    return probabilities, targets


def resample(targets, answers, groups, *, n_resamples=20, n_classes=K, seed=3):
    generator = np.random.default_rng(seed)
    return resampled_scores(targets, answers, groups, n_classes=n_classes, n_resamples=n_resamples, generator=generator)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_those_of_scikit_learn(seed):
    targets, answers = random_answers(seed)
    assert scores(targets, answers, K) == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(targets, answers),
            "macro_f1": metrics.f1_score(targets, answers, average="macro", zero_division=0),
            "balanced_accuracy": metrics.recall_score(targets, answers, average="macro", labels=np.unique(targets)),
        }
    )


def test_scores_by_hand():
    targets, answers = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    # F1 of class 0 is 2*2/(3+2), of class 1 is 2*1/(1+2); recalls are 2/3 and 1
    assert scores(targets, answers, 3) == pytest.approx(
        {"accuracy": 3 / 4, "macro_f1": (4 / 5 + 2 / 3) / 2, "balanced_accuracy": (2 / 3 + 1) / 2}
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_by_class_are_those_of_scikit_learn(seed):
    targets, answers = random_answers(seed)
    found = per_class(targets, answers, list("abcdef"))
    expected = metrics.precision_recall_fscore_support(targets, answers, labels=range(K), zero_division=0)
    assert list(found) == list("abcdef")
    for n, name in enumerate(found):
        by_name = dict(zip(("precision", "recall", "f1", "support"), (part[n] for part in expected), strict=True))
        assert found[name] == pytest.approx(by_name)


@pytest.mark.parametrize("seed", SEEDS)
def test_log_loss_is_that_of_scikit_learn(seed):
    probabilities, targets = random_probabilities(seed)
    expected = metrics.log_loss(targets, probabilities, labels=range(K))
    assert log_loss(probabilities, targets) == pytest.approx(expected)
    assert log_loss(probabilities.astype(np.float32), targets) == pytest.approx(expected, rel=1e-5)


def test_log_loss_of_a_label_held_impossible_is_large_and_finite():
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(15 * np.log(10))


@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_error_is_the_mean_gap_of_fifteen_bins(seed):
    probabilities, targets = random_probabilities(seed)
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = [n for n, row in enumerate(probabilities) if low < row.max() <= low + 1 / 15]
        if inside:
            confidence = np.mean([probabilities[n].max() for n in inside])
            accuracy = np.mean([probabilities[n].argmax() == targets[n] for n in inside])
            expected += len(inside) / len(targets) * abs(confidence - accuracy)
    answers = Answers.of(probabilities, targets)
    assert measure(answers, targets, probabilities.shape[1])["calibration_error"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("confidence", "n_right", "error"), [(1.0, 10, 0.0), (1.0, 0, 1.0), (0.7, 7, 0.0), (0.9, 6, 0.3)]
)
def test_calibration_error_by_hand(confidence, n_right, error):
    probabilities = np.tile([confidence, 1 - confidence], (10, 1))
    targets = np.array([0] * n_right + [1] * (10 - n_right))
    answers = Answers.of(probabilities, targets)
    assert measure(answers, targets, probabilities.shape[1])["calibration_error"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_resampled_scores_are_those_of_a_slow_bootstrap(seed):
    targets, answers = random_answers(seed, n_rows=25)
    groups = np.random.default_rng(seed).integers(50, 62, size=25)
    found = resample(targets, {"early": answers, "perfect": targets}, groups)
    names = np.unique(groups)
    drawn = np.random.default_rng(3).integers(len(names), size=(20, len(names)))
    for n, sample in enumerate(drawn):
        rows = np.concatenate([np.flatnonzero(groups == names[place]) for place in sample])
        expected = (
            metrics.accuracy_score(targets[rows], answers[rows]),
            metrics.f1_score(targets[rows], answers[rows], average="macro", zero_division=0),
        )
        assert found["early"][n] == pytest.approx(expected)
        assert found["perfect"][n].tolist() == [1, 1]


def test_whole_groups_are_drawn():
    """Of each pair one row is right and one wrong, so that every draw of pairs has an accuracy of one half."""
    targets, answers = np.array([0, 0] * 20), np.array([0, 1] * 20)
    in_pairs = resample(targets, {"early": answers}, np.arange(40) // 2)["early"][:, 0]
    alone = resample(targets, {"early": answers}, np.arange(40))["early"][:, 0]
    assert (in_pairs == 0.5).all()
    assert len(set(alone)) > 3


def test_all_heads_are_scored_on_the_same_resamples():
    targets, answers = random_answers(0)
    found = resample(targets, {"early": answers, "late": answers.copy()}, np.arange(80))
    assert np.array_equal(found["early"], found["late"])


@pytest.mark.parametrize("cells", [1, 80 * 3, 80 * 7, 80 * 10_000])
def test_the_size_of_a_block_changes_no_result(monkeypatch, cells):
    targets, answers = random_answers(0)
    expected = resample(targets, {"early": answers}, np.arange(80))
    monkeypatch.setattr(heads.metrics.scores, "BLOCK_CELLS", cells)
    assert np.array_equal(resample(targets, {"early": answers}, np.arange(80))["early"], expected["early"])


@pytest.mark.parametrize(("n_rows", "share"), [(30, 0.7), (30, 0.95), (30, 0.98), (300, 0.995)])
def test_the_interval_of_a_score_holds_what_the_rows_have_not_shown(n_rows, share):
    """Percentiles of resamples hold it in 79, 47 and 78 % of the last three: where all rows are right, they agree."""
    generator, covered = np.random.default_rng(0), 0.0
    for n_right in range(n_rows + 1):
        resampled = generator.binomial(n_rows, n_right / n_rows, size=1000) / n_rows
        low, high = score_interval(np.array(n_right / n_rows), resampled, np.array(n_rows))
        assert 0 <= low <= n_right / n_rows <= high <= 1
        covered += binom.pmf(n_right, n_rows, share) * (low <= share <= high)
    assert 0.92 < covered < 0.985


def test_the_interval_of_a_share_of_independent_rows_is_wilsons():
    resampled = np.random.default_rng(0).binomial(100, 0.8, size=200_000) / 100
    low, high = score_interval(np.array(0.8), resampled, np.array(100))
    assert (low, high) == pytest.approx(wilson_interval(80, 100)[1:], abs=1e-3)


@pytest.mark.parametrize("share", [0.7, 1 / 3])
def test_the_interval_of_resamples_that_are_all_alike_is_that_of_the_rows(share):
    """As of test rows that are all copies of one product."""
    low, high = score_interval(np.full(2, share), np.full((1000, 2), share), np.array([1, 4]))
    assert list(zip(low, high, strict=True)) == [
        pytest.approx(wilson_interval(share * n_rows, n_rows)[1:]) for n_rows in (1, 4)
    ]


def test_the_interval_allows_for_the_bias_of_the_resamples():
    """They lie around 0.5, and the score is 0.6."""
    resampled = 0.5 + 0.04 * np.random.default_rng(0).standard_normal((100_000, 2))
    low, high = score_interval(np.array([0.6, 0.4]), resampled, np.array([9, 9]))
    assert (low[0], high[0]) == pytest.approx((0.521, 0.775), abs=2e-3)
    assert (low[1], high[1]) == pytest.approx((1 - high[0], 1 - low[0]), abs=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "sign"), [(0.01, 0.2, 1), (-0.2, -0.01, -1), (-0.1, 0.1, 0), (0, 0.1, 0), (0, 0, 0)]
)
def test_a_difference_has_a_sign_where_its_interval_leaves_zero_out(low, high, sign):
    assert Difference((low + high) / 2, low, high).sign == sign


def test_a_difference_is_shown_in_points():
    assert str(Difference(0.0123, -0.0045, 0.1)) == "+1.2 [-0.4, +10.0]"


DIFFERENCES = {
    "better": Difference(0.05, 0.01, 0.09),
    "equal": Difference(0.00, -0.015, 0.015),
    "undecided": Difference(0.01, -0.02, 0.04),
    "worse": Difference(-0.05, -0.09, -0.01),
}
EQUAL = "text alone is as good as early: the image adds less than 2 points here"
UNDECIDED = "early against text alone is undecided: 777 test rows cannot tell, about 7,000 would"
BETTER = "early is better than text alone"
WORSE = "early is worse than text alone"


def verdict_on(accuracy, macro_f1, n_rows=777, **options):
    return Verdict("early", "text", ["image"], n_rows, accuracy, macro_f1, **options)


@pytest.mark.parametrize(
    ("accuracy", "macro_f1", "outcome", "words"),
    [
        ("better", "better", "better", BETTER),
        ("better", "equal", "better", f"{BETTER} in accuracy and as good in macro-F1"),
        ("better", "undecided", "better", f"{BETTER} in accuracy; in macro-F1 it is undecided"),
        ("equal", "better", "better", f"{BETTER} in macro-F1 and as good in accuracy"),
        ("undecided", "better", "better", f"{BETTER} in macro-F1; in accuracy it is undecided"),
        ("worse", "worse", "worse", WORSE),
        ("worse", "equal", "worse", f"{WORSE} in accuracy and as good in macro-F1"),
        ("undecided", "worse", "worse", f"{WORSE} in macro-F1; in accuracy it is undecided"),
        ("equal", "equal", "equal", EQUAL),
        ("undecided", "undecided", "undecided", UNDECIDED),
        ("equal", "undecided", "undecided", UNDECIDED),
        ("undecided", "equal", "undecided", UNDECIDED),
        ("better", "worse", "undecided", f"{BETTER} in accuracy and worse in macro-F1"),
        ("worse", "better", "undecided", f"{WORSE} in accuracy and better in macro-F1"),
    ],
)
def test_the_verdict_is_one_of_four_words_and_a_sentence_that_agrees(accuracy, macro_f1, outcome, words):
    verdict = verdict_on(DIFFERENCES[accuracy], DIFFERENCES[macro_f1])
    assert verdict.outcome == verdict.to_dict()["outcome"] == outcome
    numbers = f"(accuracy {DIFFERENCES[accuracy]}, macro-F1 {DIFFERENCES[macro_f1]})."
    assert verdict.sentence == verdict.to_dict()["sentence"] == f"{words} {numbers}"


@pytest.mark.parametrize(
    ("accuracy", "macro_f1", "shown"),
    [
        ("better", "better", "better"),
        ("better", "undecided", "better (accuracy)"),
        ("equal", "better", "better (macro-F1)"),
        ("undecided", "worse", "worse (macro-F1)"),
        ("better", "worse", "undecided"),
        ("equal", "undecided", "undecided"),
        ("equal", "equal", "equal"),
    ],
)
def test_beside_the_word_stands_the_score_that_alone_says_it(accuracy, macro_f1, shown):
    assert verdict_on(DIFFERENCES[accuracy], DIFFERENCES[macro_f1]).outcome_by_score == shown


def test_a_wide_interval_that_holds_zero_is_no_equality():
    """Of +3.1 [-10.9, +17.3] it was said that text alone is as good."""
    wide = Difference(0.031, -0.109, 0.173)
    verdict = verdict_on(wide, wide, n_rows=80)
    assert verdict.outcome == "undecided"
    assert "as good" not in verdict.words
    # the half-width is 14.1 points, the margin 2: 80 * (14.1 / 2)^2 = 3976.2
    assert verdict.rows_to_decide == verdict.to_dict()["rows_to_decide"] == 4000
    assert "80 test rows cannot tell, about 4,000 would" in verdict.words


@pytest.mark.parametrize(
    ("value", "low", "high", "margin", "answer"),
    [
        (0.01, 0.001, 0.019, 0.02, "better"),  # sure, if small
        (-0.01, -0.019, -0.001, 0.02, "worse"),
        (0.0, -0.019, 0.019, 0.02, "equal"),
        (0.0, -0.02, 0.019, 0.02, "undecided"),  # on the margin
        (0.0, -0.019, 0.019, 0.01, "undecided"),
        (0.0, -0.08, 0.08, 0.1, "equal"),
        (-0.02, -0.03, 0.001, 0.02, "undecided"),  # possibly worse by more than the margin
        (0.0, 0.0, 0.0, 0.02, "equal"),
    ],
)
def test_an_interval_says_one_of_four_things(value, low, high, margin, answer):
    assert Difference(value, low, high).answer(margin) == answer


def test_a_sure_difference_within_the_margin_is_better_and_said_to_be_small():
    small = Difference(0.01, 0.001, 0.019)
    assert verdict_on(small, small).words == f"{BETTER}, by less than 2 points"
    assert verdict_on(small, small, margin=0.01).words == BETTER
    assert verdict_on(small, DIFFERENCES["better"]).words == BETTER
    assert verdict_on(*[Difference(0, -0.004, 0.004)] * 2, margin=0.01).words.endswith("adds less than 1 point here")


@pytest.mark.parametrize(("value", "half", "n_rows"), [(0.0, 0.03, 500), (0.01, 0.015, 500), (0.001, 0.2, 100)])
def test_as_many_rows_as_are_said_would_decide(value, half, n_rows):
    """Intervals shrink with the root of the rows: at the rows that are named this difference is not undecided."""
    before = Difference(value, value - half, value + half)
    needed = verdict_on(before, before, n_rows=n_rows).rows_to_decide
    half *= np.sqrt(n_rows / needed)
    after = Difference(value, value - half, value + half)
    assert needed > n_rows
    assert verdict_on(after, after, n_rows=needed).outcome != "undecided"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("equal", "image's own head is as good as logistic: they are within 2 points"),
        (
            "undecided",
            "logistic against image's own head is undecided: 777 test rows cannot tell, about 7,000 would",
        ),
        ("better", "logistic is better than image's own head"),
        ("worse", "logistic is worse than image's own head"),
    ],
)
def test_where_there_is_one_modality_no_other_one_is_spoken_of(kind, words):
    verdict = Verdict("logistic", "image", [], 777, DIFFERENCES[kind], DIFFERENCES[kind])
    assert verdict.sentence == f"{words} (accuracy {DIFFERENCES[kind]}, macro-F1 {DIFFERENCES[kind]})."


@pytest.mark.parametrize(
    ("n_rows", "n_groups", "is_certain"),
    [(60, None, False), (150, None, False), (151, None, True), (1000, 150, False), (1000, 151, True)],
)
def test_few_rows_without_a_difference_are_no_certainty(n_rows, n_groups, is_certain):
    """In 60 rows none differs: one in twenty of all products may. Duplicates are one row of evidence."""
    verdict = verdict_on(*[Difference(0.0, 0.0, 0.0)] * 2, n_rows=n_rows, n_groups=n_groups)
    assert verdict.outcome == ("equal" if is_certain else "undecided")
    assert is_certain or 150 < verdict.rows_to_decide * (n_groups or n_rows) / n_rows < 170


def test_rows_of_a_rare_class_that_do_not_differ_are_no_certainty_of_macro_f1():
    """Of 400 rows 4 are of the class in which the fusion is right more often; mostly none of these shows it."""
    generator = np.random.default_rng(0)
    targets = np.repeat([0, 1], [396, 4])
    outcomes = []
    for _ in range(100):
        luck = generator.random(400)
        right = {"text": np.where(targets == 1, 0.3, 0.999), "early": np.where(targets == 1, 0.4, 0.999)}
        answers = {name: np.where(luck < share, targets, 1 - targets) for name, share in right.items()}
        outcomes.append(verdict_of(targets, answers["early"], answers["text"]).outcome)
    assert outcomes.count("equal") == 0  # macro-F1 differs by more than 3 points; it was equal 73 times of 100
    even = np.repeat([0, 1], 200)
    assert verdict_of(even, even, even).outcome == "equal"


def test_as_many_rows_as_the_rarest_class_asks_for_would_decide():
    verdict = verdict_on(*[Difference(0.0, 0.0, 0.0)] * 2, n_rows=400, n_even_groups=8)
    assert verdict.outcome == "undecided"
    assert verdict.rows_to_decide == 7600  # 3 / 0.02 = 150 groups of both classes, of 8


def test_several_modalities_that_add_little_are_all_named():
    verdict = Verdict("late", "text", ["image", "metadata"], 777, DIFFERENCES["equal"], DIFFERENCES["equal"])
    assert "the image and metadata add less than 2 points here" in verdict.sentence


def test_the_verdict_compares_on_the_same_resamples():
    """Both heads vary much from draw to draw, their difference does not."""
    luck = np.random.default_rng(0).normal(size=(500, 2))
    (verdict,) = judge(
        ["early"],
        "text",
        others=["image"],
        groups=np.arange(77) // 2,
        scores={"early": np.array([0.8, 0.7]), "text": np.array([0.7, 0.75])},
        resampled={"early": luck + np.array([0.1, -0.05]), "text": luck},
        targets=np.zeros(77, dtype=np.int64),
    )
    assert (verdict.accuracy.value, verdict.macro_f1.value) == pytest.approx((0.1, -0.05))
    assert (verdict.accuracy.low, verdict.accuracy.high) == pytest.approx((0.1, 0.1))
    assert (verdict.accuracy.sign, verdict.macro_f1.sign) == (1, -1)
    assert (verdict.n_rows, verdict.n_groups, verdict.n_together) == (77, 39, 1)


def verdict_of(targets, early, text, groups=None, *, seed=0):
    answers = {"early": early, "text": text}
    groups = np.arange(len(targets)) if groups is None else groups
    resampled = resample(targets, answers, groups, n_resamples=200, n_classes=2, seed=seed)
    values = {name: np.array(list(scores(targets, answer, 2).values())[:2]) for name, answer in answers.items()}
    return judge(
        ["early"], "text", others=["image"], groups=groups, scores=values, resampled=resampled, targets=targets
    )[0]


def test_where_there_is_no_difference_the_interval_holds_zero_about_19_times_of_20():
    generator = np.random.default_rng(0)
    n_held = 0
    for seed in range(200):
        targets = generator.integers(2, size=150)
        early, text = (np.where(generator.random(150) < 0.2, 1 - targets, targets) for _ in range(2))
        verdict = verdict_of(targets, early, text, seed=seed)
        n_held += verdict.accuracy.sign == verdict.macro_f1.sign == 0
    assert 0.91 <= n_held / 200 <= 0.98


@pytest.mark.parametrize("n_better", [1, 2])
def test_a_few_rows_are_no_evidence(n_better):
    """Where no more than two rows of a hundred differ, many a resample has none of them."""
    targets = np.zeros(100, dtype=np.int64)
    text = np.where(np.arange(100) < 10 + n_better, 1, 0)
    early = np.where(np.arange(100) < 10, 1, 0)
    signs = {verdict_of(targets, early, text, seed=seed).accuracy.sign for seed in range(20)}
    assert signs == {0}


def test_copies_of_a_row_are_no_more_evidence_than_the_row():
    """Fifteen rows, each ten times: taken one by one they would seem to prove a difference."""
    targets = np.zeros(150, dtype=np.int64)
    groups = np.arange(150) // 10
    early, text = np.where(groups == 0, 1, 0), np.where(groups < 3, 1, 0)
    assert verdict_of(targets, early, text).accuracy.sign == 1
    assert verdict_of(targets, early, text, groups).accuracy.sign == 0
