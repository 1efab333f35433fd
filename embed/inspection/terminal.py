"""An inspection as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cache.shares import percent
from embed.amounts import plural, show_bytes, show_seconds
from embed.contents.statuses import OK
from embed.inspection.label_profile import MIN_ROWS
from embed.inspection.recommendations import list_findings, list_repeats

if TYPE_CHECKING:
    from embed.inspection.association import Association
    from embed.inspection.column_profile import ColumnProfile
    from embed.inspection.cost_sample import Cost
    from embed.inspection.inspect_catalogue import Inspection
    from embed.inspection.label_profile import LabelProfile
    from embed.inspection.picture_profile import PictureProfile
    from embed.inspection.text_profile import TextProfile

__all__ = ["head", "printable", "reason_of", "render_text", "wrap_cells"]

WIDTH = 80
MOST_COLUMNS = 40  # lines of a table
N_SHOWN = 10


def render_text(inspection: Inspection) -> str:
    """Return the inspection as lines of at most 80 letters, the numbers first."""
    sections = [
        [*head(inspection), *wrap_cells(", ".join(f"{role}: {name}" for role, name in inspection.roles.items()))],
        _findings(inspection),
        _columns(inspection.columns),
        _repeats(inspection),
        _label(inspection.label) if inspection.label is not None else [],
        _associations(inspection.associations),
        wrap_cells(_not_compared(inspection)),
        _text(inspection.text) if inspection.text is not None else [],
        _pictures(inspection.pictures) if inspection.pictures is not None else [],
        _cost(inspection.cost) if inspection.cost is not None else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def printable(cell: str, width: int) -> str:
    """Return a cell on one line of at most `width` letters, without what could move a terminal's cursor."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cell)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def head(inspection: Inspection) -> Iterator[str]:
    """Yield what was looked at: how many rows and columns, of which file, and under which condition."""
    n_columns = plural(len(inspection.columns), "column")
    yield from wrap_cells(f"{plural(inspection.n_rows, 'row')}, {n_columns}: {inspection.path}")
    if (where := inspection.settings.extract.where) is not None:
        yield from wrap_cells(f"of {plural(inspection.n_read, 'row')}, where {where}")


def _findings(inspection: Inspection) -> Iterator[str]:
    for finding in list_findings(inspection):
        yield from wrap_cells(finding.text, start="! " if finding.is_bad else "- ")


def _columns(columns: Sequence[ColumnProfile]) -> Iterator[str]:
    rows = [
        [
            printable(column.name, 20),
            column.kind,
            (">" if column.is_capped else "") + f"{column.n_distinct:,}",
            f"{column.n_empty:,}",
            printable(column.example, WIDTH),
        ]
        for column in columns[:MOST_COLUMNS]
    ]
    yield from _table(["column", "kind", "distinct", "empty", "example"], rows, left={1, 4})
    if len(columns) > MOST_COLUMNS:
        yield f"… and {len(columns) - MOST_COLUMNS} more"


def _repeats(inspection: Inspection) -> Iterator[str]:
    rows = []
    for kind, repeats in list_repeats(inspection):
        commonest = ""
        if repeats.largest:
            commonest = f"{repeats.largest[0].n_rows:,} × {printable(repeats.largest[0].example, WIDTH)}"
        counts = (repeats.n_rows, repeats.n_distinct, repeats.n_surplus)
        rows.append([kind, *(f"{n:,}" for n in counts), commonest])
    yield from _table(["exact copies", "there", "distinct", "copies", "most often"], rows, left={4})


def _label(label: LabelProfile) -> Iterator[str]:
    yield from wrap_cells(
        f"Label {label.column}: {plural(label.n_classes, 'class', 'classes')} over {plural(label.n_labelled, 'row')}, "
        f"{label.n_unlabelled:,} without. {plural(label.n_rare, 'class', 'classes')} with fewer than {MIN_ROWS} rows "
        f"hold {plural(label.n_rare_rows, 'row')}. Always saying the commonest is right for "
        f"{percent(label.majority_share)} %."
    )
    largest = label.classes[:N_SHOWN]
    yield from _listed("largest: ", largest)
    if label.n_classes > len(largest):
        yield from _listed("smallest: ", label.smallest[: min(N_SHOWN, label.n_classes - len(largest))])


def _associations(associations: Sequence[Association]) -> Iterator[str]:
    rows = [
        [
            printable(association.column, 24),
            f"{association.n_values:,}",
            "" if association.v is None else f"{association.v:.2f}",
            percent(association.tells_label, 0),
            percent(association.told_by_label, 0),
            "gives the label away" if association.is_leak else "follows from the label" if association.follows else "",
        ]
        for association in associations[:MOST_COLUMNS]
    ]
    if rows:
        header = ["column", "values", "V", "tells %", "told %", ""]
        yield from _table(header, rows, left={5})
        yield from wrap_cells(
            "V: Cramér's, corrected for bias (Bergsma 2013). tells: rows whose label the other rows of the same value "
            "tell; told: the same with column and label exchanged."
        )


