"""The scikit-learn classifier: scikit-learn's checks, columns and absent modalities, pickles, class weights."""

import functools
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import ROOT, class_vectors

from heads import FusionClassifier, HeadError, LabelError, SettingError
from heads.data.splitting.holdout import draw_holdout
from heads.settings import FitSettings
from heads.threads import ThreadCount
from heads.training.training_plan import class_weights

pytestmark = pytest.mark.slow

MODALITIES = {"text": 5, "image": 4}  # not in the order of the names
TEXT, IMAGE = slice(0, 5), slice(5, 9)
CODES = np.arange(90) % 3
LABELS = np.array(["c", "a", "b"])[CODES]
VECTORS = {"text": class_vectors(CODES, 5, spread=0.6, seed=1), "image": class_vectors(CODES, 4, spread=0.6, seed=2)}
MATRIX = np.hstack([VECTORS["text"], VECTORS["image"]])
HEAD = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, dims, *, n_classes):
        super().__init__()
        self.sides = nn.ModuleDict({name: nn.Linear(dim, n_classes) for name, dim in dims.items()})

    def forward(self, inputs, present):
        return sum(torch.where(present[name][:, None], side(inputs[name]), 0.0) for name, side in self.sides.items())
"""


def classifier(fusion="early", **settings):
    return FusionClassifier(
        fusion, **{"modalities": MODALITIES, "random_state": 0, "hidden_dim": 16, "max_epochs": 4, **settings}
    )


def expected_failures(estimator):
    reason = "rows are held out, which other rows are when some stand twice; test_heads_estimator_weights.py has it"
    return {"check_sample_weight_equivalence_on_dense_data": reason}


# Those that another head could fail: what is an input, a parameter or a tag is the same for all.
OF_EACH_HEAD = {
    "check_class_weight_classifiers", "check_classifiers_one_label", "check_classifiers_one_label_sample_weights",
    "check_classifiers_train", "check_dict_unchanged", "check_dont_overwrite_parameters", "check_estimators_pickle",
    "check_fit2d_1feature", "check_fit2d_1sample", "check_fit_idempotent", "check_methods_sample_order_invariance",
    "check_methods_subset_invariance", "check_sample_weights_not_overwritten",
}  # fmt: skip
# Those that ask for answers that are right: for the others a head need not have learned anything.
OF_LEARNED_HEADS = {"check_class_weight_classifiers", "check_classifiers_classes", "check_classifiers_train"}
ALL_CHECKS = parametrize_with_checks(
    [
        FusionClassifier(hidden_dim=32, max_epochs=10, learning_rate=1e-2),
        FusionClassifier(hidden_dim=16, max_epochs=2, learning_rate=1e-2),
        FusionClassifier("late", hidden_dim=32, max_epochs=8, learning_rate=1e-2),
        FusionClassifier("late", hidden_dim=16, max_epochs=2, learning_rate=1e-2),
        FusionClassifier("logistic"),
    ],
    expected_failed_checks=expected_failures,
)


def is_wanted(case):
    estimator, check = getattr(case, "values", case)
    name = check.func.__name__
    if estimator.fusion != "logistic" and (estimator.max_epochs > 2) != (name in OF_LEARNED_HEADS):
        return False
    return (name in OF_EACH_HEAD and not check.keywords) or estimator.fusion == FusionClassifier().fusion


@pytest.mark.parametrize(ALL_CHECKS.args[0], list(filter(is_wanted, ALL_CHECKS.args[1])), **ALL_CHECKS.kwargs)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


@pytest.mark.parametrize("fusion", ["early", "concat", "attention", "gated", "lowrank", "late", "text", "sklearn-svm"])
def test_every_head_learns_the_labels(fusion):
    fitted = classifier(fusion, max_epochs=10, learning_rate=1e-2).fit(MATRIX, LABELS)
    assert fitted.score(MATRIX, LABELS) > 0.8  # a third by chance
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(fitted.predict_proba(MATRIX).sum(1), 1, rtol=1e-12)


def test_columns_are_the_modalities_in_their_order():
    fitted = classifier("image").fit(MATRIX, LABELS)
    expected = fitted.predict_proba(MATRIX)
    changed = MATRIX.copy()
    changed[:, TEXT] = 7
    assert np.array_equal(fitted.predict_proba(changed), expected)
    changed[:, IMAGE.start] += 1
    assert not np.allclose(fitted.predict_proba(changed), expected)


@pytest.mark.parametrize("modalities", [MODALITIES, None])
def test_a_dict_of_matrices_is_the_matrix_of_their_columns(modalities):
    expected = classifier().fit(MATRIX, LABELS)
    fitted = classifier(modalities=modalities).fit(VECTORS, LABELS)
    other_order = {"image": VECTORS["image"], "text": VECTORS["text"].tolist()}
    assert fitted.modalities_ == MODALITIES
    assert fitted.n_features_in_ == 9
    for X in (VECTORS, other_order, MATRIX):  # noqa: N806 - scikit-learn's name
        assert np.array_equal(fitted.predict_proba(X), expected.predict_proba(MATRIX))


def test_late_fusion_is_the_weighted_mean_of_its_members():
    members = {name: classifier(name).fit(MATRIX, LABELS).predict_proba(MATRIX) for name in MODALITIES}
    for weights in ({"text": 3, "image": 1}, "0.25,0.75"):
        fitted = classifier("late", weights=weights).fit(MATRIX, LABELS)
        expected = 0.25 * members["image"] + 0.75 * members["text"]
        np.testing.assert_allclose(fitted.predict_proba(MATRIX), expected, atol=1e-6)


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_modality_that_is_nan_throughout_is_absent(as_dict):
    """Late fusion then gives the other member's answer."""
    matrix = MATRIX.copy()
    matrix[::4, IMAGE] = np.nan
    matrix[1::4, TEXT] = np.nan
    given = {"text": matrix[:, TEXT], "image": matrix[:, IMAGE]} if as_dict else matrix
    late, text, image = (classifier(name).fit(given, LABELS).predict_proba(given) for name in ("late", "text", "image"))
    np.testing.assert_allclose(late[::4], text[::4], atol=1e-6)
    np.testing.assert_allclose(late[1::4], image[1::4], atol=1e-6)


