"""An inspection as one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache.pages.page import picture_url, render_page
from cache.pages.plot import COLOURS, draw, svg
from cache.system.aside import write_aside
from embed.amounts import show_bytes, show_seconds
from embed.contents.images import decode, locate, read_image
from embed.contents.statuses import MEANINGS, OK
from embed.errors import ContentError
from embed.inspection.label_profile import MIN_ROWS
from embed.inspection.recommendations import list_findings, list_repeats

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

    from embed.inspection.inspect_catalogue import Inspection, Product
    from embed.inspection.label_profile import LabelProfile
    from embed.inspection.picture_profile import PictureProfile
    from embed.inspection.text_profile import TextProfile

__all__ = ["write_page"]

MOST_BARS = 60  # of a histogram
SLIPS = (
    ("n_missing_words", "NaN, null …"),
    ("n_padded", "blanks at an end"),
    ("n_not_unicode", "not Unicode"),
    ("n_mojibake", "wrong encoding"),
)  # shown of all columns where one has any


def write_page(inspection: Inspection, path: Path) -> Path:
    """Write the page to a file, whole or not at all, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    path = path.absolute()
    page = render_page(
        Path(__file__).with_name("inspect.html"),
        inspection=inspection,
        findings=list_findings(inspection),
        repeats=list_repeats(inspection),
        label_figure=_draw_label(inspection.label) if inspection.label and inspection.label.sizes else None,
        text_figure=_draw_lengths(inspection.text) if inspection.text and inspection.text.lengths else None,
        picture_figure=_draw_sizes(inspection.pictures) if inspection.pictures and inspection.pictures.widths else None,
        cards=_cards(inspection),
        slips=[
            (attribute, slip)
            for attribute, slip in SLIPS
            if any(getattr(column, attribute) for column in inspection.columns)
        ],
        meanings=MEANINGS,
        min_rows=MIN_ROWS,
        ok=OK,
        show_bytes=show_bytes,
        show_seconds=show_seconds,
    )
    return write_aside(path, lambda aside: aside.write_text(page, encoding="utf-8"), folder=path.parent)


def _cards(inspection: Inspection) -> list[dict[str, str]]:
    """Return the cards of all products; pictures are read in the table's order, since some tables cannot go back."""
    products = inspection.products
    reading_order = sorted(range(len(products)), key=lambda index: products[index].row)
    cards = {index: _card(products[index], inspection) for index in reading_order}
    return [cards[index] for index in range(len(products))]


def _card(product: Product, inspection: Inspection) -> dict[str, str]:
    """Return a product with its picture as a data URL, or with the status that says why there is none."""
    extract = inspection.settings.extract
    root = inspection.root
    url, status = "", "no picture"
    if "image" in inspection.roles:
        try:
            content = read_image(locate(product.picture, root, allow_outside=extract.allow_outside))[1]
            url = picture_url(decode(content))
        except ContentError as error:
            status = str(error)
    return {"id": product.id, "title": product.title[:200], "label": product.label, "url": url, "status": status}


def _draw_label(label: LabelProfile) -> Markup:
    sizes = label.sizes
    with draw(height=2.8) as figure:
        axes: Axes = figure.add_subplot()
        edges = [n - 0.5 for n in range(1, len(sizes) + 2)]
        axes.stairs(sizes, edges, fill=True, color=COLOURS[0], baseline=0.8 if sizes[0] > 20 else 0)
        if sizes[0] > 20:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.8)
            axes.yaxis.set_major_formatter(_show_rows)  # not as powers of ten
        if label.n_rare:
            axes.axhline(MIN_ROWS, color=COLOURS[3], linewidth=1)
            axes.annotate(
                f"{MIN_ROWS} rows", (1, MIN_ROWS), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                color=COLOURS[3],
            )  # fmt: skip
        axes.set_xlim(0.5, len(sizes) + 0.5)
        axes.set_xlabel("classes, the largest first")
        axes.set_ylabel("rows")
        return svg(figure, label=f"Rows of each class of {label.column}, the largest first")


def _draw_lengths(text: TextProfile) -> Markup:
    with draw(height=2.8) as figure:
        axes: Axes = figure.add_subplot()
        _draw_histogram(axes, text.lengths, colour=COLOURS[0])
        axes.axvline(text.max_length, color=COLOURS[3], linewidth=1.5)
        axes.annotate(
            f"cut at {text.max_length}", (text.max_length, 1), xycoords=("data", "axes fraction"), va="top",
            color=COLOURS[3], xytext=(4, 0), textcoords="offset points",
        )  # fmt: skip
        axes.set_xlim(left=0)
        axes.set_xlabel("tokens, special ones included" if text.is_exact else "words and signs, and two special tokens")
        axes.set_ylabel("texts")
        return svg(figure, label="Texts by their length")


def _draw_sizes(pictures: PictureProfile) -> Markup:
    with draw(height=2.8) as figure:
        width_axes, height_axes = figure.subplots(1, 2, sharey=True)
        for axes, counts, side, colour in (
            (width_axes, pictures.widths, "width", COLOURS[0]),
            (height_axes, pictures.heights, "height", COLOURS[2]),
        ):
            _draw_histogram(axes, counts, colour=colour)
            axes.set_xlim(left=0)
            axes.set_xlabel(f"{side}, pixels")
        width_axes.set_ylabel("pictures")
        return svg(figure, label="Pictures by their width and height")


def _draw_histogram(axes: Axes, counts: Mapping[int, int], *, colour: str) -> None:
    """Draw whole numbers as bars, each of one number, or of several where there would be too many."""
    lowest, highest = min(counts), max(counts)
    width = max(1, -(-(highest - lowest + 1) // MOST_BARS))
    edges = [lowest + width * n - 0.5 for n in range((highest - lowest) // width + 2)]
    heights, _ = np.histogram(list(counts), edges, weights=list(counts.values()))
    axes.stairs(heights, edges, fill=True, color=colour)
    axes.yaxis.set_major_formatter(_show_rows)
    axes.set_ylim(bottom=0)


def _show_rows(n_rows: float, _: float) -> str:
    return f"{n_rows:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
