"""`heads-ablate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cache.console.command import Command, details_option, json_option, print_json, setting_options
from cache.console.paths import LOCAL_PATH, PATH
from cache.console.ray_options import ray_options, take_ray_settings
from heads.ablation.ablation_settings import USUAL_FOLDS, AblationSettings, parse_seeds
from heads.ablation.engines.registry import ENGINES
from heads.ablation.grid import parse_axis
from heads.ablation.grid_file import read_grid_file
from heads.errors import TrackError
from heads.experiment.configuration import AXES
from heads.option_texts import parse_columns, parse_encoders, parse_fusions
from heads.settings import FitSettings
from heads.tracking.trackers import parse_trackers

__all__ = ["ablate"]

setting = setting_options(AblationSettings)


class AblateCommand(Command):
    """A command that says, when it is stopped, that nothing is lost."""

    interrupted = "Stopped. The jobs that are done are remembered: the same line goes on."


def axis(*flags: str, help: str) -> Any:  # noqa: A002 - click's own word
    """Return the click option of a setting that takes a list."""
    name = flags[0].lstrip("-").replace("-", "_")
    default = getattr(FitSettings(), name)
    return click.option(
        *flags, name, metavar="LIST", help=f"{help}  [default: {'all rows' if default is None else default}]"
    )


def _use_grid_file(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Make the file's values the defaults, over which the command line wins, and return the path."""
    if path is not None:
        options = {
            flag.lstrip("-"): str(parameter.name)
            for parameter in context.command.params
            if isinstance(parameter, click.Option)
            and not (parameter.is_flag or parameter.multiple)
            and parameter.name != "grid_path"
            for flag in parameter.opts
        }
        context.default_map = read_grid_file(path, options)
    return path


@click.command(cls=AblateCommand)
@click.argument("cache_path", metavar="[CACHE]", type=PATH, default="embeddings.h5")
@click.option("--fusion", default="all", show_default=True, help="The fusions to compare, with commas; all; or auto.")
@setting("--label", help="The column to learn; default: label, category, class or target.")
@setting("--label-level", type=int, help="Of labels such as a > b or lists: 1 is the first, -1 the last.")
@click.option("--encoders", metavar="LIST", help="Of the cache's encoders; default: all of each modality.")
@click.option("--encoder", "encoder_names", multiple=True, metavar="MODALITY=NAME",
              help="Likewise, one; may be repeated.",
              callback=lambda _context, _option, texts: tuple(map("=".join, parse_encoders(texts))))  # fmt: skip
@click.option("--modalities", metavar="LIST", help="Default: all that the cache has, and metadata.")
@click.option("--metadata-columns", metavar="LIST", help="Of the catalogue, as the modality metadata; auto chooses.")
@click.option("--metadata-counts", metavar="LIST", help="Columns whose counts of words and characters are metadata.")
@setting("--allow-leaks", is_flag=True, help="Let columns that give the label away be metadata.")
@setting("--weights", help="Of late fusion: 0.4,0.6 (image,text), image=0.4,text=0.6, or auto, fitted; default: equal.")
@click.option(
    "--folds", "n_folds", type=int, help=f"Each row is tested in one of them; 1: one split.  [default: {USUAL_FOLDS}]"
)
@click.option("--seeds", default="1", show_default=True, metavar="N|LIST", help="How many, or which: 3 is 0,1,2.")
@axis("--learning-rate", "--lr", help="Of AdamW; one-cycle takes up to four times as much of large batches.")
@axis("--hidden-dim", "--hidden", help="Width of the hidden layer; of attention over tokens half of it.")
@axis("--dropout", help="Share of hidden units dropped in training.")
@axis("--weight-decay", help="Of AdamW.")
@axis("--schedule", help="Of the learning rate: one-cycle, none, cosine or plateau.")
@axis("--warmup", help="Epochs through which the learning rate rises.")
@axis("--batch-size", help="Rows a step, at most.")
@axis("--rank", help="Of lowrank.")
@axis("--modality-dropout", help="Share of a row's modalities dropped in training; at least one stays.")
@axis("--scaling", help="Of the vectors: z-score, none, l2 (rows of one length) or pca (whitened).")
@axis("--absent", help="What stands for an absent modality: zeros or learned.")
@axis("--class-weights", help="In the loss: equal or balanced.")
@axis("--logit-adjustment", help="Times the log of each class's share, added to its logit in training; or auto.")
@axis("--per-class", help="Rows of each class in an epoch: numbers, smallest, largest or all.")
@axis("--max-epochs", help="At most so many; one-cycle plans fewer.")
@axis("--patience", help="Epochs without a better validation macro-F1 before stopping.")
@setting("--search", "n_trials", type=int, metavar="N", help="N trials for each head instead of every combination; "
         "then 1e-4..1e-2 is a range. Needs Optuna.")  # fmt: skip