def test_rows_that_have_nothing_are_answered_and_not_trained_on():
    empty = np.full((20, 9), np.nan)
    fitted = classifier().fit(np.vstack([MATRIX, empty]), [*LABELS, *["a"] * 20])
    assert np.array_equal(fitted.predict_proba(MATRIX), classifier().fit(MATRIX, LABELS).predict_proba(MATRIX))
    assert np.isfinite(fitted.predict_proba(empty)).all()


@pytest.mark.parametrize("modalities", [None, {"text": 9}])
def test_nan_is_refused_where_nothing_else_is_there(modalities):
    matrix = MATRIX.copy()
    matrix[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        classifier(modalities=modalities).fit(matrix, LABELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "mean"}, "fusion to be one of image, text, early"),
        ({"fusion": 3}, "fusion to be one of"),
        ({"fusion": "gated", "modalities": None}, "gated needs two modalities"),
        ({"modalities": {}}, "how many columns"),
        ({"modalities": {"text": 5, "image": 4.0}}, "how many columns"),
        ({"modalities": ["text"]}, "how many columns"),
        ({"modalities": {"late": 9}}, "'late'"),
        ({"modalities": {"a.b": 9}}, "'a.b'"),
        ({"modalities": {"keys": 9}}, "'keys'"),
        ({"hidden_dim": 16.0}, "hidden_dim to be an integer"),
        ({"hidden_dim": 0}, "^hidden_dim: expected at least 1"),
        ({"dropout": "0.5"}, "dropout to be a number"),
        ({"dropout": np.nan}, "dropout: expected at least 0"),
        ({"validation_fraction": 1}, "validation_fraction to be between 0 and 1"),
        ({"precision": "fp16"}, "precision to be one of auto, fp32, bf16"),
        ({"device": "tpu"}, "device: expected auto, cpu"),
        ({"class_weight": "equal"}, "class_weight to be None"),
        ({"class_weight": {"a": -1}}, "^class_weight: expected positive"),
        ({"class_weight": "balanced", "fusion": "centroids"}, "centroids weighs no classes"),
        ({"fusion": "late", "weights": {"text": 1}}, "weights: expected one non-negative number per modality"),
        ({"fusion": "late", "weights": {"text": -1, "image": 2}}, "^weights: expected one non-negative number"),
        ({"max_epochs": 0}, "^max_epochs: expected"),
        ({"fusion": "late", "weights": 0.4}, "weights such as"),
        ({"fusion": "late", "weights": np.array([0.4, 0.6])}, "weights such as"),
    ],
)
def test_a_parameter_out_of_its_range_is_a_named_error(settings, message):
    with pytest.raises(SettingError, match=message) as raised:
        classifier(**settings).fit(MATRIX, LABELS)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (MATRIX[:, :8], "modalities to name all columns of X, which has 8, but they name 9: text 5, image 4"),
        ({"text": VECTORS["text"]}, "got those of text"),
        ({**VECTORS, "metadata": MATRIX}, "got those of text, image, metadata"),
        ({**VECTORS, "image": MATRIX}, "got those of text 5, image 9"),
        ({**VECTORS, "image": VECTORS["image"][:8]}, r"got \[8, 90\] rows"),
    ],
)
def test_columns_that_are_not_those_of_the_modalities_are_an_error(given, message):
    with pytest.raises(HeadError, match=message):
        classifier().fit(given, LABELS)


