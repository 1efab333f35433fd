"""The numbers that encoders compute in: fp32, or a shorter type where the device has it natively."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from embed.errors import SettingError

if TYPE_CHECKING:
    import torch

    from cache import Inventory

__all__ = ["PRECISIONS", "dtype_of", "find_precision", "forbid_tf32", "keep_precision"]

log = logging.getLogger("embed_once")

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


def forbid_tf32() -> None:
    """Make CUDA compute fp32 as fp32, within 1e-4 of the reference; on the CPU nothing changes."""
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def keep_precision(encoders: Iterable[Any], inventory: Inventory) -> None:
    """Set encoders, not loaded yet, to the precision that the cache has their vectors in already."""
    for encoder in encoders:
        entry = inventory.entries.get((encoder.spec.modality, encoder.name))
        differences = entry.spec.differences(encoder.spec) if entry is not None else []
        if entry is not None and [line.partition(":")[0] for line in differences] == ["precision"]:
            encoder.precision, encoder.spec = str(entry.spec.fields["precision"]), entry.spec
            log.info(
                "%s/%s goes on in %s, as the cache has it.", encoder.spec.modality, encoder.name, encoder.precision
            )


def _has_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere is the first that has it
    if device.type == "cpu":
        # Others compute it through fp32, which is slower than fp32 itself.
        return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return False
