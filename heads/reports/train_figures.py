"""The plots of a run's report, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cache.pages.plot import COLOURS, draw, svg
from heads.experiment.findings.missing_modalities import SHARES
from heads.experiment.weight_sweep import SweepPoint
from heads.metrics.calibration import Reliability
from heads.metrics.verdict import Verdict
from heads.modules.guard import GUARD

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FEW_ROWS",
    "HISTORY_COLOURS",
    "plot_history",
    "plot_importance",
    "plot_missing",
    "plot_reliability",
    "plot_scores",
    "plot_sizes",
    "plot_sweep",
]

WIDTH = 4.6  # inches, of a plot that has a line to itself; it is legible on a phone, as the next
SMALL = 3.1  # inches, of a plot beside others
MOST_LETTERS = 26  # of a name on an axis
MARKERS = "osD^vPX"
FEW_ROWS = 10  # bins of a reliability diagram with fewer are pale
SIDE_COLOURS = {"train": COLOURS[0], "validation": COLOURS[3], "test": COLOURS[2]}
SIDE_NAMES = {"train": "training"}
HISTORY_COLOURS = {"train_loss": COLOURS[0], "validation_loss": COLOURS[3], "validation_macro_f1": COLOURS[2]}


def plot_scores(metrics: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return a dot and an interval for the accuracy and the macro-F1 of each head."""
    with draw(WIDTH, 0.9 + 0.34 * len(metrics)) as figure:
        axes = figure.add_subplot()
        for score, colour, shift in (("accuracy", COLOURS[0], -0.13), ("macro_f1", COLOURS[3], 0.13)):
            _dots(
                axes,
                [line + shift for line in range(len(metrics))],
                [(scored[score], *scored[f"{score}_interval"]) for scored in metrics.values()],
                colour=colour,
                label={"accuracy": "accuracy", "macro_f1": "macro-F1"}[score],
            )
        _name_rows(axes, list(metrics))
        axes.set_xlabel("% of the test rows, with 95 % intervals")
        figure.legend(loc="outside upper right", ncols=2, fontsize=9)
        return svg(figure, label="Accuracy and macro-F1 of each head with intervals")


def plot_importance(verdicts: Sequence[Verdict]) -> Markup:
    """Return what each fusion loses in macro-F1 where a modality is shuffled among the test rows, with intervals."""
    modalities = list(verdicts[0].importance)
    with draw(WIDTH, 0.9 + (0.16 + 0.14 * len(modalities)) * len(verdicts)) as figure:
        axes = figure.add_subplot()
        for n, modality in enumerate(modalities):
            shift = 0.5 * ((n + 0.5) / len(modalities) - 0.5)
            drops = [verdict.importance[modality]["macro_f1"] for verdict in verdicts]
            _dots(
                axes,
                [line + shift for line in range(len(verdicts))],
                [(drop.mean, drop.low, drop.high) for drop in drops],
                colour=COLOURS[n % len(COLOURS)],
                label=_clipped(modality),
            )
        axes.axvline(0, color=axes.spines["left"].get_edgecolor(), linewidth=0.8)
        _name_rows(axes, [verdict.fusion for verdict in verdicts])
        axes.set_xlabel("points of macro-F1 lost")
        figure.legend(loc="outside upper right", ncols=3, fontsize=9)
        return svg(figure, label="What each modality is worth to each fusion")


