"""The conformance suite finds each defect it is for, says why, and lets sound heads pass."""

import functools
import json
import re
from functools import partial

import broken_heads
import pytest
import torch
from support import FUSIONS, ROOT, invoke
from torch import nn
from torch.nn import functional as F

import heads
from heads.checks.check_head import check_head, check_heads
from heads.checks.check_settings import parse_dims
from heads.checks.checks import CHECKS
from heads.checks.probe import Subject
from heads.checks.unregistered_tensors import unregistered
from heads.commands.check import check
from heads.errors import HeadError, SettingError
from heads.modules.description import HeadDescription
from heads.modules.parts.dropout import Dropout
from heads.modules.registry import build

pytestmark = pytest.mark.slow

TWO = {"image": 12, "text": 10}
THREE = {"image": 12, "metadata": 5, "text": 10}
BROKEN = "tests/broken_heads.py"

DEFECTS = {  # class -> the checks that must fail, and words of the first one's reason
    "OneKey": (["attend"], "attention over a single key answers the same whatever is asked"),
    "OneKeyWithoutResidual": (["learn", "fuse", "attend"], "nothing but rounding for projections.image.bias, proj"),
    "TwinKeys": (["attend"], "attention over 2 keys (alike, or all but one masked?) answers the same"),
    "OwnOneKey": (["learn", "attend"], "nothing but rounding for key.bias, key.weight, query.bias, query.weight"),
    "RowsAttendToRows": (["alone"], "4 of 4 rows get another one beside other rows. Do rows attend to their batch"),
    "NeighboursVector": (["alone"], "get another one in another order"),
    "FactorsInAList": (["learn", "save"], "neither trained nor saved: factors[0], factors[1]. Assign"),
    "LayersInADict": (["learn", "save"], "after['image'].bias, after['image'].weight"),
    "ScaledParameter": (["learn", "save"], "neither trained nor saved: shift. Assign"),
    "UnsavedConstant": (
        ["save"],
        "24 of 24 rows get another answer: something that it answers by is not in state_dict",
    ),
    "NeverUsedLayer": (["learn"], "the answers never depend on gate.bias, gate.weight"),
    "Frozen": (["learn"], "projections.image.weight do not. Register what stays as a buffer"),
    "Detached": (["learn"], "the answers never depend on projections.image.bias"),
    "TextAlone": (["learn", "fuse"], "the answers never depend on projections.image.bias, projections.image.weight."),
    "HardlyTheImage": (["learn", "fuse"], "it is nothing but rounding for projections.image.bias"),
    "ReadsTheAbsent": (["absent"], "get another answer where it is 1e+06 instead of 0"),
    "TimesTheMask": (["absent"], "get another answer where it is nan instead of 0"),
    "MeanOfThePresent": (["absent"], "a row with nothing present to get a finite answer"),
    "Probabilities": (["shape"], "each row's are positive and sum to 1: leave the last softmax out"),
    "Squeezed": (["shape"], "the answers to 1 row to be (1, 3) float32, but they are (3,) float32"),
    "Raising": (["shape"], "it raised KeyError: 'sound'"),
    "AlwaysDropout": (["repeat"], "24 of 24 rows get others the second time. Is there dropout"),
    "Bounded": (["fit"], "the answers are bounded. Is there a softmax, sigmoid or tanh on the logits"),
    "LateStatistics": (["fuse", "fit"], "no answer changes with the image vectors, the text vectors"),
    "TiedWeights": (["save"], "state_dict() to be tensors of their own"),
}
SOUND = ("Sound", "OwnTwoKeys", "LearnedQuestion", "ZeroAtFirst")


def failures(report):
    return {finding.check: finding.reason for finding in report.failures}


@functools.cache  # a report does not change
def check_class(name, **options):
    return check_head(getattr(broken_heads, name), dims=TWO, n_classes=3, **options)


def test_every_broken_head_is_looked_at():
    classes = {name for name, value in vars(broken_heads).items() if isinstance(value, type)}
    assert classes - {"Mapping", "Tensor"} == DEFECTS.keys() | set(SOUND)
    assert {check for checks, _ in DEFECTS.values() for check in checks} == CHECKS.keys()


