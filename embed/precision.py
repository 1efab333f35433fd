"""The numbers that encoders compute in: fp32, or a shorter type where the device has it natively."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embed.errors import SettingError

if TYPE_CHECKING:
    import torch

__all__ = ["PRECISIONS", "dtype_of", "find_precision"]

PRECISIONS = ("fp32", "bf16", "fp16")


def find_precision(choice: str, device: torch.device) -> str:
    """Return the precision for ``auto`` or one of `PRECISIONS`; auto is bf16 where the device has it natively.

    Raises:
        SettingError: the choice is none of these.
    """
    if choice in PRECISIONS:
        return choice
    if choice != "auto":
        raise SettingError(f"--precision must be auto, {', '.join(PRECISIONS)}, however got {choice!r}.")
    return "bf16" if _has_bf16(device) else "fp32"


def dtype_of(precision: str) -> torch.dtype:
    """Return torch's type for a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _has_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere is the first that has it
    if device.type == "cpu":
        # Others compute it through fp32, which is slower than fp32 itself.
        return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return False
