"""The report of a run: one page with the verdict, the figures behind it, and what it was made from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cache.pages.page import render_page
from cache.shares import percent
from heads.experiment.findings.best_heads import Choice, choose_heads
from heads.experiment.findings.evaluation import Findings
from heads.experiment.findings.sizes import head_in_words
from heads.experiment.late_fusion import Averaging, sweep, weights_in_words
from heads.experiment.trained_heads import Roster
from heads.experiment.zero_label import in_words
from heads.metrics.calibration import measure_reliability
from heads.metrics.confusion import Confusions, count_confusions
from heads.metrics.overfitting import OVERFIT_RULE, warn_of_overfit
from heads.metrics.registry import JUDGED, METRICS
from heads.metrics.verdict import Verdict, together_in_words
from heads.modules.guard import GUARD
from heads.reports.example_products import show_products
from heads.reports.report_settings import ReportColumns, ReportSettings
from heads.reports.train_figures import (
    FEW_ROWS,
    HISTORY_COLOURS,
    plot_history,
    plot_importance,
    plot_missing,
    plot_reliability,
    plot_scores,
    plot_sizes,
    plot_sweep,
)
from heads.runs.folder import write_page
from heads.runs.run_report import RunReport

__all__ = ["write_report"]

TEMPLATE = Path(__file__).with_name("report.html")
MOST_CLASS_ROWS = 2_000
SWEPT_CELLS = 6_000_000  # rows times classes: some seconds at most
LEAST_SHADE, MOST_SHADE = 15, 65  # percent; text stays readable on it


def write_report(
    report: RunReport,
    roster: Roster,
    findings: Findings,
    averaging: Averaging | None,
    *,
    config: Mapping[str, Any],
    columns: ReportColumns,
    settings: ReportSettings,
) -> Path:
    """Write the report into a run's folder, and return where it is."""
    is_late_fitted = bool(report.weight_intervals or report.sweep)
    choice = choose_heads(report.metrics, list(report.encoders), is_late_fitted=is_late_fitted)
    targets = roster.problem.labels.targets[roster.split.test]
    confusions = count_confusions(targets, findings.answers[choice.best].classes, roster.problem.labels.classes)
    page = render_page(
        TEMPLATE,
        report=report,
        run_name=report.run_path.name,
        rows=_rows(report),
        apart=_n_rows_apart(report.metrics.values()),
        altered=_altered(findings.n_altered, report.n_rows["test"]),
        best=choice.best,
        best_single=choice.single,
        best_fusion=choice.fusion,
        choice=choice.sentence,
        headline=_headline(report, choice),
        sections=_sections(report),
        late_weights=weights_in_words(report.weights, report.weight_intervals),
        metrics={name: metric for name, metric in METRICS.items() if name not in JUDGED},
        figures=_figures(report, findings, targets),
        names_alone=in_words(report.controls, report.encoders),
        about_sizes=head_in_words(report.sizes) if report.sizes else "",
        colours=HISTORY_COLOURS,
        few_rows=FEW_ROWS,
        overfit=[
            warning for name in _unguarded(report.metrics) for warning in warn_of_overfit(name, report.metrics[name])
        ],
        overfit_rule=OVERFIT_RULE,
        confusions=confusions,
        shade=_shade_function(confusions),
        compared=[choice.single, *([choice.fusion] if choice.fusion else [])],
        class_rows=_class_rows(report, choice),
        sweep=_sweep(roster, findings, averaging),
        gallery=show_products(
            roster.problem,
            {name: findings.answers[name] for name in _unguarded(findings.answers)},
            best=choice.best,
            cache_path=Path(config["cache"]),
            columns=columns,
            image_root=settings.image_root,
        ),
        command=shlex.join(config["command"]) if config["command"] else None,
        facts=_facts(report, config, columns, settings),
        settings={name: _shown(value) for name, value in config["settings"].items()},
    )
    return write_page(report.run_path, page)


def _headline(report: RunReport, choice: Choice) -> dict[str, Any]:
    """Return the verdict on the best fusion; where there is none, the scores of the best single head."""
    for verdict in report.verdicts:
        if verdict.fusion == choice.fusion:
            return {"words": f"{verdict.words}.", "numbers": _spaced(verdict), "warnings": verdict.warnings}
    scored = report.metrics[choice.single]
    accuracy, macro_f1 = (
        f"{percent(scored[score])} [{percent(low)}, {percent(high)}]"
        for score in ("accuracy", "macro_f1")
        for low, high in [scored[f"{score}_interval"]]
    )
    reason = "There is no second modality" if len(report.encoders) == 1 else "No fusion was trained"
    return {
        "words": f"{choice.single} alone has {percent(scored['accuracy'])} % of the test rows right.",
        "numbers": f"Accuracy {accuracy}, macro-F1 {macro_f1}. {reason}: there is no verdict on one.",
        "warnings": [],
    }


def _spaced(verdict: Verdict) -> str:
    return (
        f"On {verdict.n_rows:,} test rows, {verdict.fusion} minus {verdict.single} alone, in points: "
        f"{verdict.numbers}. "
        f"{together_in_words(verdict.n_together)}"
    )


