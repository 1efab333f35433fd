"""What every head must do, whatever its kind; and what late fusion, attention and standardisation must do besides."""

import math

import numpy as np
import pytest
import torch
from support import BY_STEPS
from torch import nn
from torch.nn import functional as F

from heads.data.splitting.splits import Split
from heads.errors import HeadError, SettingError
from heads.modules.attention import CrossAttention
from heads.modules.description import HeadDescription
from heads.modules.early import Early
from heads.modules.late import Late, parse_weights
from heads.modules.parts.standardiser import Standardise
from heads.modules.registry import build
from heads.settings import TrainSettings
from heads.training.job import Job, Task
from heads.training.scheduler import fit

TWO = {"image": 12, "text": 10}
THREE = {"image": 12, "metadata": 5, "text": 10}
N_CLASSES = 3
FUSED = [(name, dims) for dims in (TWO, THREE) for name in BY_STEPS]
HEADS = [("image", {"image": 12}), ("text", {"text": 10}), *FUSED]

every_head, every_fusion = (
    pytest.mark.parametrize(
        ("name", "dims"), [pytest.param(*pair, id=f"{pair[0]} of {len(pair[1])}") for pair in pairs]
    )
    for pairs in (HEADS, FUSED)
)


def description_of(name, dims, *, dropout=0.0, n_tokens=2):
    weights = {modality: 1 / len(dims) for modality in dims} if name == "late" else {}
    return HeadDescription(
        name=name, dims=dims, n_classes=N_CLASSES, hidden_dim=32, dropout=dropout, n_tokens=n_tokens,
        n_attention_heads=4, weights=weights,
    )  # fmt: skip


def head_of(name, dims, *, seed=0, **options):
    """Return a head whose weights and batch norm statistics are not those it starts with."""
    torch.manual_seed(seed)
    head = build(description_of(name, dims, **options))
    for n in range(3):
        head(*rows_of(dims, seed=100 + n))
    return head.eval()


def rows_of(dims, n_rows=24, *, seed=0, absent=0.0):
    generator = torch.Generator().manual_seed(seed)
    present = {name: torch.rand(n_rows, generator=generator) >= absent for name in dims}
    first = next(iter(present))
    present[first] |= ~torch.stack(list(present.values())).any(0)  # no row lacks everything
    inputs = {
        name: torch.randn(n_rows, dim, generator=generator) * present[name][:, None] for name, dim in dims.items()
    }
    return inputs, present


def take(rows, wanted):
    return tuple({name: tensor[wanted] for name, tensor in part.items()} for part in rows)


def loss_of(head, rows, targets):
    return F.cross_entropy(head(*rows), targets)


def dead_parameters(head, dims):
    """Return the parameters that three training batches would leave as they are, but for rounding."""
    head.train()
    steepest = {name: 0.0 for name, _ in head.named_parameters()}
    for seed in range(3):
        head.zero_grad()
        loss_of(head, rows_of(dims, seed=seed), torch.arange(24) % N_CLASSES).backward()
        for name, parameter in head.named_parameters():
            gradient = math.nan if parameter.grad is None else float(parameter.grad.abs().max())
            steepest[name] = max(gradient, steepest[name]) if math.isfinite(gradient) else -math.inf
    return sorted(name for name, gradient in steepest.items() if gradient < 1e-6)


