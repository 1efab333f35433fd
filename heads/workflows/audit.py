"""The audit: heads are trained on folds, rows are compared with their nearest, and findings are written."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cache import Cache
from heads.audit.audit_report import AuditReport
from heads.audit.audit_settings import AuditSettings
from heads.audit.detectors import detect
from heads.audit.evidence import Evidence, gather_evidence
from heads.audit.finding import Finding
from heads.audit.findings_file import write_findings
from heads.audit.label_errors import is_label_issue
from heads.audit.outliers import too_small_notes
from heads.device import find_device
from heads.experiment.problem import pose
from heads.json_file import write_json
from heads.reports.report_settings import ReportSettings, choose_columns
from heads.runs.folder import reserved, write_page, write_run

__all__ = ["audit_catalogue"]

log = logging.getLogger("embed_once")


def audit_catalogue(
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: AuditSettings | None = None,
    runs_path: str | Path = "runs",
    name: str | None = None,
    command: Sequence[str] | None = None,
    report: ReportSettings | None = None,
) -> AuditReport:
    """Look for what is wrong in a catalogue, write a run folder, and return what was found.

    The folder has ``findings.csv``, ``audit.json`` and, with `report`, ``report.html``, without which it is whole, too.

    Raises:
        CacheError: the cache cannot be read, or lacks a modality.
        LabelError, SplitError, SettingError, HeadError, RunError: what was asked for cannot be done.
    """
    settings = settings or AuditSettings()
    started = time.monotonic()
    with reserved(Path(runs_path), name):
        find_device(settings.device)  # before all is read
        with Cache(cache_path) as cache:
            columns = choose_columns(cache, report or ReportSettings())
            problem = pose(cache, settings)
        evidence = gather_evidence(problem, settings)
        findings, counts = detect(evidence, most_findings=settings.most)
        facts = _facts(evidence, settings, cache_path=cache_path, command=command, counts=counts)

        def write(folder: Path) -> None:
            corrected = problem.corrections.labels if problem.corrections else {}
            write_findings(folder, findings, problem.ids, list(evidence.nearest), corrected=corrected)
            write_json(folder / "audit.json", facts)
            if problem.corrections:
                problem.corrections.write(folder)

        run_path = write_run(Path(runs_path), name, f"{problem.labels.column}-audit", write)
    audit_report = _report(evidence, findings, counts, run_path=run_path, started=started)
    for note in audit_report.notes[len(problem.notes) :]:
        log.info(note)
    if report is not None:
        from heads.reports.audit_page import render_audit  # Jinja2 and Pillow take their time

        labels = [evidence.label(target) for target in problem.labels.targets.tolist()]
        page = render_audit(
            audit_report, facts, cache_path=Path(cache_path), columns=columns, report=report, labels=labels
        )
        write_page(run_path, page)
    return audit_report


def _report(
    evidence: Evidence, findings: list[Finding], counts: dict[str, int], *, run_path: Path, started: float
) -> AuditReport:
    problem = evidence.problem
    agreement, majority_share = _agreement(evidence)
    return AuditReport(
        run_path=run_path,
        label=problem.labels.column,
        n_classes=len(problem.labels.classes),
        n_products=len(problem.ids),
        n_audited=int(evidence.out_of_fold.is_tested.sum()),
        left_out=_left_out(evidence),
        n_likely_wrong=int(is_label_issue(evidence).sum()),
        agreement=agreement,
        majority_share=majority_share,
        encoders=problem.combinations[0],
        untrained=problem.untrained,
        findings=findings,
        counts=counts,
        ids=problem.ids,
        notes=[*problem.notes, *too_small_notes(evidence)],
        elapsed_s=time.monotonic() - started,
    )


def _agreement(evidence: Evidence) -> tuple[float, float]:
    """Return the share of the audited rows whose label the heads answer, and the share of the commonest label."""
    out_of_fold, targets = evidence.out_of_fold, evidence.problem.labels.targets
    is_tested = out_of_fold.is_tested
    if not is_tested.any():
        return 0.0, 1.0
    agrees = out_of_fold.given_probabilities > out_of_fold.alternative_probabilities
    majority_share = np.bincount(targets[is_tested]).max() / is_tested.sum()
    return float(agrees[is_tested].mean()), float(majority_share)


def _left_out(evidence: Evidence) -> dict[str, int]:
    """Return how many products were not audited, {reason: count}."""
    problem = evidence.problem
    n_untested = int(((problem.labels.targets >= 0) & ~evidence.out_of_fold.is_tested).sum())
    counts = {**problem.labels.left_out, "that no fold tests (copies are more than half of their class)": n_untested}
    return {reason: count for reason, count in counts.items() if count}


def _facts(
    evidence: Evidence,
    settings: AuditSettings,
    *,
    cache_path: str | Path,
    command: Sequence[str] | None,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return the content of ``audit.json``: all that is needed to do it again."""
    problem = evidence.problem
    return {
        "command": list(command) if command else None,
        "cache": str(cache_path),
        "cache_content_sha256": problem.content_sha256,
        "encoders": problem.fingerprints,
        "label": problem.labels.column,
        "classes": problem.labels.classes,
        "settings": asdict(settings),
        "counts": dict(counts),
        "n_likely_wrong": int(is_label_issue(evidence).sum()),
        "notes": problem.notes,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
