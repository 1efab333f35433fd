"""Heads: small classifiers on cached vectors. `heads.train` trains them, `heads.load_heads` uses them."""

from importlib import import_module
from typing import Any

import embed_once  # noqa: F401 - it refuses another module named cache

__all__ = [
    "AblationReport",
    "AblationSettings",
    "AuditReport",
    "AuditSettings",
    "CachedEmbeddings",
    "CheckReport",
    "CrossAttention",
    "Early",
    "ExportError",
    "ExportReport",
    "ExportSettings",
    "FusionClassifier",
    "HeadError",
    "LabelError",
    "Late",
    "MemoError",
    "Prediction",
    "ReportSettings",
    "ReviewReport",
    "ReviewSettings",
    "Run",
    "RunError",
    "RunReport",
    "SettingError",
    "SplitError",
    "TrainSettings",
    "TrainedHead",
    "ablate",
    "audit_catalogue",
    "check_head",
    "export_head",
    "load_head",
    "load_heads",
    "modality_importance",
    "review_products",
    "train",
]

_HOMES = {
    "AblationReport": "heads.runs.ablation_report",
    "AblationSettings": "heads.ablation.ablation_settings",
    "AuditReport": "heads.audit.audit_report",
    "AuditSettings": "heads.audit.audit_settings",
    "CachedEmbeddings": "heads.estimator.cached_embeddings",
    "CheckReport": "heads.checks.check_head",
    "CrossAttention": "heads.modules.attention",
    "Early": "heads.modules.early",
    "ExportReport": "heads.workflows.export",
    "ExportSettings": "heads.export.export_settings",
    "FusionClassifier": "heads.estimator.classifier",
    "Late": "heads.modules.late",
    "Prediction": "heads.prediction.answers",
    "Run": "heads.prediction.run",
    "ReportSettings": "heads.reports.report_settings",
    "ReviewReport": "heads.workflows.review",
    "ReviewSettings": "heads.review.review_settings",
    "RunReport": "heads.runs.run_report",
    "TrainSettings": "heads.settings",
    "TrainedHead": "heads.modules.saving.saved_head",
    "ablate": "heads.workflows.ablate",
    "audit_catalogue": "heads.workflows.audit",
    "check_head": "heads.checks.check_head",
    "export_head": "heads.workflows.export",
    "load_head": "heads.modules.saving.saved_head",
    "load_heads": "heads.runs.folder",
    "modality_importance": "heads.estimator.modality_importance",
    "review_products": "heads.workflows.review",
    "train": "heads.workflows.train",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when they are first used, so that `heads-train --help` imports no torch.
    if name not in __all__:
        raise AttributeError(f"module 'heads' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "heads.errors")), name)