def plot_sizes(sizes: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return a head's accuracy on the training, the validation and the test rows in each size."""
    with draw(WIDTH, 0.9 + 0.34 * len(sizes)) as figure:
        axes = figure.add_subplot()
        for side, colour, marker in zip(SIDE_COLOURS, SIDE_COLOURS.values(), MARKERS, strict=False):
            values = [100 * scored[side]["accuracy"] for scored in sizes.values()]
            axes.plot(
                values,
                range(len(sizes)),
                marker,
                color=colour,
                markersize=7,
                label=SIDE_NAMES.get(side, side),
                alpha=0.85,
            )
        lowest = [100 * min(scored[side]["accuracy"] for side in SIDE_COLOURS) for scored in sizes.values()]
        highest = [100 * max(scored[side]["accuracy"] for side in SIDE_COLOURS) for scored in sizes.values()]
        axes.hlines(
            range(len(sizes)), lowest, highest, colors=axes.spines["left"].get_edgecolor(), linewidth=1, zorder=0
        )
        _name_rows(axes, list(sizes))
        axes.set_xlabel("accuracy, %")
        figure.legend(loc="outside upper right", ncols=3, fontsize=9)
        return svg(figure, label="Accuracy of each size on training, validation and test rows")


def plot_history(
    name: str,
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
    *,
    beside: Sequence[Sequence[Mapping[str, float]]] = (),
) -> Markup:
    """Return the losses of a head's training (`HISTORY_COLOURS`), and below them its macro-F1 on validation rows.

    The scale is that of the histories `beside`, if any, so that their plots can be compared.
    """
    epochs = range(1, len(history) + 1)
    with draw(SMALL, 2.9) as figure:
        losses, scores = _two_axes(figure, _clipped(name), height_ratios=(3, 2))
        for key, colour in HISTORY_COLOURS.items():
            is_score = key == "validation_macro_f1"
            values = [(100 if is_score else 1) * epoch[key] for epoch in history]
            axes = scores if is_score else losses
            axes.plot(epochs, values, color=colour, linestyle="--" if key == "train_loss" else "-")
            if key != "train_loss":
                axes.plot(best_epoch, values[best_epoch - 1], "o", color=colour, markersize=6)
        for axes in (losses, scores):
            axes.axvline(best_epoch, color=axes.spines["left"].get_edgecolor(), linestyle=":", linewidth=1)
            axes.grid(axis="y")
        losses.set_ylim(0, 1.05 * max(losses.dataLim.ymax, 0.01))
        scores.set_ylim(max(0, scores.get_ylim()[0]), max(1, scores.get_ylim()[1]))
        if all_epochs := [epoch for other_history in beside for epoch in other_history]:
            losses.set_ylim(0, 1.05 * max(max(epoch["train_loss"], epoch["validation_loss"]) for epoch in all_epochs))
            scores.set_ylim(0, 105 * max(0.01, *(epoch["validation_macro_f1"] for epoch in all_epochs)))
        losses.set_ylabel("loss", fontsize=9)
        scores.set_xticks(range(1, len(history) + 1, max(1, math.ceil(len(history) / 6))))
        scores.set_ylabel("macro-F1", fontsize=9)
        scores.set_xlabel("epoch", fontsize=9)
        return svg(figure, label=f"Training of {name}")


def plot_reliability(name: str, reliability: Reliability) -> Markup:
    """Return a head's reliability diagram: how often answers of some probability are right, and how many there are."""
    n_bins, most_rows = len(reliability.counts), int(reliability.counts.max())
    middles = [(n + 0.5) / n_bins for n in range(n_bins)]
    with draw(SMALL, 3.1) as figure:
        score = f", ECE {reliability.error:.3f}"
        shares, counts = _two_axes(figure, _clipped(name, MOST_LETTERS - len(score)) + score, height_ratios=(3, 1))
        for is_pale in (False, True):
            bins = [n for n, count in enumerate(reliability.counts) if count and (count < FEW_ROWS) == is_pale]
            heights = [reliability.accuracies[n] for n in bins]
            alpha = 0.3 if is_pale else 0.8
            shares.bar([middles[n] for n in bins], heights, width=0.9 / n_bins, color=COLOURS[0], alpha=alpha)
        shares.plot([0, 1], [0, 1], color=COLOURS[3], linestyle="--", linewidth=1)
        shares.set(ylim=(0, 1.02), xlim=(0, 1), yticks=(0, 0.5, 1), yticklabels=("0", "50", "100"))
        shares.set_ylabel("right, %", fontsize=9)
        counts.bar(middles, reliability.counts, width=0.9 / n_bins, color=COLOURS[5])
        counts.set(
            xticks=(0, 0.5, 1), xticklabels=("0", "50", "100"), yticks=(0, most_rows), ylim=(0, 1.05 * most_rows)
        )
        counts.set_xlabel("the head's probability, %", fontsize=9)
        counts.set_ylabel("rows", fontsize=9)
        return svg(figure, label=f"Calibration of {name}")


def plot_missing(missing: Mapping[str, Mapping[str, Mapping[str, float]]], full: str) -> Markup:
    """Return the accuracy of each head over the share of entries that are missing; `full` names none missing."""
    columns = {0.0: full, **{share: f"{100 * share:.0f}% missing" for share in SHARES}}
    names = [name for name in missing[full] if not name.endswith(GUARD)]  # the table has these, too
    with draw(WIDTH, 3.0 + 0.2 * math.ceil(len(names) / 3)) as figure:
        axes = figure.add_subplot()
        for n, name in enumerate(names):
            axes.plot(
                [100 * share for share in columns],
                [100 * missing[condition][name]["accuracy"] for condition in columns.values()],
                color=COLOURS[n % len(COLOURS)],
                marker=MARKERS[n % len(MARKERS)],
                markersize=4,
                linestyle="--" if n < full.count("+") + 1 else "-",
                label=_clipped(name),
            )
        axes.set(xlabel="entries missing, %", ylabel="accuracy, %", xticks=[100 * share for share in columns])
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        return svg(figure, label="Accuracy with modalities missing")


def plot_sweep(
    points: Sequence[SweepPoint], validation_points: Sequence[SweepPoint], weights: Mapping[str, float]
) -> Markup | None:
    """Return late fusion's scores over its weights: curves of two modalities, a triangle of three, else nothing."""
    if len(weights) == 2:
        return _sweep_curves(points, validation_points, weights)
    return _sweep_triangle(points, weights) if len(weights) == 3 else None


def _sweep_curves(
    points: Sequence[SweepPoint], validation_points: Sequence[SweepPoint], weights: Mapping[str, float]
) -> Markup:
    first_modality, second_modality = weights
    with draw(WIDTH, 3.2) as figure:
        axes = figure.add_subplot()
        for score, label, colour in (("accuracy", "accuracy", COLOURS[0]), ("macro_f1", "macro-F1", COLOURS[3])):
            for side_points, side, style in ((points, "test", "-"), (validation_points, "validation", ":")):
                if side_points:
                    values = [100 * getattr(point, score) for point in side_points]
                    first_weights = [point.weights[first_modality] for point in side_points]
                    axes.plot(first_weights, values, style, color=colour, label=f"{label}, {side}")
        axes.axvline(weights[first_modality], color=COLOURS[2], linestyle="--", linewidth=1, label="the weight taken")
        axes.set(
            xlabel=f"weight of {_clipped(first_modality)}; the rest is {_clipped(second_modality)}'s",
            ylabel="%",
            xlim=(0, 1),
        )
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
        return svg(figure, label="Late fusion's scores over its weights")


def _sweep_triangle(points: Sequence[SweepPoint], weights: Mapping[str, float]) -> Markup:
    names = list(weights)

    def coordinates(point_weights: Mapping[str, float]) -> tuple[float, float]:
        return point_weights[names[1]] + point_weights[names[2]] / 2, point_weights[names[2]] * math.sqrt(3) / 2

    with draw(WIDTH, 3.9) as figure:
        axes = figure.add_subplot()
        x, y = zip(*(coordinates(point.weights) for point in points), strict=True)
        macro_f1s = [100 * point.macro_f1 for point in points]
        dots = axes.scatter(x, y, c=macro_f1s, s=150, marker="h", cmap="viridis")
        chosen_x, chosen_y = coordinates(weights)
        axes.scatter(chosen_x, chosen_y, s=260, marker="o", facecolors="none", edgecolors=COLOURS[3], linewidths=2)
        for name, vertical, shift in zip(names, ("top", "top", "bottom"), (-0.07, -0.07, 0.07), strict=True):
            corner_x, corner_y = coordinates({modality: float(modality == name) for modality in names})
            axes.text(corner_x, corner_y + shift, _clipped(name), ha="center", va=vertical)
        axes.set_axis_off()
        axes.set(aspect="equal", xlim=(-0.15, 1.15), ylim=(-0.2, 1.05))
        figure.colorbar(dots, label="macro-F1, %", shrink=0.7)
        return svg(figure, label="Late fusion's macro-F1 over its weights")


def _dots(
    axes: Axes, heights: Sequence[float], spans: Sequence[tuple[float, float, float]], *, colour: str, label: str
) -> None:
    """Draw a dot and its interval a row, in percent; spans are (value, low, high)."""
    axes.hlines(heights, [100 * span[1] for span in spans], [100 * span[2] for span in spans], colors=colour)
    axes.plot([100 * span[0] for span in spans], heights, "o", color=colour, markersize=5, label=label)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_clipped(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x")


def _two_axes(figure: Figure, title: str, *, height_ratios: tuple[int, int]) -> tuple[Axes, Axes]:
    """Return two axes, one above the other, in a small plot; placed by hand, as a layout engine is slow for many."""
    figure.set_layout_engine(None)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=height_ratios)
    figure.subplots_adjust(left=0.2, right=0.95, top=0.91, bottom=0.15, hspace=0.16)
    upper.set_title(title, fontsize=10)
    for axes in (upper, lower):
        axes.tick_params(labelsize=8)
        axes.yaxis.set_label_coords(-0.2, 0.5)
    upper.tick_params(labelbottom=False)
    return upper, lower


def _clipped(name: str, most_letters: int = MOST_LETTERS) -> str:
    clipped = name if len(name) <= most_letters else name[: most_letters - 1] + "…"
    # Matplotlib leaves names that begin so out of legends.
    return f"\N{HAIR SPACE}{clipped}" if clipped.startswith("_") else clipped
