"""`heads-predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cache.console.command import Command
from cache.console.echo import echo
from cache.console.paths import LOCAL_PATH, PATH
from heads.commands.encoder_options import encoder_options

__all__ = ["predict"]


@click.command(cls=Command)
@click.argument("source_path", metavar="[SOURCE]", type=PATH, default="embeddings.h5")
@click.option("--run", "run_path", type=LOCAL_PATH, required=True, help="A folder that heads-train wrote.")
@click.option(
    "--head", "heads", multiple=True,
    help="One of the run's heads, the first is the answer that counts; default: all, and the best on validation rows.",
)  # fmt: skip
@click.option("-o", "--output", type=LOCAL_PATH, help="A .csv, .jsonl or .parquet file; default: CSV to stdout.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="So many of the likeliest classes.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1),
    help="Products whose answer is less probable go to review.csv beside the output.",
)  # fmt: skip
@click.option("--cache", "cache_path", type=PATH, help="Where a catalogue's vectors are kept; default: beside it.")
@click.option("--id-column", help="Of a catalogue; default: by its usual names.")
@click.option("--image-column", help="Of a catalogue; default: as in training.")
@click.option("--text-columns", help="Of a catalogue, several with commas; default: as in training.")
@click.option("--image-root", type=PATH, help="What a catalogue's image paths are relative to; default: its folder.")
@encoder_options
@click.option("--memory", help="For vectors, such as 8G; default: half of the machine's.")
@click.option("--plugins", is_flag=True, help="Load heads of a user's own class: runs its code.")
@click.option("--renamed", "is_renamed", is_flag=True, help="Pictures and texts may be columns of other names.")
def predict(
    source_path: Path,
    run_path: Path,
    heads: tuple[str, ...],
    output: Path | None,
    top: int,
    encoders: dict[str, str],
    device: str,
    **options: Any,
) -> None:
    """Answer every product of SOURCE with a run's heads.

    SOURCE is a cache (default: embeddings.h5), or a catalogue of new products, of which what is in no cache yet is
    encoded first, with the encoders of the run.
    """
    from heads.prediction.catalogue_cache import RawColumns
    from heads.workflows.predict import predict as answer

    column_options = {name: options.pop(name) for name in ("id_column", "image_column", "text_columns", "image_root")}
    columns = RawColumns(**column_options) if any(value is not None for value in column_options.values()) else None
    report = answer(
        run_path, source_path, output, names=heads or None, n_top=top, device=device, encoders=encoders,
        columns=columns, **options,
    )  # fmt: skip
    if output is not None:
        disagree = "" if report.n_disagree is None else f"; picture and text disagree on {report.n_disagree}"
        echo(f"{output}: answers of {report.head} to {report.n_answered} of {report.n_products} products{disagree}.")
    if report.review_path is not None:
        echo(f"{report.review_path}: {report.n_review} products to look at.", err=output is None)
    if report.fuller is not None:
        echo(
            f"{report.head} answers {report.n_answered} of {report.n_products} products, {report.fuller} "
            f"{report.n_fuller}: --head {report.fuller}.", err=True,
        )  # fmt: skip
    if report.n_without:
        echo(f"{report.n_without} of {report.n_products} products have no vector and get no answer.", err=True)
