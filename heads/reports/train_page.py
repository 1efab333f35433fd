"""The report of a run: one page that says what was found, shows how, and names what it was made from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cache.pages.page import render_page
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
    found: RunReport,
    roster: Roster,
    findings: Findings,
    averaging: Averaging | None,
    *,
    config: Mapping[str, Any],
    columns: ReportColumns,
    settings: ReportSettings,
) -> Path:
    """Write the report into a run's folder, and return where it is."""
    is_late_fitted = bool(found.weight_intervals or found.sweep)
    chosen = choose_heads(found.metrics, list(found.encoders), is_late_fitted=is_late_fitted)
    targets = roster.problem.labels.targets[roster.split.test]
    confusions = count_confusions(targets, findings.answers[chosen.best].classes, roster.problem.labels.classes)
    page = render_page(
        TEMPLATE,
        found=found,
        run_name=found.run_path.name,
        rows=_rows(found),
        apart=_parts(found.metrics.values()),
        altered=_altered(findings.n_altered, found.n_rows["test"]),
        best=chosen.best,
        best_single=chosen.single,
        best_fusion=chosen.fusion,
        choice=chosen.sentence,
        headline=_headline(found, chosen),
        sections=_sections(found),
        late_weights=weights_in_words(found.weights, found.weight_intervals),
        metrics={name: metric for name, metric in METRICS.items() if name not in JUDGED},
        figures=_figures(found, findings, targets),
        names_alone=in_words(found.controls, found.encoders),
        about_sizes=head_in_words(found.sizes) if found.sizes else "",
        colours=HISTORY_COLOURS,
        few_rows=FEW_ROWS,
        overfit=[
            warning for name in _unguarded(found.metrics) for warning in warn_of_overfit(name, found.metrics[name])
        ],
        overfit_rule=OVERFIT_RULE,
        confusions=confusions,
        shade=_shade_of(confusions),
        compared=[chosen.single, *([chosen.fusion] if chosen.fusion else [])],
        class_rows=_class_rows(found, chosen),
        sweep=_sweep(roster, findings, averaging),
        gallery=show_products(
            roster.problem,
            {name: findings.answers[name] for name in _unguarded(findings.answers)},
            best=chosen.best,
            cache_path=Path(config["cache"]),
            columns=columns,
            image_root=settings.image_root,
        ),
        command=shlex.join(config["command"]) if config["command"] else None,
        facts=_facts(found, config, columns, settings),
        settings={name: _shown(value) for name, value in config["settings"].items()},
    )
    return write_page(found.run_path, page)


def _headline(found: RunReport, chosen: Choice) -> dict[str, Any]:
    """Return the verdict on the best fusion; where there is none, what the best single head comes to."""
    for verdict in found.verdicts:
        if verdict.fusion == chosen.fusion:
            return {"words": f"{verdict.words}.", "numbers": _spaced(verdict), "warnings": verdict.warnings}
    own = found.metrics[chosen.single]
    accuracy, macro_f1 = (
        f"{100 * own[score]:.1f} [{100 * own[f'{score}_interval'][0]:.1f}, {100 * own[f'{score}_interval'][1]:.1f}]"
        for score in ("accuracy", "macro_f1")
    )
    why = "There is no second modality" if len(found.encoders) == 1 else "No fusion was trained"
    return {
        "words": f"{chosen.single} alone has {100 * own['accuracy']:.1f} % of the test rows right.",
        "numbers": f"Accuracy {accuracy}, macro-F1 {macro_f1}. {why}: there is no verdict on one.",
        "warnings": [],
    }


def _spaced(verdict: Verdict) -> str:
    return (
        f"On {verdict.n_rows:,} test rows, {verdict.fusion} minus {verdict.single} alone, in points: "
        f"{verdict.numbers}. "
        f"{together_in_words(verdict.n_together)}"
    )


