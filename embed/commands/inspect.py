"""`embed-inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cache.console.command import Command, details_option, json_option, print_json, setting_options
from cache.console.echo import echo
from cache.console.paths import LOCAL_PATH, PATH
from embed.inspection.inspection_settings import InspectSettings
from embed.settings import ExtractSettings

__all__ = ["inspect"]

setting = setting_options(ExtractSettings)
inspect_setting = setting_options(InspectSettings)


@click.command(cls=Command)
@click.argument("catalogue_path", metavar="[CATALOGUE]", type=PATH, default="data.csv")
@click.option("--html", "html_path", type=LOCAL_PATH, default="inspect.html", show_default=True, help="The page.")
@click.option("--no-html", "has_no_page", is_flag=True, help="Write no page.")
@inspect_setting("--label", type=str, help="The column to learn; default: label, category, class or target.")
@inspect_setting("--deep", is_flag=True, help="Decode every picture, so that damaged pixels are found too.")
@click.option("--no-estimate", is_flag=True, help="Do not measure what extraction will cost; torch is not needed then.")
@inspect_setting("--most-pictures", help="Of a catalogue with more rows a sample of so many is looked at.")
@inspect_setting("--most-texts", help="Texts whose tokens are counted; of more a sample.")
@inspect_setting("--products", "n_products", help="How many are shown on the page.")
@inspect_setting("--seed", help="Of the samples.")
@setting("--id-column", help="Default: id, product_id, sku, …")
@setting("--image-column", help="Default: image, image_path, filename, …")
@setting("--image-template", multiple=True, help="Paths made of cells: 'images/{id}.jpg'; several are tried in turn.")
@setting(
    "--pictures", type=click.Choice(["first", "rows"]), help="Of cells that list several: the first, or a row each."
)
@setting("--text-column", help="Default: text, title, productDisplayName, name, description, …")
@setting("--text-columns", help="Several, with commas: their non-empty cells joined with '. ' are the text.")
@setting("--clean-text", is_flag=True, help="Look at texts in lower case, without HTML, with blanks for punctuation.")
@setting("--where", help="Only these products: \"gender == 'Men' and price < 20\"; ==, <, in, and, or, not.")
@setting("--encoding", help="Of a CSV catalogue; default: UTF-8, or UTF-16 by its mark.")
@setting("--labels", type=PATH, help="A second table, whose columns are joined by id.")
@setting("--delimiter", help="Of a CSV catalogue: one character, or tab; default: by its first lines.")
@setting(
    "--escape", help="What stands before a quote in a cell of CSV, such as \\\\, or none; default: by its first lines."
)
@setting("--bad-lines", type=click.Choice(["skip", "error"]), help="Leave out lines that are no product, or stop.")
@setting("--image-root", type=PATH, help="What image paths are relative to; default: the catalogue's folder.")
@setting("--allow-outside", is_flag=True, help="Read pictures outside the image root.")
@setting("--image-encoder", help="Whose speed is measured: its architecture, with random weights.")
@setting("--text-encoder", help="Likewise; and whose tokens are counted, where its tokenizer is on this machine.")
@setting("--max-length", help="Tokens a text is cut to.")
@setting("--device", help="Of the measurement: auto, cpu, cuda, cuda:N, mps, or several.")
@setting("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), help="Likewise.")
@setting("--workers", "n_workers", type=int, help="Threads that read pictures; default: one per core.")
@details_option
@json_option
def inspect(
    catalogue_path: Path,
    html_path: Path,
    has_no_page: bool,
    no_estimate: bool,
    details: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Look at CATALOGUE (default: data.csv) before paying for its extraction; encode nothing, write one page."""
    from embed.inspection.inspect_catalogue import inspect as run
    from embed.inspection.page import write_page
    from embed.inspection.summary import render_summary
    from embed.inspection.terminal import render_text

    chosen = {
        name: options.pop(name) for name in ("label", "deep", "most_pictures", "most_texts", "n_products", "seed")
    }
    settings = InspectSettings(extract=ExtractSettings(**options), estimate=not no_estimate, **chosen)
    inspection = run(catalogue_path, settings=settings)
    if not has_no_page:
        write_page(inspection, html_path)
    if as_json:
        print_json(inspection.to_dict())
        return
    echo(render_text(inspection) if details else render_summary(inspection))
    if not has_no_page:
        echo(f"\n{html_path}")
