"""What a hint of something computed depends on beside its input: Python, libraries, the machine, variables, this code.

Hints (`embed.encoders.specs.spec_hints`, `heads.runs.finished_ablations`) are believed where all of it is as it was.
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
    """Return what of this process and this machine numbers may depend on, in JSON's types."""
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
    """Return the versions of libraries, of those that are installed; none is imported."""
    return {name: found for name in libraries if (found := _version(name))}


def identities(paths: Iterable[Path]) -> dict[str, str]:
    """Return what tells each file from all it was before, {path: identity}; empty where one has none."""
    found = {str(path): identity(path).hex() for path in sorted(paths)}
    return found if all(found.values()) else {}


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