def _sections(report: RunReport) -> list[tuple[str, str]]:
    return [
        (anchor, text)
        for anchor, text, is_shown in (
            ("fusions", "Each fusion", len(report.verdicts) > 1),
            ("heads", "Heads", True),
            ("training", "Training", True),
            ("sizes", "Sizes", bool(report.sizes)),
            ("confusions", "Confusions", True),
            ("classes", "Classes", True),
            ("calibration", "Calibration", True),
            ("weights", "Weights", bool(report.weights)),
            ("missing", "Missing modalities", bool(report.missing)),
            ("importance", "Importance", bool(report.verdicts)),
            ("products", "Products", True),
            ("mistakes", "Mistakes", True),
            ("settings", "Settings", True),
        )
        if is_shown
    ]


def _rows(report: RunReport) -> list[tuple[str, dict]]:
    """Return the rows of the table of heads, name and scores; controls stand in brackets."""
    return [*report.metrics.items(), *((f"({name})", scored) for name, scored in report.controls.items())]


def _n_rows_apart(all_scores: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many test rows have a placeholder and how many have none; empty where all have or none has."""
    return {
        part: part_scores["n_rows"] for scores in all_scores for part, part_scores in scores.get("apart", {}).items()
    }


def _altered(n_altered: int, n_rows: int) -> str:
    return "the test rows" if n_altered == n_rows else f"{n_altered:,} of the test rows, drawn at random"


def _figures(report: RunReport, findings: Findings, targets: np.ndarray) -> dict[str, Any]:
    return {
        "scores": plot_scores(report.metrics),
        "histories": [
            plot_history(name, scored["history"], scored["best_epoch"])
            for name, scored in report.metrics.items()
            if scored["history"]
        ],
        "reliabilities": [
            plot_reliability(name, measure_reliability(predictions.confidences, predictions.classes == targets))
            for name, predictions in findings.answers.items()
        ],
        "missing": plot_missing(report.missing, "+".join(sorted(report.encoders))) if report.missing else None,
        "importance": plot_importance(report.verdicts) if report.verdicts else None,
        **_size_figures(report),
    }


def _size_figures(report: RunReport) -> dict[str, Any]:
    sizes = {size.name: size.heads[size.head] for size in report.sizes}
    histories = [scored["history"] for scored in sizes.values()]
    return {
        "sizes": plot_sizes(sizes) if sizes else None,
        "sized": [
            plot_history(name, scored["history"], scored["best_epoch"], beside=histories)
            for name, scored in sizes.items()
        ],
    }


def _shade_function(confusions: Confusions) -> Any:
    """Return the function from a count of mistakes to a share of colour, in percent."""
    mistakes = confusions.counts * (1 - np.eye(len(confusions.counts), dtype=np.int64))
    most_mistakes = max(int(mistakes.max(initial=0)), 1)
    return lambda count: round(
        LEAST_SHADE + (MOST_SHADE - LEAST_SHADE) * math.sqrt((count - 1) / max(most_mistakes - 1, 1))
    )


def _class_rows(report: RunReport, choice: Choice) -> list[tuple[str, int, list[dict]]]:
    """Return each class's test rows and the scores of the best single head and the best fusion on it."""
    tables = [report.metrics[name]["classes"] for name in (choice.single, choice.fusion) if name]
    names = list(tables[0])
    if len(names) > MOST_CLASS_ROWS:
        names = sorted(names, key=lambda name: -tables[0][name]["support"])[:MOST_CLASS_ROWS]
    return [(name, tables[0][name]["support"], [table[name] for table in tables]) for name in names]


def _sweep(roster: Roster, findings: Findings, averaging: Averaging | None) -> dict[str, Any] | None:
    """Return late fusion's scores over all weights on the test rows, or some of them where there are very many."""
    if averaging is None:
        return None
    points, n_rows = findings.sweep, findings.n_swept
    if not points:
        answers = roster.whole_answers(roster.singles, "test", most_cells=SWEPT_CELLS)
        points, n_rows = sweep(answers), len(answers.targets)
    mixture = averaging.mixture
    is_tempered = {mixture.temperature, *mixture.temperatures.values()} != {1.0}
    return {
        "n_rows": n_rows,
        "points": points,
        "figure": plot_sweep(points, averaging.validation_points, mixture.weights),
        "note": "The temperatures that were fitted are left out here." if is_tempered else "",
    }


def _facts(
    report: RunReport, config: Mapping[str, Any], columns: ReportColumns, settings: ReportSettings
) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    return [
        ("cache", config["cache"]),
        ("its content", f"SHA-256 {config['cache_content_sha256']}"),
        *((f"encoder of {modality}", name) for modality, name in report.encoders.items()),
        ("pictures", f"column {columns.image}" if columns.image else "no column"),
        ("titles", f"column {columns.title}" if columns.title else "no column"),
        *([("pictures' folder", str(settings.image_root))] if settings.image_root else []),
        ("trained on", "{device}, in {precision}".format(**config["trained_on"])),
        ("versions", versions),
        ("seconds", f"{report.elapsed_s:.1f}, without this page"),
    ]


def _unguarded(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(GUARD)]


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items()) or "–"
    return str(value)
