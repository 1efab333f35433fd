"""`heads-audit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache.console.command import (
    WIDTH,
    Command,
    details_option,
    json_option,
    print_json,
    print_table,
    print_wrapped,
    setting_options,
)
from cache.console.echo import echo
from cache.console.paths import LOCAL_PATH, PATH
from heads.audit.audit_settings import AuditSettings
from heads.audit.finding import KINDS
from heads.commands.encoder_options import cached_encoder_option
from heads.commands.page_options import page_options
from heads.reports.report_settings import ReportSettings

if TYPE_CHECKING:
    from heads.audit.audit_report import AuditReport

__all__ = ["audit"]

setting = setting_options(AuditSettings)
N_SHOWN, N_DETAILS = 1, 10  # findings of a kind


@click.command(cls=Command)
@click.argument("cache_path", metavar="[CACHE]", type=PATH, default="embeddings.h5")
@setting("--label", help="The column to look at; default: label, category, class or target.")
@setting("--label-level", type=int, help="Of labels such as a > b or lists: 1 is the first, -1 the last.")
@setting("--corrections", metavar="FILE", help="A CSV file of products and the labels that they should have.")
@cached_encoder_option
@click.option("--modalities", metavar="LIST", help="Default: all that the cache has.")
@setting("--folds", "n_folds", help="Each row is answered by heads of one fold that did not learn from it.")
@setting("--neighbours", "n_neighbours", help="That vote on each row's label.")
@setting("--most", help="Findings of each kind that are written down.")
@setting("--min-rows", help="Classes with fewer rows are left out.")
@setting("--group-column", help="A column whose cells name a product: its rows are copies of each other.")
@setting("--near-duplicates", type=float, help="The cosine from which vectors are copies; default: equal ones.")
@setting("--seed", help="Of the folds and the heads.")
@setting("--memory", help="For vectors, such as 8G; more are read from the disk; default: half of the machine's.")
@setting("--device", help="cpu, cuda, cuda:N; auto is CUDA where there is one.")
@setting("--precision", help="fp32 or bf16, of the training; auto is bf16 where it is native.")
@click.option("--runs", "runs_path", type=LOCAL_PATH, default="runs", show_default=True, help="Where run folders go.")
@click.option("--name", help="The run folder's name; default: the label, -audit and a number.")
@click.option("--no-report", is_flag=True, help="Leave report.html out of the run folder.")
@page_options
@details_option
@json_option
def audit(
    cache_path: Path,
    encoders: dict[str, str],
    modalities: str | None,
    runs_path: Path,
    name: str | None,
    no_report: bool,
    page: ReportSettings,
    details: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Look for what is wrong in the catalogue of CACHE (default: embeddings.h5), and write a table and a page of it.

    Labels, copies, pictures and titles that disagree, outliers, placeholders, classes. Corrections are read back.
    """
    settings = AuditSettings(
        encoders=encoders,
        modalities=tuple(modalities.replace(" ", "").split(",")) if modalities else None,
        **options,
    )
    from heads.workflows.audit import audit_catalogue

    report = audit_catalogue(
        cache_path,
        settings=settings,
        runs_path=runs_path,
        name=name,
        command=["heads-audit", *sys.argv[1:]],
        report=None if no_report else page,
    )
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report, n_shown=N_DETAILS if details else N_SHOWN, has_page=not no_report)


def _show(report: AuditReport, *, n_shown: int, has_page: bool) -> None:
    encoders = "  ".join(f"{modality}: {name}" for modality, name in report.encoders.items())
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in report.left_out.items())
    left_out_part = f"; left out: {left_out}" if left_out else ""
    print_wrapped(
        f"{report.label}: {report.n_classes} classes; {report.n_audited:,} of {report.n_products:,} products audited"
        f"{left_out_part}"
    )
    echo(encoders)
    if report.untrained:
        untrained = ", ".join(report.untrained)
        print_wrapped(f"UNTRAINED encoders ({untrained}): what is found by them says nothing about the catalogue.")
    echo()
    print_wrapped(report.verdict)
    echo()
    print_table(["what", "found"], [[title, f"{report.counts[kind]:,}"] for kind, title in KINDS.items()], width=WIDTH)
    for kind, title in KINDS.items():
        shown_findings = [finding for finding in report.findings if finding.kind == kind][:n_shown]
        if shown_findings:
            echo(f"\n{title}, {'the first' if len(shown_findings) == 1 else f'the first {len(shown_findings)}'}:")
        for finding in shown_findings:
            print_wrapped(finding.words if finding.row is None else f"{report.ids[finding.row]}: {finding.words}")
    echo(f"\n{report.run_path}/findings.csv{', report.html' if has_page else ''}  ({report.elapsed_s:.1f} s)")