class SingleKeyAttention(nn.Module):
    """Cross-attention as it is often written: one token asks, one token answers, and the softmax over it is 1."""

    def __init__(self):
        super().__init__()
        self.ask, self.answer = nn.Linear(12, 32), nn.Linear(10, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.classifier = nn.Linear(32, N_CLASSES)

    def forward(self, inputs, _present):
        key = self.answer(inputs["text"])[:, None]
        answer, _ = self.attention(self.ask(inputs["image"])[:, None], key, key)
        return self.classifier(answer[:, 0])


@every_head
def test_every_parameter_is_saved_and_learns(name, dims):
    head = head_of(name, dims)
    assert {name for name, _ in head.named_parameters()} <= head.state_dict().keys()
    assert dead_parameters(head, dims) == []


def test_the_check_for_dead_parameters_finds_attention_over_one_key():
    assert dead_parameters(SingleKeyAttention(), TWO) == ["ask.bias", "ask.weight"]


@every_head
def test_answers_are_finite_numbers_of_the_right_shape(name, dims):
    answers = head_of(name, dims)(*rows_of(dims, 7, absent=0.5))
    assert answers.shape == (7, N_CLASSES)
    assert answers.dtype == torch.float32
    assert answers.isfinite().all()


@every_head
def test_an_answer_does_not_depend_on_the_rows_beside_it(name, dims):
    head, rows = head_of(name, dims), rows_of(dims, absent=0.3)
    answers = head(*rows)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(head(*take(rows, order)), answers[order])
    torch.testing.assert_close(head(*take(rows, slice(5, 9))), answers[5:9])
    torch.testing.assert_close(head(*take(rows, [3])), answers[[3]])
    wild = {name: torch.cat([matrix[:4], 1e4 * matrix[4:]]) for name, matrix in rows[0].items()}
    torch.testing.assert_close(head(wild, rows[1])[:4], answers[:4])


@every_head
def test_every_modality_changes_the_answer(name, dims):
    head, (inputs, present) = head_of(name, dims), rows_of(dims)
    others, _ = rows_of(dims, seed=1)
    for modality in dims:
        changed = head({**inputs, modality: others[modality]}, present)
        assert ((changed - head(inputs, present)).abs().amax(1) > 1e-4).all(), modality


@pytest.mark.parametrize("value", [1e6, math.inf, math.nan])
@every_fusion
def test_what_stands_where_a_modality_is_absent_has_no_influence(name, dims, value):
    """A cache's matrix has NaN there."""
    head, (inputs, present) = head_of(name, dims), rows_of(dims, absent=0.5)
    standardise = Standardise(dims).fit(inputs, present, torch.arange(24)).eval()
    filled = {modality: torch.where(present[modality][:, None], matrix, value) for modality, matrix in inputs.items()}
    answers, same = (head(standardise(matrices, present), present) for matrices in (inputs, filled))
    assert torch.equal(answers, same), f"{int((answers != same).any(1).sum())} of 24 rows get another answer"


@pytest.mark.parametrize(("name", "dims"), [pair for pair in HEADS if len(pair[1]) != 2], ids=str)
@pytest.mark.slow
def test_32_rows_can_be_learned_by_heart(name, dims):
    (inputs, present), rows = rows_of(dims, 32), np.arange(32)
    targets = torch.randint(N_CLASSES, (32,), generator=torch.Generator().manual_seed(3))
    task = Task(inputs=inputs, present=present, targets=targets, split=Split(train=rows, validation=rows, test=rows))
    settings = TrainSettings(max_epochs=40, patience=40, learning_rate=2e-2, weight_decay=0.0)
    if name == "late":
        members = {
            modality: fit(Job(description_of(modality, {modality: dim}), task, settings)).module
            for modality, dim in dims.items()
        }
        head = Late(members, weights=dict.fromkeys(dims, 1 / len(dims))).eval()
    else:
        head = fit(Job(description_of(name, dims), task, settings)).module
    assert torch.equal(head(inputs, present).argmax(1), targets)


@pytest.mark.parametrize("dims", [TWO, THREE], ids=len)
@pytest.mark.parametrize("n_tokens", [1, 2, 3])
def test_attention_has_two_keys_or_more(dims, n_tokens):
    shapes = []
    head = head_of("attention", dims, n_tokens=n_tokens)
    head.attention.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[1].shape))
    head(*rows_of(dims))
    assert shapes == [(24, 1 + (len(dims) - 1) * n_tokens, 32)]


@pytest.mark.parametrize("n_tokens", [1, 2, 3])
def test_what_attention_finds_depends_on_the_question_and_on_the_answer(n_tokens):
    """Looked at before the residual, which would carry the question past a dead attention."""
    outputs = []
    head = head_of("attention", TWO, n_tokens=n_tokens)
    head.attention.register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    (inputs, present), (others, _) = rows_of(TWO), rows_of(TWO, seed=1)
    for modality in (None, "image", "text"):
        head({**inputs, modality: others.get(modality)}, present)
    asked_again, *changed = outputs
    for matrix in changed:
        assert ((matrix - asked_again).abs().amax((1, 2)) > 1e-4).all()


def test_attention_over_one_key_does_not_depend_on_the_question():
    """The check above can fail."""
    head, (inputs, present) = SingleKeyAttention(), rows_of(TWO)
    others, _ = rows_of(TWO, seed=1)
    torch.testing.assert_close(head({**inputs, "image": others["image"]}, present), head(inputs, present))


