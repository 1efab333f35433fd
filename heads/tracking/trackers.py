"""Experiment trackers: the same metrics to TensorBoard, MLflow and Weights & Biases, where they are asked for.

A tracker is told of a run once its folder is written, so that nothing is lost if the tracker fails. It gets numbers,
settings and the folder's path, no vectors and no heads. wandb's client adds versions and the platform by itself
(`heads.tracking.wandb_tracker`). Each is an extra, and imported when it is used.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from cache.system.stray_bytes import shown, shown_values
from heads.errors import SettingError, TrackError

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "check_trackers", "parse_trackers", "track"]

TRACKERS = {  # name, which is also that of the package and of the extra -> module and function
    "mlflow": ("heads.tracking.mlflow_tracker", "to_mlflow"),
    "tensorboard": ("heads.tracking.tensorboard_tracker", "to_tensorboard"),
    "wandb": ("heads.tracking.wandb_tracker", "to_wandb"),
}
MOST_CHARACTERS = 300  # of another project's message

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class TrackedRun:
    """A run in the trackers' own terms; an ablation's has a child for each configuration."""

    name: str
    parameters: Mapping[str, str | int | float | bool]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)  # metric -> its value in each epoch
    tags: Mapping[str, str] = field(default_factory=dict)
    children: Sequence[TrackedRun] = ()


class Tracker(Protocol):
    """A function that hands a run to a tracker."""

    def __call__(self, run: TrackedRun, run_path: Path) -> str:
        """Log a run and its children, and return in words where they are."""


def parse_trackers(text: str | None) -> tuple[str, ...]:
    """Return the trackers in a list such as ``tensorboard,mlflow``.

    Raises:
        SettingError: a name is none of a tracker's.
    """
    names = [part.strip() for part in (text or "").split(",") if part.strip()]
    if unknown := [name for name in names if name not in TRACKERS]:
        raise SettingError(f"--track: expected some of {', '.join(TRACKERS)}, got {unknown[0]!r}.")
    return tuple(dict.fromkeys(names))


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are installed, before anything is trained.

    Raises:
        SettingError: one is not, or there is none of that name.
    """
    for name in parse_trackers(",".join(names)):
        if importlib.util.find_spec(name) is None:
            raise SettingError(
                f"--track {name} needs the package {name}, but it is not installed here. Install it with pip install "
                f"'embed-once[{name}]', or leave it out."
            )


def track(names: Sequence[str], run: TrackedRun, *, report: Any) -> None:
    """Tell each tracker of the run that a report is about; where one fails, the others are told all the same.

    Raises:
        TrackError: one or several failed; it carries the report, since the run is kept.
    """
    failures = []
    run = _shown(run)
    for name in names:
        try:
            module, function = TRACKERS[name]
            tracker: Tracker = getattr(import_module(module), function)
            location = tracker(run, report.run_path)
        except Exception as error:  # noqa: BLE001 - another project's client may raise anything
            reason = " ".join(str(error).split())[:MOST_CHARACTERS]
            failures.append(f"{name} failed ({type(error).__name__}: {reason})")
        else:
            log.info("%s: %s", name, location)
    if failures:
        raise TrackError(
            f"Expected --track to reach its trackers, but {', and '.join(failures)}. Nothing is lost: the run is "
            f"kept at {report.run_path}.",
            report=report,
        )


def _shown(run: TrackedRun) -> TrackedRun:
    """Return the run with its texts made printable, as any client takes them."""
    return replace(
        run,
        name=shown(run.name),
        parameters=shown_values(run.parameters),
        tags=shown_values(run.tags),
        children=[_shown(child) for child in run.children],
    )
