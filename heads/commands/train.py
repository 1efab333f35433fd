"""`heads-train`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cache.console.command import Command, details_option, json_option, print_json, setting_options
from cache.console.paths import LOCAL_PATH, PATH
from heads.commands.encoder_options import cached_encoder_option
from heads.commands.page_options import page_options
from heads.errors import TrackError
from heads.option_texts import parse_adjustment, parse_columns, parse_controls, parse_fusions, parse_sizes
from heads.reports.report_settings import ReportSettings
from heads.settings import SIZES, TrainSettings
from heads.tracking.trackers import parse_trackers

__all__ = ["train"]

setting = setting_options(TrainSettings)


@click.command(cls=Command)
@click.argument("cache_path", metavar="[CACHE]", type=PATH, default="embeddings.h5")
@click.option(
    "--fusion",
    default="all",
    show_default=True,
    help="Of early, attention, gated, lowrank, late, logistic; all; a modality; by name alone: stack, residual, "
    "ensemble; or auto: the one that did best where heads were measured.",
)
@setting("--label", help="The column to learn; default: label, category, class or target.")
@setting("--label-level", type=int, help="Of labels such as a > b or lists: 1 is the first, -1 the last.")
@setting(
    "--weights",
    help="Of late fusion: 0.4,0.6 (image,text); image=0.4,text=0.6; auto fits them, and temperatures, on validation "
    "rows; sweep tries them all on these; default: equal.",
)
@setting("--guard", is_flag=True, help="Beside each fusion one that is no worse on validation rows than a single head.")
@setting(
    "--views", is_flag=True, help="Training rows show one of the views of embed-extract --views, drawn each epoch."
)
@setting("--pseudo-label", is_flag=True, help="Learn from unlabelled products, too, where validation rows gain by it.")
@click.option(
    "--controls",
    default=",".join(TrainSettings.controls),
    show_default=True,
    help="Of majority, centroids, neighbours, logistic; all; or none.",
)
@click.option("--missing", is_flag=True, help="Print the scores with modalities missing, too.")
@click.option(
    "--size",
    "sizes",
    metavar="LIST",
    callback=lambda _context, _option, text: parse_sizes(text),
    help="small: does it run; large: can it learn by heart; regularised: does it generalise; all: side by side, the "
    "last being the run's; each trains all heads anew, large for long: minutes with --fusion all. Other options win.",
)
@cached_encoder_option
@click.option("--modalities", help="Default: all that the cache has, and metadata where columns are named.")
@click.option("--metadata-columns", metavar="LIST", help="Of the catalogue, as the modality metadata; auto chooses.")
@click.option("--metadata-counts", metavar="LIST", help="Columns whose counts of words and characters are metadata.")
@setting("--allow-leaks", is_flag=True, help="Let columns that give the label away be metadata.")
@setting("--corrections", metavar="FILE", help="A CSV file of products and the labels that they should have.")
@setting("--min-rows", help="Classes with fewer rows are left out.")
@setting("--group-column", help="A column whose cells name a product: its rows stand on one side of every split.")
@setting("--near-duplicates", type=float, help="The cosine from which vectors are copies; default: equal ones.")
@setting("--split-column", help="A column that says train, validation or test; default: split by the seed.")
@setting("--test-share", help="Of the rows, where no column splits them.")
@setting("--validation-share", help="Of the rows; for early stopping.")
@setting("--seed", help="Of the split, the initial weights and the order.")
@setting("--hidden-dim", help="Width of the hidden layer; of attention over tokens half of it.")
@setting("--rank", help="Of lowrank.")
@setting("--dropout", help="Share of hidden units dropped in training.")
@setting("--modality-dropout", help="Share of a row's modalities dropped in training; at least one stays.")
@setting("--scaling", help="Of the vectors: z-score, none, l2 (rows of one length) or pca (whitened).")
@setting("--absent", help="What stands for an absent modality: zeros (the mean) or a learned vector.")
@setting("--learning-rate", help="Of AdamW; one-cycle takes up to four times as much of large batches.")
@setting("--weight-decay", help="Of AdamW.")
@setting("--schedule", help="Of the learning rate: one-cycle, none, cosine (to 0 at --max-epochs) or plateau.")
@setting("--warmup", help="Epochs through which the learning rate rises.")
@setting("--batch-size", help="Rows a step, at most.")
@setting("--max-epochs", help="At most so many; one-cycle plans fewer.")
@setting("--class-weights", help="In the loss: equal, or balanced so that every class weighs the same.")
@setting("--logit-adjustment", type=parse_adjustment, metavar="NUMBER|auto",
         help="Times the log of each class's share, added to its logit in training; auto: taken from it afterwards, as "
         "the validation rows choose.")  # fmt: skip
@setting("--per-class", help="Rows of each class in an epoch: a number, smallest, largest or all.")
@setting("--resamples", "n_resamples", help="Of the bootstrap.")
@setting("--margin", help="Points that do not matter: a difference surely within them is equal.")
@setting("--memory", help="For vectors, such as 8G; more are read from the disk; default: half of the machine's.")
@setting("--device", help="cpu, cuda, cuda:N; auto is CUDA where there is one.")
@setting("--precision", help="fp32 or bf16, of the training; auto is bf16 where it is native.")
@setting("--keep", help="The weights of the best epoch on the validation rows, or of the last, after --max-epochs.")
@setting("--patience", help="Epochs without a better validation macro-F1 before stopping.")
@click.option("--runs", "runs_path", type=LOCAL_PATH, default="runs", show_default=True, help="Where run folders go.")
@click.option("--name", help="The run folder's name; default: the label and a number.")
@click.option("--no-report", is_flag=True, help="Leave report.html out of the run folder.")
@page_options
@click.option("--track", "trackers", metavar="LIST", callback=lambda _context, _option, text: parse_trackers(text),
              help="Tell tensorboard, mlflow, wandb of the run when it is done; each is an extra.")  # fmt: skip
@details_option
@json_option
@click.pass_context
def train(
    context: click.Context,
    cache_path: Path,
    fusion: str,
    controls: str,
    missing: bool,
    sizes: tuple[str, ...],
    encoders: dict[str, str],
    modalities: str | None,
    metadata_columns: str | None,
    metadata_counts: str | None,
    runs_path: Path,
    name: str | None,
    no_report: bool,
    page: ReportSettings,
    trackers: tuple[str, ...],
    details: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train heads from CACHE (default: embeddings.h5), each modality alone beside every fusion."""
    settings = TrainSettings(
        fusions=parse_fusions(fusion),
        controls=parse_controls(controls),
        encoders=encoders,
        modalities=tuple(modalities.replace(" ", "").split(",")) if modalities else None,
        metadata_columns=parse_columns(metadata_columns),
        metadata_counts=parse_columns(metadata_counts) or (),
        **options,
    )
    settings_by_size = {size: replace(settings, **_without_named_options(context, SIZES[size])) for size in sizes}
    if sizes:
        settings = settings_by_size[sizes[-1]]
    from heads.workflows.train import train as run

    try:
        report = run(
            cache_path,
            settings=settings,
            runs_path=runs_path,
            name=name,
            command=["heads-train", *sys.argv[1:]],
            report=None if no_report else page,
            trackers=trackers,
            sizes=settings_by_size,
        )
    except TrackError as error:  # the run is written, only a tracker was not told
        _show(error.report, details=details, missing=missing, as_json=as_json)
        raise
    _show(report, details=details, missing=missing, as_json=as_json)


def _show(report: Any, *, details: bool, missing: bool, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report) | {"verdicts": [verdict.to_dict() for verdict in report.verdicts]})
        return
    from heads.commands.train_output import show_report

    show_report(report, details=details, missing=missing)


def _without_named_options(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those that the command line names, which win."""
    return {
        option: value
        for option, value in options.items()
        if context.get_parameter_source(option) == ParameterSource.DEFAULT
    }
