"""The report of an ablation: one HTML page that opens offline."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.pages.page import render_page
from heads.ablation.job_runner import JobRunner
from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranked, Ranking
from heads.ablation.ranking_table import differences_text, verdict_text
from heads.ablation.setting_effects import axes_of
from heads.experiment.configuration import FoldJob
from heads.experiment.findings.best_heads import LATE_FITTED
from heads.experiment.results import Outcome
from heads.metrics.registry import JUDGED, METRICS
from heads.reports.ablation_figures import (
    MARKERS,
    Look,
    draw_axis,
    draw_cost,
    draw_curves,
    draw_differences,
    draw_jobs,
    looks_of,
)

__all__ = ["AblationPage"]

TEMPLATE = Path(__file__).parent / "ablation.html"
MOST_ROWS = 2000  # of a table
MOST_DIFFERENCES = 20
MOST_COMPARED = 6  # configurations shown job by job


@dataclass(frozen=True)
class _Shown:
    """A configuration of the ranking, as the page names it."""

    place: int
    row: Ranked
    encoders: list[str]
    settings: str  # those that vary
    naming: Naming

    @property
    def head(self) -> str:
        return self.row.configuration.head

    @property
    def stopped(self) -> str:
        """Why there are no scores; empty where there are."""
        row = self.row
        if row.dropped:
            return f"dropped {row.dropped.in_words(self.naming)}"
        return f"failed in {row.n_failed} of {row.n_jobs} jobs: {row.error}" if row.error else ""

    @property
    def name(self) -> str:
        return f"{self.place} {self.head} {self.settings}".rstrip()


class AblationPage:
    """The page of an ablation, whose figures are drawn once."""

    def __init__(self, runner: JobRunner, ranking: Ranking) -> None:
        self._ranking = ranking
        self._naming = naming = Naming(row.configuration for row in ranking.rows)
        self._shown = [
            _Shown(
                place,
                row,
                [f"{modality} {name}" for modality, name in row.configuration.encoders],
                naming.settings_of(row.configuration),
                naming,
            )
            for place, row in enumerate(ranking.rows, start=1)
        ]
        self._ranked = [shown for shown in self._shown if shown.row.validation is not None]
        self._jobs = {
            shown.place: {job: runner.outcomes[job] for job in runner.done_jobs(shown.row.configuration)}
            for shown in self._shown
        }
        heads = {shown.head: shown.row.configuration.is_single for shown in self._shown}
        self._looks = looks_of(sorted(heads, key=lambda head: not heads[head]))  # single modalities first
        self._figures = _figures(self._ranked, ranking, naming, self._jobs, self._looks)

    def render(self, runner: JobRunner, config: Mapping[str, Any]) -> str:
        """Return the page; `config` is the content of ``ablation.json``, the runner says which jobs were trained."""
        problem, ranking, shown, ranked = runner.problem, self._ranking, self._shown, self._ranked
        return render_page(
            TEMPLATE,
            label=problem.labels.column,
            metrics={name: metric for name, metric in METRICS.items() if name not in JUDGED},
            n_classes=len(problem.labels.classes),
            n_tested=len(problem.test_rows),
            n_folds=len(problem.folds),
            seeds=config["settings"]["seeds"],
            encoders=problem.encoders,
            with_encoders=bool(self._naming.modalities),
            untrained=problem.untrained,
            verdict=verdict_text(ranking, self._naming),
            differences=differences_text(ranking),
            tone=_tone(ranking),
            single=ranking.single.head if ranking.single else None,
            late_fitted=LATE_FITTED if runner.is_late_fitted else None,
            rows=shown[:MOST_ROWS],
            apart=next((row.apart for row in ranking.rows if row.apart), None),
            n_rows=len(shown),
            n_stopped=len(shown) - len(ranked),
            n_dropped=sum(row.dropped is not None for row in ranking.rows),
            figures=self._figures,
            n_differences=min(len(ranked), MOST_DIFFERENCES),
            legend=[(head, look["color"], MARKERS[look["marker"]]) for head, look in self._looks.items()],
            jobs=_job_rows(shown, self._jobs, runner)[:MOST_ROWS],
            n_jobs=runner.n_jobs,
            n_trained=runner.n_trained,
            most_rows=MOST_ROWS,
            settings=_settings(config["settings"]),
            notes=config["notes"],
            versions=config["versions"],
            fingerprints=config["encoders"],
            cache=config["cache"],
            content_sha256=config["cache_content_sha256"],
            command=shlex.join(config["command"]) if config["command"] else None,
        )


def _tone(ranking: Ranking) -> str:
    """Return whether the verdict is good or bad news for the best fusion, or neither."""
    if ranking.verdict is None:
        return ""
    return {"better": "good", "worse": "bad"}.get(ranking.verdict.outcome, "")


def _figures(
    ranked: Sequence[_Shown],
    ranking: Ranking,
    naming: Naming,
    jobs: Mapping[int, Mapping[FoldJob, Outcome]],
    looks: Mapping[str, Look],
) -> dict[str, Any]:
    """Return the figures by their names; None where there is nothing to draw."""
    rows, best, compared = [shown.row for shown in ranked], ranked[:MOST_DIFFERENCES], ranked[:MOST_COMPARED]
    differences = cost = spread = curves = curves_of = None
    if ranking.single is not None and len(ranked) > 1:
        differences = draw_differences(rows[: len(best)], [shown.name for shown in best], single=ranking.single.head)
        cost = draw_cost(rows, looks)
    if compared and len(jobs[compared[0].place]) > 1:
        spread = draw_jobs([jobs[shown.place] for shown in compared], [shown.name for shown in compared])
    for shown in ranked:
        if with_history := {job: outcome for job, outcome in jobs[shown.place].items() if outcome.history}:
            curves, curves_of = draw_curves(with_history), shown.name
            break
    return {
        "axes": [draw_axis(axis, looks) for axis in axes_of(rows, naming)],
        "differences": differences,
        "cost": cost,
        "jobs": spread,
        "curves": curves,
        "curves_of": curves_of,
    }


def _job_rows(
    shown: Sequence[_Shown], jobs: Mapping[int, Mapping[FoldJob, Outcome]], runner: JobRunner
) -> list[dict[str, Any]]:
    return [
        {
            "place": line.place,
            "head": line.head,
            "encoders": line.encoders,
            "settings": line.settings,
            "fold": job.fold,
            "seed": job.seed if line.row.configuration.is_seeded else "",
            "outcome": outcome,
            "n_epochs": len(outcome.history),
            "source": "trained" if job in runner.trained else "remembered",
        }
        for line in shown
        for job, outcome in jobs[line.place].items()
    ]


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings asked for, in words, without those that were not given; encoders that were not are all."""
    requested = {name.removeprefix("n_"): value for name, value in settings.items() if name != "grid"}
    requested["encoders"] = settings["encoders"] or "all"
    return {
        name.replace("_", " "): _value_in_words(value)
        for name, value in (requested | settings["grid"]).items()
        if value not in (None, (), [])
    }


def _value_in_words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join("all" if item is None else str(item) for item in value)  # None: all rows of a class
    return str(value)
