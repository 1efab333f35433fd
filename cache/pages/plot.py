"""Plots for pages: matplotlib's figures as SVG in the page's own text and ink, so that they follow light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "draw", "svg"]

# Okabe and Ito's colours, which the colour-blind can tell apart (jfly.uni-koeln.de/color), without black and yellow,
# which cannot be seen on both white and near black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_INK, _QUIET, _GROUND = "#010203", "#040506", "#070809"  # placeholders, which the page's colours replace in the SVG
_STYLE: Any = {
    "axes.edgecolor": _QUIET, "axes.facecolor": "none", "axes.labelcolor": _INK, "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlecolor": _INK, "axes.titlelocation": "left", "axes.titlesize": 11,
    "figure.facecolor": "none", "font.family": "sans-serif", "font.size": 10, "grid.alpha": 0.25,
    "grid.color": _QUIET, "legend.frameon": False, "legend.labelcolor": _INK, "savefig.facecolor": "none",
    "svg.fonttype": "none", "text.color": _INK, "text.parse_math": False, "xtick.color": _QUIET,
    "xtick.labelcolor": _INK, "ytick.color": _QUIET, "ytick.labelcolor": _INK,
}  # fmt: skip


@contextmanager
def draw(width: float = 6.4, height: float = 3.4) -> Iterator[Figure]:
    """Yield an empty figure of so many inches (72 pixels each) in the pages' style; draw on it inside the block."""
    import matplotlib
    from cycler import cycler  # matplotlib's own
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)  # not what the user's own matplotlibrc says
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, *, label: str) -> Markup:
    """Return a figure as an SVG element; `label` is what a screen reader says in its place.

    Call it inside the block of `draw`.
    """
    from markupsafe import Markup, escape

    drawn = re.sub(
        r"^.*?<svg ", f'<svg role="img" aria-label="{escape(label)}" ', _render(figure, label), flags=re.DOTALL
    )
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    for stand_in, variable in ((_INK, "ink"), (_QUIET, "quiet"), (_GROUND, "ground")):
        drawn = drawn.replace(stand_in, f"var(--{variable})")
    return Markup(drawn)  # noqa: S704 - matplotlib escapes the texts in it


def _render(figure: Figure, label: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    content = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = label  # ids of clips and markers must differ between the figures of a page
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the browser has fonts that matplotlib lacks
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(content, metadata=metadata)  # `savefig` would draw all twice
    return content.getvalue()
