"""Runs for MLflow: where MLFLOW_TRACKING_URI says, or in an SQLite file beside the run folders."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any

from heads.tracking.trackers import TrackedRun

__all__ = ["to_mlflow"]

EXPERIMENT = "embed-once"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
# What the server takes at once, and of one value (mlflow.org/docs, "REST API", log-batch).
MOST_METRICS = 1000
MOST_PARAMETERS = 100
MOST_CHARACTERS = 5000


def to_mlflow(run: TrackedRun, run_path: Path) -> str:
    """Log a run to an experiment, its children nested below it, and return the store's address."""
    from mlflow import MlflowClient

    address = os.environ.get("MLFLOW_TRACKING_URI") or _address_beside(run_path)
    client = MlflowClient(tracking_uri=address)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    parent_id = _log_run(client, experiment_id, run, {})
    for child in run.children:
        _log_run(client, experiment_id, child, {"mlflow.parentRunId": parent_id})
    return f"{address}, experiment {name}"


def _log_run(client: Any, experiment_id: str, run: TrackedRun, tags: dict[str, str]) -> str:
    """Log one run, and return its id."""
    from mlflow.entities import Metric, Param

    tags = {key: run.tags[name][:MOST_CHARACTERS] for name, key in _keys(run.tags).items()} | tags
    run_id = client.create_run(experiment_id, run_name=run.name, tags=tags).info.run_id
    now_ms = int(time.time() * 1000)
    keys = _keys([*run.curves, *run.metrics])
    metrics = [
        Metric(keys[name], value, now_ms, epoch)
        for name, values in run.curves.items()
        for epoch, value in enumerate(values, start=1)
    ]
    metrics += [Metric(keys[name], value, now_ms, 0) for name, value in run.metrics.items()]
    parameters = [
        Param(key, str(run.parameters[name])[:MOST_CHARACTERS]) for name, key in _keys(run.parameters).items()
    ]
    for start in range(0, len(parameters), MOST_PARAMETERS):
        client.log_batch(run_id, params=parameters[start : start + MOST_PARAMETERS])
    for start in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])
    client.set_terminated(run_id, status="FAILED" if "error" in run.tags else "FINISHED")
    return str(run_id)


def _address_beside(run_path: Path) -> str:
    """Return the address of a file beside the run folders, quoted where an unquoted one would name another file.

    That is so where their folder is called ``a?b`` or ``50%20``; MLflow's client then leaves an empty folder beside it
    that has the quoted name.
    """
    from sqlalchemy import URL, make_url

    path = str(run_path.parent.resolve() / "mlflow.db")
    plain = f"sqlite:///{path}"
    return plain if make_url(plain).database == path else str(URL.create("sqlite", database=path))


def _keys(names: Iterable[str]) -> dict[str, str]:
    """Return a different key for each name, of characters that MLflow takes; names of such characters stay."""
    keys = {name: re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII) for name in names}
    used_keys = {name for name, key in keys.items() if name == key}
    for name, plain_key in keys.items():
        if name != plain_key:
            numbered_keys = chain([plain_key], (f"{plain_key} {n}" for n in count(2)))
            keys[name] = next(key for key in numbered_keys if key not in used_keys)
            used_keys.add(keys[name])
    return keys
