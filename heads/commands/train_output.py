"""What `heads-train` prints of a run: the answer in a dozen lines, and by option the details."""

from __future__ import annotations

from cache.console.command import WIDTH, print_table, print_wrapped
from cache.console.echo import echo
from cache.shares import percent
from heads.commands.train_details import rows_of_heads, show_details, show_missing
from heads.experiment.findings.best_heads import choose_heads
from heads.experiment.findings.sizes import head_in_words
from heads.experiment.zero_label import in_words
from heads.runs.run_report import RunReport

__all__ = ["show_report"]


def show_report(report: RunReport, *, details: bool, missing: bool) -> None:
    """Print a run: what it was trained on, a row a head, the verdict on the best fusion, and where all of it is."""
    _show_problem(report)
    echo()
    _show_heads(report)
    echo()
    _show_verdict(report)
    if sentence := in_words(report.controls, report.encoders):
        print_wrapped(sentence)
    if report.sizes:
        print_wrapped(head_in_words(report.sizes))
    for size in report.sizes:
        print_wrapped(size.sentence)
    if report.pseudo_labels:
        print_wrapped(report.pseudo_labels.sentence)
    if details:
        show_details(report)
    elif missing and report.missing:
        show_missing(report)
    if details or (missing and report.missing):
        echo()
    echo(f"{report.report_path or report.run_path}  ({report.elapsed_s:.1f} s)")


def _show_problem(report: RunReport) -> None:
    rows = ", ".join(f"{count} {side}" for side, count in report.n_rows.items())
    print_wrapped(f"{report.label}: {report.n_classes} classes; {rows} rows")
    encoders = [f"{modality}: {encoder}" for modality, encoder in report.encoders.items()]
    print_wrapped("  ".join(encoders) if len("  ".join(encoders)) <= WIDTH else "\n\n".join(encoders))
    if report.untrained:
        untrained = f" ({', '.join(report.untrained)})" if len(report.untrained) < len(report.encoders) else ""
        print_wrapped(f"UNTRAINED encoders{untrained}: these numbers say nothing about real ones.")


def _show_heads(report: RunReport) -> None:
    """Print accuracy and macro-F1 of each head in percent, and of each fusion its gain in macro-F1 and what it is."""
    verdicts = {verdict.fusion: verdict for verdict in report.verdicts}
    header, rows = ["head", "accuracy", "macro-F1"], []
    if report.verdicts:
        header += [f"macro-F1 − {report.verdicts[0].single}", "verdict"]
    for head, name in rows_of_heads(report):
        scored, verdict = report.metrics[head], verdicts.get(head)
        cells = [name, percent(scored["accuracy"]), percent(scored["macro_f1"])]
        if report.verdicts:
            cells += [str(verdict.macro_f1), verdict.outcome_by_score] if verdict else ["", ""]
        rows.append(cells)
    print_table(header, rows, width=WIDTH)


def _show_verdict(report: RunReport) -> None:
    """Print the verdict on the best fusion, and of the others only what the table does not show."""
    if not report.verdicts:
        return
    best = choose_heads(report.metrics, list(report.encoders)).fusion
    for verdict in report.verdicts:
        if verdict.fusion == best:
            choice = f"On the validation rows {best} is the best fusion. " if len(report.verdicts) > 1 else ""
            print_wrapped(choice + verdict.sentence)
        elif verdict.accuracy.sign != verdict.macro_f1.sign:  # the table has macro-F1 alone
            print_wrapped(verdict.sentence)
    rivals: dict[str, list[str]] = {}  # control -> the fusions that are not surely better
    for verdict in report.verdicts:
        for control in verdict.no_better_than:
            rivals.setdefault(control, []).append(verdict.fusion)
    if rivals:
        shown = []
        for control, fusions in rivals.items():
            is_all = len(fusions) == len(report.verdicts) > 1
            shown.append(f"the control {control} may be no worse than {'any fusion' if is_all else ', '.join(fusions)}")
        print_wrapped(f"Careful: {'; '.join(shown)}.")
