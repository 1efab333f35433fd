"""What a computed result depends on beside its input: Python, libraries, the machine, variables, this code.

Hints of results (`embed.encoders.specs.spec_hints`, `heads.runs.finished_ablations`) hold while all of it is the same.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cache.system.file_identity import identity
from cache.version import version_here

__all__ = ["circumstances_here", "devices_here", "identities", "versions_of"]

VARIABLES = ("ATEN_", "CUDA", "HF_", "HOME", "HUGGINGFACE_", "ONEDNN_", "TORCH", "TRANSFORMERS_", "XDG_")  # begin so
DEVICES = ("nvidia[0-9]*", "kfd", "dxg")  # in /dev


def circumstances_here() -> dict[str, Any]:
    """Return what computed numbers may depend on in this process and on this machine, in JSON's types."""
    return {
        "folder": os.getcwd(),
        "variables": sorted((name, value) for name, value in os.environ.items() if name.startswith(VARIABLES)),
        "versions": [version_here(), sys.version],
        "machine": [platform.machine(), _processor_flags()],
        "devices": devices_here(),
    }


def devices_here() -> list[str]:
    """Return the GPUs that this machine's kernel shows."""
    return sorted(str(path) for pattern in DEVICES for path in Path("/dev").glob(pattern))


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of the libraries that are installed; none is imported."""
    versions = {name: _version(name) for name in libraries}
    return {name: number for name, number in versions.items() if number}


def identities(paths: Iterable[Path]) -> dict[str, str]:
    """Return the `identity` of each file, by path, in hexadecimal digits; nothing at all where a file has none."""
    identity_of = {str(path): identity(path).hex() for path in sorted(paths)}
    return identity_of if all(identity_of.values()) else {}


def _processor_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