@setting("--race", is_flag=True, help="Train fold by fold, and stop what is certainly behind.")
@click.option("--grid", "grid_path", type=LOCAL_PATH, is_eager=True, expose_value=False, callback=_use_grid_file,
              help="A YAML or TOML file of these options; those given here win.")  # fmt: skip
@setting("--corrections", metavar="FILE", help="A CSV file of products and the labels that they should have.")
@setting("--min-rows", help="Classes with fewer rows are left out.")
@setting("--group-column", help="A column whose cells name a product: its rows stand on one side of every split.")
@setting("--near-duplicates", type=float, help="The cosine from which vectors are copies; default: equal ones.")
@setting("--split-column", help="A column that says train, validation or test; makes one fold.")
@setting("--split-seed", help="Of the folds, the search and the bootstrap.")
@setting("--test-share", help="Of the rows, where there is one fold.")
@setting("--validation-share", help="Of all rows, in each fold; they stop the training and choose the best.")
@setting("--resamples", "n_resamples", help="Of the bootstrap.")
@setting("--margin", help="Points that do not matter: a difference surely within them is equal.")
@setting("--memory", help="For vectors, such as 8G; more are read from the disk; default: half of the machine's.")
@setting("--device", help="cpu, cuda, cuda:N; auto is CUDA where there is one.")
@setting("--precision", help="fp32 or bf16, of the training; auto is bf16 where it is native.")
@setting("--engine", type=click.Choice(list(ENGINES)), help="Where jobs are trained: here, or by workers of Ray.")
@ray_options()
@click.option("--runs", "runs_path", type=LOCAL_PATH, default="runs", show_default=True, help="Where run folders go.")
@click.option("--name", help="The run folder's name; default: the label, -ablation and a number.")
@click.option("--memo", "memo_path", type=LOCAL_PATH, help="Where jobs are remembered; default: memo.sqlite in --runs.")
@click.option("--no-report", is_flag=True, help="Leave out report.html, the page that shows it all with figures.")
@click.option("--track", "trackers", metavar="LIST", callback=lambda _context, _option, text: parse_trackers(text),
              help="Tell tensorboard, mlflow, wandb of the run when it is done; each is an extra.")  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=1), help="Rows of the ranking to print.  [default: 5; all with --details]"
)
@details_option
@json_option
def ablate(
    cache_path: Path,
    fusion: str,
    encoders: str | None,
    encoder_names: tuple[str, ...],
    modalities: str | None,
    metadata_columns: str | None,
    metadata_counts: str | None,
    seeds: str,
    runs_path: Path,
    name: str | None,
    memo_path: Path | None,
    no_report: bool,
    trackers: tuple[str, ...],
    top: int | None,
    details: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare heads, encoders and settings on CACHE (default: embeddings.h5), on the same folds.

    LIST is values with commas between; all combinations are trained, each once, and remembered.
    """
    texts = {field: options.pop(field) for field in AXES if field in options}
    settings = AblationSettings(
        fusions=parse_fusions(fusion),
        encoders=((_listed(encoders) or ()) + encoder_names),
        modalities=_listed(modalities),
        metadata_columns=parse_columns(metadata_columns),
        metadata_counts=parse_columns(metadata_counts) or (),
        seeds=parse_seeds(seeds),
        ray=take_ray_settings(options),
        grid={field: parse_axis(field, text) for field, text in texts.items() if text is not None},
        **options,
    )
    from heads.commands.live_progress import Progress
    from heads.workflows.ablate import ablate as run

    try:
        with Progress() as progress:
            report = run(
                cache_path,
                settings=settings,
                runs_path=runs_path,
                name=name,
                memo_path=memo_path,
                command=["heads-ablate", *sys.argv[1:]],
                watcher=progress,
                with_report=not no_report,
                trackers=trackers,
            )
    except TrackError as error:  # the run is written, only a tracker was not told
        _show(error.report, details=details, top=top, as_json=as_json)
        raise
    _show(report, details=details, top=top, as_json=as_json)


def _show(report: Any, *, details: bool, top: int | None, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    from heads.commands.ablate_output import show_report

    show_report(report, details=details, top=top)


def _listed(text: str | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None
