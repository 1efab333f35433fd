"""`heads-check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cache.console.command import Command, details_option, json_option, print_json, print_table, print_wrapped
from cache.console.echo import echo
from heads.checks.check_settings import DIMS, N_CLASSES, parse_dims
from heads.errors import HeadError

if TYPE_CHECKING:
    from heads.checks.check_head import CheckReport

__all__ = ["check"]

SHOWN = {"ok": "ok", "failed": "FAIL", "not checked": "-"}
# \b at its beginning has click leave the lines as they are.
EXPLAINED = """\b
shape   answers are finite (B, K) float32 logits, for one row too
repeat  the same rows get the same answers: dropout is switched off
learn   what learns is a parameter, and each one gets a gradient
alone   an answer does not depend on the other rows of its batch
fuse    every modality changes the answers
attend  what attention finds depends on what is asked
absent  what stands where a modality is absent does not matter
fit     32 rows with random labels can be learned by heart
save    a saved and loaded head answers as before, to the bit
"""
USUAL_DIMS = ",".join(f"{name}={dim}" for name, dim in DIMS.items())


@click.command(cls=Command, epilog=EXPLAINED)
@click.argument("heads", metavar="[HEAD]...", nargs=-1)
@click.option("--dims", default=USUAL_DIMS, show_default=True, help="The modalities, and the dimensions of each.")
@click.option("--classes", type=click.IntRange(2), default=N_CLASSES, show_default=True, help="How many to tell apart.")
@click.option("--seed", type=click.IntRange(0, 2**32), default=0, show_default=True, help="Of weights and random rows.")
@details_option
@json_option
def check(heads: tuple[str, ...], dims: str, classes: int, seed: int, details: bool, as_json: bool) -> None:
    """Check that heads do what their names say, on random rows.

    HEAD is a built-in head (default: all of them), or a class of your own: module:Class or path/to/file.py:Class, built
    as Class(dims, n_classes=K).
    """
    modality_dims = parse_dims(dims)
    from heads.checks.check_head import check_heads

    reports = check_heads(heads, dims=modality_dims, n_classes=classes, seed=seed)
    if as_json:
        print_json({"heads": [{**asdict(report), "passed": report.passed} for report in reports]})
    else:
        _show(reports, details=details)
    if failed := [report for report in reports if not report.passed]:
        shown = "; ".join(
            f"{report.name} fails {', '.join(finding.check for finding in report.failures)}" for report in failed
        )
        raise HeadError(f"Expected every head to pass every check, but {shown}. The reasons stand with the results.")


def _show(reports: list[CheckReport], *, details: bool) -> None:
    """Print whether all passed, a row a head, and why a check failed; with `details` also why one was not made."""
    n_passed = sum(report.passed for report in reports)
    echo(f"{n_passed} of {len(reports)} heads pass every check.\n")
    checks = [finding.check for finding in reports[0].findings]
    # A user's own class is shown without its path or module, which would make the table wider than the screen.
    rows = [
        [report.name.rpartition(":")[2], *(SHOWN[finding.outcome] for finding in report.findings)] for report in reports
    ]
    print_table(["head", *checks], rows)
    for report in reports:
        for finding in report.failures:
            echo()
            print_wrapped(f"{report.name}, {finding.check}: {finding.reason}")
    if details:
        _show_details(reports)


def _show_details(reports: list[CheckReport]) -> None:
    echo()
    echo(EXPLAINED.removeprefix("\b\n"))
    for report in reports:
        left_out: dict[str, list[str]] = {}  # reason -> checks
        for finding in report.findings:
            if finding.outcome == "not checked":
                left_out.setdefault(finding.reason, []).append(finding.check)
        unchecked = "".join(f"; not {', '.join(checks)}: {reason}" for reason, checks in left_out.items())
        print_wrapped(f"{report.name}: checked in {report.elapsed_s:.1f} s{unchecked}")
