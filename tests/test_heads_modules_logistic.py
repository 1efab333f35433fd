"""Logistic regression is scikit-learn's, at the strength that does best on the validation rows."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.metrics import log_loss as sklearn_log_loss
from support import class_vectors

from heads.errors import LabelError, SettingError
from heads.modules.fitting.strength_search import search_strengths
from heads.modules.logistic import STRENGTHS, Logistic, _tolerance, fit_logistic

pytestmark = pytest.mark.slow

N_ROWS, DIMS = 260, {"image": 9, "text": 6}
TRAIN, VALIDATION = torch.arange(180), torch.arange(180, N_ROWS)
USUAL = 3  # the place of the strength that is tried first


def drawn(n_classes, *, seed=0, signal=0.5):
    """Return inputs, presence and targets of two modalities; some rows lack the picture."""
    targets = np.random.default_rng(seed).integers(n_classes, size=N_ROWS)
    inputs = {
        name: torch.from_numpy(class_vectors(targets, dim, signal=signal, seed=seed + dim))
        for name, dim in DIMS.items()
    }
    inputs["text"] *= torch.logspace(-1, 1, DIMS["text"])  # nobody promises that they are well scaled
    present = {"image": torch.arange(N_ROWS) % 7 != 0, "text": torch.ones(N_ROWS, dtype=torch.bool)}
    inputs["image"][~present["image"]] = torch.nan
    return inputs, present, torch.from_numpy(targets)


def joined(inputs):
    return torch.cat([inputs[name].nan_to_num(0.0) for name in sorted(inputs)], dim=1).double().numpy()


def fitted(inputs, present, targets, **options):
    """Return the fit, in double precision and nearer to the solution than anybody needs."""
    inputs = {name: matrix.double() for name, matrix in inputs.items()}
    options = {
        "n_classes": int(targets.max()) + 1,
        "train": TRAIN,
        "validation": VALIDATION,
        "tolerance": 1e-8,
    } | options
    return fit_logistic(inputs, present, targets, **options)


def from_scikit(vectors, targets, strength, **options):
    model = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000)
    return model.fit(vectors[TRAIN], targets[TRAIN].numpy(), **options)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 10.0])
def test_coefficients_and_probabilities_are_scikit_learn_s(n_classes, strength):
    inputs, present, targets = drawn(n_classes)
    fit = fitted(inputs, present, targets, strengths=[strength])
    assert fit.converged == [True]
    model = from_scikit(joined(inputs), targets, strength)
    weights, biases = model.coef_, model.intercept_
    if n_classes == 2:  # scikit-learn has one vector for both
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    np.testing.assert_allclose(fit.module.layer.weight.detach(), weights, atol=1e-3 * max(1, abs(weights).max()))
    np.testing.assert_allclose(fit.module.layer.bias.detach(), biases, atol=1e-3 * max(1, abs(biases).max()))
    probabilities = fit.module(inputs, present).softmax(1).detach()
    np.testing.assert_allclose(probabilities, model.predict_proba(joined(inputs)), atol=1e-3)


def test_row_weights_are_scikit_learn_s_sample_weights():
    inputs, present, targets = drawn(3)
    weights = torch.linspace(0.1, 4, N_ROWS)
    fit = fitted(inputs, present, targets, strengths=[0.1], row_weights=weights)
    model = from_scikit(joined(inputs), targets, 0.1, sample_weight=weights[TRAIN].double().numpy())
    np.testing.assert_allclose(fit.module.layer.weight.detach(), model.coef_, atol=1e-3)
    even = fitted(inputs, present, targets, strengths=[0.1])
    assert not np.allclose(even.module.layer.weight.detach(), model.coef_, atol=1e-2)


@pytest.mark.parametrize("seed", range(2))
def test_strength_is_the_one_that_a_plain_loop_chooses(seed):
    inputs, present, targets = drawn(4, seed=seed, signal=0.3)
    fit = fitted(inputs, present, targets)
    reached = []
    for strength in fit.strengths:
        model = from_scikit(joined(inputs), targets, strength)
        probabilities = model.predict_proba(joined(inputs)[VALIDATION])
        labels = targets[VALIDATION].numpy()
        macro_f1 = f1_score(labels, probabilities.argmax(1), average="macro", zero_division=0)
        reached.append((macro_f1, -sklearn_log_loss(labels, probabilities)))
    assert fit.strength == fit.strengths[reached.index(max(reached))]
    np.testing.assert_allclose(fit.macro_f1s, [macro_f1 for macro_f1, _ in reached])
    np.testing.assert_allclose(fit.log_losses, [-negative for _, negative in reached], rtol=2e-2)
    assert all(fit.converged)


def test_the_search_begins_at_the_usual_strength_and_goes_on_while_the_validation_loss_is_no_worse():
    fit = fitted(*drawn(4, signal=0.4))
    assert fit.strengths == list(STRENGTHS[USUAL : USUAL + len(fit.strengths)])
    assert len(fit.strengths) < len(STRENGTHS) - USUAL
    worse = [loss > 1.01 * min(fit.log_losses[: n + 1]) for n, loss in enumerate(fit.log_losses)]
    assert worse == [False] * (len(worse) - 1) + [True]


def test_smaller_strengths_are_tried_where_no_larger_one_has_a_smaller_log_loss():
    fit = fitted(*drawn(4, signal=0.0))
    assert {STRENGTHS[USUAL - 1], STRENGTHS[USUAL], STRENGTHS[USUAL + 1]} <= set(fit.strengths)
    assert fit.strengths[int(np.argmin(fit.log_losses))] < STRENGTHS[USUAL]


@pytest.mark.parametrize(
    ("losses", "tried"),
    [
        ([9.0, 9.0, 1.0, 2.0, 0.1], [2, 3, 1]),  # what lies beyond a worse one is not seen
        ([9.0, 9.0, 1.0, 0.9, 0.905, 0.95], [2, 3, 4, 5]),  # hardly worse is not worse
        ([0.3, 0.5, 1.0, 1.0, 1.2], [2, 3, 4, 1, 0]),
        ([1.0, 1.0, 1.0, 1.0, 1.0], [2, 3, 4, 1, 0]),
    ],
    ids=str,
)
def test_strengths_are_tried_from_the_middle_while_they_are_no_worse(losses, tried):
    """One search for `logistic` and for the members of `stack`."""
    strengths = [10.0 ** (place - 4) for place in range(len(losses))]
    found = search_strengths(lambda strength: losses[strengths.index(strength)], strengths, loss_of=float)
    assert [(strengths.index(strength), loss) for strength, loss in found] == [
        (place, losses[place]) for place in tried
    ]


def test_the_solver_stops_where_a_gradient_is_small_beside_the_one_at_which_it_starts():
    """A gradient is as small as the share of a class: 1e-3 is a hundredth of it for some, and all of it for others."""
    bounds = []
    for n_classes in (2, 100, 1200):
        targets = np.arange(1200) % n_classes
        vectors = torch.from_numpy(class_vectors(targets, 8, seed=1)).float()
        bounds.append(_tolerance(vectors, targets, None))
    assert bounds[0] == 1e-3 > bounds[1] > bounds[2] == 1e-4
    doubled = _tolerance(vectors, targets, np.full(1200, 2.0))
    assert doubled == bounds[2]


def test_strength_of_equal_macro_f1_and_lower_log_loss_is_chosen():
    inputs, present, targets = drawn(3, signal=5.0)  # everybody is right
    fit = fitted(inputs, present, targets, strengths=[1e-2, 3e-2, 1e-1])
    assert fit.macro_f1s == [1.0, 1.0, 1.0]
    assert fit.strength == fit.strengths[int(np.argmin(fit.log_losses))] == 0.1


def test_default_strengths_are_ten_from_1e_4_to_100():
    np.testing.assert_allclose(STRENGTHS, np.logspace(-4, 2, 10))


def test_class_without_training_rows_is_never_the_answer_and_changes_nothing():
    inputs, present, targets = drawn(3)
    plain = fitted(inputs, present, targets, strengths=[1.0])
    wider = fitted(inputs, present, targets, strengths=[1.0], n_classes=5)
    logits = wider.module(inputs, present)
    assert logits.shape == (N_ROWS, 5)
    assert (logits.log_softmax(1)[:, 3:] < np.log(1e-12)).all()
    torch.testing.assert_close(logits[:, :3], plain.module(inputs, present), atol=2e-3, rtol=2e-3)


def test_two_classes_of_three_are_told_apart_and_the_third_is_never_the_answer():
    inputs, present, targets = drawn(3)
    without = TRAIN[targets[TRAIN] != 1]
    fit = fitted(inputs, present, targets, train=without, strengths=[0.1])
    logits = fit.module(inputs, present).detach()
    assert set(logits.argmax(1).tolist()) == {0, 2}
    model = LogisticRegression(C=0.1, tol=1e-9, max_iter=10_000).fit(joined(inputs)[without], targets[without].numpy())
    np.testing.assert_allclose(logits[:, [0, 2]].softmax(1), model.predict_proba(joined(inputs)), atol=1e-3)
    assert np.isfinite(fit.log_losses).all()


def test_rows_of_the_other_sides_change_nothing():
    inputs, present, targets = drawn(3)
    plain = fitted(inputs, present, targets, strengths=[1.0])
    changed = {name: matrix.clone() for name, matrix in inputs.items()}
    for matrix in changed.values():
        matrix[VALIDATION] += 7
    others = targets.clone()
    others[VALIDATION] = -1  # belong to no class
    same = fitted(changed, present, others, n_classes=3, validation=TRAIN[:50], strengths=[1.0])
    torch.testing.assert_close(same.module.layer.weight, plain.module.layer.weight, atol=0, rtol=0)


def test_single_precision_and_the_tolerance_that_is_taken_say_much_the_same():
    inputs, present, targets = drawn(4)
    options = {"n_classes": 4, "train": TRAIN, "validation": VALIDATION}
    rough, fine = fit_logistic(inputs, present, targets, **options), fitted(inputs, present, targets)
    assert all(rough.converged)
    np.testing.assert_allclose(rough.log_losses, fine.log_losses, rtol=2e-2)
    np.testing.assert_allclose(rough.macro_f1s, fine.macro_f1s, atol=0.03)


def test_one_direction_and_a_balanced_line_have_the_solution_by_hand():
    """Rows at -1 and 1 of two classes: the difference w of the classes' weights solves w = C * n / (1 + exp(w))."""
    inputs = {"image": torch.tensor([[-1.0], [1.0]] * 10)}
    present, targets, rows = {"image": torch.ones(20, dtype=torch.bool)}, torch.tensor([0, 1] * 10), torch.arange(20)
    fit = fitted(inputs, present, targets, train=rows, validation=rows, strengths=[0.05])
    expected = brentq(lambda w: w - 0.05 * 20 / (1 + np.exp(w)), 0, 1)
    weights, biases = fit.module.layer.weight.detach(), fit.module.layer.bias.detach()
    np.testing.assert_allclose(weights[:, 0], [-expected / 2, expected / 2], atol=1e-5)
    np.testing.assert_allclose(biases, [0, 0], atol=1e-5)


