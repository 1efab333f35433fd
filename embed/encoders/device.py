"""The devices that the encoders run on, and how work is shared out on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from cache.system.cores import count_cores
from cache.system.device_names import check_device
from embed.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = [
    "default_parallel", "device_threads", "find_devices", "numbered", "one_core_each", "several_cores", "to_device",
    "to_host",
]  # fmt: skip

CUDA_PARALLEL = 2  # one batch is copied while the other is computed


def find_devices(choice: str) -> list[torch.device]:
    """Return the devices for ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or a list such as ``cuda:0,cuda:1``.

    Raises:
        DeviceError: there is no such device here, it is named twice, or the name is none of these.
    """
    devices = [_find_device(name) for name in choice.split(",")]
    if len({(device.type, device.index or 0) for device in devices}) < len(devices):
        raise DeviceError(f"--device: expected each device once, got {choice!r}.")
    return devices


def default_parallel(device: torch.device) -> int:
    """Return how many batches are best encoded at once.

    On the CPU each core takes a batch of its own: nothing waits for the slowest core after each operation.
    """
    return {"cpu": count_cores(), "cuda": CUDA_PARALLEL}.get(device.type, 1)


@contextmanager
def one_core_each() -> Iterator[Callable[[], None]]:
    """Yield a function by which a thread has torch compute its work on one core; the block's end restores the count."""
    import torch

    n_threads = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(n_threads)  # the count that a worker set last leaks to threads that start later


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


def device_threads(device: torch.device, *, n_threads: int) -> ThreadPoolExecutor:
    """Return threads that compute on a device, each as long as it lives on a CUDA stream of its own.

    CUDA's libraries keep plans and workspaces for each thread and stream, so both are few and long-lived.
    """
    import torch

    streams = [_stream(device, number) for number in range(n_threads)] if device.type == "cuda" else []

    def start() -> None:
        torch.set_num_threads(1)  # there is nothing to share out, and more would spin on the cores that decode
        if device.type == "cuda":
            stream = streams.pop()
            torch.cuda.set_device(device)
            torch.cuda.set_stream(stream)
            stream.wait_stream(torch.cuda.default_stream(device))  # a model that was loaded before may still be copied

    return ThreadPoolExecutor(n_threads, thread_name_prefix="device", initializer=start)


@cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:  # noqa: ARG001 - the cache's
    """Return the same stream to whoever asks again, for each keeps the memory of what ran on it."""
    import torch

    return torch.cuda.Stream(device)


def numbered(device: torch.device) -> torch.device:
    """Return the device with its number: without one, ``cuda`` is the device that the calling thread has chosen."""
    import torch

    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; to CUDA through pinned memory, so that the copy runs beside other work."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in the CPU's memory; while CUDA computes it the thread sleeps, where `cpu` would spin."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    import torch

    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    pinned.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event(blocking=True)
    copied.record(torch.cuda.current_stream(tensor.device))
    copied.synchronize()
    return pinned.clone()  # else whoever keeps the vectors would keep memory that cannot be swapped


def _find_device(choice: str) -> torch.device:
    import torch

    has_mps = torch.backends.mps.is_available()
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    # A driver that is too old for this PyTorch may list devices all the same.
    n_cuda = torch.cuda.device_count() if choice.startswith("cuda") and torch.cuda.is_available() else 0
    check_device(
        choice, {"cpu": 1, "mps": int(has_mps), "cuda": n_cuda}, library=f"PyTorch {torch.__version__}",
        forms="auto, cpu, cuda, cuda:N, mps or a list such as cuda:0,cuda:1", error=DeviceError,
    )  # fmt: skip
    return torch.device(choice)