def _sections(found: RunReport) -> list[tuple[str, str]]:
    return [
        (place, text)
        for place, text, is_there in (
            ("fusions", "Each fusion", len(found.verdicts) > 1),
            ("heads", "Heads", True),
            ("training", "Training", True),
            ("sizes", "Sizes", bool(found.sizes)),
            ("confusions", "Confusions", True),
            ("classes", "Classes", True),
            ("calibration", "Calibration", True),
            ("weights", "Weights", bool(found.weights)),
            ("missing", "Missing modalities", bool(found.missing)),
            ("importance", "Importance", bool(found.verdicts)),
            ("products", "Products", True),
            ("mistakes", "Mistakes", True),
            ("settings", "Settings", True),
        )
        if is_there
    ]


def _rows(found: RunReport) -> list[tuple[str, dict]]:
    """Return the lines of the table of heads; controls stand in brackets."""
    return [*found.metrics.items(), *((f"({name})", own) for name, own in found.controls.items())]


def _parts(scored: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many test rows have a placeholder and how many have none; nothing where all are alike."""
    return {part: own["n_rows"] for one in scored for part, own in one.get("apart", {}).items()}


def _altered(n_altered: int, n_rows: int) -> str:
    return "the test rows" if n_altered == n_rows else f"{n_altered:,} of the test rows, drawn at random"


def _figures(found: RunReport, findings: Findings, targets: np.ndarray) -> dict[str, Any]:
    return {
        "scores": plot_scores(found.metrics),
        "histories": [
            plot_history(name, own["history"], own["best_epoch"])
            for name, own in found.metrics.items()
            if own["history"]
        ],
        "reliabilities": [
            plot_reliability(name, measure_reliability(own.confidences, own.classes == targets))
            for name, own in findings.answers.items()
        ],
        "missing": plot_missing(found.missing, "+".join(sorted(found.encoders))) if found.missing else None,
        "importance": plot_importance(found.verdicts) if found.verdicts else None,
        **_size_figures(found),
    }


def _size_figures(found: RunReport) -> dict[str, Any]:
    sizes = {one.name: one.heads[one.head] for one in found.sizes}
    histories = [own["history"] for own in sizes.values()]
    return {
        "sizes": plot_sizes(sizes) if sizes else None,
        "sized": [
            plot_history(name, own["history"], own["best_epoch"], beside=histories) for name, own in sizes.items()
        ],
    }


def _shade_of(confusions: Confusions) -> Any:
    """Return the function from a count of mistakes to a share of colour, in percent."""
    mistakes = confusions.counts * (1 - np.eye(len(confusions.counts), dtype=np.int64))
    most = max(int(mistakes.max(initial=0)), 1)
    return lambda count: round(LEAST_SHADE + (MOST_SHADE - LEAST_SHADE) * math.sqrt((count - 1) / max(most - 1, 1)))


def _class_rows(found: RunReport, chosen: Choice) -> list[tuple[str, int, list[dict]]]:
    """Return each class's test rows and the scores of the best single head and the best fusion on it."""
    tables = [found.metrics[name]["classes"] for name in (chosen.single, chosen.fusion) if name]
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
    found: RunReport, config: Mapping[str, Any], columns: ReportColumns, settings: ReportSettings
) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    return [
        ("cache", config["cache"]),
        ("its content", f"SHA-256 {config['cache_content_sha256']}"),
        *((f"encoder of {modality}", name) for modality, name in found.encoders.items()),
        ("pictures", f"column {columns.image}" if columns.image else "no column"),
        ("titles", f"column {columns.title}" if columns.title else "no column"),
        *([("pictures' folder", str(settings.image_root))] if settings.image_root else []),
        ("trained on", "{device}, in {precision}".format(**config["trained_on"])),
        ("versions", versions),
        ("seconds", f"{found.elapsed_s:.1f}, without this page"),
    ]


def _unguarded(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(GUARD)]


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name}={own}" for name, own in value.items()) or "–"
    return str(value)
