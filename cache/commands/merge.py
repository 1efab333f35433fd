"""`cache-merge`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cache.commands.arguments import output_option
from cache.console.command import Command, json_option, print_json, print_wrapped
from cache.console.paths import PATH

__all__ = ["merge"]


@click.command(cls=Command)
@click.argument("cache_paths", metavar="CACHE...", type=PATH, nargs=-1, required=True)
@output_option("The merged cache; one that is there already is merged with the others.", may_be_in_bucket=True)
@click.option("--catalogue", "catalogue_path", type=PATH, help="The cache whose products are kept; default: all.")
@json_option
def merge(cache_paths: tuple[Path, ...], output: Path, catalogue_path: Path | None, as_json: bool) -> None:
    """Join caches, and the parts that wait beside them, in one; their order does not matter."""
    from cache.rebuilding.merging import merge as merge_caches

    report = merge_caches(cache_paths, output, catalogue_path=catalogue_path)
    if as_json:
        print_json({**asdict(report), "cache_path": str(output)})
        return
    vectors = ", ".join(f"{n:,} of {name}" for name, n in report.n_vectors.items())
    ending = "" if report.was_written else " Nothing was new."
    print_wrapped(
        f"{output}: {report.n_products:,} products and vectors of {report.n_caches} "
        f"{'cache' if report.n_caches == 1 else 'caches'}: {vectors or 'none'}.{ending}"
    )
