"""The details behind what `heads-train` prints: all scores, weights, comparisons and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cache.console.command import WIDTH, print_table, print_wrapped
from cache.console.echo import echo
from cache.shares import percent
from heads.head_types import GUARD
from heads.metrics.registry import JUDGED, METRICS
from heads.metrics.verdict import together_in_words

if TYPE_CHECKING:
    from heads.runs.run_report import RunReport

__all__ = ["rows_of_heads", "show_apart", "show_details", "show_missing"]

LONGEST_HEAD = 15  # characters of the built-in heads' names, and some more
APART = "Accuracy/macro-F1 on the test rows with a placeholder (one content of many rows and classes), and without:"
MOST_POINTS = 21  # of a sweep
MOST_WEIGHTS = 7  # characters of late's weights in the table; the line below has them in any case


def show_details(report: RunReport) -> None:
    """Print all that was found of each head and each fusion."""
    echo()
    _show_scores(report)
    show_apart([(name, report.metrics[head]) for head, name in rows_of_heads(report)])
    _show_weights(report)
    if report.verdicts:
        _show_comparisons(report)
    if report.missing:
        show_missing(report)
    if report.verdicts:
        _show_verdicts(report)


def _show_verdicts(report: RunReport) -> None:
    first = report.verdicts[0]
    echo()
    print_wrapped(f"Fusion minus {first.single}, in points. {together_in_words(first.n_together)}")
    echo()
    for verdict in report.verdicts:
        for sentence in (verdict.sentence, *verdict.warnings):
            print_wrapped(sentence)


def _show_scores(report: RunReport) -> None:
    shown = [(name, report.metrics[head]) for head, name in rows_of_heads(report)]
    shown += [(f"({name})", scored) for name, scored in report.controls.items()]
    header = ["head", "acc", "95 %", "macro-F1", "95 %", "gap", "s"]
    print_table(header, [[name, *_cells(scored)] for name, scored in shown], width=WIDTH)
    other_metrics = {name: metric for name, metric in METRICS.items() if name not in JUDGED}
    echo()
    print_table(
        ["head", *(metric.label for metric in other_metrics.values())],
        [[name, *(metric.show(scored[score]) for score, metric in other_metrics.items())] for name, scored in shown],
        width=WIDTH,
    )
    print_wrapped("ECE of few rows is above zero by chance: calibrated perfectly, a head would show its floor.")
    epochs = [
        f"{name} {scored['best_epoch']} of {len(scored['history'])}"
        for name, scored in [*report.metrics.items(), *report.controls.items()]
        if scored["history"]
    ]
    if epochs:
        echo()
        print_wrapped(f"The best epoch of those trained: {', '.join(epochs)}.")
    adjusted = [
        f"{name} {scored['logit_adjustment']:g}"
        for name, scored in report.metrics.items()
        if "logit_adjustment" in scored
    ]
    if adjusted:
        echo()
        print_wrapped(f"The logit adjustment, as the validation rows chose it: {', '.join(adjusted)}.")


def show_apart(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Print accuracy and macro-F1 of each head on the test rows with a placeholder and on the others, where both are.

    Args:
        rows: each head's name as it is printed, and its scores.
    """
    apart = [(name, scored["apart"]) for name, scored in rows if scored.get("apart")]
    if not apart:
        return
    echo()
    print_wrapped(APART)
    echo()
    header = [f"{part} ({scored['n_rows']:,})" for part, scored in apart[0][1].items()]
    print_table(["head", *header], [[name, *map(_pair, parts.values())] for name, parts in apart], width=WIDTH)


def rows_of_heads(report: RunReport) -> list[tuple[str, str]]:
    """Return each head with the name of its row: a guarded fusion stands below its fusion, late shows its weights."""
    weights = ",".join(f"{round(weight, 2):g}".removeprefix("0") or "0" for weight in report.weights.values())
    rows = []
    for head in report.metrics:
        if head.endswith(GUARD):
            continue
        rows.append((head, f"{head} {weights}" if head == "late" and len(weights) <= MOST_WEIGHTS else head))
        if head + GUARD in report.metrics:
            rows.append((head + GUARD, f"  {GUARD}"))
    return rows