ON_THE_EDGE = ("OneKeyWithoutResidual", "OwnOneKey", "HardlyTheImage")  # what is found is by how much


@pytest.mark.parametrize(("name", "options"), [(n, {}) for n in DEFECTS] + [(n, {"seed": 1}) for n in ON_THE_EDGE])
def test_a_defect_is_found_by_the_check_for_it_and_by_no_other(name, options):
    checks, words = DEFECTS[name]
    failed = failures(check_class(name, **options))
    assert list(failed) == checks, failed
    assert words in failed[checks[0]]


def test_batch_norm_that_is_blind_in_evaluation_mode_is_named():
    assert "what differs between both, such as batch norm's" in failures(check_class("LateStatistics"))["fit"]


def test_a_softmax_over_one_key_is_named():
    reason = failures(check_class("OwnOneKey"))["attend"]
    assert "a softmax goes over one entry, and is 1 whatever is asked" in reason


@pytest.mark.parametrize("dims", [TWO, {"image": 512, "text": 768}], ids=["small", "usual"])
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_head_passes(name, dims):
    report = check_head(getattr(broken_heads, name), dims=dims, n_classes=10)
    assert report.passed, failures(report)


class NotCopied(broken_heads.Sound):
    """Sound, but what it keeps cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


def test_a_head_that_cannot_be_copied_is_trained_for_each_check():
    report = check_head(NotCopied, dims=TWO, n_classes=3)
    assert report.passed, failures(report)


def described(dims, *, n_classes, name, token_dims=None, n_positions=None):
    return build(
        HeadDescription(
            name=name,
            dims=dims,
            n_classes=n_classes,
            hidden_dim=32,
            dropout=0.5,
            n_tokens=2,
            n_attention_heads=4,
            weights=dict.fromkeys([*dims, "early", "stack"] if name == "ensemble" else dims, 0.25),
            token_dims=token_dims or {},
            n_positions=n_positions or {},
        )
    )


@pytest.mark.parametrize("name", [*FUSIONS, "stack", "residual", "ensemble"])
def test_every_built_in_fusion_passes(name):
    """With three modalities; the bare command checks those that it knows with two."""
    report = check_head(partial(described, name=name), name=name, dims=THREE, n_classes=3)
    assert report.passed, failures(report)


@pytest.mark.parametrize("modality", TWO)
def test_one_modality_alone_passes(modality):
    dims = {modality: TWO[modality]}
    report = check_head(partial(described, name=modality), name=modality, dims=dims, n_classes=3)
    assert report.passed, failures(report)


@pytest.mark.parametrize("token_dims", [{"image": 7}, {"text": 6}, {"image": 7, "text": 6}], ids=",".join)
def test_attention_over_tokens_passes(token_dims):
    tokens = {"token_dims": token_dims, "n_positions": {"image": 4} if "image" in token_dims else {}}
    report = check_head(partial(described, name="attention", **tokens), dims=TWO, n_classes=3, **tokens)
    assert report.passed, failures(report)
    assert {finding.check: finding.outcome for finding in report.findings}["attend"] == "ok"


def test_tokens_that_are_not_looked_at_are_found():
    tokens = {"token_dims": {"text": 6}}
    report = check_head(
        lambda *arguments, **options: Blind(described(*arguments, **options, name="early")),
        dims=TWO,
        n_classes=3,
        **tokens,
    )
    assert failures(report) == {
        "fuse": "Expected every modality to have its say, but no answer changes with the text tokens."
    }


class Blind(nn.Module):
    """Is given tokens, and looks at the vectors alone."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, inputs, present, _tokens):
        return self.head(inputs, present)


def test_what_cannot_be_checked_is_said_to_be_so():
    outcomes = {finding.check: (finding.outcome, finding.reason) for finding in check_class("Squeezed").findings}
    assert outcomes.pop("shape")[0] == "failed"
    assert set(outcomes.values()) == {("not checked", "its answers are no answers")}
    outcomes = {finding.check: finding.outcome for finding in check_class("AlwaysDropout").findings}
    assert [name for name, outcome in outcomes.items() if outcome == "ok"] == ["shape", "learn"]
    attend = {finding.check: finding for finding in check_class("Sound").findings}["attend"]
    assert (attend.outcome, attend.reason) == ("not checked", "it calls no attention of PyTorch")


