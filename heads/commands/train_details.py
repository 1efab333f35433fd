"""What `heads-train` prints of a run."""

from __future__ import annotations

from typing import Any

import click

from cache.console.command import print_table
from heads.experiment.best_heads import choose_heads
from heads.experiment.late_weights import weights_in_words
from heads.metrics.verdict import Verdict
from heads.modules.guard import GUARD
from heads.runs.run_report import RunReport

__all__ = ["show_report"]

WIDTH = 80
LONGEST_HEAD = 15  # characters of the built-in heads' names, and some more
MOST_POINTS = 21  # of a sweep
MOST_WEIGHTS = 7  # characters of late's weights in the table; the line below has them in any case


def show_report(report: RunReport, *, missing: bool) -> None:
    """Print a run: its table, what stands behind the verdicts, and these; the best fusion's comes last."""
    rows = ", ".join(f"{count} {side}" for side, count in report.n_rows.items())
    _wrap(f"{report.label}: {report.n_classes} classes; {rows} rows")
    encoders = [f"{modality}: {encoder}" for modality, encoder in report.encoders.items()]
    _wrap("  ".join(encoders) if len("  ".join(encoders)) <= WIDTH else "\n\n".join(encoders))
    click.echo()
    _show_scores(report)
    _show_weights(report)
    if report.verdicts:
        _show_details(report)
    if missing and report.missing:
        _show_missing(report)
    if report.untrained:
        click.echo()
        _wrap(f"UNTRAINED encoders ({', '.join(report.untrained)}): these numbers say nothing about real ones.")
    _show_verdicts(report)
    click.echo(f"\n{report.report_path or report.run_path}  ({report.elapsed_s:.1f} s)")


def _show_verdicts(report: RunReport) -> None:
    best = choose_heads(report.metrics, list(report.encoders)).fusion
    others = [verdict for verdict in report.verdicts if verdict.fusion != best]
    if report.verdicts:
        click.echo(f"\nFusion minus {report.verdicts[0].single}, in points with 95 % intervals:")
    for verdict in others:
        _show_verdict(verdict, before="\n" if verdict is others[0] else "")
    for verdict in report.verdicts:
        if verdict.fusion == best:
            text = f"On the validation rows {best} is the best fusion. " if others else ""
            _show_verdict(verdict, before="\n", text=text)


def _show_verdict(verdict: Verdict, *, before: str, text: str = "") -> None:
    click.echo(before, nl=False)
    _wrap(text + verdict.sentence)
    for warning in verdict.warnings:
        _wrap(warning)


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
        width=WIDTH,
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
    click.echo()
    shown = weights_in_words(report.weights, report.weight_intervals)
    _wrap(f"late averages the probabilities with the weights {shown}.")


def _show_missing(report: RunReport) -> None:
    """Print accuracy and macro-F1 of each head without some modalities, a few columns at a time."""
    columns = [what for what in report.missing if what != "+".join(report.encoders)]
    click.echo()
    _wrap("Accuracy/macro-F1 with these modalities alone, and with entries missing at random:")
    n_shown = max(1, (WIDTH - LONGEST_HEAD) // (2 + max(map(len, [*columns, "100.0/100.0"]))))
    for start in range(0, len(columns), n_shown):
        shown = columns[start : start + n_shown]
        click.echo()
        print_table(
            ["head", *shown],
            [[head, *(_pair(report.missing[what][head]) for what in shown)] for head in report.metrics],
            width=WIDTH,
        )


def _show_details(report: RunReport) -> None:
    single, n_rows = report.verdicts[0].single, report.verdicts[0].n_rows
    text = (
        f"Against {single} alone: of {n_rows} test rows those that only one of the two has right, with McNemar's p "
        "(which takes rows for independent); classes with more rows right, fewer, as many; points of accuracy and "
        "macro-F1 lost where a modality is shuffled among the test rows."
    )
    click.echo()
    _wrap(text)
    click.echo()
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
    print_table(["fusion", "rows", "p", "classes", *report.verdicts[0].importance], rows, width=WIDTH)


def _wrap(text: str) -> None:
    click.echo(click.wrap_text(text, width=WIDTH, preserve_paragraphs=True))


def _pair(scored: dict[str, float]) -> str:
    return f"{_percent(scored['accuracy'])}/{_percent(scored['macro_f1'])}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
