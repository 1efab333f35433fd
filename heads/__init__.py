"""Heads: small classifiers on cached vectors. `heads.train` trains them, `heads.load_heads` uses them."""

from importlib import import_module
from typing import Any

__all__ = [
    "AblationReport",
    "AblationSettings",
    "CheckReport",
    "CrossAttention",
    "Early",
    "FusionClassifier",
    "HeadError",
    "LabelError",
    "Late",
    "MemoError",
    "ReportSettings",
    "RunError",
    "RunReport",
    "SettingError",
    "SplitError",
    "TrainSettings",
    "TrainedHead",
    "ablate",
    "check_head",
    "load_head",
    "load_heads",
    "train",
]

_HOMES = {
    "AblationReport": "heads.ablation",
    "AblationSettings": "heads.ablation_settings",
    "CheckReport": "heads.check",
    "CrossAttention": "heads.attention",
    "Early": "heads.early",
    "FusionClassifier": "heads.estimator",
    "Late": "heads.late",
    "ReportSettings": "heads.report_settings",
    "RunReport": "heads.training",
    "TrainSettings": "heads.settings",
    "TrainedHead": "heads.trained",
    "ablate": "heads.ablation",
    "check_head": "heads.check",
    "load_head": "heads.trained",
    "load_heads": "heads.run",
    "train": "heads.training",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when they are first used, so that `heads-train --help` imports no torch.
    if name not in __all__:
        raise AttributeError(f"module 'heads' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "heads.errors")), name)
