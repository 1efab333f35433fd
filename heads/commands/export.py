"""`heads-export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cache.console.command import (
    WIDTH,
    Command,
    json_option,
    print_json,
    print_table,
    print_wrapped,
    setting_options,
)
from cache.console.echo import echo
from cache.console.paths import LOCAL_PATH, PATH
from cache.shares import percent
from heads.commands.encoder_options import encoder_file_options
from heads.export.export_settings import ExportSettings, parse_names
from heads.export.formats import FORMATS

if TYPE_CHECKING:
    from heads.export.int8 import Int8Report
    from heads.workflows.export import ExportReport

__all__ = ["export"]

_setting = setting_options(ExportSettings)


@click.command(cls=Command)
@click.argument("run_path", metavar="RUN", type=LOCAL_PATH)
@click.option("--head", help="One of the run's heads; default: the best on the validation rows.")
@click.option("--format", "formats", default="onnx", show_default=True, help=f"Some of {', '.join(FORMATS)}.")
@click.option("--with-encoder", "with_encoders", help="Modalities whose encoder is in the file: image,text or all.")
@click.option("-o", "--output", type=LOCAL_PATH, help="The folder to write; default: export/HEAD in RUN.")
@_setting("--int8", is_flag=True, help="Also in int8, where that loses no more than --max-loss.")
@_setting("--max-loss", metavar="POINTS", help="Of accuracy on the validation rows that int8 may lose.")
@click.option("--cache", "cache_path", type=PATH, help="Where the run's cache is now, for --int8.")
@encoder_file_options
@click.option("--plugins", is_flag=True, help="Load a head of a user's own class: runs its code.")
@json_option
def export(
    run_path: Path,
    head: str | None,
    formats: str,
    with_encoders: str | None,
    output: Path | None,
    int8: bool,
    max_loss: float,
    cache_path: Path | None,
    encoders: dict[str, str],
    plugins: bool,
    as_json: bool,
) -> None:
    """Write a head of RUN as a file that others run, with a model card.

    What is written is held against PyTorch; where it answers otherwise nothing is kept.
    """
    settings = ExportSettings(
        formats=parse_names(formats), with_encoders=parse_names(with_encoders), int8=int8, max_loss=max_loss
    )
    from heads.workflows.export import export_head

    report = export_head(
        run_path, head=head, settings=settings, output=output, cache_path=cache_path, encoder_files=encoders,
        plugins=plugins,
    )  # fmt: skip
    if as_json:
        print_json(_as_dict(report))
    else:
        _show(report)


def _show(report: ExportReport) -> None:
    print_wrapped(f"{report.head}: {'; '.join(map(str, report.inputs))} -> probabilities of {report.classes} classes")
    for name, agreement in report.agreements.items():
        print_wrapped(
            f"model.{name} answers {agreement.n_answers} rows as PyTorch does, within {agreement.largest:.1e}: every "
            "subset of modalities, rows without any, batches of 1, 2 and 7."
        )
    if report.int8:
        _show_int8(report.int8)
    for modality, cosine in report.cosines.items():
        echo(f"The {modality} vectors in it have a cosine of {cosine:.6f} or more with the encoder's own.")
    echo()
    print_table(["file", "kB"], [[name, f"{size / 1000:,.0f}"] for name, size in report.files.items()], width=WIDTH)
    echo(f"\n{report.folder}")


def _show_int8(report: Int8Report) -> None:
    speeds = ", ".join(f"{name} {speed:,.0f}" for name, speed in report.speeds.items())
    print_wrapped(
        f"int8 is {percent(report.accuracy_int8)} % right on {report.n_rows} validation rows, fp32 "
        f"{percent(report.accuracy)} %. Rows a second: {speeds}."
    )


def _as_dict(report: ExportReport) -> dict[str, object]:
    return {
        **asdict(report),
        "folder": str(report.folder),
        "inputs": [str(graph_input) for graph_input in report.inputs],
    }
