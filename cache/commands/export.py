"""`cache-export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cache.commands.arguments import cache_argument, output_option
from cache.console.command import Command, json_option, print_json, print_wrapped

__all__ = ["export"]


@click.command(cls=Command)
@cache_argument
@output_option("A .parquet or .npz file, or a new folder that Hugging Face's load_dataset reads.")
@click.option(
    "--encoder", "encoders", multiple=True, metavar="MODALITY=NAME", help="Whose vectors, repeatable; default: all."
)
@click.option("--columns", help="Of the catalogue, several with commas, '' for none; default: all.")
@json_option
def export(cache_path: Path, output: Path, encoders: tuple[str, ...], columns: str | None, as_json: bool) -> None:
    """Write the products and their vectors for other programs, a row a product."""
    from cache.errors import SettingError
    from cache.exchange.exporting import export_vectors

    pairs = []
    for text in encoders:
        modality, _, name = text.partition("=")
        if not modality or not name:
            raise SettingError(f"--encoder: expected MODALITY=NAME, got {text!r}. Write it as image=resnet18.")
        pairs.append((modality, name))
    names = None if columns is None else [name for name in columns.split(",") if name]
    report = export_vectors(cache_path, output, encoders=pairs or None, columns=names)
    if as_json:
        print_json(asdict(report))
        return
    vectors = ", ".join(f"{name} ({dim})" for name, dim in report.dims.items())
    print_wrapped(f"{output}: {report.n_products:,} products with {vectors}.")
