"""The device that the encoders run on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from embed.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["find_device"]


def find_device(choice: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; auto takes the fastest there is.

    Raises:
        DeviceError: there is no such device here, or the name is none of these.
    """
    import torch

    has_mps = torch.backends.mps.is_available()
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:(0|[1-9][0-9]*))?", choice):
        raise DeviceError(f"--device must be auto, cpu, cuda, cuda:N or mps, however got {choice!r}.")
    kind, _, number = choice.partition(":")
    n_devices = {"cpu": 1, "mps": int(has_mps), "cuda": torch.cuda.device_count()}[kind]
    if int(number or 0) >= n_devices:
        raise DeviceError(
            f"--device {choice} must be a device of this machine, however PyTorch {torch.__version__} finds "
            f"{n_devices} of the kind {kind} here. Use --device auto or cpu."
        )
    return torch.device(choice)
