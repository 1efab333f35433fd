"""The numbers that encoders compute in: fp32, or a shorter type where the device has it natively."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embed.errors import SettingError

if TYPE_CHECKING:
    import torch

    from cache import EncoderSpec

__all__ = ["PRECISIONS", "dtype_of", "exact_fp32", "find_precision", "keep_precision"]

log = logging.getLogger("embed_once")

PRECISIONS = ("fp32", "bf16", "fp16")

_setting_lock = threading.Lock()
_n_inside: list[None] = []
_settings_before = ExitStack()


def find_precision(choice: str, device: torch.device) -> str:
    """Return the precision for ``auto`` or one of `PRECISIONS`; auto is bf16 where the device has it natively.

    Raises:
        SettingError: the choice is none of these.
    """
    if choice in PRECISIONS:
        return choice
    if choice != "auto":
        raise SettingError(f"--precision: expected auto, {', '.join(PRECISIONS)}, got {choice!r}.")
    return "bf16" if _has_bf16(device) else "fp32"


def dtype_of(precision: str) -> torch.dtype:
    """Return torch's type for a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Compute fp32 as fp32 inside the block, within 1e-4 of the reference, and leave torch as it was set afterwards.

    The program around may have chosen TF32 on CUDA, or bf16 products on the CPU; torch has these settings once for all
    threads. So they change when the first of several threads enters, and come back when the last has left.
    """
    with _setting_lock:
        if not _n_inside:
            _settings_before.enter_context(_fp32_everywhere())
        _n_inside.append(None)
    try:
        yield
    finally:
        with _setting_lock:
            _n_inside.pop()
            if not _n_inside:
                _settings_before.close()


@contextmanager
def _fp32_everywhere() -> Iterator[None]:
    """Set all of torch's settings to exact fp32 inside the block."""
    import torch

    backends: Any = torch.backends
    cudnn, mkldnn, products = backends.cudnn, backends.mkldnn, backends.cuda.matmul
    # A scope set to "none" takes the setting above it, and reads as that; so the upper ones are read and cleared first.
    scopes = [backends, cudnn, mkldnn, cudnn.conv, cudnn.rnn, products, mkldnn.conv, mkldnn.rnn, mkldnn.matmul]
    old_precisions = []
    old_cudnn = _old_cudnn_setting()
    for scope in scopes:
        old_precisions.append(scope.fp32_precision)
        scope.fp32_precision = "none"
    # The old settings, too: torch refuses to read them where they contradict the new ones.
    old_products = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    if old_cudnn is not None:
        cudnn.allow_tf32 = False
    for scope in scopes[3:]:
        scope.fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(old_products)
        if old_cudnn is not None:
            cudnn.allow_tf32 = old_cudnn
        for scope, precision in reversed(list(zip(scopes, old_precisions, strict=True))):
            scope.fp32_precision = precision


def _old_cudnn_setting() -> bool | None:
    """Return ``torch.backends.cudnn.allow_tf32``, None where the program has contradicted it and nobody can read it."""
    import torch

    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def keep_precision(encoders: Iterable[Any], specs: Mapping[tuple[str, str], EncoderSpec]) -> None:
    """Set encoders, not loaded yet, to the precision that the cache has their vectors in already.

    `specs` are the cache's: (modality, encoder's name) -> spec.
    """
    for encoder in encoders:
        spec = specs.get((encoder.spec.modality, encoder.name))
        differences = spec.differences(encoder.spec) if spec is not None else []
        if spec is not None and [line.partition(":")[0] for line in differences] == ["precision"]:
            whole = getattr(encoder, "whole", encoder)  # of a depth or view, from which its own spec follows
            whole.precision = str(spec.fields["precision"])
            whole.spec = replace(whole.spec, fields={**whole.spec.fields, "precision": whole.precision})
            log.info(
                "%s/%s goes on in %s, as the cache has it.", encoder.spec.modality, encoder.name, encoder.precision
            )


def _has_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere is the first that has it
    if device.type == "cpu":
        # Others compute it through fp32, which is slower than fp32 itself.
        return any(is_native for name, is_native in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return False
