"""`cache-info` and `cache-verify`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from cache.command import Command, json_option, print_json, print_table

__all__ = ["info", "verify"]

cache_argument = click.argument(
    "cache_path", metavar="[CACHE]", type=click.Path(path_type=Path), default="embeddings.h5"
)


@click.command(cls=Command)
@cache_argument
@json_option
def info(cache_path: Path, as_json: bool) -> None:
    """Show what is in the cache and what made it."""
    from cache.journal import Journal
    from cache.store import Cache

    with Cache(cache_path) as cache:
        facts: dict[str, Any] = {
            "cache": str(cache_path),
            "bytes": cache_path.stat().st_size,
            "content_sha256": cache.content_sha256,
            "n_products": len(cache),
            "columns": cache.columns(),
            "statuses": {modality: dict(Counter(cache.statuses(modality))) for modality in cache.modalities},
            "encoders": [
                {
                    "name": f"{modality}/{encoder}",
                    "n_vectors": int(cache.encoded(modality, encoder).sum()),
                    "dimension": cache.dimension(modality, encoder),
                    "spec": dict(cache.spec(modality, encoder).fields),
                }
                for modality in cache.modalities
                for encoder in cache.encoders(modality)
            ],
            "n_unsealed_parts": len(Journal(cache_path).paths()),
        }
    if as_json:
        print_json(facts)
        return
    click.echo(f"{facts['cache']}: {facts['n_products']} products, {facts['bytes'] / 1e6:.1f} MB")
    click.echo(f"content  {facts['content_sha256']}")
    click.echo(f"columns  {', '.join(facts['columns'])}\n")
    for modality, counts in facts["statuses"].items():
        shown = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        click.echo(f"{modality:9}{shown}")
    click.echo()
    print_table(
        ["encoder", "vectors", "dimensions"],
        [[entry["name"], str(entry["n_vectors"]), str(entry["dimension"])] for entry in facts["encoders"]],
    )
    for entry in facts["encoders"]:
        click.echo(f"\n{entry['name']}")
        for name, value in sorted(entry["spec"].items()):
            click.echo(f"  {name:16}{value}")
    if facts["n_unsealed_parts"]:
        click.echo(
            f"\n{facts['n_unsealed_parts']} parts wait in the journal: an extraction is running or was stopped; "
            "embed-extract goes on where it was."
        )


@click.command(cls=Command)
@cache_argument
@json_option
def verify(cache_path: Path, as_json: bool) -> None:
    """Check every checksum and reference of the cache; exit with 1 if anything is wrong."""
    from cache.verify import verify as find_problems

    problems = find_problems(cache_path)
    if as_json:
        print_json({"cache": str(cache_path), "problems": problems})
    else:
        click.echo("\n".join(problems) or f"{cache_path} is intact.")
    sys.exit(1 if problems else 0)
