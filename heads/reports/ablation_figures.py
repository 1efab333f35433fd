"""The figures of an ablation's page, as SVG in the page's own ink."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cache.pages.plot import COLOURS, draw, svg
from cache.system.stray_bytes import shown
from heads.ablation.ranking import Ranked
from heads.ablation.setting_effects import Axis
from heads.experiment.configuration import FoldJob
from heads.experiment.results import Outcome

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Look",
    "draw_axis",
    "draw_cost",
    "draw_curves",
    "draw_differences",
    "draw_jobs",
    "looks_of",
    "pareto_front",
    "short_name",
]

WIDTH = 5.6  # inches; a phone shows it at two thirds
SMALL = (3.4, 2.5)
ROW = 0.27  # inches of a named row
MOST_CHARACTERS = 36  # of a name in a figure
LEAST_CHARACTERS = 12
MOST_LINES = 30  # jobs joined by lines
MOST_POINTS = 300  # of a curve
FEW_VALUES = 7  # that get a tick each
MOST_JOINED = 12  # values that a line joins: those of a search are dots
WIDE_SPAN = 10  # ratio of the longest to the shortest seconds, above which their axis is logarithmic
BETTER, WORSE = COLOURS[2], COLOURS[3]
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}

Look = dict[str, Any]  # a head's colour and marker


def looks_of(heads: Iterable[str]) -> dict[str, Look]:
    """Return a colour and a marker for each head, no pair of them twice among 42.

    >>> looks_of(["early"])
    {'early': {'color': '#0072B2', 'marker': 'o'}}
    """
    markers = list(MARKERS)
    return {
        head: {"color": COLOURS[index % len(COLOURS)], "marker": markers[index % len(markers)]}
        for index, head in enumerate(heads)
    }


def short_name(text: str, most_characters: int = MOST_CHARACTERS) -> str:
    """Return a name that fits beside a figure: on one line, of printable characters, its middle left out if long.

    >>> short_name("early image of-a-very-long-name text another lr 0.001")
    'early image of-a-v… another lr 0.001'
    """
    text = " ".join(shown(text).split())
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    n_start = most_characters // 2
    return text if len(text) <= most_characters else f"{text[:n_start]}…{text[-(most_characters - n_start - 1) :]}"


def draw_differences(rows: Sequence[Ranked], names: Sequence[str], *, single: str) -> Markup:
    """Return a dot and an interval for each configuration's difference to the best single modality."""
    with draw(WIDTH, 0.8 + ROW * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=_quiet(), linewidth=1)
        for line, row in enumerate(rows):
            difference = row.macro_f1_difference
            if difference is None:  # the best single modality itself
                axes.plot(0, line, marker="|", markersize=9, color=_quiet())
                continue
            colour = {1: BETTER, -1: WORSE}.get(difference.sign, _quiet())
            axes.plot([100 * difference.low, 100 * difference.high], [line, line], color=colour, linewidth=2)
            axes.plot(100 * difference.value, line, marker="o", markersize=6, color=colour)
        _name_rows(axes, names)
        axes.set_xlabel(f"macro-F1 − {short_name(single)}, points")
        axes.grid(axis="x")
        return _svg(figure, "Differences in macro-F1 to the best single modality, with intervals")


