"""Names of classes: what they answer with no label, and what a stack makes of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import class_vectors, invoke
from test_heads_modules_stack import N_CLASSES, TRAIN, VALIDATION, drawn
from test_heads_workflows_train import QUICK, shop

from cache import Cache, EncoderSpec, Journal, Part, seal
from cache.keys import text_key
from heads.ablation.job_keys import JobKeys
from heads.commands.train import train as train_command
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.problem import pose
from heads.experiment.zero_label import answer_by_names
from heads.modules.fitting.log_linear_pool import fit_pool
from heads.modules.fitting.out_of_fold import inner_folds
from heads.modules.fitting.rows_to_fit import take_rows
from heads.modules.linear_member import fit_member
from heads.modules.parts.name_directions import name_directions
from heads.modules.parts.scalings import of_one_length
from heads.modules.parts.standardiser import Standardise
from heads.modules.residual import fit_residual
from heads.modules.stack import fit_stack
from heads.runs.folder import load_heads

pytestmark = pytest.mark.slow


def directions(rows, modality="text"):
    """Return the true directions of the classes, as good names have them."""
    means = torch.stack([rows.inputs[modality][rows.targets == number].mean(0) for number in range(N_CLASSES)])
    return name_directions(means, modality, None)


def right(module, rows):
    asked = torch.arange(len(TRAIN), len(rows.targets))
    answers = module(*take_rows(rows.inputs, rows.present, asked)).argmax(1)
    return float((answers == rows.targets[asked]).double().mean())


def test_names_lie_from_their_mean_in_the_space_that_vectors_are_scaled_to():
    names = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 8.0]])
    scale = Standardise({"text": 2})
    scale.get_buffer("mean_text").copy_(torch.tensor([7.0, 7.0]))
    scale.get_buffer("scale_text").copy_(torch.tensor([1.0, 2.0]))
    wished = torch.tensor([[-1.0, -0.5], [1.0, -0.5], [0.0, 1.0]])
    found = name_directions(names, "text", scale)
    torch.testing.assert_close(found, wished / wished.norm(dim=1, keepdim=True))


def test_of_one_label_a_class_names_know_more():
    rows = drawn(signals=(0.3, 0.5))
    firsts = torch.stack([TRAIN[rows.targets[TRAIN] == number][0] for number in range(N_CLASSES)])
    few = replace(rows, train=firsts, validation=VALIDATION[:6])
    plain = fit_stack(few).module
    named = fit_stack(replace(few, class_names={"text": directions(rows)})).module
    assert right(named, rows) > right(plain, rows) + 0.1


@pytest.fixture(scope="module")
def weak():
    """Rows that say little, their inner folds, and the member of the text."""
    rows = drawn(signals=(0.3, 0.5))
    folds = inner_folds(rows)
    return rows, folds, fit_member(rows, "text", folds)


def test_a_member_adds_the_directions_by_what_its_fold_mates_and_names_say_of_rows_held_out(weak):
    rows, folds, plain = weak
    names = directions(rows)
    named = fit_member(replace(rows, class_names={"text": names}), "text", folds)
    held = torch.cat([fold.held for fold in folds])
    vectors = rows.inputs["text"]
    scaled = of_one_length(vectors) if plain.of_one_length else vectors
    logits = torch.stack([torch.cat(plain.held), scaled[held] @ names.T], dim=1)
    seen = torch.ones(len(held), N_CLASSES, dtype=torch.bool)
    weights, loss = fit_pool(logits, rows.targets[held], seen_classes=seen, row_weights=rows.row_weights[held])
    assert weights.min() > 0
    assert (named.temperature, named.log_loss) == (1.0, pytest.approx(loss))
    assert loss < plain.log_loss
    layer = weights[0] * plain.module.layer.weight + weights[1] * names
    torch.testing.assert_close(named.module.layer.weight, layer.float())
    torch.testing.assert_close(torch.cat(named.held), torch.einsum("nmk,m->nk", logits.double(), weights).float())


def test_a_residual_begins_with_the_names_as_its_stack_does():
    rows = drawn(signals=(0.3, 0.5))
    named = replace(rows, class_names={"text": directions(rows)})
    member = fit_residual(named).module.members["text"]
    torch.testing.assert_close(member.layer.weight, fit_member(named, "text", inner_folds(rows)).module.layer.weight)


def test_names_that_say_nothing_count_for_nothing(weak):
    rows, folds, plain = weak
    wrong = {"text": -directions(rows)}  # the opposite of what they should be, and no weight is negative
    named = fit_member(replace(rows, class_names=wrong), "text", folds)
    scaled = named.module.layer.weight * plain.temperature
    torch.testing.assert_close(scaled, plain.module.layer.weight, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def named_shop(tmp_path_factory):
    """A cache of products whose classes' names lie where their texts do, and one without the names."""
    paths = {}
    for name in ("named", "plain"):
        path = paths[name] = shop(tmp_path_factory.mktemp("shop") / f"{name}.h5")
        if name == "named":
            centres = class_vectors(np.arange(3), 12, spread=0.0, seed=2)
            keys = [text_key(f"class {number}") for number in range(3)]
            with Journal(path) as journal:
                journal.publish(Part("synthetic", EncoderSpec("text", {"weights": "synthetic"}), keys, centres, {}))
                seal(path, journal, None)
    return paths


