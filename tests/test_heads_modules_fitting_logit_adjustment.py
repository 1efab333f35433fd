"""Logit adjustment after the training: the strength of the best macro-F1, in the bias that a head ends in."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_jobs import small_job, small_task
from support import class_vectors, invoke, synthetic_cache
from torch import nn

from heads.ablation.grid import parse_axis
from heads.ablation.naming import Naming
from heads.ablation.setting_effects import axes_of
from heads.commands.train import train as command
from heads.errors import HeadError, SettingError
from heads.experiment.configuration import Configuration
from heads.metrics.scores import scores
from heads.modules.fitting.logit_adjustment import STRENGTHS, fit_strength, shift_logits
from heads.modules.seeded import build_seeded
from heads.option_texts import parse_adjustment
from heads.runs.folder import load_heads
from heads.settings import FitSettings

SHARES = torch.tensor([0.7, 0.2, 0.1])


def random_logs(*, seed=0, n=60):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.multinomial(SHARES, n, replacement=True, generator=generator)
    logits = torch.randn(n, 3, generator=generator) + 1.5 * SHARES.log()
    logits[torch.arange(n), targets] += 1.0
    return torch.log_softmax(logits, 1), targets.numpy()


def test_the_strength_is_the_least_of_the_best_macro_f1():
    logs, targets = random_logs()
    reached = [
        scores(targets, (logs - strength * SHARES.log()).argmax(1).numpy(), 3)["macro_f1"] for strength in STRENGTHS
    ]
    strength = fit_strength(logs, targets, SHARES.log())
    assert strength == STRENGTHS[int(np.argmax(reached))] > 0
    assert max(reached) > reached[0] + 0.02


def test_of_equals_it_is_nothing():
    logs = torch.eye(3)[torch.tensor([0, 1, 2, 0])].mul(50).log_softmax(1)
    assert fit_strength(logs, np.array([0, 1, 2, 0]), SHARES.log()) == 0
    assert fit_strength(*random_logs(), torch.full((3,), 1 / 3).log()) == 0  # classes of one size


@pytest.mark.parametrize("name", ["image", "early", "attention", "gated", "lowrank"])
def test_every_head_that_is_trained_by_steps_ends_in_a_bias(name):
    task = small_task()
    module = build_seeded(small_job(name).description, 0).eval()
    shifts = torch.tensor([1.0, -2.0, 0.5])

    def answer():
        with torch.no_grad():
            return torch.log_softmax(module(task.inputs, task.present), 1)

    before = answer()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    shift_logits(module, shifts, answer)
    torch.testing.assert_close(answer(), torch.log_softmax(before + shifts, 1))
    assert sum(not torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items()) == 1


def test_a_head_that_ends_in_none_is_left_as_it_was_and_named():
    """Its last bias is of as many numbers as there are classes, but no logit's."""
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3, bias=False))
    inputs, state = torch.randn(5, 4), {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(HeadError, match="--logit-adjustment auto: expected a head that ends in a linear layer"):
        shift_logits(module, torch.tensor([1.0, 0.0, 0.0]), lambda: module(inputs).detach().log_softmax(1))
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_auto_is_a_word_among_numbers():
    assert parse_adjustment("auto") == "auto"
    assert parse_adjustment("0.5") == 0.5
    assert parse_axis("logit_adjustment", "0,auto,1") == (0.0, "auto", 1.0)
    with pytest.raises(SettingError, match="--logit-adjustment: expected auto"):
        parse_adjustment("most")
    with pytest.raises(SettingError, match="--logit-adjustment: expected auto"):
        FitSettings(logit_adjustment="most")


def test_a_word_among_numbers_has_a_place_on_an_axis():
    """Of an ablation with --logit-adjustment 0,auto,1."""
    rows = [
        SimpleNamespace(
            configuration=Configuration.of("early", {"text": "a"}, FitSettings(logit_adjustment=times)),
            validation=SimpleNamespace(mean=score),
        )
        for times, score in ((1.0, 0.3), ("auto", 0.2), (0.0, 0.1))
    ]
    (axis,) = axes_of(rows, Naming(row.configuration for row in rows))
    assert (axis.kind, axis.values) == ("words", [0.0, 1.0, "auto"])
    assert axis.means == {"early": {0.0: 0.1, 1.0: 0.3, "auto": 0.2}}


@pytest.mark.slow
def test_a_run_fits_it_on_validation_rows_saves_it_and_tells(tmp_path):
    """Beside the same run without: the same networks, but for what the bias has."""
    targets = np.repeat([0, 1, 2], [150, 60, 30])
    vectors = {name: class_vectors(targets, 4, spread=2.5, seed=n) for n, name in enumerate(("image", "text"))}
    cache = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})
    heads = []
    for name in ("0", "auto"):
        result = invoke(
            command, cache, "--fusion", "early,late", "--controls", "none", "--max-epochs", 3, "--hidden-dim", 8,
            "--precision", "fp32", "--logit-adjustment", name, "--runs", tmp_path, "--name", name, "--no-report",
            "--resamples", 100, "--details",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        heads.append(load_heads(tmp_path / name))  # whose golden rows are answered again
    told = strengths_of(result.stdout)
    assert told.keys() == {"image", "text", "early"}
    assert max(told.values()) > 0
    for name, strength in told.items():
        plain, adjusted = (one[name].module.state_dict() for one in heads)
        moved = {key: adjusted[key] - plain[key] for key in plain if not torch.equal(plain[key], adjusted[key])}
        if not strength:
            assert not moved
            continue
        (shifts,) = moved.values()
        counts = torch.tensor([1.0, 0.4, 0.2])  # up to a factor, and to the rounding of the split
        torch.testing.assert_close(
            shifts - shifts[0], -strength * (counts.log() - counts[0].log()), atol=0.1 * strength, rtol=0
        )


def strengths_of(text):
    (line,) = [line for line in " ".join(text.split()).split(". ") if line.startswith("The logit adjustment")]
    pairs = line.partition(": ")[2].split(", ")
    return {name: float(number) for name, number in (pair.split(" ") for pair in pairs)}