def test_the_asker_is_kept_where_nobody_answers():
    head, (inputs, present), (others, _) = head_of("attention", TWO), rows_of(TWO), rows_of(TWO, seed=1)
    alone = {**present, "text": torch.zeros(24, dtype=torch.bool)}
    answers, changed = (head({**inputs, "image": matrix}, alone) for matrix in (inputs["image"], others["image"]))
    assert ((changed - answers).abs().amax(1) > 1e-3).all()


def test_the_tokens_of_an_absent_modality_are_no_keys():
    """They would say something even of zeros: their projection has a bias, and they have positions."""
    head, (inputs, present) = head_of("attention", TWO), rows_of(TWO, absent=0.4)
    before = head(inputs, present)
    with torch.no_grad():
        head.tokens["text"].position += 1
    is_changed = (head(inputs, present) != before).any(1)
    assert torch.equal(is_changed, present["text"])


def test_attention_over_nothing_but_absent_answers_is_finite():
    inputs, present = rows_of(TWO)
    absent = {**present, "text": torch.zeros(24, dtype=torch.bool)}
    assert head_of("attention", TWO)({**inputs, "text": torch.zeros(24, 10)}, absent).isfinite().all()


@pytest.mark.parametrize("modality", ["image", "text"])
def test_attention_over_one_modality_is_an_error(modality):
    with pytest.raises(HeadError, match=f"two modalities or more, but there is {modality} alone"):
        build(description_of("attention", {modality: 5}))


def test_the_first_modality_asks_and_the_others_answer():
    head = CrossAttention(THREE, n_classes=3, hidden_dim=8, n_tokens=2, n_attention_heads=2, dropout=0.0)
    assert (head.query_modality, head.key_modalities) == ("image", ["metadata", "text"])


def test_early_over_one_modality_reads_that_modality_alone():
    head = Early({"text": 10}, n_classes=3, hidden_dim=8, dropout=0.0).eval()
    inputs, present = rows_of(TWO)
    torch.testing.assert_close(head(inputs, present), head({"text": inputs["text"]}, present))


@pytest.mark.parametrize("dims", [TWO, THREE], ids=len)
def test_lowrank_is_a_product_with_the_outer_product_of_all_modalities(dims):
    """The paper's equations 4 and 6, the weight tensor written out; an absent modality leaves the constant 1 alone."""
    head, (inputs, present), fused_vectors = head_of("lowrank", dims), rows_of(dims, absent=0.3), []
    head.norm.register_forward_hook(lambda _, fused, __: fused_vectors.append(fused[0].detach()))
    head(inputs, present)
    outer, weights = torch.ones(24, 1), torch.ones(head.rank, 32, 1)
    for name in sorted(dims):
        with_one = torch.cat([inputs[name] * present[name][:, None], torch.ones(24, 1)], dim=1)  # (B, D + 1)
        factor = head.factors[name]
        factors = torch.cat([factor.weight, factor.bias[None]]).T.detach().unflatten(0, (head.rank, 32))
        outer = (outer[:, :, None] * with_one[:, None]).flatten(1)  # (B, all products)
        weights = (weights[..., None] * factors[:, :, None]).flatten(2)  # (R, H, all products)
    torch.testing.assert_close(fused_vectors[0], outer @ weights.sum(0).T, atol=1e-4, rtol=1e-4)


def test_gates_over_two_modalities_are_a_sigmoid_and_its_rest():
    """The paper's equations for two modalities, with the batch norm before the tanh."""
    head, (inputs, present), mixed_vectors = head_of("gated", TWO), rows_of(TWO), []
    head.classifier.register_forward_hook(lambda _, mixed, __: mixed_vectors.append(mixed[0].detach()))
    head(inputs, present)
    image, text = (torch.tanh(head.norms[name](head.hidden[name](inputs[name]))).detach() for name in TWO)
    scores = head.gates(torch.cat([inputs["image"], inputs["text"]], dim=1)).detach()
    gate = torch.sigmoid(scores[:, :32] - scores[:, 32:])
    torch.testing.assert_close(mixed_vectors[0], gate * image + (1 - gate) * text, atol=1e-5, rtol=1e-5)
    assert gate.std() > 0.05


