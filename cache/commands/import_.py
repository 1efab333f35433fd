"""`cache-import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cache.commands.arguments import output_option
from cache.console.command import Command, json_option, print_json, print_wrapped
from cache.console.paths import LOCAL_PATH

__all__ = ["import_"]


@click.command("import", cls=Command)
@click.argument("vectors_path", metavar="VECTORS", type=LOCAL_PATH)
@output_option("The cache, a new one or one that is there.", may_be_in_bucket=True)
@click.option("--ids", "ids_path", type=LOCAL_PATH, help="A CSV file of the products, in the vectors' order.")
@click.option("--id-column", help="Default: by its usual names.")
@click.option("--vector-column", help="Of a Parquet file; default: the only one of lists of numbers.")
@click.option("--modality", help="What the vectors are of: image, text or another word.")
@click.option("--name", help="What the encoder is called from now on.")
@click.option("--spec", "fields", multiple=True, metavar="NAME=VALUE", help="What made the vectors, repeatable.")
@json_option
def import_(
    vectors_path: Path,
    output: Path,
    ids_path: Path | None,
    id_column: str | None,
    vector_column: str | None,
    modality: str | None,
    name: str | None,
    fields: tuple[str, ...],
    as_json: bool,
) -> None:
    """Put vectors that another program made into a cache.

    VECTORS is a .npy file of a row a product, or a .parquet file with a column of vectors.
    """
    from cache.exchange.import_settings import ImportSettings, parse_fields
    from cache.exchange.importing import import_vectors

    settings = ImportSettings(parse_fields(fields), modality, name, ids_path, id_column, vector_column)
    report = import_vectors(vectors_path, output, settings)
    if as_json:
        print_json({**asdict(report), "cache_path": str(output)})
        return
    print_wrapped(
        f"{output}: {report.n_vectors:,} vectors of {report.n_rows:,} rows are in {report.encoder} ({report.n_new:,} "
        f"new); {report.n_products:,} products."
    )
