"""The residual head: a stack, and products of modalities that are added where rows held out say that they gain."""

import math

import numpy as np
import pytest
import torch
from test_heads_modules_stack import DIMS, N_ROWS, accuracy, drawn, few_strengths  # noqa: F401 - a fixture
from torch.nn import functional as F

from heads import FusionClassifier
from heads.errors import SettingError
from heads.modules.parts.joint_term import JointTerm, fit_offset, principal_components
from heads.modules.residual import Residual, fit_residual

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def together(few_strengths):  # noqa: F811 - the fixture
    """Return rows whose modalities tell the class only together, and the head; some lack the picture."""
    generator = np.random.default_rng(0)
    parts = {name: generator.choice([-2.0, 2.0], size=N_ROWS) for name in DIMS}
    inputs = {}
    for name, signs in parts.items():
        noise = 0.7 * generator.standard_normal((N_ROWS, DIMS[name]))
        inputs[name] = torch.from_numpy((noise + signs[:, None] * (np.arange(DIMS[name]) == 1)).astype(np.float32))
    targets = torch.from_numpy((parts["image"] * parts["text"] > 0).astype(np.int64))
    inputs["image"] *= drawn().present["image"][:, None]
    rows = drawn(inputs=inputs, targets=targets, n_classes=2)
    return rows, fit_residual(rows)


def test_what_modalities_tell_only_together_is_learned(together):
    rows, fit = together
    assert accuracy(fit.stack.module, rows) < 0.65
    assert accuracy(fit.module, rows) > 0.8
    assert math.isfinite(fit.penalty)
    assert "are added" in fit.module.remark
    assert fit.module.answers_as is None


def test_where_products_tell_nothing_it_is_the_stack_bit_for_bit(few_strengths):  # noqa: F811 - the fixture
    rows = drawn(signals=(0.0, 0.8), train=torch.arange(60))
    fit = fit_residual(rows)
    assert fit.penalty == math.inf
    assert "answers as stack does" in fit.module.remark
    assert fit.module.answers_as == "stack"
    assert torch.equal(fit.module(rows.inputs, rows.present), fit.stack.module(rows.inputs, rows.present))


def test_rows_that_lack_a_modality_get_the_answer_of_its_stack_at_the_new_temperature(together):
    rows, fit = together
    lone = ~rows.present["image"]
    by_stack = fit.stack.module.untempered(rows.inputs, rows.present)[lone]
    assert torch.equal(fit.module.untempered(rows.inputs, rows.present)[lone], by_stack)


def test_nothing_held_out_has_all_modalities_and_it_is_the_stack(few_strengths):  # noqa: F811 - the fixture
    present = {"image": torch.arange(N_ROWS) % 2 == 0, "text": torch.arange(N_ROWS) % 2 == 1}
    assert fit_residual(drawn(present=present, train=torch.arange(30))).penalty == math.inf


def test_fitted_head_is_restored_from_its_state(together):
    rows, fit = together
    restored = Residual(DIMS, n_classes=2).eval()
    restored.load_state_dict(fit.module.state_dict())
    assert torch.equal(restored(rows.inputs, rows.present), fit.module(rows.inputs, rows.present))


def test_products_are_those_of_each_two_modalities():
    dims = {"image": 2, "metadata": 1, "text": 2}
    inputs = {
        "image": torch.tensor([[2.0, 3.0]]),
        "metadata": torch.tensor([[5.0]]),
        "text": torch.tensor([[7.0, 11.0]]),
    }
    present = {name: torch.tensor([True]) for name in dims}
    products = JointTerm(dims, n_classes=2).products(inputs, present)  # components are the dimensions themselves
    assert products.tolist() == [[10, 15, 14, 22, 21, 33, 35, 55]]


def test_components_are_those_of_a_singular_value_decomposition():
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 6)) * np.arange(1, 7))
    found = vectors @ principal_components(vectors, 3).T
    expected = np.linalg.svd(vectors.numpy(), full_matrices=False)
    scores = expected.U[:, :3] * expected.S[:3]
    np.testing.assert_allclose(found.abs(), np.abs(scores) / np.sqrt((scores**2).sum() / 40), rtol=1e-6)
    assert float(found.square().sum(1).mean()) == pytest.approx(1)


def test_weights_beside_an_offset_are_where_the_loss_is_flat():
    generator = torch.Generator().manual_seed(0)
    features, offset = (torch.randn(50, width, generator=generator, dtype=torch.float64) for width in (4, 3))
    targets, counts = torch.randint(3, (50,), generator=generator), torch.rand(50, generator=generator)
    seen = torch.ones(50, 3, dtype=torch.bool)
    seen[:20, 2] = targets[:20] == 2  # unknown to their fold, but for the rows that are of it
    found = fit_offset(features, offset, targets, seen_classes=seen, row_weights=counts, penalty=0.01)
    weights = found.clone().requires_grad_()
    losses = F.cross_entropy((offset + features @ weights.T).masked_fill(~seen, -math.inf), targets, reduction="none")
    loss = (losses * counts).sum() / counts.sum() + 0.01 / 2 * weights.square().sum()
    (slopes,) = torch.autograd.grad(loss, weights)
    assert float(slopes.abs().max()) < 1e-3


def test_one_modality_alone_is_an_error():
    with pytest.raises(SettingError, match="two modalities"):
        FusionClassifier("residual").fit(np.eye(4), [0, 1, 0, 1])