def test_one_class_is_an_error():
    matrix = MATRIX.copy()
    matrix[CODES > 0] = np.nan
    with pytest.raises(LabelError, match="1 class among the 30 rows that have vectors"):
        classifier().fit(matrix, LABELS)


def test_the_history_says_how_training_went():
    fitted = classifier(max_epochs=5, patience=9).fit(MATRIX, LABELS)
    assert len(fitted.history_) == 5
    assert fitted.history_[0].keys() == {"train_loss", "validation_loss", "validation_macro_f1"}
    scores = [(epoch["validation_macro_f1"], -epoch["validation_loss"]) for epoch in fitted.history_]
    assert fitted.best_epoch_ == scores.index(max(scores)) + 1
    late = classifier("late", max_epochs=5, patience=9).fit(MATRIX, LABELS)
    assert late.history_.keys() == late.best_epoch_.keys() == {"image", "text"}
    assert late.history_["text"] == classifier("text", max_epochs=5, patience=9).fit(MATRIX, LABELS).history_
    assert classifier("logistic").fit(MATRIX, LABELS).history_ == []


def test_the_same_random_state_gives_the_same_answers_and_global_state_stays():
    def global_state():
        numpy_state = np.random.get_state(legacy=False)["state"]
        return torch.get_rng_state().tolist(), numpy_state["key"].tolist(), numpy_state["pos"], torch.get_num_threads()

    before = global_state()
    fits = [classifier(random_state=state).fit(MATRIX, LABELS) for state in (3, 3, np.random.RandomState(3), 4, None)]
    answers = [fitted.predict_proba(MATRIX) for fitted in fits]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])
    assert not np.allclose(answers[0], answers[3])
    assert global_state() == before


def test_trainings_that_overlap_leave_the_number_of_threads_as_it_was():
    """The second one begins in a thread that finds what the first one set, and ends last."""
    n_threads = torch.get_num_threads()
    count = ThreadCount()

    def in_a_new_thread(call):
        found = []
        thread = threading.Thread(target=lambda: found.append(call()))
        thread.start()
        thread.join()
        return found[0]

    count.enter()
    in_a_new_thread(lambda: torch.set_num_threads(n_threads + 1))
    assert in_a_new_thread(torch.get_num_threads) == n_threads + 1
    in_a_new_thread(count.enter)
    count.leave()
    in_a_new_thread(lambda: torch.set_num_threads(n_threads + 1))
    in_a_new_thread(count.leave)
    assert in_a_new_thread(torch.get_num_threads) == n_threads == torch.get_num_threads()


