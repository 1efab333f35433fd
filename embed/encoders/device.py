"""The devices that the encoders run on, and how work is shared out on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cache.cores import count_cores
from embed.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = [
    "default_parallel",
    "find_devices",
    "one_core_each",
    "own_stream",
    "several_cores",
    "to_device",
]

CUDA_PARALLEL = 2  # one batch is copied while the other is computed

_idle_streams: dict[str, list[torch.cuda.Stream]] = {}


def find_devices(choice: str) -> list[torch.device]:
    """Return the devices for ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or a list such as ``cuda:0,cuda:1``.

    Raises:
        DeviceError: there is no such device here, it is named twice, or the name is none of these.
    """
    devices = [_find_device(name) for name in choice.split(",")]
    if len({(device.type, device.index or 0) for device in devices}) < len(devices):
        raise DeviceError(f"--device must name each device once, however got {choice!r}.")
    return devices


def default_parallel(device: torch.device) -> int:
    """Return how many batches are best encoded at once.

    On the CPU each core takes a batch of its own: nothing waits for the slowest core after each operation.
    """
    return {"cpu": count_cores(), "cuda": CUDA_PARALLEL}.get(device.type, 1)


@contextmanager
def one_core_each() -> Iterator[Callable[[], None]]:
    """Yield what a thread calls so that torch computes its work on one core; afterwards all is as before."""
    import torch

    before = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(before)  # threads to come take this number, whichever thread set it last


@contextmanager
def several_cores(n_cores: int) -> Iterator[None]:
    """Compute a thread's work on `n_cores` inside the block, and on one afterwards."""
    import torch

    if n_cores == 1:
        yield
        return
    torch.set_num_threads(n_cores)
    try:
        yield
    finally:
        torch.set_num_threads(1)


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Make CUDA work in the block wait for no other thread's; elsewhere nothing changes.

    Streams are lent and given back: each keeps the memory of what ran on it, so there are no more than run at once.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    idle = _idle_streams.setdefault(str(device), [])
    try:
        stream = idle.pop()
    except IndexError:
        stream = torch.cuda.Stream(device)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        idle.append(stream)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; to CUDA through pinned memory, so that the copy runs beside other work."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _find_device(choice: str) -> torch.device:
    import torch

    has_mps = torch.backends.mps.is_available()
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:(0|[1-9][0-9]*))?", choice):
        raise DeviceError(
            f"--device must be auto, cpu, cuda, cuda:N, mps or a list such as cuda:0,cuda:1, however got {choice!r}."
        )
    kind, _, number = choice.partition(":")
    n_devices = {"cpu": 1, "mps": int(has_mps), "cuda": torch.cuda.device_count()}[kind]
    if int(number or 0) >= n_devices:
        raise DeviceError(
            f"--device {choice} must be a device of this machine, however PyTorch {torch.__version__} finds "
            f"{n_devices} of the kind {kind} here. Use --device auto or cpu."
        )
    return torch.device(choice)
