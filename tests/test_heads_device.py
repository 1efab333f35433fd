"""The device of heads: how tensors come to it."""

import pytest
import torch

from heads.device import to_device

CUDA = torch.device("cuda")


class Noted(torch.Tensor):
    """A tensor of the CPU that notes what is done to it, and does none of it."""

    def contiguous(self):
        return self._noted("contiguous")

    def pin_memory(self):
        return self._noted("pinned")

    def to(self, *where, **options):
        return self._noted(f"to {where}, {options}")

    def _noted(self, what):
        self.done = [*getattr(self, "done", []), what]
        return self


class NotedOnCuda(Noted):
    """The same on CUDA."""

    device = CUDA


@pytest.mark.parametrize(
    ("kind", "device", "first"),
    [(Noted, CUDA, ["contiguous", "pinned"]), (Noted, torch.device("cpu"), []), (NotedOnCuda, CUDA, [])],
)
def test_what_goes_to_cuda_is_pinned_so_that_it_may_be_let_go_at_once(kind, device, first):
    assert to_device(torch.ones(3).as_subclass(kind), device).done == [
        *first,
        f"to {(device,)}, {{'non_blocking': True}}",
    ]
