"""What a head takes of a device's memory while it is trained: a step is made of tensors that have no numbers."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from heads.modules.one_by_one import OneByOne
from heads.modules.parts.dropout import Dropout
from heads.modules.seeded import build_empty
from heads.training.job import Job
from heads.training.sampler import VALIDATED_TOGETHER, WINDOW_ROWS, batch_size_of

__all__ = ["footprint"]

META = torch.device("meta")
KEPT_BYTES = 12  # a parameter: two moments, and its value in the best epoch
MOVED_BYTES = 12  # a parameter: itself and both moments are there twice when heads leave the stack
ROW_BYTES = 16  # of a row of the epoch: its position, and its class


def footprint(job: Job, dtype: torch.dtype) -> int | None:
    """Return how many bytes of a device the training of one head takes in `dtype`, its vectors left out.

    A step and a block of validation rows are computed on PyTorch's meta device, and the bytes that live at a time are
    counted. None where a class of the user's own cannot be computed there.
    """
    like = torch.empty(0, dtype=dtype, device=META)
    batch_size = batch_size_of(job.n_epoch_rows, job.settings.batch_size)
    try:
        with _LiveBytes() as live:
            module, parameters = _on_meta(job)
            n_bytes = live.now
            _train(job, module, parameters, batch_size=batch_size, like=like)
            module.eval()
            with torch.no_grad():
                module(*_batch(job, VALIDATED_TOGETHER, like)).float()
    except Exception:  # noqa: BLE001 - of a class of the user's own; its training names what is wrong
        return None
    n_parameters = sum(tensor.numel() for tensor in parameters)
    rows = min(job.n_epoch_rows, WINDOW_ROWS) * (ROW_BYTES + len(job.description.dims))
    return max(live.peak, n_bytes + MOVED_BYTES * n_parameters) + KEPT_BYTES * n_parameters + rows


def _on_meta(job: Job) -> tuple[Any, list[Tensor]]:
    """Return a stack of one head, and its parameters."""
    description = job.description
    if description.plugin is None:
        module: nn.Module | OneByOne = build_empty(description, stack=(1,))
    else:
        template = build_empty(description).to(META)
        module = OneByOne(template, [0], name=description.plugin, n_classes=description.n_classes)
        module.hold({name: tensor.detach()[None].clone() for name, tensor in template.state_dict().items()})
    return module, list(module.parameters())


def _train(job: Job, module: Any, parameters: list[Tensor], *, batch_size: int, like: Tensor) -> None:
    module.train()
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.redraw([torch.Generator()], [0.5], batch_size=batch_size, like=like)
    logits = module(*_batch(job, batch_size, like))
    targets = torch.zeros(logits.shape[:2], dtype=torch.int64, device=META)
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


def _batch(job: Job, n_rows: int, like: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    dims = job.description.dims
    inputs = {name: like.new_zeros(1, n_rows, dim) for name, dim in dims.items()}
    return inputs, {name: like.new_ones(1, n_rows, dtype=torch.bool) for name in dims}


class _LiveBytes(TorchDispatchMode):
    """While it is active, the bytes of all tensors that are made on the meta device: those there now, and the most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._counted = weakref.WeakSet[Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._add(tensor.untyped_storage())
        return results

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._counted:
            return
        self._counted.add(storage)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._subtract, storage.nbytes())

    def _subtract(self, n_bytes: int) -> None:
        self.now -= n_bytes