@pytest.mark.parametrize("lost", ["image", "metadata", "text"])
def test_gates_are_closed_to_what_is_absent_and_share_the_rest(lost):
    head, (inputs, present), mixed_vectors = head_of("gated", THREE), rows_of(THREE), []
    head.classifier.register_forward_hook(lambda _, mixed, __: mixed_vectors.append(mixed[0].detach()))
    head(inputs, {**present, lost: torch.zeros(24, dtype=torch.bool)})
    left = [name for name in THREE if name != lost]
    hidden = [torch.tanh(head.norms[name](head.hidden[name](inputs[name]))).detach() for name in left]
    zeroed = torch.cat([inputs[name] * (name != lost) for name in THREE], dim=1)
    scores = head.gates(zeroed).detach().unflatten(1, (3, 32))[:, [name != lost for name in THREE]]
    expected = sum(gate * vectors for gate, vectors in zip(torch.softmax(scores, dim=1).unbind(1), hidden, strict=True))
    torch.testing.assert_close(mixed_vectors[0], expected, atol=1e-5, rtol=1e-5)


class Fixed(nn.Module):
    """Answers with the logits it is given for the modality."""

    def __init__(self, modality):
        super().__init__()
        self.modality = modality

    def forward(self, inputs, _present):
        return inputs[self.modality]


def late_of(weights):
    return Late({name: Fixed(name) for name in weights}, weights=weights)


def logits_of(modalities, *, n_rows=50, scale=3.0, absent=0.3):
    inputs, present = rows_of(dict.fromkeys(modalities, N_CLASSES), n_rows, absent=absent)
    return {name: scale * matrix for name, matrix in inputs.items()}, present


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


@pytest.mark.parametrize(
    "weights",
    [{"image": 0.4, "text": 0.6}, {"image": 0.9, "text": 0.1}, {"image": 0.2, "metadata": 0.3, "text": 0.5}],
    ids=len,
)
def test_late_fusion_is_the_weighted_mean_of_what_a_row_has(weights):
    inputs, present = logits_of(weights)
    answers = late_of(weights)(inputs, present).double().exp().numpy()
    for row in range(50):
        names = [name for name in weights if present[name][row]]
        total = sum(weights[name] for name in names)
        expected = sum(weights[name] / total * softmax(inputs[name][row].double().numpy()) for name in names)
        np.testing.assert_allclose(answers[row], expected, rtol=2e-6)


def test_late_fusion_returns_log_probabilities():
    answers = late_of({"image": 0.3, "text": 0.7})(*logits_of(TWO))
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(50))
    torch.testing.assert_close(answers.logsumexp(1), torch.zeros(50), atol=1e-6, rtol=0)


def test_late_fusion_of_very_sure_heads_stays_finite():
    answers = late_of({"image": 0.5, "text": 0.5})(*logits_of(TWO, scale=1000.0, absent=0.0))
    assert answers.isfinite().all()


@pytest.mark.parametrize(("alone", "lost"), [("text", "image"), ("image", "text")])
def test_a_row_without_a_modality_gets_the_other_heads_answer_exactly(alone, lost):
    inputs, present = logits_of(TWO, absent=0.0)
    present[lost][:] = False
    single = torch.log_softmax(inputs[alone], dim=1)
    assert torch.equal(late_of({"image": 0.4, "text": 0.6})(inputs, present), single)


@pytest.mark.parametrize(("alone", "lost"), [("text", "image"), ("image", "text")])
def test_weights_of_one_and_zero_give_the_single_head_exactly(alone, lost):
    inputs, present = logits_of(TWO, absent=0.0)
    answers = late_of({alone: 1.0, lost: 0.0})(inputs, present)
    assert torch.equal(answers, torch.log_softmax(inputs[alone], dim=1))


def test_a_row_that_has_only_what_weighs_nothing_gets_that_heads_answer():
    inputs, present = logits_of(TWO, absent=0.0)
    present["text"][:] = False
    answers = late_of({"image": 0.0, "text": 1.0})(inputs, present)
    assert torch.equal(answers, torch.log_softmax(inputs["image"], dim=1))


@every_head
def test_a_row_that_has_nothing_gets_an_answer_that_is_a_number(name, dims):
    inputs = {modality: torch.zeros(4, dim) for modality, dim in dims.items()}
    present = {modality: torch.zeros(4, dtype=torch.bool) for modality in dims}
    assert head_of(name, dims)(inputs, present).isfinite().all()


