"""Checks that the module `cache` is embed-once's: the name is a common one, and another may stand first on the path.

`embed` and `heads` import this module first. The commands of `cache` start in it, as no code in `cache` is run where
another module takes its place.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import cache

COMMANDS = ("export", "gc", "import_", "info", "merge", "verify")  # each in a file of its name

if Path(str(cache.__file__)).parent.parent != Path(__file__).parent:
    raise ImportError(
        f"Expected the module cache to be embed-once's, in {Path(__file__).parent}, got {cache.__file__}. Rename that "
        "one, or start Python elsewhere."
    )


def __getattr__(name: str) -> Any:
    # The commands are looked up when one is started, so that `import embed` imports no click.
    if name not in COMMANDS:
        raise AttributeError(f"module 'embed_once' has no attribute {name!r}")
    return getattr(import_module(f"cache.commands.{name}"), name)
