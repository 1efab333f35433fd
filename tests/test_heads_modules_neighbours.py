"""Nearest neighbours, nearest class means and the majority: fitted at one go, and compared with plain loops."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import f1_score
from sklearn.neighbors import NearestCentroid, NearestNeighbors
from support import class_vectors

from heads.errors import HeadError, SettingError
from heads.modules import neighbours
from heads.modules.centroids import Centroids, fit_centroids
from heads.modules.fitting.temperature import fit_temperature
from heads.modules.majority import Majority, fit_majority
from heads.modules.neighbours import Neighbours, fit_neighbours

N_ROWS, N_CLASSES, DIMS = 300, 4, {"image": 8, "text": 5}
TRAIN, VALIDATION = torch.arange(200), torch.arange(200, N_ROWS)
LEAST = math.log(1e-12)


def drawn(*, seed=0, signal=0.6, shift=0.0):
    """Return inputs, presence and targets of two modalities; some rows lack the picture."""
    targets = np.random.default_rng(seed).integers(N_CLASSES, size=N_ROWS)
    inputs = {
        name: torch.from_numpy(class_vectors(targets, dim, signal=signal, seed=seed + dim)) + shift
        for name, dim in DIMS.items()
    }
    present = {"image": torch.arange(N_ROWS) % 7 != 0, "text": torch.ones(N_ROWS, dtype=torch.bool)}
    inputs["image"][~present["image"]] = torch.nan
    return inputs, present, torch.from_numpy(targets)


def nothing(n_rows=3):
    """Return rows that have neither modality."""
    inputs = {name: torch.full((n_rows, dim), torch.nan) for name, dim in DIMS.items()}
    return inputs, {name: torch.zeros(n_rows, dtype=torch.bool) for name in DIMS}


def plain_directions(inputs, present):
    """Return centred vectors of length 1, (N, D) float64; what is absent is zeros."""
    columns = []
    for name in sorted(inputs):
        rows = inputs[name].double().numpy()
        mask = present[name].numpy()
        mean = rows[TRAIN][mask[TRAIN]].mean(0)
        columns.append(np.where(mask[:, None], rows - mean, 0.0))
    joined = np.concatenate(columns, axis=1)
    return joined / np.linalg.norm(joined, axis=1, keepdims=True)


def fitted(fit, inputs, present, targets, **options):
    return fit(
        inputs, present, targets, **{"n_classes": N_CLASSES, "train": TRAIN, "validation": VALIDATION, **options}
    )


def plain_votes(inputs, present, targets, k, temperature, *, n_classes=N_CLASSES):
    """Return each row's class probabilities from a vote of the nearest training rows, row by row."""
    directions, labels = plain_directions(inputs, present), targets.numpy()
    distances, places = NearestNeighbors(n_neighbors=k).fit(directions[TRAIN]).kneighbors(directions)
    votes = np.zeros((N_ROWS, n_classes))
    for row in range(N_ROWS):
        voices = np.exp((1 - distances[row] ** 2 / 2) / temperature)
        for voice, place in zip(voices / voices.sum(), places[row], strict=True):
            votes[row, labels[place]] += voice
    shares = np.bincount(labels[TRAIN], minlength=n_classes) / len(TRAIN)
    return 0.99 * votes + 0.01 * shares


