"""`cache-info` and `cache-verify`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache.console.command import Command, json_option, print_json, print_table

if TYPE_CHECKING:
    from cache.store import Cache

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
    from cache.reading import reading
    from cache.store import Cache

    with Cache(cache_path) as cache, reading(cache_path):
        facts: dict[str, Any] = {
            "cache": str(cache_path),
            "bytes": cache_path.stat().st_size,
            "content_sha256": cache.content_sha256,
            "n_products": len(cache),
            "columns": cache.columns(),
            "statuses": {modality: dict(Counter(cache.statuses(modality))) for modality in cache.modalities},
            "encoders": [
                _entry_facts(cache, modality, encoder)
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
    if with_tokens := [(entry["name"], entry["tokens"]) for entry in facts["encoders"] if "tokens" in entry]:
        click.echo()
        print_table(
            ["encoder", "tokens", "a vector", "dimensions", "MB"],
            [
                [name, str(own["n_tokens"]), _span(own["fewest"], own["most"]), str(own["dimension"]),
                 f"{own['bytes'] / 1e6:.1f}"]
                for name, own in with_tokens
            ],
        )  # fmt: skip
    for entry in facts["encoders"]:
        click.echo(f"\n{entry['name']}")
        for name, value in sorted(entry["spec"].items()):
            click.echo(f"  {name:16}{value}")
    if facts["n_unsealed_parts"]:
        click.echo(
            f"\n{facts['n_unsealed_parts']} parts wait in the journal: an extraction is running or was stopped; "
            "embed-extract goes on where it was."
        )


def _entry_facts(cache: Cache, modality: str, encoder: str) -> dict[str, Any]:
    encoded = cache.encoded(modality, encoder)
    facts: dict[str, Any] = {
        "name": f"{modality}/{encoder}",
        "n_vectors": int(encoded.sum()),
        "dimension": cache.dimension(modality, encoder),
        "spec": dict(cache.spec(modality, encoder).fields),
    }
    if cache.has_tokens(modality, encoder):
        counts, n_dim = cache.token_counts(modality, encoder), cache.token_dimension(modality, encoder)
        facts["tokens"] = {
            "n_tokens": int(counts.sum()),
            "fewest": int(counts[encoded].min(initial=counts.max(initial=0))),
            "most": int(counts.max(initial=0)),
            "dimension": n_dim,
            "bytes": 2 * int(counts.sum()) * n_dim,
        }
    return facts


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


@click.command(cls=Command)
@cache_argument
@json_option
def verify(cache_path: Path, as_json: bool) -> None:
    """Check every checksum and reference of the cache; exit with 1 if anything is wrong."""
    from cache.verification import verify as find_problems

    problems = find_problems(cache_path)
    if as_json:
        print_json({"cache": str(cache_path), "problems": problems})
    else:
        click.echo("\n".join(problems) or f"{cache_path} is intact.")
    sys.exit(1 if problems else 0)