def test_checking_leaves_no_trace_on_random_numbers_and_threads():
    torch.manual_seed(5)
    expected, n_threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(5)
    check_class.__wrapped__("AlwaysDropout")
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == n_threads


def test_the_same_seed_finds_the_same():
    first, again = (check_class.__wrapped__("OwnOneKey", seed=3).findings for _ in range(2))
    assert first == again


class SelfAttention(nn.Module):
    """PyTorch's own encoder layer, over as many tokens as there are modalities."""

    def __init__(self, dims, *, n_classes):
        super().__init__()
        self.sides = nn.ModuleDict({name: nn.Linear(dim, 16) for name, dim in dims.items()})
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.classifier = nn.Linear(16, n_classes)

    def forward(self, inputs, present):
        tokens = torch.stack(
            [side(torch.where(present[name][:, None], inputs[name], 0.0)) for name, side in self.sides.items()], dim=1
        )
        return self.classifier(self.layer(tokens).mean(1))


class ScaledDotProducts(SelfAttention):
    """The same by F.scaled_dot_product_attention."""

    def __init__(self, dims, *, n_classes):
        super().__init__(dims, n_classes=n_classes)
        self.layer = nn.Linear(16, 48)

    def forward(self, inputs, present):
        tokens = torch.stack(
            [side(torch.where(present[name][:, None], inputs[name], 0.0)) for name, side in self.sides.items()], dim=1
        )
        query, key, value = self.layer(tokens).chunk(3, dim=2)
        attended = F.scaled_dot_product_attention(query=query, key=key, value=value)
        return self.classifier((tokens + attended).mean(1))


@pytest.mark.parametrize("head_class", [SelfAttention, ScaledDotProducts])
def test_attention_among_modalities_passes_with_two_and_not_with_one(head_class):
    report = check_head(head_class, dims=TWO, n_classes=3)
    assert report.passed, failures(report)
    assert {finding.check: finding.outcome for finding in report.findings}["attend"] == "ok"
    failed = failures(check_head(head_class, dims={"text": 10}, n_classes=3))
    assert list(failed) == ["attend"]
    assert "over a single key" in failed["attend"]


def test_unregistered_tensors_are_found_in_containers_and_submodules():
    head, shared = nn.Module(), nn.Linear(2, 2, bias=False)
    head.inner = nn.Module()
    head.inner.nested = {"a": [(nn.Parameter(torch.zeros(1)), torch.zeros(1))]}
    head.inner.nested["itself"] = head.inner.nested
    head.layer, head.by_name = shared, {"layer": shared}
    head.register_buffer("learned", torch.zeros(1, requires_grad=True))
    head.register_buffer("constant", torch.zeros(1))
    assert unregistered(head) == ["learned", "inner.nested['a'][0][0]"]


def test_drawn_rows_never_lack_everything_and_are_zero_where_absent():
    rows = Subject(broken_heads.Sound, THREE, 3, token_dims={"text": 4}).rows(200, absent=0.7)
    mask = torch.stack([rows.present[name] for name in THREE], dim=1)
    assert mask.any(1).all()
    assert not mask.all()
    for name in THREE:
        assert torch.equal(rows.inputs[name].any(1), rows.present[name])
    assert torch.equal(rows.tokens["text"].is_there.any(1), rows.present["text"])


# The command.


def test_bare_command_checks_every_built_in_head():
    result = invoke(check, "--dims", "image=12,text=10", "--classes", 3)
    assert result.exit_code == 0, result.stderr
    answer, _, header, _, *lines = result.stdout.splitlines()
    assert answer == f"{len(lines)} of {len(lines)} heads pass every check."
    assert header.split() == ["head", *CHECKS]
    names = [line.split()[0] for line in lines]
    expected = ["image", "text", *FUSIONS]
    expected.insert(expected.index("attention") + 1, "attention+tokens")
    assert names == expected
    assert {cell for line in lines for cell in line.split()[1:]} == {"ok", "-"}
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_broken_head_is_an_error_and_its_reason_a_result(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = invoke(check, "early", f"{BROKEN}:FactorsInAList", "--dims", "image=12,text=10")
    assert result.exit_code == 1
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[4:6]}
    assert result.stdout.startswith("1 of 2 heads pass every check.\n")
    assert rows["early"].count("FAIL") == 0
    assert [name for name, cell in zip(CHECKS, rows["FactorsInAList"], strict=True) if cell == "FAIL"] == [
        "learn",
        "save",
    ]
    assert f"{BROKEN}:FactorsInAList, learn: Expected what learns to be" in result.stdout
    assert "factors[0], factors[1]" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert f"but {BROKEN}:FactorsInAList fails learn, save." in errors[0]


