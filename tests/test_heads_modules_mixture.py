"""Late fusion's weights: fitted, with intervals, and over the whole simplex; compared with SciPy and plain loops."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss
from torch import nn

from heads.errors import HeadError, SettingError
from heads.experiment import weight_sweep as sweep
from heads.experiment.late_fusion import weights_in_words
from heads.experiment.weight_sweep import sweep_simplex
from heads.modules import mixture as mixture_module
from heads.modules.fitting.temperature import fit_temperature
from heads.modules.late import Late
from heads.modules.mixture import Mixture, fit_mixture, mix

pytestmark = pytest.mark.slow

N_CLASSES = 6


def members(signals, n_rows=400, *, n_classes=N_CLASSES, seed=0, mislabelled=0.0, absent=0.0):
    """Return logits, presence and targets: a member of signal 0 says nothing, whatever it says."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(n_classes, (n_rows,), generator=generator)
    logits = {}
    for name, signal in signals.items():
        noise = torch.randn(n_rows, n_classes, generator=generator)
        sharper = (noise + signal * nn.functional.one_hot(targets, n_classes)) * max(signal, 1)
        logits[name] = sharper.log_softmax(1)
    wrong = torch.rand(n_rows, generator=generator) < mislabelled
    targets = torch.where(wrong, torch.randint(n_classes, (n_rows,), generator=generator), targets)
    present = {name: torch.rand(n_rows, generator=generator) >= absent for name in logits}
    return logits, present, targets


def fitted(logits, present, targets, *, groups=None, seed=0, **options):
    groups = torch.arange(len(targets)) if groups is None else groups
    return fit_mixture(
        logits, present, targets, groups=groups, generator=np.random.default_rng(seed), **{"n_resamples": 0, **options}
    )


def plain_mixture(logits, present, weights, temperatures):
    """Return the average's probabilities, row by row, (N, K)."""
    n_rows, n_classes = next(iter(logits.values())).shape
    averages = np.zeros((n_rows, n_classes))
    for row in range(n_rows):
        names = [name for name in logits if present[name][row]]
        total = sum(weights[name] for name in names)
        for name in names:
            voices = np.exp(logits[name][row].double().numpy() / temperatures[name])
            averages[row] += weights[name] / total * voices / voices.sum()
    return averages


def test_average_is_that_of_a_plain_loop():
    logits, present, _ = members({"image": 1.0, "text": 2.0}, 60)
    mixture = Mixture({"image": 0.3, "text": 0.7}, {"image": 2.0, "text": 0.5}, 1.7, {})
    sharper = plain_mixture(logits, present, mixture.weights, mixture.temperatures) ** (1 / 1.7)
    expected = sharper / sharper.sum(1, keepdims=True)
    np.testing.assert_allclose(mix(logits, present, mixture).exp(), expected, rtol=1e-6)


