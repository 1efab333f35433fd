"""Layers that stand in stacks compute what torch's own do, for each of the stack what it would get alone."""

import pytest
import torch
from torch import nn

from heads.modules.parts.dropout import LEVELS, Dropout
from heads.modules.parts.layers import BatchNorm, LayerNorm, Linear

IN, OUT, ROWS, HEADS = 6, 4, 24, 3

every_layer = pytest.mark.parametrize("kind", ["linear", "linear without bias", "batch norm", "layer norm"])


def layer_of(kind, *, stack=(), seed=0):
    """Return a layer whose weights, biases and statistics are all its own."""
    torch.manual_seed(seed)
    layer = {
        "linear": lambda: Linear(IN, OUT, stack=stack),
        "linear without bias": lambda: Linear(IN, OUT, bias=False, stack=stack),
        "batch norm": lambda: BatchNorm(IN, stack=stack),
        "layer norm": lambda: LayerNorm(IN, stack=stack),
    }[kind]()
    with torch.no_grad():
        for tensor in layer.state_dict().values():
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return layer


def torchs_own(kind):
    """Return torch's layer with the same state as `layer_of`; its linear maps are stored transposed."""
    layer = {
        "linear": lambda: nn.Linear(IN, OUT),
        "linear without bias": lambda: nn.Linear(IN, OUT, bias=False),
        "batch norm": lambda: nn.BatchNorm1d(IN),
        "layer norm": lambda: nn.LayerNorm(IN),
    }[kind]()
    state = {name: as_torchs_own(tensor) for name, tensor in layer_of(kind).state_dict().items()}
    missing, unexpected = layer.load_state_dict(state, strict=False)
    assert unexpected == []
    assert missing in ([], ["num_batches_tracked"])
    return layer


def as_torchs_own(tensor):
    return tensor.T if tensor.ndim == 2 else tensor


def rows_of(*shape, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, IN, generator=generator) + torch.arange(IN)


def computed(layer, inputs, weights):
    """Return the layer's output, and the gradients of its weighted sum: of the inputs and of each parameter."""
    inputs = inputs.clone().requires_grad_()
    output = layer(inputs)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    grads = torch.autograd.grad((output * weights).sum(), [inputs, *parameters])
    return {"output": output.detach(), "inputs": grads[0], **dict(zip(names, grads[1:], strict=True))}


def assert_all_close(results, expected, **tolerance):
    assert results.keys() == expected.keys()
    for name, tensor in results.items():
        torch.testing.assert_close(tensor, expected[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def weights_like(layer, inputs):
    with torch.no_grad():
        output = torch.empty(layer(inputs).shape)
    return output.copy_(torch.randn(output.shape, generator=torch.Generator().manual_seed(5)))


@every_layer
@pytest.mark.parametrize("is_trained", [True, False], ids=["training", "evaluation"])
def test_output_and_gradients_are_those_of_torchs_own_layer(kind, is_trained):
    layer, torchs, inputs = layer_of(kind).train(is_trained), torchs_own(kind).train(is_trained), rows_of(ROWS)
    weights = weights_like(torchs_own(kind), inputs)
    ours, expected = computed(layer, inputs, weights), computed(torchs, inputs, weights)
    if "linear" in kind:
        expected["weight"] = expected["weight"].T
    assert_all_close(ours, expected, rtol=1e-5, atol=3e-5)


@every_layer
@pytest.mark.parametrize("is_trained", [True, False], ids=["training", "evaluation"])
def test_a_layer_in_a_stack_computes_what_it_does_alone(kind, is_trained):
    alone = [layer_of(kind, seed=seed).train(is_trained) for seed in range(HEADS)]
    stacked = layer_of(kind, stack=(HEADS,)).train(is_trained)
    stacked.load_state_dict(
        {name: torch.stack([layer.state_dict()[name] for layer in alone]) for name in stacked.state_dict()}
    )
    inputs = rows_of(HEADS, ROWS)
    weights = torch.randn(HEADS, *weights_like(layer_of(kind), inputs[0]).shape)
    together = computed(stacked, inputs, weights)
    for place, layer in enumerate(alone):
        part = {name: tensor[place] for name, tensor in together.items()}
        assert_all_close(part, computed(layer, inputs[place], weights[place]), rtol=1e-5, atol=3e-5)
        for name, tensor in layer.state_dict().items():
            torch.testing.assert_close(stacked.state_dict()[name][place], tensor)


@pytest.mark.parametrize("kind", ["linear", "linear without bias", "layer norm"])
def test_gradients_are_those_of_differences(kind):
    """In float64, which batch norm in training does not compute in: its statistics are float32."""
    layer, inputs = layer_of(kind).double(), rows_of(5).double().requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def compute(inputs, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), inputs)

    parameters = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]
    assert torch.autograd.gradcheck(compute, (inputs, *parameters))


