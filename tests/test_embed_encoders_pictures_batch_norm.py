"""Batch norm in convolutions: the very numbers of torch's own tracing, where it may be and nowhere else."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from embed.encoders.pictures.batch_norm import fuse_batch_norm

pytestmark = pytest.mark.slow


def drawn(architecture):
    """Return a network in evaluation mode whose batch norms are no identities, and a picture for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = get_model(architecture, weights=None).eval().requires_grad_(False)
        for layer in norms_of(model):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.uniform_(0.5, 1.5)
        return model, torch.randn(1, 3, 64, 64)


def norms_of(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


# DenseNet's first norm of a layer comes before its convolution, and stays.
@pytest.mark.parametrize(("architecture", "n_left"), [("resnet18", 0), ("mobilenet_v3_small", 0), ("densenet121", 62)])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # importing torch's own warns on some versions
def test_the_numbers_are_those_of_torchs_experimental_fusion(architecture, n_left):
    from torch.fx.experimental.optimization import fuse

    model, picture = drawn(architecture)
    with torch.inference_mode():
        plain, expected = model(picture), fuse(model)(picture)
        fused = fuse_batch_norm(model)
        output = fused(picture)
    assert torch.equal(output, expected)
    torch.testing.assert_close(output, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))
    assert len(norms_of(fused)) == n_left
    assert not torch.equal(output, plain)  # so that it matters which of the two is computed


class Forked(nn.Module):
    """A convolution whose answer is wanted with and without a batch norm."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        nn.init.normal_(self.norm.bias)

    def forward(self, pictures):
        output = self.convolution(pictures)
        return output + self.norm(output)


class Unmoved(nn.Module):
    """A batch norm that has no statistics of its own, and takes those of each batch."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, pictures):
        return self.norm(self.convolution(pictures))


class Called(nn.Module):
    """A batch norm behind a function."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, pictures):
        return self.norm(torch.relu(self.convolution(pictures)))


@pytest.mark.parametrize("kind", [Forked, Unmoved, Called])
def test_a_batch_norm_that_is_no_part_of_a_convolution_stays(kind):
    model, pictures = kind().eval(), torch.randn(2, 3, 8, 8)
    expected = model(pictures)
    fused = fuse_batch_norm(model)
    assert len(norms_of(fused)) == 1
    assert torch.equal(fused(pictures), expected)