class Said(nn.Module):
    """A member that says what it was told to."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, inputs, _present):
        return inputs[self.name]


def test_average_without_temperatures_is_late_fusion():
    logits, present, _ = members({"image": 1.0, "metadata": 0.5, "text": 2.0}, 200, absent=0.5)
    weights = {"image": 0.0, "metadata": 0.4, "text": 0.6}  # some rows have the picture only, some nothing
    expected = Late({name: Said(name) for name in logits}, weights=weights)(logits, present)
    average = mix(logits, present, Mixture(weights, dict.fromkeys(weights, 1.0), 1.0, {}))
    torch.testing.assert_close(average.float(), expected)


def test_weights_and_temperatures_have_the_least_loss_that_scipy_finds():
    """The plain objective has neither a member for the unexplained rows nor a pull; many rows outweigh them."""
    logits, present, targets = members({"image": 1.5, "text": 2.0}, 2000, absent=0.2)
    has_any = torch.stack(list(present.values())).any(0).numpy()
    labels = targets.numpy()[has_any]

    def loss(point):
        weight, temperatures = 1 / (1 + math.exp(-point[0])), dict(zip(logits, np.exp(point[1:]), strict=True))
        weights = torch.stack(
            [present["image"] * weight, present["text"] * (1 - weight)], dim=1
        ).double().numpy()[has_any]  # fmt: skip
        voices = np.stack(
            [(logits[name].double() / temperatures[name]).softmax(1).numpy()[has_any] for name in logits], axis=1
        )
        averages = (weights[:, :, None] * voices).sum(1) / weights.sum(1)[:, None]
        return -np.log(averages[np.arange(len(labels)), labels]).mean()

    expected = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}).x
    mixture = fitted(logits, present, targets)
    assert mixture.weights["image"] == pytest.approx(1 / (1 + math.exp(-expected[0])), abs=0.02)
    assert mixture.temperatures["image"] == pytest.approx(math.exp(expected[1]), rel=0.05)
    assert mixture.temperatures["text"] == pytest.approx(math.exp(expected[2]), rel=0.05)
    point = [math.log(mixture.weights["image"] / mixture.weights["text"]), *np.log(list(mixture.temperatures.values()))]
    assert loss(point) < loss(expected) + 5e-4


def test_last_temperature_has_the_least_loss_of_the_average():
    logits, present, targets = members({"image": 1.5, "text": 1.5}, 1000)
    mixture = fitted(logits, present, targets)

    def loss(temperature):
        other = Mixture(mixture.weights, mixture.temperatures, temperature, {})
        return -mix(logits, present, other).gather(1, targets[:, None]).mean()

    assert loss(mixture.temperature) < min(loss(0.95 * mixture.temperature), loss(1.05 * mixture.temperature))
    assert mixture.temperature < 1  # an average is less sure than its members


@pytest.mark.parametrize(
    ("n_rows", "mislabelled", "seed"),
    [(40, 0.0, 0), (40, 0.15, 1), (40, 0.15, 2), (1000, 0.15, 0), (1000, 0.0, 1), (1000, 0.0, 2)],
)
def test_modality_of_pure_noise_weighs_nothing(n_rows, mislabelled, seed):
    logits, present, targets = members({"image": 0.0, "text": 3.0}, n_rows, mislabelled=mislabelled, seed=seed)
    mixture = fitted(logits, present, targets, n_resamples=50)
    assert mixture.weights["image"] < 0.05
    assert mixture.intervals["text"][1] > 0.95


def test_modality_that_knows_only_the_classes_shares_weighs_nothing():
    logits, present, targets = members({"text": 3.0}, 3000, mislabelled=0.2)
    kept = (targets == 0) | (torch.arange(3000) % 5 == 0)
    text, targets, present = logits["text"][kept], targets[kept], present["text"][kept]
    logits = {"image": (torch.bincount(targets, minlength=N_CLASSES) + 1).log().expand(len(targets), -1), "text": text}
    present = {"image": present, "text": present}
    assert fitted(logits, present, targets).weights["image"] < 0.05


def test_better_modality_weighs_more_whatever_the_order():
    logits, present, targets = members({"image": 1.5, "text": 2.5}, 1000)
    mixture = fitted(logits, present, targets)
    assert 0.02 < mixture.weights["image"] < 0.4
    swapped = {"image": logits["text"], "text": logits["image"]}
    other = fitted(swapped, {"image": present["text"], "text": present["image"]}, targets)
    assert other.weights["text"] == pytest.approx(mixture.weights["image"], abs=1e-3)
    assert sum(mixture.weights.values()) == pytest.approx(1)


def test_members_temperature_makes_up_for_their_scale():
    logits, present, targets = members({"image": 1.5, "text": 2.0}, 1000)
    mixture = fitted(logits, present, targets)
    other = fitted({"image": (10 * logits["image"]).log_softmax(1), "text": logits["text"]}, present, targets)
    assert other.temperatures["image"] == pytest.approx(10 * mixture.temperatures["image"], rel=1e-2)
    assert other.weights["image"] == pytest.approx(mixture.weights["image"], abs=1e-3)


def test_weights_of_resamples_are_those_of_one_refit_each():
    """Without pull, and at the temperatures found, each resample's weights are what SciPy finds for it."""
    logits, present, targets = members({"image": 1.5, "text": 2.0}, 150, absent=0.2)
    groups = torch.arange(150) // 2
    mixture = fitted(logits, present, targets, groups=groups, n_resamples=8, seed=3)
    has_any = torch.stack(list(present.values())).any(0)
    used_groups, used_targets = groups[has_any].numpy(), targets[has_any]
    names, places = np.unique(used_groups, return_inverse=True)
    counts = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), size=8)[:, places]
    mask = torch.stack([present[name][has_any] for name in logits], dim=1).double().numpy()
    of_target = [
        (logits[name][has_any].double() / mixture.temperatures[name]).softmax(1).gather(1, used_targets[:, None])[:, 0]
        for name in logits
    ]
    shares = (np.bincount(used_targets, minlength=N_CLASSES) + 1) / (len(used_targets) + N_CLASSES)
    likelihoods = np.stack([*of_target, shares[used_targets]], axis=1)
    mask = np.concatenate([mask, np.ones((len(mask), 1))], axis=1)
    charge = 0.02 + 10 / len(used_targets)
    weights = []
    for drawn in counts:

        def loss(point, drawn=drawn):
            voices = np.exp(np.append(point, 0))
            voices /= voices.sum()
            logs = np.log((mask * likelihoods) @ voices) - np.log(mask @ voices)
            return -(drawn * logs).sum() / drawn.sum() - charge * voices[-1]

        best = minimize(loss, [3, 3], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 2000}).x
        weights.append(1 / (1 + math.exp(best[1] - best[0])))
    low, high = np.quantile(weights, (0.025, 0.975))
    assert mixture.intervals["image"] == pytest.approx((low, high), abs=2e-3)
    assert mixture.intervals["text"] == pytest.approx((1 - high, 1 - low), abs=2e-3)