def test_weights_are_saved_with_the_head():
    weights = late_of({"image": 0.25, "text": 0.75}).state_dict()["weights"]
    assert weights.tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (None, {"image": 0.5, "text": 0.5}),
        ("0.4,0.6", {"image": 0.4, "text": 0.6}),
        (" 0.4 , 0.6 ", {"image": 0.4, "text": 0.6}),
        ("1,3", {"image": 0.25, "text": 0.75}),
        ("0,2", {"image": 0.0, "text": 1.0}),
        ("1e-3,3e-3", {"image": 0.25, "text": 0.75}),
        ("image=0.4,text=0.6", {"image": 0.4, "text": 0.6}),
        ("text=0.6, image=0.4", {"image": 0.4, "text": 0.6}),
        ("text = 3,image = 1", {"image": 0.25, "text": 0.75}),
    ],
)
def test_weights_are_read_by_order_or_by_name(text, weights):
    parsed = parse_weights(text, ["text", "image"])
    assert list(parsed) == ["image", "text"]
    assert parsed == pytest.approx(weights, abs=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "-0.1,1.1", "0,0", "nan,1", "inf,1", "-inf,1", "1e308,1e308", "0.2,0.3,0.5", "1", "", ",", "0.4;0.6", "a,b",
        "image=0.4", "image=0.4,audio=0.6", "image=0.4,text=0.3,image=0.3", "image=0.4,0.6", "image=,text=1",
        "image=0.4,text=0.6,metadata=0",
    ],
)  # fmt: skip
def test_weights_that_are_none_are_refused_with_the_wish_and_what_was_got(text):
    wish = r"--weights: expected one non-negative number per modality \(image, text\), not all zero, got "
    with pytest.raises(SettingError, match=wish) as caught:
        parse_weights(text, ["image", "text"])
    assert text in str(caught.value)


def test_weights_for_three_modalities_follow_their_names():
    assert parse_weights("1,2,5", ["text", "image", "metadata"]) == {"image": 0.125, "metadata": 0.25, "text": 0.625}


def test_standardised_training_rows_have_mean_0_and_deviation_1():
    inputs = {"image": torch.randn(60, 4) * torch.tensor([1.0, 5.0, 0.2, 30.0]) + 7}
    present, rows = {"image": torch.arange(60) % 3 > 0}, torch.arange(40)
    output = Standardise({"image": 4}).fit(inputs, present, rows)(inputs, present)["image"]
    seen = output[:40][present["image"][:40]]
    torch.testing.assert_close(seen.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(0), torch.ones(4), atol=1e-5, rtol=0)
    kept = inputs["image"][:40][present["image"][:40]].double().numpy()
    expected = (inputs["image"].double().numpy() - kept.mean(0)) / kept.std(0, ddof=1)
    expected[~present["image"].numpy()] = 0
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("changed", ["not training", "absent"])
def test_rows_that_are_not_for_training_or_absent_do_not_count_for_the_statistics(changed):
    inputs, present = rows_of(TWO, 60, absent=0.4)
    rows = torch.arange(40)
    before = Standardise(TWO).fit(inputs, present, rows).state_dict()
    others = {}
    for name, matrix in inputs.items():
        lost = torch.arange(60) >= 40 if changed == "not training" else ~present[name]
        others[name] = torch.where(lost[:, None], 1e6, matrix)
    after = Standardise(TWO).fit(others, present, rows).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("constant", [0.0, 5.0, 1e4])
def test_a_constant_dimension_becomes_zero_and_blows_nothing_up(constant):
    inputs = {"text": torch.randn(50, 3)}
    inputs["text"][:, 1] = constant
    present = {"text": torch.ones(50, dtype=torch.bool)}
    standardise = Standardise({"text": 3}).fit(inputs, present, torch.arange(50))
    assert standardise(inputs, present)["text"][:, 1].abs().max() < 1e-3
    inputs["text"][:, 1] += 1  # as it may be in a row that was not seen
    assert standardise(inputs, present)["text"][:, 1].abs().max() < 1000


@pytest.mark.parametrize("n_present", [0, 1])
def test_a_modality_that_no_training_row_has_is_left_as_it_is(n_present):
    inputs, _ = rows_of(TWO, 20)
    present = {"image": torch.arange(20) < n_present, "text": torch.ones(20, dtype=torch.bool)}
    standardise = Standardise(TWO).fit(inputs, present, torch.arange(20))
    present["image"][:] = True
    assert torch.equal(standardise(inputs, present)["image"], inputs["image"])


def test_the_statistics_are_saved_with_the_head():
    inputs, present = rows_of(TWO)
    fitted = Standardise(TWO).fit(inputs, present, torch.arange(24))
    loaded = Standardise(TWO)
    loaded.load_state_dict(fitted.state_dict())
    assert set(fitted.state_dict()) == {"mean_image", "mean_text", "scale_image", "scale_text"}
    assert torch.equal(loaded(inputs, present)["text"], fitted(inputs, present)["text"])
    assert not torch.equal(loaded(inputs, present)["text"], inputs["text"])