@every_layer
@pytest.mark.parametrize("is_trained", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stack", [(), (HEADS,)], ids=["alone", "in a stack"])
def test_bf16_inputs_give_bf16_and_leave_the_weights_as_they_are(kind, stack, is_trained):
    layer, inputs = layer_of(kind, stack=stack).train(is_trained), rows_of(*stack, ROWS)
    weights = weights_like(layer_of(kind, stack=stack).train(is_trained), inputs)
    exact = computed(layer_of(kind, stack=stack).train(is_trained), inputs, weights)
    results = computed(layer, inputs.bfloat16(), weights.bfloat16())
    kinds = {name: tensor.dtype for name, tensor in results.items()}
    assert kinds == {name: torch.bfloat16 if name in ("output", "inputs") else torch.float32 for name in results}
    assert {tensor.dtype for tensor in layer.state_dict().values()} == {torch.float32}
    for name, tensor in results.items():
        error = (tensor.float() - exact[name]).norm() / exact[name].norm()
        assert error < 0.02, name


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 5), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("kind", ["linear", "linear without bias", "layer norm"])
def test_rows_may_stand_in_several_dimensions(kind, shape):
    inputs = rows_of(*shape)
    torch.testing.assert_close(layer_of(kind)(inputs), torchs_own(kind)(inputs), atol=3e-5, rtol=1e-5)
    stacked = layer_of(kind, stack=(HEADS,))
    stacked.load_state_dict(
        {name: tensor.expand(HEADS, *tensor.shape) for name, tensor in layer_of(kind).state_dict().items()}
    )
    outputs = stacked(inputs.expand(HEADS, *inputs.shape))
    torch.testing.assert_close(outputs, torchs_own(kind)(inputs).expand(outputs.shape), atol=3e-5, rtol=1e-5)


def test_a_linear_map_begins_as_torchs_own_does():
    torch.manual_seed(0)
    layer = Linear(100, 500, stack=(4,))
    for tensor in layer.state_dict().values():
        assert tensor.abs().max() <= 0.1
        assert tensor.abs().max() > 0.099
        assert tensor.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert nn.Linear(100, 500).weight.abs().max() <= 0.1


def test_running_statistics_are_those_of_torchs_batch_norm():
    layer, torchs = layer_of("batch norm"), torchs_own("batch norm")
    for seed in range(4):
        inputs = rows_of(ROWS, seed=seed)
        layer(inputs)
        torchs(inputs)
        torch.testing.assert_close(layer.running_mean, torchs.running_mean)
        torch.testing.assert_close(layer.running_var, torchs.running_var)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    torch.testing.assert_close(layer.eval()(inputs), torchs.eval()(inputs))
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


def test_batch_norm_keeps_its_digits_where_the_mean_is_large():
    """The variance is taken of the centred rows, not as a difference of two large numbers."""
    inputs = rows_of(ROWS)
    near, far = (layer_of("batch norm")(inputs + shift) for shift in (0, 10_000))
    torch.testing.assert_close(far, near, atol=0.01, rtol=0)


@pytest.mark.parametrize("stack", [(), (HEADS,)], ids=["alone", "in a stack"])
def test_batch_norm_of_one_row_takes_the_statistics_of_the_batches_before(stack):
    layer, inputs = layer_of("batch norm", stack=stack), rows_of(*stack, 1)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    outputs = layer(inputs)
    torch.testing.assert_close(outputs, layer.eval()(inputs))
    assert outputs.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


# Dropout.


def dropout_of(rates, *, dim=40, batch_size=32, seeds=None, n_epochs=1, dtype=torch.float32):
    """Return a layer in training whose masks are drawn, for a stack of as many as there are rates."""
    layer = Dropout(0.5, dim, stack=(len(rates),))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds or range(len(rates))]
    for _ in range(n_epochs):
        layer.redraw(generators, rates, batch_size=batch_size, like=torch.zeros(1, dtype=dtype))
    return layer


def masks_of(layer, *, dim=40, batch_size=32, place=0.0):
    layer.advance(place)
    return layer(torch.ones(*layer.stack, batch_size, dim))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_honoured_and_what_stays_is_scaled_to_the_same_mean(rate):
    masks = masks_of(dropout_of([rate], dim=512, batch_size=256), dim=512, batch_size=256)
    assert (masks == 0).float().mean() == pytest.approx(rate, abs=0.01)
    kept = masks[masks != 0].unique()
    assert len(kept) == 1
    assert kept.item() == pytest.approx(1 / (1 - rate), rel=0.5 / LEVELS / (1 - rate))
    assert masks.mean() == pytest.approx(1, abs=0.03)


def test_each_head_of_a_stack_has_its_own_rate_and_masks():
    masks = masks_of(dropout_of([0.0, 0.25, 0.25, 0.75], dim=512), dim=512)
    shares = (masks == 0).float().mean((1, 2)).tolist()
    assert shares == pytest.approx([0, 0.25, 0.25, 0.75], abs=0.01)
    assert not torch.equal(masks[1], masks[2])