@pytest.mark.parametrize("shift", [0.0, 10.0])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.03), (7, 1.0), (200, 0.07)])
def test_neighbours_vote_as_in_a_plain_loop(k, temperature, shift):
    inputs, present, targets = drawn(shift=shift)
    fit = fitted(fit_neighbours, inputs, present, targets, n_neighbours=[k], temperatures=[temperature])
    expected = plain_votes(inputs, present, targets, k, temperature)
    answers = fit.module(inputs, present).exp()
    assert answers.dtype == torch.float32
    is_as_expected = np.isclose(answers, expected, atol=2e-3).all(1)
    assert is_as_expected.mean() > 0.99  # rounding may swap the last neighbour of a row
    assert (fit.n_neighbours, fit.temperature) == (k, temperature)
    exact = fitted(
        fit_neighbours, inputs, present, targets, n_neighbours=[k], temperatures=[temperature], dtype=torch.float32
    )
    np.testing.assert_allclose(exact.module(inputs, present).exp(), expected, atol=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_number_of_neighbours_and_temperature_are_those_that_a_plain_loop_chooses(seed):
    inputs, present, targets = drawn(seed=seed)
    options = {"n_neighbours": (3, 10, 40), "temperatures": (0.02, 0.1, 0.5)}
    fit = fitted(fit_neighbours, inputs, present, targets, **options, dtype=torch.float32)
    labels = targets[VALIDATION].numpy()
    reached = {}
    for k in options["n_neighbours"]:
        for temperature in options["temperatures"]:
            votes = plain_votes(inputs, present, targets, k, temperature)[VALIDATION]
            macro_f1 = f1_score(labels, votes.argmax(1), average="macro", zero_division=0)
            reached[k, temperature] = (round(macro_f1, 9), np.log(votes[np.arange(len(labels)), labels]).mean())
    best = max(reached, key=reached.get)
    assert (fit.n_neighbours, fit.temperature) == best
    assert fit.macro_f1 == pytest.approx(reached[best][0])
    assert fit.log_loss == pytest.approx(-reached[best][1], rel=1e-3)


def test_neighbours_do_not_depend_on_the_blocks_that_they_are_looked_up_in(monkeypatch):
    inputs, present, targets = drawn()
    whole = fitted(fit_neighbours, inputs, present, targets)
    monkeypatch.setattr(neighbours, "STORED_AT_ONCE", 17)
    monkeypatch.setattr(neighbours, "QUERIES_AT_ONCE", 23)
    blocks = fitted(fit_neighbours, inputs, present, targets)
    assert (blocks.n_neighbours, blocks.temperature) == (whole.n_neighbours, whole.temperature)
    torch.testing.assert_close(blocks.module(inputs, present), whole.module(inputs, present), atol=1e-4, rtol=1e-4)


def test_more_neighbours_than_rows_are_all_rows():
    inputs, present, targets = drawn()
    fit = fitted(fit_neighbours, inputs, present, targets, n_neighbours=[500], temperatures=[1.0])
    assert fit.n_neighbours == len(TRAIN)


@pytest.mark.parametrize("options", [{"n_neighbours": []}, {"n_neighbours": [5, 0]}, {"temperatures": [0.0]}])
def test_numbers_of_neighbours_and_temperatures_must_be_positive(options):
    with pytest.raises(SettingError, match="to be positive"):
        fitted(fit_neighbours, *drawn(), **options)


def test_training_rows_without_anything_are_not_stored():
    inputs, present, targets = drawn()
    present["text"][:50] = present["image"][:50] = False
    fit = fitted(fit_neighbours, inputs, present, targets)
    assert len(fit.module.stored) == 150
    with pytest.raises(SettingError, match="but none has"):
        fitted(fit_neighbours, inputs, {name: torch.zeros_like(mask) for name, mask in present.items()}, targets)


def test_centroids_are_scikit_learn_s():
    inputs, present, targets = drawn(shift=3.0)
    fit = fitted(fit_centroids, inputs, present, targets)
    directions = plain_directions(inputs, present)
    model = NearestCentroid().fit(directions[TRAIN], targets[TRAIN].numpy())
    np.testing.assert_allclose(fit.module.centroids, model.centroids_, atol=1e-6)
    answers = fit.module(inputs, present)
    np.testing.assert_array_equal(answers.argmax(1), model.predict(directions))
    distances = ((directions[:, None] - model.centroids_) ** 2).sum(2)
    expected = torch.from_numpy(-distances / fit.temperature).log_softmax(1).float()
    torch.testing.assert_close(answers, expected, atol=1e-4, rtol=1e-4)


def test_temperature_of_centroids_has_the_least_loss_on_validation_rows():
    inputs, present, targets = drawn()
    fit = fitted(fit_centroids, inputs, present, targets)

    def loss(temperature):
        fit.module.temperature.fill_(temperature)
        answers = fit.module(inputs, present)[VALIDATION].double()
        return torch.nn.functional.cross_entropy(
            answers, targets[VALIDATION], label_smoothing=1 / (len(VALIDATION) + 2)
        )

    assert loss(fit.temperature) < min(loss(0.95 * fit.temperature), loss(1.05 * fit.temperature))


@pytest.mark.parametrize("fit", [fit_neighbours, fit_centroids])
def test_class_without_training_rows_is_never_the_answer(fit):
    inputs, present, targets = drawn()
    targets[TRAIN] = torch.where(targets[TRAIN] == 2, 3, targets[TRAIN])
    fitted_head = fitted(fit, inputs, present, targets)
    log_probabilities = fitted_head.module(inputs, present)
    assert 2 not in log_probabilities.argmax(1)
    assert (log_probabilities[:, 2] == np.float32(LEAST)).all()
    torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(N_ROWS))
    if fit is fit_centroids:  # rows of that class say nothing of the temperature
        known = VALIDATION[targets[VALIDATION] != 2]
        assert fitted_head.temperature == fitted(fit, inputs, present, targets, validation=known).temperature < 10


