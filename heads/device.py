"""Where heads are trained, and in what numbers."""

from __future__ import annotations

import gc
from collections.abc import Mapping

import torch
from torch import Tensor

from cache.system.cores import count_cores
from cache.system.device_names import check_device
from heads.errors import SettingError

__all__ = ["count_parallel", "describe_device", "find_device", "find_dtype", "give_memory_back", "to_device", "to_host"]


def find_device(choice: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; auto is CUDA where there is one.

    Raises:
        SettingError: there is no such device here.
    """
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # A driver that is too old for this PyTorch may list devices all the same.
    n_cuda = torch.cuda.device_count() if choice.startswith("cuda") and torch.cuda.is_available() else 0
    check_device(
        choice, {"cpu": 1, "cuda": n_cuda}, library=f"PyTorch {torch.__version__}",
        forms="auto, cpu, cuda or cuda:N", error=SettingError,
    )  # fmt: skip
    return torch.device(choice)


def find_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that training computes in; ``auto`` is bfloat16 where the device has it natively."""
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def describe_device(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """Return what training computes on and in, in words: with another one the same seed gives other numbers."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {"device": name, "precision": {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]}


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device; a copy to CUDA waits for nothing that is computed there.

    The tensor may be changed or let go at once: what is copied is pinned memory, which PyTorch keeps for as long. Other
    memory CUDA may read after this returns, where the device can (unmeasured).
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.contiguous().pin_memory()
    return tensor.to(device, non_blocking=True)


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors in the CPU's memory; the thread sleeps until CUDA has copied those that are there.

    PyTorch's own copy would keep a core busy with waiting, and each tensor would wait for itself.
    """
    streams = {torch.cuda.current_stream(tensor.device) for tensor in tensors.values() if tensor.is_cuda}
    copies = {
        name: torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=bool(streams)).copy_(tensor, non_blocking=True)
        for name, tensor in tensors.items()
    }
    for stream in streams:
        event = torch.cuda.Event(blocking=True)
        event.record(stream)
        event.synchronize()
    return {name: copy.clone() for name, copy in copies.items()} if streams else copies  # pinned memory is scarce


def give_memory_back(device: torch.device) -> None:
    """Give a device the memory back that PyTorch keeps of freed tensors."""
    gc.collect()  # frames of an error may hold each other
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()


def count_parallel(device: torch.device) -> int:
    """Return how many stacks are trained beside each other there: on the CPU one a core, each computing on its own."""
    if device.type != "cpu":
        return 1
    return count_cores()


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return any(has_it for name, has_it in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