def _not_compared(inspection: Inspection) -> str:
    names = ", ".join(printable(name, 24) for name in inspection.not_compared[:N_SHOWN])
    return f"Too many values to hold against the label: {names}." if names else ""


def _text(text: TextProfile) -> Iterator[str]:
    tokens = f"tokens of {text.tokenizer}" if text.is_exact else "words and signs (the tokenizer is not at hand)"
    cut = f"{text.n_cut:,} longer than {text.max_length}"
    yield from wrap_cells(f"Text {text.column}: lengths of {plural(text.n_measured, 'text')} in {tokens}; {cut}.")
    if text.quantiles:
        yield from _quantiles({"tokens": text.quantiles})


def _pictures(pictures: PictureProfile) -> Iterator[str]:
    how = "decoded" if pictures.is_deep else "headers read"
    statuses = ", ".join(
        f"{n:,} {status}" for status, n in sorted(pictures.statuses.items(), key=lambda pair: -pair[1])
    )
    yield from wrap_cells(f"Pictures {pictures.column} ({how}): {statuses}; {show_bytes(pictures.n_bytes)}.")
    if pictures.statuses.get(OK):
        yield from _quantiles(
            {
                "width": pictures.width_quantiles,
                "height": pictures.height_quantiles,
                "width / height": pictures.aspect_quantiles,
                "bytes": pictures.byte_quantiles,
            }
        )
        shapes = f"{pictures.n_portrait:,} portrait, {pictures.n_square:,} square, {pictures.n_landscape:,} landscape"
        modes = ", ".join(f"{n:,} {mode}" for mode, n in pictures.modes.items())
        formats = ", ".join(f"{n:,} {kind}" for kind, n in pictures.formats.items())
        width, height, n = pictures.sizes[0]
        common = f"{n:,} are {width}×{height}" if n > 1 else "no size twice"
        yield from wrap_cells(f"{plural(pictures.n_sizes, 'size')} ({common}); {shapes}; {modes}; {formats}.")
    for picture in pictures.bad[:N_SHOWN]:
        yield printable(f"  {picture.status}: {picture.cell!r} of {picture.id}", WIDTH)
    if pictures.n_bad > N_SHOWN:
        yield f"  … and {pictures.n_bad - N_SHOWN:,} more"


def _cost(cost: Cost) -> Iterator[str]:
    if cost.reason:
        yield from reason_of(cost)
        return
    rows = [
        [
            encoder.name,
            f"{encoder.n_contents:,}",
            show_bytes(encoder.vector_bytes),
            show_seconds(encoder.encode_s),
            f"{encoder.n_sampled:,}",
        ]
        for encoder in cost.encoders
    ]
    yield from _table(["extraction", "contents", "vectors", "time", "measured on"], rows)
    yield from wrap_cells(
        f"{show_bytes(cost.n_bytes)} and {show_seconds(cost.encode_s)} in all on this machine, measured with untrained "
        "weights, which are as fast as trained ones."
    )


def reason_of(cost: Cost) -> list[str]:
    """Return why it is not known what extraction will take."""
    return wrap_cells(f"What extraction will take was not measured: {cost.reason}")


def _quantiles(quantiles: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    headings = {"p0": "least", "p50": "median", "p100": "most"}
    names = next(iter(quantiles.values()))
    header = ["", *(headings.get(name, name.removeprefix("p") + " %") for name in names)]
    rows = [[quantity, *(f"{value:,}" for value in by_name.values())] for quantity, by_name in quantiles.items()]
    yield from _table(header, rows)


def _listed(start: str, classes: Sequence[tuple[str, int]]) -> list[str]:
    return wrap_cells(", ".join(f"{n:,} {printable(name, 30)}" for name, n in classes), start=f"  {start}")


def wrap_cells(text: str, *, start: str = "") -> list[str]:
    """Return a paragraph that may hold cells of the catalogue in lines of the width."""
    return textwrap.wrap(
        printable(text, 10_000), WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    )


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: frozenset[int] | set[int] = frozenset()
) -> list[str]:
    """Return aligned columns, the first and those of `left` to the left; the last is cut at the terminal's width."""
    widths = [max(len(cells[n]) for cells in [header, *rows]) for n in range(len(header))]
    widths[-1] = min(widths[-1], max(WIDTH - sum(widths[:-1]) - 2 * len(widths[:-1]), 1))
    lines = []
    for cells in [header, ["-" * width for width in widths], *rows]:
        padded = [
            cell.ljust(width) if n == 0 or n in left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append(printable("  ".join(padded).rstrip(), WIDTH))
    return lines