def test_a_solver_that_stops_early_is_told_of_and_warns_nobody():
    fit = fitted(*drawn(3), strengths=[1e-4, 10.0], max_steps=3)
    assert fit.converged == [False, False]
    assert fit.n_steps == [3, 3]


def test_a_strength_starts_where_the_weaker_one_ended():
    alone = fitted(*drawn(4), strengths=[1.0]).n_steps[0]
    assert fitted(*drawn(4), strengths=[0.999, 1.0]).n_steps[1] < alone / 2


def test_a_head_that_was_saved_before_still_loads():
    """Its state is that of one linear layer, and its description says nothing of the solver."""
    assert {name: matrix.shape for name, matrix in Logistic(DIMS, n_classes=3).state_dict().items()} == {
        "layer.weight": (3, 15),
        "layer.bias": (3,),
    }


def test_fitted_head_is_restored_from_its_state():
    inputs, present, targets = drawn(3)
    fit = fitted(inputs, present, targets)
    restored = Logistic(DIMS, n_classes=3).eval()
    restored.load_state_dict(fit.module.state_dict())
    assert torch.equal(restored(inputs, present), fit.module(inputs, present))
    assert not fit.module.training


@pytest.mark.parametrize("strengths", [[], [0.0], [-1.0], [float("inf")], [float("nan")]])
def test_strength_must_be_positive_and_finite(strengths):
    with pytest.raises(SettingError, match="positive and finite, got"):
        fitted(*drawn(3), strengths=strengths)


def test_one_class_is_an_error():
    inputs, present, _ = drawn(3)
    with pytest.raises(LabelError, match="two classes or more"):
        fitted(inputs, present, torch.zeros(N_ROWS, dtype=torch.int64))