def test_interval_is_wider_where_rows_are_copies_of_each_other():
    logits, present, targets = members({"image": 1.5, "text": 2.0}, 300)
    copied = {name: matrix.repeat(5, 1) for name, matrix in logits.items()}
    repeated = {name: matrix.repeat(5) for name, matrix in present.items()}
    grouped, others = (
        fitted(copied, repeated, targets.repeat(5), groups=groups, n_resamples=50).intervals["image"]
        for groups in (torch.arange(300).repeat(5), torch.arange(1500))
    )
    assert grouped[1] - grouped[0] > 1.5 * (others[1] - others[0])


def test_intervals_hold_the_weights():
    logits, present, targets = members({"image": 1.5, "metadata": 1.0, "text": 2.0}, 500)
    mixture = fitted(logits, present, targets, n_resamples=50)
    for name, weight in mixture.weights.items():
        low, high = mixture.intervals[name]
        assert 0 <= low < weight < high <= 1


def test_modality_that_weighs_nothing_may_weigh_something_on_a_resample():
    mixture = fitted(*members({"image": 0.7, "text": 2.5}, 60, seed=10), n_resamples=50)
    assert mixture.weights["image"] < 1e-3
    assert mixture.intervals["image"][1] > 0.02


@pytest.mark.parametrize("seed", range(4))
def test_member_of_little_weight_keeps_about_the_temperature_that_it_has_alone(seed):
    """A handful of rows that it happens to get right would make it as sure as can be."""
    logits, present, targets = members(
        {"image": 0.8, "metadata": 0.8, "text": 3.0}, 300, n_classes=20, seed=seed
    )  # fmt: skip
    mixture = fitted(logits, present, targets)
    for name, temperature in mixture.temperatures.items():
        assert temperature > 0.2 * fit_temperature(logits[name], targets)


def test_same_generator_gives_the_same_mixture():
    rows = members({"image": 1.5, "text": 2.0})
    one, again, other = (fitted(*rows, seed=seed, n_resamples=50) for seed in (4, 4, 5))
    assert one == again
    assert one.intervals != other.intervals


@pytest.mark.parametrize("n_rows", [1, 2, 8])
def test_few_rows_give_weights_all_the_same(n_rows):
    logits, present, targets = members({"image": 1.0, "text": 2.0}, n_rows)
    mixture = fitted(logits, present, targets, n_resamples=50)
    assert sum(mixture.weights.values()) == pytest.approx(1)
    assert mix(logits, present, mixture).isfinite().all()
    assert all(0 <= low <= high <= 1 for low, high in mixture.intervals.values())


def test_few_rows_that_are_all_right_make_no_answer_certain():
    """The average is as sure as its temperature says: it was certain of everything."""
    _, present, targets = members({"image": 1.0, "text": 1.0}, 60)
    right = (3.0 * nn.functional.one_hot(targets, N_CLASSES)).log_softmax(1)
    logits = {"image": right, "text": torch.zeros(60, N_CLASSES).log_softmax(1)}
    mixture = fitted(logits, present, targets)
    assert mix(logits, present, mixture).exp().max() == pytest.approx(61 / 62 + 1 / 62 / N_CLASSES, abs=1e-4)


def test_members_that_are_always_right_weigh_alike():
    _, present, targets = members({"image": 1.0, "text": 1.0}, 100)
    right = 5.0 * nn.functional.one_hot(targets, N_CLASSES)
    mixture = fitted({"image": right, "text": right}, present, targets)
    assert mixture.weights == pytest.approx({"image": 0.5, "text": 0.5}, abs=1e-3)


def test_class_without_rows_or_without_any_voice_does_no_harm():
    logits, present, targets = members({"image": 0.0, "text": 3.0}, 300)
    kept = targets != 2
    few = fitted(
        {name: matrix[kept] for name, matrix in logits.items()}, {n: p[kept] for n, p in present.items()}, targets[kept]
    )
    assert few.weights["image"] < 0.05
    for matrix in logits.values():
        matrix[:, 5] = math.log(1e-12)  # the members never saw it
    targets[targets == 5] = 4
    targets[:3] = 5
    silent = fitted(logits, present, targets)
    assert silent.weights["image"] < 0.05
    assert silent.temperatures["text"] < 10