def draw_axis(axis: Axis, looks: Mapping[str, Look]) -> Markup:
    """Return the validation macro-F1 of each head over the values of a setting."""
    values = axis.values
    is_words = axis.kind == "words"
    with draw(*SMALL) as figure:
        axes = figure.add_subplot()
        for number, (head, means) in enumerate(axis.means.items()):
            offset = 0.5 * ((number + 0.5) / len(axis.means) - 0.5)  # heads stand beside each other at a word
            positions = [values.index(value) + offset for value in means] if is_words else list(means)
            line = "" if is_words or len(means) > MOST_JOINED else "-"
            scores = [100 * mean for mean in means.values()]
            axes.plot(positions, scores, linestyle=line, linewidth=1.5, markersize=5, **looks[head])
        if is_words:
            most_characters = max(LEAST_CHARACTERS, MOST_CHARACTERS // len(values))
            axes.set_xticks(range(len(values)), [short_name(str(value), most_characters) for value in values])
            axes.set_xlim(-0.5, len(values) - 0.5)
            if most_characters == LEAST_CHARACTERS:
                axes.tick_params(axis="x", rotation=30)
        else:
            _scale(axes, values, is_log=axis.kind in ("log", "powers") and values[0] > 0)
        axes.set_title(short_name(axis.name))
        axes.set_ylabel("validation macro-F1")
        axes.grid(axis="y")
        return _svg(figure, f"Validation macro-F1 by {short_name(axis.name)}")


def draw_cost(rows: Sequence[Ranked], looks: Mapping[str, Look]) -> Markup:
    """Return seconds against validation macro-F1, each configuration a dot; those of the Pareto front are joined.

    Dots of the front are numbered by their place in the ranking.
    """
    seconds = [row.elapsed_s for row in rows]
    scores = [100 * row.validation.mean if row.validation else math.nan for row in rows]
    front = pareto_front(seconds, scores)
    with draw(WIDTH, 3.6) as figure:
        axes = figure.add_subplot()
        axes.plot(
            [seconds[n] for n in front], [scores[n] for n in front], color=_quiet(), drawstyle="steps-post", linewidth=1
        )
        for head, look in looks.items():
            head_rows = [n for n, row in enumerate(rows) if row.configuration.head == head]
            alpha = 0.85 if len(rows) < 200 else 0.5
            axes.plot(
                [seconds[n] for n in head_rows],
                [scores[n] for n in head_rows],
                linestyle="",
                markersize=6,
                alpha=alpha,
                **look,
            )
        for n in front:
            axes.annotate(
                str(n + 1), (seconds[n], scores[n]), xytext=(4, 5), textcoords="offset points", fontweight="bold"
            )
        axes.margins(x=0.08, y=0.1)
        if min(seconds) > 0 and max(seconds) > WIDE_SPAN * min(seconds):
            _by_magnitude(axes)
        axes.set_xlabel("seconds, of all its jobs")
        axes.set_ylabel("validation macro-F1")
        axes.grid()
        return _svg(figure, "Seconds against validation macro-F1")


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the indices of the points on the Pareto front, than which none is both cheaper and better, cheapest first.

    >>> pareto_front([3, 1, 2, 4], [80, 70, 60, 80])
    [1, 0]
    """
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -scores[index])):
        if not front or scores[index] > scores[front[-1]]:
            front.append(index)
    return front


def draw_jobs(outcomes: Sequence[Mapping[FoldJob, Outcome]], names: Sequence[str]) -> Markup:
    """Return the macro-F1 of each job of some configurations, on validation rows and on test rows.

    A fold has one colour; lines join the jobs of one fold and seed.
    """
    with draw(WIDTH, 1.1 + 0.36 * len(names)) as figure:
        validation_axes, test_axes = figure.subplots(1, 2, sharey=True)
        for axes, side in ((validation_axes, "validation"), (test_axes, "test")):
            points_by_job: dict[tuple[int, int], list[tuple[float, int]]] = {}
            for line, job_outcomes in enumerate(outcomes):
                for job, outcome in job_outcomes.items():
                    score = 100 * getattr(outcome, side)["macro_f1"]
                    points_by_job.setdefault((job.fold, job.seed), []).append((score, line))
            for (fold, _), points in sorted(points_by_job.items()):
                line_style = "-" if len(points_by_job) <= MOST_LINES else ""
                axes.plot(
                    *zip(*points, strict=True), marker="o", markersize=5, linestyle=line_style, linewidth=0.6,
                    alpha=0.8, color=COLOURS[fold % len(COLOURS)],
                )  # fmt: skip
            axes.set_title(side)
            axes.set_xlabel("macro-F1")
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x")
        _name_rows(validation_axes, names)
        return _svg(figure, "Macro-F1 of each job of the best configurations")


def draw_curves(outcomes: Mapping[FoldJob, Outcome]) -> Markup:
    """Return the losses and the validation macro-F1 of a configuration's jobs by epoch; a fold has one colour."""
    with draw(WIDTH, 3.2) as figure:
        losses, scores = figure.subplots(1, 2)
        for job, outcome in outcomes.items():
            history = outcome.history
            colour = COLOURS[job.fold % len(COLOURS)]
            drawn_epochs = range(0, len(history), max(1, math.ceil(len(history) / MOST_POINTS)))
            epochs = [n + 1 for n in drawn_epochs]
            for axes, name, line_style in (
                (losses, "train_loss", ":"), (losses, "validation_loss", "-"), (scores, "validation_macro_f1", "-")
            ):  # fmt: skip
                factor = 100 if name == "validation_macro_f1" else 1
                axes.plot(
                    epochs,
                    [factor * history[n][name] for n in drawn_epochs],
                    linestyle=line_style,
                    linewidth=1.2,
                    color=colour,
                )
            best = history[outcome.best_epoch - 1]
            scores.plot(outcome.best_epoch, 100 * best["validation_macro_f1"], marker="o", markersize=5, color=colour)
        losses.set_title("loss (dotted: training)")
        scores.set_title("validation macro-F1")
        for axes in (losses, scores):
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid()
        return _svg(figure, "Training curves of the best configuration")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name rows from the top."""
    axes.set_yticks(range(len(names)), [short_name(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _scale(axes: Axes, values: Sequence[Any], *, is_log: bool) -> None:
    from matplotlib.ticker import NullLocator

    if is_log:
        _by_magnitude(axes)
    if len(values) <= FEW_VALUES:
        axes.set_xticks(values, [f"{value:.4g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
        if len(values) > 4:
            axes.tick_params(axis="x", rotation=30)


def _by_magnitude(axes: Axes) -> None:
    """Make the x-axis logarithmic, with numbers such as 0.001 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _quiet() -> Any:
    import matplotlib

    return matplotlib.rcParams["axes.edgecolor"]


def _svg(figure: Figure, label: str) -> Markup:
    with warnings.catch_warnings():
        # The browser draws the letters, and its fonts have more of them than the one that matplotlib measures with.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        return svg(figure, label=label.replace("\\", "/"))
