"""Where heads are trained, and in what numbers."""

from __future__ import annotations

import re

import torch

from cache.cores import count_cores
from heads.errors import SettingError

__all__ = ["count_lanes", "describe_device", "find_device", "find_dtype"]


def find_device(choice: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; auto is CUDA where there is one.

    Raises:
        SettingError: there is no such device here.
    """
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", choice):
        raise SettingError(f"--device must be auto, cpu, cuda or cuda:N, however got {choice!r}.")
    device = torch.device(choice)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"--device {choice} must be a device of this machine, however PyTorch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA devices here. Use --device auto or cpu."
        )
    return device


def find_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that training computes in; ``auto`` is bfloat16 where the device has it natively."""
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def describe_device(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """Return what training computes on and in, in words: with another one the same seed gives other numbers."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {"device": name, "precision": {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]}


def count_lanes(device: torch.device) -> int:
    """Return how many stacks are trained beside each other: on the CPU one a core, each computing on its own."""
    if device.type != "cpu":
        return 1
    return count_cores()


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
