"""`cache-verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cache.commands.arguments import cache_argument
from cache.console.command import Command, json_option, print_json

__all__ = ["verify"]


@click.command(cls=Command)
@cache_argument
@json_option
def verify(cache_path: Path, as_json: bool) -> None:
    """Check every checksum and reference of the cache; exit with 1 if anything is wrong."""
    from cache.inventory.verification import verify as find_problems

    problems = find_problems(cache_path)
    if as_json:
        print_json({"cache": str(cache_path), "problems": problems})
    else:
        click.echo("\n".join(problems) or f"{cache_path} is intact.")
    sys.exit(1 if problems else 0)