@pytest.mark.parametrize("fusion", ["early", "late", "logistic", "sklearn-forest", "mine.py:Mine"])
def test_an_unpickled_classifier_answers_bit_for_bit(fusion, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(HEAD)
    fitted = classifier(fusion).fit(MATRIX, LABELS)
    expected = fitted.predict_proba(MATRIX)
    classifier(fusion).fit(MATRIX[:, ::-1], LABELS)  # runs the file again: its class is another one then
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(MATRIX), expected)  # noqa: S301 - our own
    assert np.array_equal(fitted.predict_proba(MATRIX), expected)
    assert np.array_equal(clone(fitted).fit(MATRIX, LABELS).predict_proba(MATRIX), expected)


def test_cross_validation_and_pipelines_take_it():
    pipeline = make_pipeline(FunctionTransformer(np.negative), classifier("late", max_epochs=8, learning_rate=1e-2))
    matrix = MATRIX.copy()
    matrix[::5, IMAGE] = np.nan
    assert cross_val_score(pipeline, matrix, LABELS, cv=3, scoring="neg_log_loss").mean() > -np.log(3)
    probabilities = cross_val_predict(pipeline, matrix, LABELS, cv=3, method="predict_proba")
    assert (np.array(["a", "b", "c"])[probabilities.argmax(1)] == LABELS).mean() > 0.7


@pytest.mark.parametrize("fusion", ["early", "logistic"])
def test_weights_of_classes_move_the_answers(fusion):
    targets = np.random.default_rng(1).choice(3, size=300, p=[0.7, 0.2, 0.1])
    matrix = class_vectors(targets, 9, spread=3)

    @functools.cache
    def shares(name):
        class_weight = {"double": {0: 2, 1: 2, 2: 2}, "heavy": {2: 1000}}.get(name, name)
        fitted = classifier(fusion, class_weight=class_weight, max_epochs=8).fit(matrix, targets)
        return np.bincount(fitted.predict(matrix), minlength=3) / 300

    assert np.array_equal(shares(None), shares("double"))
    assert shares("balanced")[2] > shares(None)[2] + 0.1
    assert shares("heavy")[2] > 0.9  # the others weigh 1


def test_class_weights_have_the_mean_1_over_the_rows():
    counts = torch.tensor([6, 3, 1])
    assert class_weights(counts, "equal").tolist() == [1, 1, 1]
    assert class_weights(counts, "balanced").tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert class_weights(counts, (1.0, 2.0, 4.0)).tolist() == pytest.approx([10 / 16, 20 / 16, 40 / 16])
    with pytest.raises(SettingError, match=r"one number a class \(3\), got 2"):
        class_weights(counts, (1.0, 2.0))
    with pytest.raises(SettingError, match="positive and finite"):
        FitSettings(class_weights=(1.0, 0.0))


def test_each_class_gives_its_share_of_rows_to_stop_by():
    targets = np.repeat([0, 1, 2, -1], [20, 10, 1, 9])
    split = draw_holdout(targets, np.array([0.15, 0.3, 0.9]), generator=np.random.default_rng(0))
    assert np.bincount(targets[split.validation], minlength=3).tolist() == [3, 3, 0]  # a class's last row is trained on
    assert np.array_equal(np.sort([*split.train, *split.validation]), np.arange(31))
    others = draw_holdout(targets, np.array([0.15, 0.3, 0.9]), generator=np.random.default_rng(1))
    assert not np.array_equal(split.validation, others.validation)


def test_few_rows_are_trained_on_and_stopped_by():
    split = draw_holdout(np.array([0, 1, 0, -1]), np.array([0.15, 0.15]), generator=np.random.default_rng(0))
    assert split.train.tolist() == split.validation.tolist() == [0, 1, 2]


def test_importing_heads_imports_neither_scikit_learn_nor_torch():
    code = "import heads, sys; heads.TrainSettings; assert not {'sklearn', 'torch'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("weights", ["auto", "sweep"])
def test_weights_are_given_and_not_fitted(weights):
    X, y = np.random.default_rng(0).standard_normal((40, 4)), np.arange(40) % 2  # noqa: N806
    with pytest.raises(SettingError, match=f"got {weights!r}, which heads-train fits"):
        FusionClassifier("late", modalities={"image": 2, "text": 2}, weights=weights, max_epochs=1).fit(X, y)
