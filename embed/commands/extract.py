"""`embed-extract`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache.console.command import (
    WIDTH,
    Command,
    json_option,
    print_json,
    print_table,
    print_wrapped,
    setting_options,
    show_statuses,
)
from cache.console.echo import echo
from cache.console.paths import PATH
from cache.console.ray_options import ray_options, take_ray_settings
from cache.shares import percent
from embed.amounts import show_bytes
from embed.extraction.engines.registry import ENGINES
from embed.settings import ExtractSettings

if TYPE_CHECKING:
    from embed.extraction.encoding.encoder_run import EncoderReport
    from embed.extraction.extract_catalogue import ExtractReport

__all__ = ["extract"]

DEFAULT_CACHE = "embeddings.h5"
setting = setting_options(ExtractSettings)


class ExtractCommand(Command):
    """Ctrl-C keeps what is done."""

    interrupted = "Stopped. What was encoded is kept in the journal: type the same line again to go on."


@click.command(cls=ExtractCommand)
@click.argument("catalogue_path", metavar="[CATALOGUE]", type=PATH, default="data.csv")
@click.option("-o", "--output", "cache_path", type=PATH, default=DEFAULT_CACHE, show_default=True, help="The cache.")
@click.option("--modalities", help="What to encode; default: image,text, of class folders image.")
@setting("--device", help="auto, cpu, cuda, cuda:N, mps, or several that share the work: cuda:0,cuda:1.")
@setting("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), help="auto: bf16 where it is native.")
@setting(
    "--image-encoder",
    help="A torchvision classification model, or a Hugging Face vision model: a folder, "
    "or a name on the hub. Several with commas, so that no folder's name may hold one.",
)
@setting(
    "--image-weights",
    help="pretrained, random, or torchvision's as a file (.safetensors, .pth); one for all encoders, or one for each.",
)
@setting(
    "--image-name", help="The vectors' name in the cache, one for each encoder; default: made from encoder and weights."
)
@setting("--text-encoder", help="A Hugging Face encoder: a folder, or a name on the hub. Several with commas.")
@setting("--text-weights", help="pretrained or random; one for all encoders, or one for each.")
@setting(
    "--text-name", help="The vectors' name in the cache, one for each encoder; default: made from encoder and weights."
)
@setting("--pooling", help="Of the text's last hidden states: cls or mean; one for all encoders, or one for each.")
@setting("--max-length", help="Tokens a text is cut to.")
@setting("--seed", help="Draws random weights, views, and the products of --per-class and --sample.")
@setting("--id-column", help="Default: id, product_id, sku, …, else rows are numbered.")
@setting("--image-column", help="Default: image, image_path, filename, …")
@setting("--image-template", multiple=True, help="Paths made of cells: 'images/{id}.jpg'; several are tried in turn.")
@setting(
    "--pictures",
    type=click.Choice(["first", "mean", "rows"]),
    help="Of cells that list several: the first, the mean of their vectors, or a row each.",
)
@setting("--text-column", help="Default: text, title, productDisplayName, name, description, …")
@setting("--text-columns", help="Several, with commas: their non-empty cells joined with '. ' are the text.")
@setting("--clean-text", is_flag=True, help="Encode texts in lower case, without HTML, with blanks for punctuation.")
@setting(
    "--where",
    help="Only these products: \"gender == 'Men' and price < 20\"; ==, <, in, and, or, not. 1,299.00 is no number.",
)
@setting(
    "--class-names", metavar="COLUMNS", help="Encode the names in these columns, too: heads-train starts from them."
)
@setting("--label", help="The column whose classes --per-class counts.")
@setting("--per-class", type=int, help="Of these so many of each class, drawn at random.")
@setting("--sample", type=int, help="Of these so many in all, drawn at random.")
@setting("--labels", type=PATH, help="A second table, whose columns are joined by id.")
@setting("--delimiter", help="Of a CSV catalogue: one character, or tab; default: by its first lines.")
@setting(
    "--escape", help="What stands before a quote in a cell of CSV, such as \\\\, or none; default: by its first lines."
)
@setting(
    "--bad-lines",
    type=click.Choice(["error", "skip"]),
    help="Lines with too many or too few cells: stop, or leave out.",
)
@setting("--encoding", help="Of a CSV catalogue; default: UTF-8, or UTF-16 by its mark.")
@setting("--image-root", type=PATH, help="What image paths are relative to; default: the catalogue's folder.")
@setting("--allow-outside", is_flag=True, help="Read pictures outside the image root.")
@setting(
    "--tokens", type=str, is_flag=False, flag_value="all", metavar="[all|3x3]",
    help="Keep token states for attention: the picture's feature map, whole or averaged, and the text's tokens.",
)  # fmt: skip
@setting(
    "--layers", help="Depths of each network whose pooled states are kept: the last, and others evenly spread before."
)
@setting("--views", help="Of each picture: as it is, and augmented ones for heads-train --views, drawn from the seed.")
@setting("--decode", type=click.Choice(["exact", "fast"]), help="fast: scale large JPEGs down while decoding.")
@setting("--batch-size", type=int, help="Contents a batch; default: what suits encoder and device.")
@setting(
    "--workers",
    "n_workers",
    type=int,
    help="Threads that read, decode and encode; default: one per core. Of Ray: processes; default: as many as fit.",
)
@setting("--engine", type=click.Choice(list(ENGINES)), help="Who encodes: this process, or workers of a Ray cluster.")
@ray_options(without=("n_workers", "deadline_s"))
@click.option(
    "--task-deadline",
    "ray_deadline_s",
    default=ExtractSettings().ray.deadline_s,
    show_default=True,
    help="Seconds that a worker of Ray's may say nothing; then it is replaced.",
)
@setting("--reuse", type=PATH, multiple=True, help="Another cache, whose vectors of the same encoders are taken.")
@setting(
    "--memory",
    help="For the catalogue's cells, keys and rows, such as 2G; more lies on the disk; default: half of the machine's.",
)
@setting("--retry-failed", is_flag=True, help="Try the contents again that could not be read.")
@setting("--rehash", is_flag=True, help="Read every picture, also where size, inode and times are unchanged.")
@setting("--max-bad", help="Fail when more products have bad contents: 1% or 20; default: no limit.")
@click.option(
    "--shard",
    help="Encode one share, as 3/16 (the first is 0), or auto: as Slurm, torchrun or Kubernetes says. A last call "
    "without it seals.",
)
@click.option(
    "--estimate", "is_estimate", is_flag=True, help="Hash, encode a sample, and print bytes and time; write no vector."
)
@json_option
def extract(
    catalogue_path: Path,
    cache_path: Path,
    modalities: str | None,
    shard: str | None,
    as_json: bool,
    is_estimate: bool,
    **options: Any,
) -> None:
    """Encode what of CATALOGUE (default: data.csv) is not in the cache yet.

    CATALOGUE is CSV, JSON, Excel or Parquet, several of such ("part-*.csv"), a folder of class folders, a saved
    Hugging Face dataset, or tar shards ("shard-{000..003}.tar").
    """
    ray = take_ray_settings(options)
    settings = ExtractSettings(modalities=_modalities(modalities, catalogue_path), ray=ray, **options)
    if shard is not None:
        _extract_shard(catalogue_path, cache_path, settings, shard, as_json=as_json, is_estimate=is_estimate)
        return
    if is_estimate:
        _estimate(catalogue_path, cache_path, settings, as_json=as_json)
        return
    from embed.extraction.extract_catalogue import extract as run

    report = run(catalogue_path, cache_path, settings=settings)
    if as_json:
        print_json(asdict(report))
        return
    _show(report)


def _extract_shard(
    catalogue_path: Path, cache_path: Path, settings: ExtractSettings, shard: str, *, as_json: bool, is_estimate: bool
) -> None:
    from embed.extraction.extract_catalogue import extract_shard

    if is_estimate:
        raise click.UsageError("--estimate is of the whole catalogue: leave --shard out.")
    report = extract_shard(catalogue_path, cache_path, shard=shard, settings=settings)
    if as_json:
        print_json(asdict(report))
        return
    echo(f"{report.cache_path}: shard {report.shard} is done, {report.elapsed_s:.1f} s in all.\n")
    _show_encoders(report.encoders)
    echo()
    for modality, counts in report.statuses.items():
        if bad := {status: count for status, count in counts.items() if status != "ok"}:
            print_wrapped(f"{modality}: {show_statuses(bad)} in this share")
    print_wrapped("When all shards are done, the same line without --shard seals the cache.")


def _show(report: ExtractReport) -> None:
    """Print what was encoded, what was not, and how to go on."""
    state = "sealed" if report.was_written else "unchanged"
    echo(f"{report.cache_path}: {report.n_products} products, {state}, {report.elapsed_s:.1f} s in all.")
    columns = [
        f"{role}: {' + '.join(f'{name} ({_show_share(share)})' for name, share in shares.items())}"
        for role, shares in report.columns.items()
    ]
    print_wrapped(f"Taken for {', '.join(columns)}.")
    echo()
    _show_encoders(report.encoders)
    echo()
    for modality, counts in report.statuses.items():
        print_wrapped(f"{modality}: {show_statuses(counts)} ({report.contents[modality]})")
    if report.failures_path is not None:
        print_wrapped(f"What could not be read is listed in {report.failures_path}.")
    cache = "" if report.cache_path == Path(DEFAULT_CACHE) else f" {shlex.quote(str(report.cache_path))}"
    label = "" if "label" in report.columns else " --label COLUMN"
    encoders = "".join(f" --encoder {shlex.quote(f'{modality}={name}')}" for modality, name in report.chosen.items())
    echo(f"Next: heads-train{cache}{label}{encoders}")


def _show_encoders(encoders: Sequence[EncoderReport]) -> None:
    print_table(
        ["encoder", "unique", "cached", "encoded", "failed", "seconds"],
        [
            [
                report.name,
                *map(str, (report.n_unique, report.n_cached, report.n_encoded, report.n_failed)),
                f"{report.elapsed_s:.1f}",
            ]
            for report in encoders
        ],
        width=WIDTH,
    )


def _show_share(share: float) -> str:
    """Return how full a column is in words; what is not quite full is never called so."""
    return "100 % full" if share == 1 else f"{percent(share)} % full" if share else "empty"


def _modalities(requested: str | None, catalogue_path: Path) -> tuple[str, ...]:
    from embed.catalogue.open_table import usual_modalities

    if requested is not None:
        return tuple(name.strip() for name in requested.split(",") if name.strip())
    return usual_modalities(catalogue_path)


def _estimate(catalogue_path: Path, cache_path: Path, settings: ExtractSettings, *, as_json: bool) -> None:
    from embed.extraction.disk_space import check_space
    from embed.extraction.extract_catalogue import estimate

    costs = estimate(catalogue_path, cache_path, settings=settings)
    if as_json:
        print_json(asdict(costs))
    else:
        print_table(
            ["encoder", "unique", "to encode", "vectors", "tokens", "seconds", "sampled"],
            [
                [
                    encoder.name,
                    *map(str, (encoder.n_unique, encoder.n_missing)),
                    *map(show_bytes, (encoder.vector_bytes, encoder.token_bytes)),
                    f"{encoder.encode_s:.0f}",
                    str(encoder.n_sampled),
                ]
                for encoder in costs.encoders
            ],
            width=WIDTH,
        )
        needed, free = costs.needed_bytes / 1e6, costs.free_bytes / 1e6
        echo(f"{costs.cache_path}: needs {needed:.1f} MB while it seals, {free:.0f} MB are free.")
        echo("No vector was written.")
    check_space(costs.cache_path, n_bytes=costs.n_bytes)
