"""Runs for Weights & Biases: offline beside the run folders, unless WANDB_MODE or WANDB_API_KEY says otherwise.

What wandb collects besides is switched off: installed packages, the machine, the script and its arguments, git, code.
No setting switches off its own telemetry: the versions of Python and wandb, the platform, and which well-known
packages are imported.
"""

from __future__ import annotations

import os
from pathlib import Path

from heads.tracking.trackers import TrackedRun

__all__ = ["to_wandb"]

PROJECT = "embed-once"  # unless WANDB_PROJECT says otherwise


def to_wandb(run: TrackedRun, run_path: Path) -> str:
    """Log a run, and its children in one group with it, and return where they are."""
    folder = Path(os.environ.get("WANDB_DIR") or run_path.parent)
    folder.mkdir(parents=True, exist_ok=True)
    group = run.name if run.children else None
    addresses = [_log_run(logged_run, folder, group) for logged_run in (run, *run.children)]
    return addresses[0] + (f" and {len(run.children)} more beside it" if run.children else "")


def _log_run(run: TrackedRun, folder: Path, group: str | None) -> str:
    """Log one run, and return its page, or the command that uploads its folder."""
    import wandb

    names_mode = os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY")
    wandb_run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or PROJECT,
        name=run.name,
        group=group,
        dir=str(folder),
        mode=None if names_mode else "offline",
        config={**run.parameters, **run.tags},
        reinit="create_new",  # the caller may have a run of its own
        settings=wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            save_code=False,
            disable_git=True,
            host="",
        ),
    )
    n_epochs = max(map(len, run.curves.values()), default=0)
    for epoch in range(1, n_epochs + 1):
        wandb_run.log(
            {name: values[epoch - 1] for name, values in run.curves.items() if len(values) >= epoch}, step=epoch
        )
    wandb_run.summary.update(dict(run.metrics))
    wandb_run.finish()
    return f"wandb sync {Path(wandb_run.dir).parent}" if wandb_run.offline else str(wandb_run.url or wandb_run.dir)
