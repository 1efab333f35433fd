"""The ablation as it is asked for: its results are told again if it was done before, else it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cache.console.notes import PROGRESS
from heads.ablation.ablation_settings import AblationSettings
from heads.runs.ablation_report import AblationReport
from heads.runs.finished_ablations import FinishedAblation, FinishedAblations
from heads.runs.folder import reserved

if TYPE_CHECKING:
    from heads.ablation.job_runner import Watcher

__all__ = ["ablate"]

log = logging.getLogger("embed_once")


def ablate(
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: AblationSettings | None = None,
    runs_path: str | Path = "runs",
    name: str | None = None,
    memo_path: str | Path | None = None,
    command: Sequence[str] | None = None,
    watcher: Watcher | None = None,
    with_report: bool = True,
    trackers: Sequence[str] = (),
) -> AblationReport:
    """Compare heads, encoders and settings on the same folds, write a run folder, and return what was found.

    The outcome of each job is written into the memo (by default ``memo.sqlite`` in the runs' folder) as soon as it is
    trained, and is not trained again: an ablation that was stopped goes on where it was. The best of many is chosen on
    the validation rows, and the test rows tell how much better it is. The folder's ``report.html`` shows it all, unless
    `with_report` is false; `trackers` are told of it at the end. Should the page fail, the folder is whole without it.

    With `command`, the command line, all results are kept beside the memo, and are told again without a look at the
    cache where nothing has changed (`heads.runs.finished_ablations`).

    Raises:
        CacheError: the cache cannot be read, or lacks a modality.
        LabelError, SplitError, SettingError, HeadError, RunError, MemoError: what was asked for cannot be done.
        TrackError: a tracker failed; the run is written, and the error has the report.
    """
    settings = settings or AblationSettings()
    started = time.monotonic()
    runs_path = Path(runs_path)
    memo_path = runs_path / "memo.sqlite" if memo_path is None else Path(memo_path)
    with reserved(runs_path, name):
        finished = FinishedAblations(memo_path, cache_path, settings) if command else None
        recalled = finished.recall(with_page=with_report) if finished and not trackers else None
        if command and recalled:
            _log_finished(recalled)
            run_path = recalled.write(runs_path, name, command=command, with_page=with_report)
            elapsed_s = time.monotonic() - started
            return replace(recalled.report, run_path=run_path, memo_path=memo_path, elapsed_s=elapsed_s)
        from heads.workflows.ablate_anew import ablate_anew  # PyTorch takes a second

        return ablate_anew(
            cache_path,
            settings,
            runs_path=runs_path,
            name=name,
            memo_path=memo_path,
            command=command,
            watcher=watcher,
            with_report=with_report,
            trackers=trackers,
            finished=finished,
            started=started,
        )


def _log_finished(finished: FinishedAblation) -> None:
    """Log what the ablation would have logged of its data and its jobs."""
    for note in finished.report.notes:
        log.info(note)
    log.log(PROGRESS, "%d jobs, all of them remembered", finished.report.n_jobs)
