"""`heads-review`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache.console.command import Command, json_option, print_json, print_wrapped, setting_options
from cache.console.echo import echo
from cache.console.paths import LOCAL_PATH, PATH
from cache.system.stray_bytes import printable
from heads.commands.encoder_options import cached_encoder_option
from heads.commands.page_options import page_options
from heads.option_texts import parse_columns
from heads.reports.report_settings import ReportSettings
from heads.review.review_settings import ReviewSettings

if TYPE_CHECKING:
    from heads.workflows.review import ReviewReport

__all__ = ["review"]

setting = setting_options(ReviewSettings)


@click.command(cls=Command)
@click.argument("cache_path", metavar="[CACHE]", type=PATH, default="embeddings.h5")
@setting("--label", help="The column to fill, which may not be there yet; default: label, category, class or target.")
@click.option("--classes", metavar="LIST", help="Classes that no label names yet, with commas between.")
@setting("--corrections", type=LOCAL_PATH, help="The labels given so far: a CSV with the columns product and label.")
@setting("--count", help="Products to ask for.")
@cached_encoder_option
@click.option("--modalities", help="Default: all that the cache has.")
@setting("--group-column", help="A column whose cells name a product: one of its rows is asked for.")
@setting("--near-duplicates", type=float, help="The cosine from which vectors are copies; default: equal ones.")
@setting("--seed", help="Of the clusters.")
@setting("--memory", help="For vectors, such as 8G; default: half of the machine's.")
@page_options
@click.option("-o", "--output", type=LOCAL_PATH, help="The page; a table stands beside it; default: review-001.html.")
@json_option
def review(
    cache_path: Path,
    classes: str | None,
    encoders: dict[str, str],
    modalities: str | None,
    page: ReportSettings,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Choose the products of CACHE (default: embeddings.h5) that a person should label next, and make a page for it."""
    settings = ReviewSettings(
        classes=parse_columns(classes) or (),
        encoders=encoders,
        modalities=tuple(modalities.replace(" ", "").split(",")) if modalities else None,
        **options,
    )
    from heads.workflows.review import review_products as run

    report = run(cache_path, output, settings=settings, report=page)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)


def _show(report: ReviewReport) -> None:
    """Print how many products have a label, how many are asked for and why, which never are, and the files."""
    for note in report.notes:
        print_wrapped(note)
    of_classes = f", of {len(report.classes)} classes" if report.classes else ""
    print_wrapped(f"{report.label}: {report.n_labelled:,} of {report.n_products:,} products have a label{of_classes}.")
    print_wrapped(f"{report.n_asked:,} of {report.n_candidates:,} that may be asked for are asked for. {report.how}")
    left_out = [
        f"{count:,} {description}"
        for count, description in (
            (report.n_copies, "copy of another" if report.n_copies == 1 else "copies of others"),
            (report.n_placeholders, "with a placeholder"),
            (report.n_without_vector, "without a vector"),
        )
        if count
    ]
    if left_out:
        print_wrapped(f"Never asked for: {', '.join(left_out)}.")
    echo(printable(f"\n{_short(report.page_path)}  to label them in a browser ({report.elapsed_s:.1f} s)"))
    echo(printable(f"{_short(report.table_path)}   the same as a table"))


def _short(path: Path) -> str:
    """Return a path relative to the current folder, if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
