"""Runs for TensorBoard: event files in the run's own folder."""

from __future__ import annotations

import re
from pathlib import Path

from heads.tracking.trackers import TrackedRun

__all__ = ["to_tensorboard"]


def to_tensorboard(run: TrackedRun, run_path: Path) -> str:
    """Write event files to ``tensorboard`` in the run folder, one folder in it for each child; return how to see it."""
    folder = run_path / "tensorboard"
    _write(run, folder)
    for child in run.children:
        _write(child, folder / re.sub(r"[^\w.+-]+", "-", child.name))
    return f"tensorboard --logdir {run_path.parent}"


def _write(run: TrackedRun, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, values in run.curves.items():
            for epoch, value in enumerate(values, start=1):
                writer.add_scalar(name, value, epoch)
        for name, text in run.tags.items():
            writer.add_text(name, text)
        # its table of runs, and the metrics as scalars; "." is this folder
        writer.add_hparams(dict(run.parameters), dict(run.metrics), run_name=".")