def _cells(scored: dict[str, Any]) -> list[str]:
    def span(low_high: list[float]) -> str:
        return "–".join(map(percent, low_high))

    return [
        percent(scored["accuracy"]),
        span(scored["accuracy_interval"]),
        percent(scored["macro_f1"]),
        span(scored["macro_f1_interval"]),
        percent(scored["train_test_gap"]) if "train_test_gap" in scored else "",
        f"{scored['fit_s']:.1f}" if scored["fit_s"] < 9.95 else f"{scored['fit_s']:.0f}",
    ]


def _show_weights(report: RunReport) -> None:
    if report.sweep:
        points = report.sweep
        best = max(points, key=lambda point: (point.weights == report.weights, point.macro_f1))
        if len(points) > MOST_POINTS:
            points = sorted(points, key=lambda point: -point.macro_f1)[:MOST_POINTS]
        echo("\nlate on the validation rows, by weights; sweep.csv has the test rows beside them:\n")
        print_table(
            [*best.weights, "acc", "macro-F1", "loss", ""],
            [
                [
                    *(f"{weight:.2f}" for weight in point.weights.values()),
                    percent(point.accuracy),
                    percent(point.macro_f1),
                    f"{point.log_loss:.3f}",
                    "chosen" if point is best else "",
                ]
                for point in points
            ],
        )
    if not report.weights:
        return
    from heads.experiment.late_fusion import weights_in_words  # with PyTorch, as the training was

    echo()
    shown = weights_in_words(report.weights, report.weight_intervals)
    print_wrapped(f"late averages the probabilities with the weights {shown}.")


def show_missing(report: RunReport) -> None:
    """Print accuracy and macro-F1 of each head without some modalities, a few columns at a time."""
    columns = [condition for condition in report.missing if condition != "+".join(report.encoders)]
    echo()
    print_wrapped("Accuracy/macro-F1 with these modalities alone, and with entries missing at random:")
    n_shown = max(1, (WIDTH - LONGEST_HEAD) // (2 + max(map(len, [*columns, "100.0/100.0"]))))
    for start in range(0, len(columns), n_shown):
        shown = columns[start : start + n_shown]
        echo()
        print_table(
            ["head", *shown],
            [[head, *(_pair(report.missing[condition][head]) for condition in shown)] for head in report.metrics],
            width=WIDTH,
        )


def _show_comparisons(report: RunReport) -> None:
    single, n_rows = report.verdicts[0].single, report.verdicts[0].n_rows
    text = (
        f"Against {single} alone: of {n_rows} test rows those that only one of the two has right, with McNemar's p "
        "(which takes rows for independent); classes with more rows right, fewer, as many; points of accuracy and "
        "macro-F1 lost where a modality is shuffled among the test rows."
    )
    echo()
    print_wrapped(text)
    echo()
    rows = []
    for verdict in report.verdicts:
        if verdict.rows is None or verdict.classes is None:
            continue
        rows.append(
            [
                verdict.fusion,
                f"+{verdict.rows.n_won} -{verdict.rows.n_lost}",
                verdict.rows.shown_p,
                f"+{verdict.classes.n_won} -{verdict.classes.n_lost} ={verdict.classes.n_tied}",
                *(
                    f"{percent(scores['accuracy'].mean)}/{percent(scores['macro_f1'].mean)}"
                    for scores in verdict.importance.values()
                ),
            ]
        )
    print_table(["fusion", "rows", "p", "classes", *report.verdicts[0].importance], rows, width=WIDTH)


def _pair(scored: Mapping[str, float]) -> str:
    return f"{percent(scored['accuracy'])}/{percent(scored['macro_f1'])}"
