"""The ranking of an ablation as text of 80 columns."""

from __future__ import annotations

import textwrap

from cache.shares import percent
from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranked, Ranking, Spread

__all__ = ["MOST_FAILURES", "differences_text", "ranking_lines", "verdict_text"]

WIDTH = 80
GAP = "  "
INDENT = "    "
MOST_FAILURES = 5


def ranking_lines(ranking: Ranking, naming: Naming, *, top: int, most_failures: int = MOST_FAILURES) -> list[str]:
    """Return the table of the best `top` configurations; what varies has a line of its own where there is no room.

    Configurations that a race dropped or that failed are listed below it, each with the reason.
    """
    ranked = [row for row in ranking.rows if row.validation is not None]
    shown = ranked[:top]
    against = f"macro-F1 − {ranking.single.head}" if ranking.single else "macro-F1 −"
    header = ["head", "val", "acc ± sd", "macro-F1", against, "s"]
    cells = [_cells(row) for row in shown]
    widths = [max([len(header[n]), *(len(row_cells[n]) for row_cells in cells)]) for n in range(len(header))]
    details = [naming.details(row.configuration) for row in shown]
    room = WIDTH - sum(widths) - len(GAP) * (len(widths) - 1)
    details_width = max(map(len, details), default=0)
    is_beside = 0 < details_width <= room - len(GAP)
    if is_beside:
        widths.insert(1, details_width)
        header.insert(1, "")
        cells = [[row_cells[0], detail, *row_cells[1:]] for row_cells, detail in zip(cells, details, strict=True)]
    n_left = 2 if is_beside else 1
    lines = [_padded_line(row_cells, widths, n_left) for row_cells in (header, ["-" * width for width in widths])]
    for row_cells, detail in zip(cells, details, strict=True):
        lines.append(_padded_line(row_cells, widths, n_left))
        if detail and not is_beside:
            lines += textwrap.wrap(
                detail, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False
            )
    if len(ranked) > len(shown):
        lines.append(f"and {len(ranked) - len(shown)} more (--top)")
    return lines + _dropped_lines(ranking, naming, most_failures) + _failure_lines(ranking, naming, most_failures)


def _dropped_lines(ranking: Ranking, naming: Naming, most_lines: int) -> list[str]:
    rows = [(naming.name(row.configuration), row.dropped) for row in ranking.rows if row.dropped]
    lines = []
    for name, dropped in rows[:most_lines]:
        lines += textwrap.wrap(f"DROPPED {dropped.in_words(naming)}: {name}", WIDTH, subsequent_indent=INDENT)
    if len(rows) > most_lines:
        lines.append(f"and {len(rows) - most_lines} more DROPPED (ranking.csv lists them)")
    return lines


def _failure_lines(ranking: Ranking, naming: Naming, most_lines: int) -> list[str]:
    lines, rows = [], [row for row in ranking.rows if row.error is not None]
    for row in rows[:most_lines]:
        text = f"FAILED in {row.n_failed} of {row.n_jobs} jobs: {naming.name(row.configuration)}. {row.error}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=INDENT)
    if len(rows) > most_lines:
        lines.append(f"and {len(rows) - most_lines} more FAILED (ranking.csv lists them)")
    return lines


def verdict_text(ranking: Ranking, naming: Naming) -> str:
    """Return what the validation rows chose and what the test rows say of it; empty where there is no fusion."""
    if ranking.verdict is None or ranking.single is None or ranking.fusion is None:
        return ""
    fusion, single = naming.name(ranking.fusion), naming.name(ranking.single)
    choice = f"Chosen on the validation rows: {fusion} among the fusions, {single} among the single modalities."
    return f"{choice} On the test rows: {ranking.verdict.sentence}"


def differences_text(ranking: Ranking) -> str:
    """Return what the table's intervals hold for, on one line; empty where there is one at most."""
    n_differences = sum(row.macro_f1_difference is not None for row in ranking.rows)
    if n_differences < 2:
        return ""
    which_differences = "both" if n_differences == 2 else f"all {n_differences:,}"
    return f"The table's 95 % intervals hold for {which_differences} differences together."


def _cells(row: Ranked) -> list[str]:
    difference = row.macro_f1_difference
    return [
        row.configuration.head,
        percent(row.validation.mean) if row.validation else "",
        _spread(row.accuracy),
        _spread(row.macro_f1),
        str(difference) if difference else "",
        f"{row.elapsed_s:.1f}" if row.elapsed_s < 1000 else f"{row.elapsed_s:.0f}",
    ]


def _spread(spread: Spread | None) -> str:
    return str(spread or "")


def _padded_line(cells: list[str], widths: list[int], n_left: int) -> str:
    padded = [
        cell.ljust(width) if column < n_left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return GAP.join(padded).rstrip()
