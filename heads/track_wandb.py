"""Runs for Weights & Biases: offline beside the run folders, unless WANDB_MODE or WANDB_API_KEY says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from heads.tracking import TrackedRun

__all__ = ["to_wandb"]

PROJECT = "embed-once"  # unless WANDB_PROJECT says otherwise


def to_wandb(run: TrackedRun, run_path: Path) -> str:
    """Keep a run, and its children in one group with it; return where."""
    folder = Path(os.environ.get("WANDB_DIR") or run_path.parent)
    folder.mkdir(parents=True, exist_ok=True)
    for own in (run, *run.children):
        where = _keep(
            own, folder, group=run.name if run.children else None, kind="run" if own is run else "configuration"
        )
    return where


def _keep(run: TrackedRun, folder: Path, *, group: str | None, kind: str) -> str:
    """Keep one run, and return its page, or the folder that ``wandb sync`` takes."""
    import wandb

    asked = os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY")
    own = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or PROJECT,
        name=run.name,
        group=group,
        job_type=kind,
        dir=str(folder),
        mode=None if asked else "offline",
        config={**run.parameters, **run.tags},
        reinit="create_new",  # the caller may have a run of its own
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
    )
    n_epochs = max(map(len, run.curves.values()), default=0)
    for epoch in range(1, n_epochs + 1):
        there = {name: values[epoch - 1] for name, values in run.curves.items() if len(values) >= epoch}
        own.log(there, step=epoch)
    own.summary.update(dict(run.metrics))
    own.finish()
    return f"wandb sync {Path(own.dir).parent}" if own.offline else str(own.url)