@pytest.mark.parametrize("place", [0.0, 0.37, 0.99])
def test_a_head_drops_in_a_stack_what_it_drops_alone(place):
    rates, seeds = [0.3, 0.5, 0.3], [5, 6, 7]
    together = masks_of(dropout_of(rates, seeds=seeds, n_epochs=2), place=place)
    for head in range(3):
        alone = dropout_of(rates[head : head + 1], seeds=seeds[head : head + 1], n_epochs=2)
        assert torch.equal(masks_of(alone, place=place)[0], together[head])


def test_every_epoch_and_every_place_has_other_masks():
    first, second = (dropout_of([0.5], n_epochs=n) for n in (1, 2))
    assert not torch.equal(masks_of(first), masks_of(second))
    assert not torch.equal(masks_of(first), masks_of(first, place=0.5))
    assert torch.equal(masks_of(first), masks_of(first))


def test_units_are_dropped_one_by_one():
    """Neither whole rows, nor whole columns, nor neighbours together."""
    dropped = (masks_of(dropout_of([0.5], dim=256, batch_size=256), dim=256, batch_size=256)[0] == 0).double()
    assert dropped.mean(0).std() == pytest.approx(0.5 / 16, rel=0.25)
    assert dropped.mean(1).std() == pytest.approx(0.5 / 16, rel=0.25)
    centred = dropped - 0.5
    for offset in (1, 2, 7, 8):
        assert abs((centred[:, :-offset] * centred[:, offset:]).mean()) < 0.25 / 50
        assert abs((centred[:-offset] * centred[offset:]).mean()) < 0.25 / 50


def test_a_rate_of_zero_leaves_the_inputs_to_the_bit():
    layer, inputs = dropout_of([0.0]), rows_of(1, 32).repeat(1, 1, 7)[..., :40]
    layer.advance(0.4)
    assert torch.equal(layer(inputs), inputs)


@pytest.mark.parametrize("has_masks", [True, False], ids=["after a training", "without one"])
def test_evaluation_drops_nothing(has_masks):
    layer, inputs = dropout_of([0.5]) if has_masks else Dropout(0.5, 40), torch.randn(1, 5, 40)
    assert layer.eval()(inputs) is inputs


def test_without_masks_it_is_torchs_own():
    inputs = torch.randn(64, 40)
    torch.manual_seed(3)
    dropped = Dropout(0.3, 40)(inputs)
    torch.manual_seed(3)
    assert torch.equal(dropped, nn.functional.dropout(inputs, 0.3))


def test_gradients_pass_where_units_stay():
    layer, inputs = dropout_of([0.5]), torch.randn(1, 32, 40, requires_grad=True)
    layer.advance(0.0)
    (grad,) = torch.autograd.grad(layer(inputs).sum(), [inputs])
    assert torch.equal(grad, masks_of(layer))


def test_masks_are_in_the_type_of_the_training():
    layer = dropout_of([0.5, 0.2], dtype=torch.bfloat16)
    assert layer(torch.ones(2, 32, 40, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert layer.state_dict() == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_are_those_of_one_head_after_another(dtype):
    """Drawn as bytes, kept from the rate's level on, scaled in float32: bound and scale of each rate by hand."""
    rates, seeds = [0.0, 0.2, 0.35, 0.5, 0.9], [3, 4, 5, 6, 7]
    expected = []
    for rate, seed in zip(rates, seeds, strict=True):
        words = torch.empty(3 * 32 * 40 // 8, dtype=torch.int64)
        words.random_(-(2**63), None, generator=torch.Generator().manual_seed(seed))
        levels = words.view(torch.uint8).reshape(3 * 32, 40)
        n_dropped = round(rate * 256)
        expected.append(((levels >= n_dropped).float() * (256 / (256 - n_dropped))).to(dtype))
    layer = dropout_of(rates, seeds=seeds, dtype=dtype)
    masks = [masks_of(layer, batch_size=32, place=place) for place in (0.0, 0.9999)]
    for part, rows in zip(masks, (slice(0, 32), slice(63, 95)), strict=True):
        assert torch.equal(part, torch.stack(expected)[:, rows].float())


def test_a_rate_near_one_drops_nearly_all_units():
    """256 levels of 256 to drop are 0 as a byte: nothing would be."""
    masks = masks_of(dropout_of([0.999], dim=512, batch_size=256), dim=512, batch_size=256)
    assert (masks == 0).float().mean() == pytest.approx(255 / 256, abs=0.001)
    assert masks.unique().tolist() == [0, 256]


def test_masks_are_drawn_and_brought_over_as_bytes(monkeypatch):
    """A mask in float32 would be four times as much to copy to a device."""
    brought = []
    monkeypatch.setattr("heads.modules.parts.dropout.to_device", lambda tensor, _: brought.append(tensor) or tensor)
    dropout_of([0.5, 0.2])
    assert sum(tensor.nbytes for tensor in brought) < 2 * 3 * 32 * 40 + 100


@every_layer
def test_exported_layer_has_no_step_that_changes_the_precision_of_what_has_it(kind):
    program = torch.export.export(layer_of(kind).eval(), (rows_of(ROWS),))
    assert not [node for node in program.graph.nodes if "to." in str(node.target)]