def test_details_say_what_is_checked_and_what_was_not():
    result, detailed = (
        invoke(check, "early", "--dims", "image=12,text=10", *options) for options in ([], ["--details"])
    )
    assert detailed.stdout.startswith(result.stdout)
    rest = detailed.stdout.removeprefix(result.stdout)
    assert "\nalone   an answer does not depend on the other rows of its batch\n" in rest
    assert re.search(r"\nearly: checked in \d+\.\d s; not attend: it calls no attention of PyTorch\n", rest)


def test_json_holds_every_finding(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = invoke(check, "concat", f"{BROKEN}:OneKey", "--dims", "image=12,text=10", "--json")
    assert result.exit_code == 1
    early, broken = json.loads(result.stdout)["heads"]
    assert (early["name"], early["passed"], broken["passed"]) == ("early", True, False)
    assert [finding["check"] for finding in broken["findings"]] == list(CHECKS)
    failed = [finding for finding in broken["findings"] if finding["outcome"] == "failed"]
    assert [finding["check"] for finding in failed] == ["attend"]
    assert "a single key" in failed[0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-head"], "one of image, text, early, attention, gated, lowrank, late"),
        (["no_such_module:Mine"], "there is no no_such_module"),
        (["attention", "--dims", "text=5"], "a head to be one of text,"),
        (["--dims", "image"], "as in image=512,text=768, got image."),
        (["--dims", "image=0"], "got image=0."),
    ],
)
def test_a_wrong_word_is_an_error_before_anything_is_checked(arguments, words):
    result = invoke(check, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_modality_has_no_fusions_to_check():
    assert [report.name for report in check_heads(dims={"text": 10}, n_classes=3)] == ["text"]


@pytest.mark.parametrize("text", ["", "image", "image=", "=5", "image=x", "image=-1", "image=0", "a=1,a=2", "a=1,,b=2"])
def test_dims_that_are_none_are_an_error(text):
    with pytest.raises(SettingError, match="--dims: expected each modality once"):
        parse_dims(text)


def test_help_explains_every_check():
    lines = invoke(check, "--help").stdout.splitlines()
    assert [line.split()[0] for line in lines if re.match(r"  [a-z]+ {2,}[a-z0-9]", line)] == list(CHECKS)


def test_an_error_of_the_builder_is_no_finding():
    with pytest.raises(HeadError, match="two modalities or more"):
        check_head(partial(described, name="attention"), dims={"text": 10}, n_classes=3)


def test_a_constructor_that_fails_is_a_finding():
    """Where it is a class that was given, and not a name."""
    assert "it raised TypeError" in failures(check_head(nn.Linear, dims=TWO))["shape"]


def test_the_public_names_are_there():
    report = heads.check_head(broken_heads.Sound, dims=TWO, n_classes=3)
    assert isinstance(report, heads.CheckReport)
    assert report.name == "Sound"


@pytest.mark.parametrize("kind", [Dropout, nn.Dropout, nn.AlphaDropout])
def test_nothing_is_dropped_while_rows_are_learned_by_heart(monkeypatch, kind):
    """A head with much dropout would not get there."""
    modes, forward = [], kind.forward

    def watched(self, inputs):
        modes.append(self.training)
        return forward(self, inputs)

    monkeypatch.setattr(kind, "forward", watched)

    class Dropping(broken_heads.Sound):
        def __init__(self, dims, *, n_classes):
            super().__init__(dims, n_classes=n_classes)
            dropout = kind(0.9, 64) if kind is Dropout else kind(0.9)
            self.classifier = nn.Sequential(dropout, self.classifier)

    assert CHECKS["fit"](Subject(Dropping, TWO, 3)) == ""
    assert modes
    assert not any(modes)
