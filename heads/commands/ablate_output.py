"""What `heads-ablate` prints: the verdict and the top of the ranking, and by option the whole ranking."""

from __future__ import annotations

from cache.console.command import WIDTH, print_wrapped
from cache.console.echo import echo
from heads.ablation.ranking_table import MOST_FAILURES, differences_text, ranking_lines, verdict_text
from heads.commands.train_details import show_apart
from heads.experiment.findings.best_heads import LATE_FITTED
from heads.runs.ablation_report import AblationReport

__all__ = ["show_report"]

TOP = 5  # rows of the ranking that are shown unless more are asked for


def show_report(report: AblationReport, *, details: bool, top: int | None) -> None:
    """Print an ablation: what was compared on what, the verdict, the best configurations, and where all of it is."""
    print_wrapped(
        f"{report.label}: {report.n_classes} classes, {report.n_tested} test rows in {_count(report.n_folds, 'fold')}, "
        f"{_count(len(report.seeds), 'seed')}"
    )
    if report.n_dropped:
        n_rows = len(report.ranking.rows)
        print_wrapped(f"A race: {report.n_dropped} of {n_rows} configurations were dropped as certainly behind.")
    if report.untrained:
        untrained = f" ({', '.join(report.untrained)})"
        print_wrapped(f"UNTRAINED encoders{untrained}: these numbers say nothing about real ones.")
    if verdict := verdict_text(report.ranking, report.naming):
        echo()
        print_wrapped(verdict)
    echo()
    n_rows = len(report.ranking.rows)
    shown = top or (n_rows if details else TOP)
    most_failures = MOST_FAILURES if details else 1
    if intervals_note := differences_text(report.ranking):
        print_wrapped(intervals_note)
    for line in ranking_lines(report.ranking, report.naming, top=shown, most_failures=most_failures):
        echo(line)
    if report.is_late_fitted:
        print_wrapped(LATE_FITTED)
    if details:
        show_apart(
            [(report.naming.name(row.configuration), {"apart": row.apart}) for row in report.ranking.rows[:shown]]
        )
        _show_details(report)
    page = report.run_path / "report.html"
    echo(f"\n{page if page.exists() else report.run_path}  ({report.elapsed_s:.1f} s)")


def _show_details(report: AblationReport) -> None:
    encoders = [f"{modality}: {', '.join(names)}" for modality, names in report.encoders.items()]
    echo()
    print_wrapped("  ".join(encoders) if len("  ".join(encoders)) <= WIDTH else "\n\n".join(encoders))
    print_wrapped(
        "Ranked by macro-F1 on the validation rows (val), the mean over folds; the rest is of the test rows of all "
        "folds together. ± sd is over folds and seeds. "
        + (
            "What one fold tests is among the validation rows of others, so that the scores of the top rows are a "
            "little lucky; the intervals, the verdict's too, hold whichever row was chosen."
            if report.n_folds > 1
            else "The verdict is on one fusion that was chosen before: its intervals hold for its two scores, and are "
            "narrower."
        )
    )
    again = f" ({_count(report.n_again, 'single head')} again, for late)" if report.n_again else ""
    echo(f"{report.n_trained} of {report.n_jobs} jobs trained{again}, {report.n_remembered} remembered.")


def _count(number: int, singular: str) -> str:
    return f"{number} {singular if number == 1 else singular + 's'}"