def test_a_run_says_what_names_alone_come_to_and_its_heads_need_them_no_more(named_shop, tmp_path):
    options = ["--fusion", "stack", "--max-epochs", 1, "--resamples", 100, "--runs", tmp_path, "--no-report"]
    done = invoke(train_command, named_shop["named"], *options, "--name", "r")
    assert done.exit_code == 0, done.stderr
    scored = json.loads((tmp_path / "r" / "metrics.json").read_text())["controls"]["text-names"]
    shown = (
        f"{100 * scored['accuracy']:.1f} % of the test rows right by text (macro-F1 {100 * scored['macro_f1']:.1f})."
    )
    assert f"Class names alone, with no label: {shown}" in " ".join(done.stdout.split())
    assert scored["accuracy"] > 0.5
    assert "image-names" not in done.stdout
    load_heads(tmp_path / "r")  # which tries each on its golden rows


def test_with_no_label_the_nearest_name_is_the_answer(named_shop):
    with Cache(named_shop["named"]) as cache:
        problem = pose(cache, QUICK)
    text = problem.encoder_vectors(("text", "synthetic"), 0)
    rows = problem.folds[0].test
    text.present["text"][rows[0]] = False
    text.inputs["text"][rows[0]] = 0.0
    answers = answer_by_names(problem, {"image": "synthetic", "text": "synthetic"}, seed=0)
    assert list(answers) == ["text"]
    names = problem.class_names["text", "synthetic"].double()
    for place, row in list(enumerate(rows.tolist()))[1:]:
        vector = text.inputs["text"][row].double()
        near = [float(vector @ name / vector.norm() / name.norm()) for name in names]
        assert answers["text"]["test"].predictions[place] == int(np.argmax(near))
    assert answers["text"]["test"].confidences[0] == pytest.approx(1 / 3)  # a guess


def test_results_are_remembered_with_the_names_by_the_heads_that_take_them(named_shop):
    keys = {}
    for name, path in named_shop.items():
        with Cache(path) as cache:
            experiment = Experiment.of(pose(cache, QUICK), QUICK, sides=("test",))
        for head in ("stack", "early"):
            job = FoldJob(Configuration.of(head, {"image": "synthetic", "text": "synthetic"}, QUICK), 0, 0)
            keys[name, head] = JobKeys(experiment, trained_on={}).of(job)
    assert keys["named", "early"] == keys["plain", "early"]
    assert keys["named", "stack"] != keys["plain", "stack"]
