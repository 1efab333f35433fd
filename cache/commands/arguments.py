"""What the commands of a cache have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cache.cloud.addresses import StoragePath

__all__ = ["cache_argument", "output_option"]

cache_argument = click.argument(
    "cache_path", metavar="[CACHE]", type=click.Path(path_type=StoragePath), default="embeddings.h5"
)


def output_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option that names the file to be written, which has no default."""
    return click.option("-o", "--output", type=click.Path(path_type=StoragePath), required=True, help=help_text)
