"""Stacking: members and pool follow from training rows out of fold, copies stay together, rows may lack something."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from support import class_vectors

import heads.modules.linear_member
import heads.modules.stack
from heads import FusionClassifier
from heads.errors import LabelError
from heads.modules.fitting.log_linear_pool import fit_pool
from heads.modules.fitting.out_of_fold import inner_folds
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.stack import Stack, fit_stack, last_temperature

pytestmark = pytest.mark.slow

N_ROWS, DIMS, N_CLASSES = 150, {"image": 9, "text": 6}, 3
TRAIN, VALIDATION = torch.arange(100), torch.arange(100, N_ROWS)


def drawn(*, signals=(0.8, 0.8), seed=0, n_classes=N_CLASSES, **changes):
    """Return rows of two modalities; some lack the picture."""
    targets = np.random.default_rng(seed).integers(n_classes, size=N_ROWS)
    inputs = {
        name: torch.from_numpy(class_vectors(targets, dim, signal=signal, seed=seed + dim))
        for (name, dim), signal in zip(DIMS.items(), signals, strict=True)
    }
    present = {"image": torch.arange(N_ROWS) % 7 != 0, "text": torch.ones(N_ROWS, dtype=torch.bool)}
    inputs = {name: matrix * present[name][:, None] for name, matrix in inputs.items()}
    given = {
        "name": "stack", "dims": DIMS, "n_classes": n_classes, "inputs": inputs, "present": present,
        "targets": torch.from_numpy(targets), "train": TRAIN, "validation": VALIDATION,
        "groups": torch.arange(N_ROWS), "row_weights": torch.ones(N_ROWS), "sample_weights": None, "seed": 0,
    }  # fmt: skip
    return RowsToFit(**{**given, **changes})


@pytest.fixture(scope="module", autouse=True)
def few_strengths():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads.modules.linear_member, "STRENGTHS", (0.01, 1.0))
        yield


@pytest.fixture(scope="module")
def fitted(few_strengths):
    rows = drawn()
    return rows, fit_stack(rows)


def test_weaker_strengths_are_tried_where_stronger_ones_are_no_better(monkeypatch):
    module, tried = heads.modules.linear_member, []
    losses = {1e-2: 1.0, 1.0: 1.2, 1e-3: 0.9, 1e-4: 0.95}

    def fitted(model, *arguments, fitted=module._fitted):
        tried.append(model.C)
        return fitted(model, *arguments)

    monkeypatch.setattr(module, "STRENGTHS", (1e-4, 1e-3, 1e-2, 1.0))
    monkeypatch.setattr(module, "_fitted", fitted)
    monkeypatch.setattr(module, "fit_pool", lambda *_, **__: (torch.ones(1), losses[tried[-1]]))
    rows = drawn()
    assert module.fit_member(rows, "text", inner_folds(rows)).strength == 1e-3
    assert list(dict.fromkeys(tried)) == [1e-2, 1.0, 1e-3, 1e-4]


def factors(module):
    """Return what each member's logits are multiplied by, in the members' order."""
    return (module.weights / module.temperatures).tolist()


def accuracy(module, rows):
    answers = module(rows.inputs, rows.present)[rows.validation].argmax(1)
    return float((answers == rows.targets[rows.validation]).float().mean())


def test_both_modalities_together_are_better_than_one(fitted):
    rows, fit = fitted
    alone = {**rows.present, "image": torch.zeros(N_ROWS, dtype=torch.bool)}
    assert accuracy(fit.module, rows) > accuracy(fit.module, replace(rows, present=alone)) + 0.05


def test_rows_of_one_modality_get_its_member_s_answer_at_its_temperature(fitted):
    rows, fit = fitted
    lone = torch.nonzero(~rows.present["image"])[:, 0]
    logits = fit.module.members["text"](rows.inputs["text"][lone])
    expected = logits / fit.module.temperatures[1] / fit.module.temperature
    answers = fit.module(rows.inputs, rows.present)[lone]
    torch.testing.assert_close(answers.log_softmax(1), expected.log_softmax(1), atol=1e-5, rtol=0)


def test_rows_of_two_of_three_get_a_sum_of_weights_between_one_and_that_of_all():
    stack = Stack({"image": 2, "metadata": 2, "text": 2}, n_classes=2)
    stack.weights.copy_(torch.tensor([0.5, 1.0, 1.5]))  # 3 altogether; 2 for two of three
    logits = torch.tensor([[[1.0, 0.0], [10.0, 0.0], [100.0, 0.0]]])
    present = {"image": torch.tensor([True]), "metadata": torch.tensor([False]), "text": torch.tensor([True])}
    assert float(stack.pool(logits, present)[0, 0]) == pytest.approx(2 * (0.25 * 1 + 0.75 * 100))


def test_a_modality_that_is_noise_has_no_say():
    rows = drawn(signals=(0.0, 1.5))
    module = fit_stack(rows).module
    others = {**rows.inputs, "image": rows.inputs["image"].flip(0)}
    answers, altered = (module(inputs, rows.present).log_softmax(1) for inputs in (rows.inputs, others))
    assert float((answers - altered).abs().max()) < 0.05 * float(answers.max(1).values.sub(answers.min(1).values).max())


def test_last_temperature_is_of_rows_as_they_come_whatever_the_classes_weigh(fitted):
    """Held against a search for the least mean log loss; with the weights of classes in it, it was another one."""
    rows, fit = fitted
    weighted = replace(rows, row_weights=torch.tensor([1.0, 5.0, 25.0])[rows.targets])
    temperature = last_temperature(fit.module.untempered, weighted, fit.held, fit.pooled, fit.seen_classes)
    of_validation = fit.module.untempered(*take_rows(rows.inputs, rows.present, rows.validation))
    logits, targets = torch.cat([fit.pooled, of_validation]), rows.targets[torch.cat([fit.held, rows.validation])]
    candidates = torch.linspace(0.2, 3, 1401)
    smoothing = {"label_smoothing": 1 / (len(targets) + 2)}  # Platt's
    losses = [float(torch.nn.functional.cross_entropy(logits / one, targets, **smoothing)) for one in candidates]
    assert float(temperature) == pytest.approx(float(candidates[np.argmin(losses)]), abs=0.005)


def test_validation_rows_change_the_last_temperature_alone(fitted):
    rows, fit = fitted
    flipped = rows.targets.clone()
    flipped[VALIDATION] = (flipped[VALIDATION] + 1) % N_CLASSES
    other = fit_stack(replace(rows, targets=flipped)).module
    before, after = fit.module.state_dict(), other.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"temperature"}
    assert other.temperature > fit.module.temperature


def test_no_group_is_on_both_sides_of_an_inner_fold_and_each_row_is_held_once():
    groups = torch.arange(N_ROWS) // 4
    rows = drawn(groups=groups)
    folds = inner_folds(rows)
    for fold in folds:
        assert not set(groups[fold.learned].tolist()) & set(groups[fold.held].tolist())
        assert set(rows.targets[fold.held].tolist()) <= set(rows.targets[fold.learned].tolist())
        assert set(fold.learned.tolist()) <= set(TRAIN.tolist())
    held = torch.cat([fold.held for fold in folds])
    assert len(held.unique()) == len(held) > 80


def test_folds_end_where_enough_rows_are_held_out():
    assert len(inner_folds(drawn(), most_rows=25)) == 2
    assert len(inner_folds(drawn())) == 5


def test_copies_do_not_make_the_pool_sure_of_a_modality_that_knows_copies_alone():
    """Each row stands there five times, with noise for a picture: by rows it tells the class, by groups it does not."""
    rows = drawn(signals=(0.0, 0.8))
    first = torch.arange(N_ROWS) // 5 * 5
    copied = {name: matrix[first] for name, matrix in rows.inputs.items()}
    present = {name: torch.ones(N_ROWS, dtype=torch.bool) for name in DIMS}
    rows = replace(rows, inputs=copied, present=present, targets=rows.targets[first])
    by_row, by_group = (factors(fit_stack(one).module) for one in (rows, replace(rows, groups=first)))
    assert by_group[0] < 0.5 * by_row[0]


def test_class_without_training_rows_is_never_the_answer():
    fit = fit_stack(replace(drawn(), n_classes=5))
    logs = fit.module(drawn().inputs, drawn().present).log_softmax(1)
    assert (logs[:, 3:] < -20).all()


def test_two_rows_a_class_and_one_modality_that_few_have_are_enough():
    present = {"image": torch.arange(N_ROWS) == 0, "text": torch.ones(N_ROWS, dtype=torch.bool)}
    targets = torch.arange(N_ROWS) % 3
    rows = drawn(train=torch.arange(6), present=present, targets=targets)
    assert fit_stack(rows).module(rows.inputs, present).isfinite().all()


def test_where_the_validation_rows_are_the_training_rows_they_say_nothing_of_the_temperature(fitted):
    rows, _ = fitted
    fit = fit_stack(replace(rows, validation=TRAIN))
    assert fit.module.temperature == pytest.approx(1.0, abs=0.2)  # the rows held out agree with their own weights


def test_one_class_is_an_error():
    with pytest.raises(LabelError, match="two classes or more"):
        fit_stack(drawn(targets=torch.zeros(N_ROWS, dtype=torch.int64)))


def test_pool_is_what_a_plain_search_finds():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(4, (60,), generator=generator)
    logits = torch.randn(60, 2, 4, generator=generator)
    logits[torch.arange(60), :, targets] += torch.tensor([1.0, 0.4])
    seen, counts = torch.ones(60, 4, dtype=torch.bool), torch.rand(60, generator=generator)
    pool = fit_pool(logits, targets, seen_classes=seen, row_weights=counts)

    def loss(point):
        logs = (logits * torch.tensor(point)[:, None]).sum(1).log_softmax(1)
        smoothed = (1 - 1 / 62) * logs.gather(1, targets[:, None])[:, 0] + logs.mean(1) / 62
        return -float((smoothed * counts).sum() / counts.sum())

    plain = minimize(loss, [0.5, 0.5], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    np.testing.assert_allclose(pool.weights, plain.x, atol=1e-3)
    assert pool.log_loss == pytest.approx(plain.fun, abs=1e-6)


def test_pool_has_no_negative_weights_and_none_that_is_infinite():
    targets = torch.arange(40) % 2
    right = torch.nn.functional.one_hot(targets, 2).float()
    pool = fit_pool(
        torch.stack([right, 1 - right], dim=1), targets, seen_classes=torch.ones(40, 2, dtype=torch.bool),
        row_weights=torch.ones(40),
    )  # fmt: skip
    assert pool.weights[1] == 0
    assert 1 < pool.weights[0] < 50


def test_fitted_head_is_restored_from_its_state(fitted):
    rows, fit = fitted
    restored = Stack(DIMS, n_classes=N_CLASSES).eval()
    restored.load_state_dict(fit.module.state_dict())
    assert torch.equal(restored(rows.inputs, rows.present), fit.module(rows.inputs, rows.present))


def test_groups_of_the_classifier_reach_the_inner_folds(monkeypatch):
    seen = []
    monkeypatch.setattr(heads.modules.stack, "inner_folds", lambda rows, **_: seen.append(rows.groups.tolist()) or [])
    matrix, labels = np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2
    FusionClassifier("stack").fit(matrix, labels, groups=np.array(list("aabbccddeeff")))
    assert seen == [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]]
