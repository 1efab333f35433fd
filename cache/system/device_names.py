"""Names of devices as options have them, checked by what a library finds on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cache.errors import EmbedOnceError

__all__ = ["check_device"]


def check_device(
    choice: str, n_devices: Mapping[str, int], *, forms: str, library: str, error: type[EmbedOnceError]
) -> None:
    """Check that a name is that of a device here; `n_devices` is how many the library finds of each kind.

    `forms` are the names that there may be, in words. Devices of CUDA have numbers, without leading zeros.

    Raises:
        EmbedOnceError: of the class `error`: it is none.
    """
    kind, colon, number = choice.partition(":")
    is_numbered = kind == "cuda" and re.fullmatch("0|[1-9][0-9]*", number)
    if kind not in n_devices or (colon and not is_numbered):
        raise error(f"--device: expected {forms}, got {choice!r}.")
    if int(number or 0) >= n_devices[kind]:  # PyTorch keeps numbers in eight bits
        raise error(
            f"--device: expected a device of this machine, got {choice}, but {library} finds {n_devices[kind]} of the "
            f"kind {kind} here. Use --device auto or cpu."
        )
