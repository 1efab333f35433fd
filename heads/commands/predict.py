"""`heads-predict`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import click

from cache.console.command import Command
from cache.stray_bytes import open_csv

__all__ = ["predict"]

_PATH = click.Path(path_type=Path)


@click.command(cls=Command)
@click.argument("cache_path", metavar="[CACHE]", type=_PATH, default="embeddings.h5")
@click.option("--run", "run_path", type=_PATH, required=True, help="A folder that heads-train wrote.")
@click.option("--head", "heads", multiple=True, help="One of the run's heads; default: all.")
@click.option("-o", "--output", type=_PATH, help="The CSV file to write; default: stdout.")
@click.option("--plugins", is_flag=True, help="Load heads of a user's own class: runs its code.")
@click.option("--renamed", "is_renamed", is_flag=True, help="Pictures and texts may be columns of other names.")
def predict(
    cache_path: Path, run_path: Path, heads: tuple[str, ...], output: Path | None, plugins: bool, is_renamed: bool
) -> None:
    """Answer every product of CACHE with a run's heads, as CSV."""
    from heads.workflows.predict import predict as answer

    if isinstance(sys.stdout, io.TextIOWrapper) and not output:
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # as in a file
    with _written_whole(output) if output else nullcontext(sys.stdout) as file:
        n_products, n_without = answer(
            run_path, cache_path, file, names=heads or None, plugins=plugins, is_renamed=is_renamed
        )
    if output:
        click.echo(f"{output}: answers to {n_products - n_without} of {n_products} products.")
    if n_without:
        click.echo(f"{n_without} of {n_products} products have no vector and get no answer.", err=True)


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[str]]:
    """Give a file that takes the place of `path` when the block ends well, and leaves it alone otherwise."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open_csv(aside) as file:
            yield file
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
