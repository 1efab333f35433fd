"""An inspection on one screen: what asks for a decision, and a line a subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cache.shares import percent
from embed.amounts import plural, show_bytes, show_seconds
from embed.contents.statuses import OK
from embed.inspection.recommendations import list_findings
from embed.inspection.terminal import head, printable, reason_of, wrap_cells

if TYPE_CHECKING:
    from embed.inspection.inspect_catalogue import Inspection

__all__ = ["render_summary"]

MOST_LINES = 10  # of what asks for a decision


def render_summary(inspection: Inspection) -> str:
    """Return the inspection in some 24 lines of at most 80 letters; where more asks for a decision, that is said."""
    sections = [list(head(inspection)), list(_findings(inspection)), list(_subjects(inspection))]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _findings(inspection: Inspection) -> Iterator[str]:
    """Yield the lines of the findings that fit, whole ones; a bad one is never left out."""
    n_lines = 0
    findings = list_findings(inspection)
    for n, finding in enumerate(findings):
        lines = wrap_cells(finding.text, start="! " if finding.is_bad else "- ")
        n_lines += len(lines)
        if n_lines > MOST_LINES and not finding.is_bad:  # the bad ones come first
            yield f"- and {len(findings) - n} more that may wait (--details)"
            return
        yield from lines
    if not findings:
        yield "Nothing asks for a decision."


def _subjects(inspection: Inspection) -> Iterator[str]:
    """Yield a line or two each of the columns, the label, the pictures, the texts and the cost."""
    roles = ", ".join(f"{role}: {column}" for role, column in inspection.roles.items())
    yield from wrap_cells(f"Columns taken for {roles}." if roles else "No column is taken for anything by its name.")
    if (label := inspection.label) is not None and label.classes:
        name, n_rows = label.classes[0]
        yield from wrap_cells(
            f"Label: {plural(label.n_classes, 'class', 'classes')}; the largest is {printable(name, 30)} with "
            f"{percent(label.majority_share)} % of the rows ({n_rows:,})."
        )
    if (pictures := inspection.pictures) is not None:
        yield from wrap_cells(
            f"Pictures: {pictures.statuses.get(OK, 0):,} can be read, {pictures.n_bad:,} cannot; "
            f"{show_bytes(pictures.n_bytes)}."
        )
    if (text := inspection.text) is not None:
        yield from wrap_cells(
            f"Texts: {plural(text.n_measured, 'text')}, {text.n_cut:,} longer than {text.max_length} tokens."
        )
    if (cost := inspection.cost) is not None:
        if cost.reason:
            yield from reason_of(cost)
        else:
            n_contents = sum(encoder.n_contents for encoder in cost.encoders)
            yield from wrap_cells(
                f"Extraction will take some {show_seconds(cost.encode_s)} on this machine, for {n_contents:,} vectors "
                f"of {show_bytes(cost.n_bytes)}."
            )