@pytest.mark.parametrize("fit", [fit_neighbours, fit_centroids])
def test_row_that_has_nothing_gets_the_classes_shares(fit):
    few = {"n_neighbours": [5]} if fit is fit_neighbours else {}  # for all rows together vote as the shares are
    inputs, present, targets = drawn()
    answers = fitted(fit, inputs, present, targets, **few).module(*nothing())
    shares = torch.bincount(targets[TRAIN], minlength=N_CLASSES) / len(TRAIN)
    torch.testing.assert_close(answers, shares.log().expand(3, -1))


@pytest.mark.parametrize("fit", [fit_neighbours, fit_centroids])
def test_what_stands_in_the_other_rows_and_in_absent_ones_changes_nothing(fit):
    inputs, present, targets = drawn()
    fit_of = fitted(fit, inputs, present, targets)
    changed = {name: matrix.clone() for name, matrix in inputs.items()}
    changed["image"][~present["image"]] = 5.0
    torch.testing.assert_close(fit_of.module(changed, present), fit_of.module(inputs, present))
    changed["text"][VALIDATION] += 100
    again = fitted(fit, changed, present, targets).module.state_dict()
    learned = [name for name in again if name not in ("temperature", "n_neighbours")]
    assert all(torch.equal(again[name], fit_of.module.state_dict()[name]) for name in learned)


def test_fitted_heads_are_restored_from_their_state():
    inputs, present, targets = drawn()
    neighbours_fit, centroids_fit = (fitted(fit, inputs, present, targets) for fit in (fit_neighbours, fit_centroids))
    pairs = [
        (neighbours_fit.module, Neighbours(DIMS, n_classes=N_CLASSES, n_rows=len(TRAIN))),
        (centroids_fit.module, Centroids(DIMS, n_classes=N_CLASSES)),
        (fit_majority(DIMS, targets, TRAIN, n_classes=N_CLASSES), Majority(DIMS, n_classes=N_CLASSES)),
    ]
    for module, fresh in pairs:
        fresh.load_state_dict(module.state_dict())
        assert torch.equal(fresh.eval()(inputs, present), module(inputs, present))
        assert not module.training


def test_stored_rows_take_half_the_space():
    fit = fitted(fit_neighbours, *drawn())
    assert fit.module.stored.dtype == torch.float16
    assert fitted(fit_neighbours, *drawn(), dtype=torch.bfloat16).module.stored.dtype == torch.bfloat16


def test_majority_answers_with_shares_counted_once_more():
    targets = torch.tensor([0, 0, 0, 2, 1, 1, 1, 1])
    module = fit_majority({"text": 2}, targets, torch.arange(4), n_classes=3)
    answers = module({"text": torch.zeros(5, 2)}, {"text": torch.ones(5, dtype=torch.bool)})
    torch.testing.assert_close(answers, torch.tensor([4 / 7, 1 / 7, 2 / 7]).log().expand(5, -1))


def test_temperature_has_the_least_loss():
    targets = torch.arange(N_ROWS) % 5
    noise = torch.randn(N_ROWS, 5, generator=torch.Generator().manual_seed(0))
    logits = 9 * (torch.eye(5)[targets] + noise)

    def loss(log_temperature):
        scaled = logits.double() / math.exp(log_temperature)
        return float(torch.nn.functional.cross_entropy(scaled, targets, label_smoothing=1 / (N_ROWS + 2)))

    expected = minimize_scalar(loss, bounds=(-6, 6), method="bounded", options={"xatol": 1e-8}).x
    assert fit_temperature(logits, targets) == pytest.approx(math.exp(expected), rel=1e-5)


def test_answers_that_are_all_right_on_few_rows_are_no_certainty():
    """Of 60 rows 1 - 1/62 is sure, and a sixth of the rest."""
    targets = torch.arange(60) % 6
    right = torch.eye(6)[targets]
    answers = (right / fit_temperature(right, targets)).softmax(1)
    assert answers.max(1).values.tolist() == pytest.approx([61 / 62 + 1 / 62 / 6] * 60)


def test_temperature_is_bounded_where_answers_hardly_differ_or_say_nothing():
    targets = torch.arange(30) % 3
    right = torch.eye(3)[targets]
    assert fit_temperature(1e-3 * right, targets) == 1e-3
    assert fit_temperature(-right, targets) == 1e3
    assert fit_temperature(torch.zeros(30, 3), targets) == 1e3


def test_temperature_of_no_rows_or_infinite_logits_is_an_error():
    with pytest.raises(HeadError, match="finite logits"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(HeadError, match="finite logits"):
        fit_temperature(torch.tensor([[0.0, -torch.inf]]), torch.tensor([0]))
