"""What only both modalities together tell is learned by every fusion of features; what one of them lacks, by none."""

from dataclasses import replace

import numpy as np
import pytest
from support import BY_STEPS, class_vectors, synthetic_cache

from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

# The defaults but for the epochs, so that what a user gets is what is tested.
SETTINGS = TrainSettings(
    fusions=BY_STEPS, max_epochs=5, n_resamples=100, controls=(), weights="0.5,0.5", precision="fp32", device="cpu"
)
TOGETHER = [name for name in BY_STEPS if name != "late"]
N = 1000
CHANCE = pytest.approx(0.5, abs=0.12)  # of 200 test rows: more than three standard deviations


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bits")


def trained(folder, vectors, labels, settings=SETTINGS):
    path = synthetic_cache(folder / "c.h5", vectors, {"label": labels})
    return train(path, settings=settings, runs_path=folder / "runs")


def bits_of():
    """Return two bits of each product, independent of each other, (N, 2)."""
    return np.random.default_rng(0).integers(2, size=(N, 2))


@pytest.fixture(scope="module")
def exclusive(folder):
    """The picture shows one bit and the text another, both plainly; the label is their exclusive or."""
    bits = bits_of()
    vectors = {
        "image": class_vectors(bits[:, 0], 12, spread=0.5, seed=1),
        "text": class_vectors(bits[:, 1], 12, spread=0.5, seed=2),
    }
    return trained(folder, vectors, [("same", "other")[first ^ second] for first, second in bits])


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """The text shows the label, now and then not plainly enough; the picture is noise."""
    bits = bits_of()[:, 1]
    vectors = {
        "image": class_vectors(bits, 12, signal=0.0, seed=1),
        "text": class_vectors(bits, 12, spread=1.2, seed=2),
    }
    labels = [("bag", "hat")[bit] for bit in bits]
    return trained(tmp_path_factory.mktemp("noise"), vectors, labels, replace(SETTINGS, max_epochs=3))


def verdict_on(report, fusion):
    return next(verdict for verdict in report.verdicts if verdict.fusion == fusion)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_each_modality_alone_is_at_chance(exclusive, modality):
    assert exclusive.metrics[modality]["accuracy"] == CHANCE


@pytest.mark.parametrize("fusion", TOGETHER)
def test_a_fusion_of_features_learns_the_exclusive_or(exclusive, fusion):
    assert exclusive.metrics[fusion]["accuracy"] > 0.95
    verdict = verdict_on(exclusive, fusion)
    assert verdict.sentence.startswith(f"{fusion} is better than {verdict.single} alone (accuracy +")


def test_an_average_of_answers_cannot_learn_it(exclusive):
    assert exclusive.metrics["late"]["accuracy"] == CHANCE
    assert "late is better" not in verdict_on(exclusive, "late").sentence


@pytest.mark.parametrize("fusion", BY_STEPS)
def test_noise_is_not_worth_fusing(noisy, fusion):
    alone = noisy.metrics["text"]["accuracy"]
    assert 0.85 < alone < 0.99
    assert noisy.metrics["image"]["accuracy"] == CHANCE
    assert noisy.metrics[fusion]["accuracy"] == pytest.approx(alone, abs=0.06)
    verdict = verdict_on(noisy, fusion)
    assert verdict.single == "text"
    assert "is better than" not in verdict.sentence