def test_row_that_has_nothing_and_what_stands_in_absent_ones_change_nothing():
    logits, present, targets = members({"image": 1.5, "text": 2.0}, 200, absent=0.3)
    assert not torch.stack(list(present.values())).any(0).all()
    mixture = fitted(logits, present, targets)
    changed = {name: torch.where(present[name][:, None], matrix, torch.nan) for name, matrix in logits.items()}
    again = fitted(changed, present, targets)
    assert again.weights == pytest.approx(mixture.weights, abs=1e-6)
    some = torch.stack(list(present.values())).any(0)
    torch.testing.assert_close(mix(changed, present, mixture)[some], mix(logits, present, mixture)[some])


def test_no_row_with_any_modality_is_an_error():
    logits, present, targets = members({"image": 1.0, "text": 1.0}, 10)
    with pytest.raises(HeadError, match="to have a vector, but none has"):
        fitted(logits, {name: torch.zeros_like(mask) for name, mask in present.items()}, targets)


@pytest.mark.parametrize(
    ("names", "step", "n_points"), [("it", 0.05, 21), ("imt", 0.05, 231), ("t", 0.1, 1), ("imt", 0.5, 6)]
)
def test_sweep_scores_every_weight_as_a_plain_loop_does(names, step, n_points, monkeypatch):
    monkeypatch.setattr(sweep, "BLOCK_CELLS", 5000)
    signals = {"i": 1.0, "m": 0.5, "t": 1.5}
    logits, present, targets = members({name: signals[name] for name in names}, 80, absent=0.2)
    present["t"][:] = True
    points = sweep_simplex(logits, present, targets, step=step)
    assert len(points) == n_points == len({tuple(point.weights.values()) for point in points})
    for point in points:
        numbers = np.array(list(point.weights.values()))
        assert numbers.sum() == pytest.approx(1)
        assert numbers / step == pytest.approx(np.round(numbers / step))
    for point in points[:: max(1, n_points // 20)]:
        expected = Late({name: Said(name) for name in logits}, weights=point.weights)(logits, present).exp()
        answers = expected.argmax(1)
        assert point.accuracy == pytest.approx(accuracy_score(targets, answers))
        assert point.macro_f1 == pytest.approx(f1_score(targets, answers, average="macro", zero_division=0))
        expected = expected.double() / expected.double().sum(1, keepdim=True)
        assert point.log_loss == pytest.approx(sklearn_log_loss(targets, expected, labels=range(N_CLASSES)), rel=1e-5)


@pytest.mark.parametrize("step", [0.0, -0.1, 0.3, 2.0, math.nan])
def test_step_that_does_not_divide_one_is_an_error(step):
    with pytest.raises(SettingError, match="a step to be 1 divided by a whole number"):
        sweep_simplex(*members({"image": 1.0, "text": 1.0}, 10), step=step)


@pytest.mark.parametrize("seed", range(4))
def test_members_that_know_nothing_weigh_the_same_and_nothing_is_certain(seed):
    mixture = fitted(*members({"image": 0.0, "metadata": 0.0, "text": 0.0}, 300, seed=seed, n_classes=20))
    assert mixture.weights == pytest.approx(dict.fromkeys(mixture.weights, 1 / 3))
    assert set(mixture.intervals.values()) == {(0.0, 1.0)}
    shown = weights_in_words(mixture.weights, mixture.intervals)
    assert shown.startswith("image 0.33, metadata 0.33, text 0.33: equal, because the validation rows do not tell ")
    assert "fitted" not in shown


def test_rows_that_are_computed_on_block_by_block_give_the_same_weights(monkeypatch):
    """Several copies of a block's logits are made, and not of all: 30 rows of 400 at once."""
    logits, present, targets = members({"image": 1.5, "text": 2.0}, absent=0.2)
    whole = fitted(logits, present, targets, n_resamples=5)
    monkeypatch.setattr("heads.modules.mixture.BLOCK_CELLS", 30 * 3 * N_CLASSES)
    sizes = []
    log_likelihoods = mixture_module._Problem.log_likelihoods
    monkeypatch.setattr(
        mixture_module._Problem,
        "log_likelihoods",
        lambda problem, temperatures, rows: (
            sizes.append(len(problem.targets[rows])) or log_likelihoods(problem, temperatures, rows)
        ),
    )
    by_blocks = fitted(logits, present, targets, n_resamples=5)
    assert max(sizes) == 30
    for part in ("weights", "temperatures"):
        assert getattr(by_blocks, part) == pytest.approx(getattr(whole, part), rel=1e-4)
    for name, ends in whole.intervals.items():
        assert by_blocks.intervals[name] == pytest.approx(ends, abs=1e-4)
