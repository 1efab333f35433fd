"""What `heads-train` prints of a run."""

from __future__ import annotations

from typing import Any

import click

from cache.command import print_table
from heads.guard import GUARD
from heads.training import RunReport

__all__ = ["show_report"]

WIDTH = 80
MOST_POINTS = 21  # of a sweep
MOST_WEIGHTS = 7  # characters of late's weights in the table; the line below has them in any case


def show_report(report: RunReport, *, missing: bool) -> None:
    """Print a run: its table, the verdicts, and what stands behind them."""
    rows = ", ".join(f"{count} {side}" for side, count in report.n_rows.items())
    click.echo(f"{report.label}: {report.n_classes} classes; {rows} rows")
    click.echo("  ".join(f"{modality}: {encoder}" for modality, encoder in report.encoders.items()) + "\n")
    _show_scores(report)
    _show_weights(report)
    if report.untrained:
        names = ", ".join(report.untrained)
        click.echo(f"\nUNTRAINED encoders ({names}): these numbers say nothing about real ones.")
    click.echo()
    for verdict in report.verdicts:
        click.echo(click.wrap_text(verdict.sentence, width=WIDTH))
    for verdict in report.verdicts:
        for warning in verdict.warnings:
            click.echo(click.wrap_text(warning, width=WIDTH))
    if report.verdicts:
        _show_details(report)
    if missing and report.missing:
        _show_missing(report)
    click.echo(f"\n{report.run_path}  ({report.elapsed_s:.1f} s)")


def _show_scores(report: RunReport) -> None:
    named = {}
    for head, scored in report.metrics.items():
        if head.endswith(GUARD):
            continue
        shown = ",".join(f"{round(weight, 2):g}".removeprefix("0") or "0" for weight in report.weights.values())
        named[f"{head} {shown}" if head == "late" and len(shown) <= MOST_WEIGHTS else head] = scored
        if head + GUARD in report.metrics:
            named[f"  {GUARD} {head}"] = report.metrics[head + GUARD]
    named |= {f"({name})": scored for name, scored in report.controls.items()}
    print_table(
        ["head", "acc", "95 %", "macro-F1", "95 %", "loss", "ECE", "gap", "s"],
        [[f"  {GUARD}" if GUARD in name else name, *_cells(scored)] for name, scored in named.items()],
    )


def _cells(scored: dict[str, Any]) -> list[str]:
    def span(low_high: list[float]) -> str:
        return "–".join(map(_percent, low_high))

    return [
        _percent(scored["accuracy"]),
        span(scored["accuracy_interval"]),
        _percent(scored["macro_f1"]),
        span(scored["macro_f1_interval"]),
        f"{scored['log_loss']:.3f}",
        f"{scored['calibration_error']:.3f}",
        _percent(scored["train_test_gap"]) if "train_test_gap" in scored else "",
        f"{scored['fit_s']:.1f}" if scored["fit_s"] < 9.95 else f"{scored['fit_s']:.0f}",
    ]


def _show_weights(report: RunReport) -> None:
    if report.sweep:
        points = report.sweep
        best = max(points, key=lambda point: (point.weights == report.weights, point.macro_f1))
        if len(points) > MOST_POINTS:
            points = sorted(points, key=lambda point: -point.macro_f1)[:MOST_POINTS]
        click.echo("\nlate on the validation rows, by weights; sweep.csv has the test rows beside them:\n")
        print_table(
            [*best.weights, "acc", "macro-F1", "loss", ""],
            [
                [
                    *(f"{weight:.2f}" for weight in point.weights.values()),
                    _percent(point.accuracy),
                    _percent(point.macro_f1),
                    f"{point.log_loss:.3f}",
                    "chosen" if point is best else "",
                ]
                for point in points
            ],
        )
    if not report.weights:
        return
    if report.weight_intervals:
        shown = ", ".join(
            f"{name} {weight:.2f} [{report.weight_intervals[name][0]:.2f}, {report.weight_intervals[name][1]:.2f}]"
            for name, weight in report.weights.items()
        )
        shown += ", fitted on the validation rows"
    else:
        shown = ", ".join(f"{name} {weight:g}" for name, weight in report.weights.items())
    click.echo("\n" + click.wrap_text(f"late averages the probabilities with the weights {shown}.", width=WIDTH))


def _show_missing(report: RunReport) -> None:
    """Print accuracy and macro-F1 of each head without some modalities, a few columns at a time."""
    columns = [what for what in report.missing if what != "+".join(report.encoders)]
    text = "Accuracy/macro-F1 with these modalities alone, and with entries missing at random:"
    click.echo("\n" + click.wrap_text(text, width=WIDTH))
    for start in range(0, len(columns), 5):
        shown = columns[start : start + 5]
        click.echo()
        print_table(
            ["head", *shown],
            [[head, *(_pair(report.missing[what][head]) for what in shown)] for head in report.metrics],
        )


def _show_details(report: RunReport) -> None:
    single, n_rows = report.verdicts[0].single, report.verdicts[0].n_rows
    text = (
        f"Against {single} alone: of {n_rows} test rows those that only one of the two has right, with McNemar's p "
        "(which takes rows for independent); classes with more rows right, fewer, as many; points of accuracy and "
        "macro-F1 lost where a modality is shuffled among the test rows."
    )
    click.echo("\n" + click.wrap_text(text, width=WIDTH) + "\n")
    rows = []
    for verdict in report.verdicts:
        if verdict.rows is None or verdict.classes is None:
            continue
        rows.append(
            [
                verdict.fusion,
                f"+{verdict.rows.n_won} -{verdict.rows.n_lost}",
                f"{verdict.rows.p_value:.3f}",
                f"+{verdict.classes.n_won} -{verdict.classes.n_lost} ={verdict.classes.n_tied}",
                *(
                    f"{100 * own['accuracy'].mean:.1f}/{100 * own['macro_f1'].mean:.1f}"
                    for own in verdict.importance.values()
                ),
            ]
        )
    print_table(["fusion", "rows", "p", "classes", *report.verdicts[0].importance], rows)


def _pair(scored: dict[str, float]) -> str:
    return f"{_percent(scored['accuracy'])}/{_percent(scored['macro_f1'])}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
