"""What the commands of a cache have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cache.console.paths import LOCAL_PATH, PATH

__all__ = ["cache_argument", "output_option"]

cache_argument = click.argument("cache_path", metavar="[CACHE]", type=PATH, default="embeddings.h5")


def output_option(help_text: str, *, may_be_in_bucket: bool = False) -> Callable[[Any], Any]:
    """Return the option that names the file to be written, which has no default."""
    return click.option("-o", "--output", type=PATH if may_be_in_bucket else LOCAL_PATH, required=True, help=help_text)
